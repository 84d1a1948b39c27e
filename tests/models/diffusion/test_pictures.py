"""What counts as no picture, and how a decoder's output becomes levels."""

import numpy as np
import pytest

from promptforge.models.diffusion.pictures import fault_of, to_bytes
from promptforge.models.torch_setup import load_torch


def plain(level):
    return np.full((8, 8, 3), level, np.uint8)


def test_a_picture_with_nothing_above_nine_is_black():
    assert fault_of(plain(0)) == "black: no level above 0 of 255"
    assert fault_of(plain(9)).startswith("black")


def test_one_colour_is_flat_and_a_span_of_five_levels_is_a_picture():
    assert fault_of(plain(200)) == "flat: no channel spans more than 0 of 255 levels"
    spread = plain(200)
    spread[0, 0, 1] = 204
    assert fault_of(spread).startswith("flat")
    spread[0, 0, 1] = 205
    assert fault_of(spread) is None


@pytest.mark.models
def test_levels_are_those_that_the_pipelines_of_diffusers_give():
    torch = load_torch()
    from diffusers.image_processor import VaeImageProcessor

    image = torch.randn((1, 3, 16, 8), generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    expected = np.asarray(VaeImageProcessor().postprocess(image, output_type="pil")[0])
    assert np.array_equal(to_bytes(image[0]).numpy(), expected)
