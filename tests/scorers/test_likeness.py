import base64

import numpy as np
import pytest
import scipy.fft
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from promptforge.protocols import Picture
from promptforge.scorers import likeness


def by_definition(pixels):
    """ImageHash 4.3's phash with SciPy's transform: hash_size 8, highfreq_factor 4."""
    image = Image.fromarray(pixels).convert("L").resize((32, 32), Image.Resampling.LANCZOS)
    found = scipy.fft.dct(scipy.fft.dct(np.asarray(image).astype(float), axis=0), axis=1)[:8, :8]
    bits = "".join(str(int(bit)) for bit in (found > np.median(found)).flatten())
    return f"{int(bits, 2):016x}"


def smooth(seed, size=(200, 260)):
    rng = np.random.default_rng(seed)
    noise = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).filter(ImageFilter.GaussianBlur(12))
    pixels = np.asarray(noise).astype(float)
    return np.clip((pixels - pixels.mean()) * 8 + 128, 0, 255).astype(np.uint8)


def bits_apart(one, other):
    return (int(one, 16) ^ int(other, 16)).bit_count()


@pytest.mark.parametrize("seed", range(40))
def test_the_hash_is_imagehashs_phash(seed):
    assert likeness.phash(smooth(seed)) == by_definition(smooth(seed))


@given(st.integers(0, 2**32 - 1), st.integers(8, 70), st.integers(8, 70))
def test_the_hash_is_imagehashs_phash_on_noise_of_any_size(seed, height, width):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert likeness.phash(pixels) == by_definition(pixels)


def test_a_flat_picture_has_no_hash():
    assert likeness.phash(np.full((64, 64, 3), 130, np.uint8)) is None
    assert likeness.phash(np.zeros((64, 64, 3), np.uint8)) is None


def test_zero_coefficients_of_a_symmetrical_picture_set_no_bits():
    # Left equals right, so the coefficients of odd horizontal frequency are zero: columns 1, 3, 5, 7 of the hash.
    half = smooth(1, (64, 32))
    found = likeness.phash(np.concatenate([half, half[:, ::-1]], axis=1))
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(found), np.uint8)).reshape(8, 8)
    assert not bits[:, 1::2].any()
    assert bits[0, 0] == 1


@pytest.mark.parametrize("seed", range(8))
def test_copies_are_close_and_strangers_far(seed):
    pixels = smooth(seed)
    half = np.asarray(Image.fromarray(pixels).resize((130, 100), Image.Resampling.BICUBIC))
    brighter = np.clip(pixels.astype(int) + 12, 0, 255).astype(np.uint8)
    assert bits_apart(likeness.phash(pixels), likeness.phash(half)) <= 6
    assert bits_apart(likeness.phash(pixels), likeness.phash(brighter)) <= 6
    assert bits_apart(likeness.phash(pixels), likeness.phash(smooth(seed + 100))) > 12


def test_without_a_tower_nothing_is_loaded_and_the_embedding_is_null():
    params = likeness.Params()
    assert likeness.identity(params) == {}
    assert likeness.models(params) == ()
    found = likeness.build(params).score(Picture(smooth(0), "", "", (), None))
    assert [(score.metric, score.value, score.detail) for score in found] == [
        ("phash", None, by_definition(smooth(0))),
        ("embedding", None, None),
    ]
    assert [score.metric for score in found] == list(likeness.METRICS)


def test_the_sample_hash_holds_on_this_machine():
    assert likeness.self_test(likeness.Params()) == []


@pytest.mark.models
def test_the_embedding_is_the_towers_in_half_precision(tmp_path):
    from promptforge.models.open_clip import tower_of
    from tests.tiny_models.clip import tiny_clip

    params = likeness.Params(embedding=True, tower=str(tiny_clip(tmp_path / "tower")))
    pictures = [Picture(smooth(seed), "", "", (), None) for seed in range(3)]
    scorer = likeness.build(params)
    together = scorer.score_many(pictures)
    assert [scorer.score(picture) for picture in pictures] == together
    wanted = tower_of(params.tower_spec).pictures([picture.pixels for picture in pictures])
    for (_, embedding), vector in zip(together, wanted, strict=True):
        found = np.frombuffer(base64.b64decode(embedding.detail), dtype="<f2")
        np.testing.assert_array_equal(found, vector.astype(np.float16))
    assert set(likeness.identity(params)) == {"tower"}
    assert likeness.self_test(params) == []
