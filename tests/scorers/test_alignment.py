import math
from itertools import pairwise

import numpy as np
import pytest

from promptforge.protocols import Picture
from promptforge.scorers import aesthetic, alignment

pytestmark = pytest.mark.models

TEXTS = ("a red cube", "two dogs", "", "a very long walk", "a red cube")


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    from tests.tiny_models.clip import tiny_clip

    return alignment.Params(tower=str(tiny_clip(tmp_path_factory.mktemp("alignment") / "tower")))


@pytest.fixture(scope="module")
def scorer(params):
    return alignment.build(params)


def pictures(seed=3):
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(0, 256, (40, 56, 3), dtype=np.uint8) for _ in TEXTS]
    return [Picture(pixels, text, "", (), None) for pixels, text in zip(drawn, TEXTS, strict=True)]


def scores_of(seen, said, truncated=False):
    return [score.value for score in alignment.compared(np.float32(seen), np.float32(said), truncated)]


def test_the_score_is_a_hundred_times_the_cosine_and_never_below_zero():
    # (0.6, 0.8) . (0.8, 0.6) = 0.48 + 0.48 = 0.96; (0.6, 0.8) . (0, -1) = -0.8
    assert scores_of([0.6, 0.8], [0.8, 0.6]) == pytest.approx([96, 0.96, 0], abs=1e-5)
    assert scores_of([0.6, 0.8], [0, -1]) == pytest.approx([0, -0.8, 0], abs=1e-6)
    assert scores_of([1, 0], [1, 0], truncated=True) == [100, 1, 1]


def test_an_embedding_that_is_not_finite_gives_no_score():
    assert scores_of([math.nan, 1], [1, 0]) == [None, None, 0]


def test_the_cosine_is_that_of_open_clips_own_call(params, scorer):
    import open_clip
    from PIL import Image

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{params.tower}")
    model.eval()
    for picture in pictures():
        seen = model.encode_image(transform(Image.fromarray(picture.pixels))[None], normalize=True)
        said = model.encode_text(open_clip.tokenize([picture.text]), normalize=True)
        score, cosine, truncated = scorer.score(picture)
        assert cosine.value == pytest.approx((seen[0] @ said[0]).item(), abs=1e-6)
        assert score.value == pytest.approx(100 * max((seen[0] @ said[0]).item(), 0), abs=1e-4)
        assert truncated.value == 0


def test_a_long_prompt_is_said_to_be_truncated(scorer):
    pixels = pictures()[0].pixels
    long = Picture(pixels, "a cat and " * 40, "", (), None)
    assert scorer.score(long)[2].value == 1
    longer = Picture(pixels, "a cat and " * 60, "", (), None)
    assert scorer.score(longer)[1].value == scorer.score(long)[1].value  # the same beginning


def test_scores_do_not_depend_on_neighbours_or_on_the_way_of_asking(scorer):
    together = scorer.score_many(pictures())
    assert [scorer.score(picture) for picture in pictures()] == together
    assert scorer.score_many(pictures()[::-1])[::-1] == together
    assert [score.metric for score in together[0]] == list(alignment.METRICS)


def test_the_picture_is_not_embedded_again_for_another_scorer(params, tmp_path):
    from safetensors.numpy import save_file

    from promptforge.models.open_clip import tower_of

    rng = np.random.default_rng(0)
    widths = (768, 1024, 128, 64, 16, 1)
    layers = list(pairwise(widths))
    tensors = {f"layers.{n}.weight": rng.random((b, a), np.float32) for n, (a, b) in enumerate(layers)}
    save_file(
        tensors | {f"layers.{n}.bias": rng.random(b, np.float32) for n, (_, b) in enumerate(layers)},
        tmp_path / "h.safetensors",
    )
    marks = aesthetic.build(aesthetic.Params(tower=params.tower, head=str(tmp_path / "h.safetensors")))
    seen = []
    handle = tower_of(params.tower_spec).model.visual.register_forward_hook(lambda *_: seen.append(1))
    batch = pictures()
    alignment.build(params).score_many(batch)
    marks.score_many(batch)
    handle.remove()
    assert len(seen) == len(batch)


def test_another_tower_is_another_judge(params, tmp_path):
    from tests.tiny_models.clip import tiny_clip

    other = alignment.Params(tower=str(tiny_clip(tmp_path / "other", seed=1)))
    assert len({*alignment.models(params), *alignment.models(other)}) == 2
    assert alignment.identity(other) != alignment.identity(params)
    assert alignment.models(alignment.Params()) == ("timm/vit_large_patch14_clip_224.openai",)


def test_the_self_test_passes(params):
    assert alignment.self_test(params) == []
