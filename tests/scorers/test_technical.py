"""Technical measures, held against OpenCV, SciPy and sums done by hand."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError
from scipy import ndimage

from promptforge.protocols import Picture, Pixels
from promptforge.scorers import technical
from promptforge.scorers.frame.measures import colourfulness, entropy, luma_of, sharpness

METRICS = (
    "blur", "sharpness", "exposure", "clipped_dark", "clipped_bright", "contrast", "colourfulness", "entropy",
    "flat", "black", "blurred",
)  # fmt: skip
RED, BLUE = (255, 0, 0), (0, 0, 255)
PICTURES = arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24), st.just(3)))


def scores(pixels: Pixels) -> dict[str, float | None]:
    found = technical.build(technical.Params()).score(Picture(pixels, "", "image_quality", (), None))
    return {score.metric: score.value for score in found}


def plain(colour: tuple[int, int, int], side: int = 64) -> Pixels:
    return np.full((side, side, 3), colour, dtype=np.uint8)


def halves(left: tuple[int, int, int], right: tuple[int, int, int], side: int = 64) -> Pixels:
    pixels = plain(left, side)
    pixels[:, side // 2 :] = right
    return pixels


def noise(seed: int, side: int = 96) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def test_sharpness_is_the_variance_of_opencvs_and_scipys_laplacian() -> None:
    luma = luma_of(noise(1))
    assert sharpness(luma) == pytest.approx(cv2.Laplacian(luma, cv2.CV_32F).var(), rel=1e-5)
    assert sharpness(luma) == pytest.approx(ndimage.laplace(luma.astype(np.float64), mode="mirror").var(), rel=1e-5)


def test_colourfulness_of_two_colours_is_as_worked_by_hand() -> None:
    # red: rg = 255, yb = 127.5; blue: rg = 0, yb = -255; half of each.
    # sd rg = 127.5, sd yb = 191.25, mean rg = 127.5, mean yb = -63.75.
    # sqrt(127.5^2 + 191.25^2) = 229.8539; 0.3 sqrt(127.5^2 + 63.75^2) = 0.3 * 142.5493 = 42.7648
    assert colourfulness(halves(RED, BLUE)) == pytest.approx(229.8539 + 42.7648, abs=1e-3)
    assert colourfulness(plain((90, 90, 90))) == 0


def test_entropy_of_a_known_histogram() -> None:
    # shares 1/2, 1/4, 1/8, 1/8: 0.5 + 0.5 + 0.375 + 0.375 = 1.75 bits
    luma = np.repeat(np.array([10, 20, 30, 40], dtype=np.float32), (32, 16, 8, 8)).reshape(8, 8)
    assert entropy(luma) == 1.75
    assert entropy(np.full((8, 8), 7, dtype=np.float32)) == 0


def test_exposure_clipping_and_contrast_of_black_and_white_halves() -> None:
    found = scores(halves((0, 0, 0), (255, 255, 255)))
    assert found["exposure"] == pytest.approx(0.5)
    assert (found["clipped_dark"], found["clipped_bright"]) == (0.5, 0.5)
    assert found["contrast"] == pytest.approx(1)
    assert (found["flat"], found["black"]) == (0, 0)


def test_luma_weighs_the_channels_as_rec_601_does() -> None:
    # 0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 59.8 + 58.7 + 5.7 = 124.2
    assert luma_of(plain((200, 100, 50), 2)) == pytest.approx(np.full((2, 2), 124.2))


def test_a_plain_frame_is_flat_and_a_black_one_black() -> None:
    assert (scores(plain((120, 130, 200)))["flat"], scores(plain((120, 130, 200)))["black"]) == (1, 0)
    assert (scores(plain((0, 0, 0)))["flat"], scores(plain((0, 0, 0)))["black"]) == (0, 1)
    dark = (noise(2).astype(np.float64) * 0.08).astype(np.uint8)
    assert (scores(dark)["black"], scores(dark)["blurred"]) == (1, 0)


def test_blur_grows_with_the_width_of_the_blur() -> None:
    sharp = np.kron(noise(3, 8), np.ones((16, 16, 1), dtype=np.uint8))  # 8 x 8 squares of 16 px
    values = [scores(sharp)["blur"], *(scores(cv2.GaussianBlur(sharp, (0, 0), s))["blur"] for s in (1, 2, 4))]
    assert values == sorted(values, key=lambda value: value or 0)
    assert scores(sharp)["blurred"] == 0
    assert scores(cv2.GaussianBlur(sharp, (0, 0), 4))["blurred"] == 1


def test_blur_is_null_where_nothing_varies_or_the_picture_is_tiny() -> None:
    assert scores(plain((9, 9, 9)))["blur"] is None
    assert scores(noise(4, 8))["blur"] is None


@settings(derandomize=True, max_examples=150, deadline=None)
@given(PICTURES)
def test_every_metric_is_there_in_its_range_for_any_picture(pixels: Pixels) -> None:
    found = scores(pixels)
    assert tuple(found) == METRICS
    for name, value in found.items():
        assert (value is None) == (name == "blur" and value is None)
        if value is not None:
            assert 0 <= value <= {"sharpness": np.inf, "colourfulness": 400, "entropy": 8}.get(name, 1)
    assert not (found["flat"] and found["black"])


@settings(derandomize=True, max_examples=60, deadline=None)
@given(PICTURES)
def test_mirroring_changes_no_measure(pixels: Pixels) -> None:
    found, mirrored = scores(pixels), scores(np.ascontiguousarray(pixels[::-1, ::-1]))
    for name in set(METRICS) - {"blur", "blurred", "colourfulness"}:
        assert found[name] == pytest.approx(mirrored[name], rel=1e-4, abs=1e-4)


def test_parameters_out_of_bounds_are_refused() -> None:
    with pytest.raises(ValidationError):
        technical.Params(max_blur=1.5)
    with pytest.raises(ValidationError):
        technical.Params.model_validate({"blurr": 0.5})


def test_identity_names_the_library_of_the_blur_measure() -> None:
    assert "scikit-image" in technical.identity(technical.Params())
