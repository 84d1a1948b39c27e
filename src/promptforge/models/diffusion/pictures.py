"""From a decoder's output to a picture, and what is no picture.

    black   nothing in the picture is brighter than BLACK of 255: an overflowed decoder or a filter that blanked it
    flat    every channel spans at most FLAT levels: one colour; noise alone makes real pictures span more

Not covered: pictures that are dark or plain but show something, and blur (scorers/technical.py).
"""

from __future__ import annotations

from typing import Any

from promptforge.models.torch_setup import load_torch
from promptforge.protocols import Pixels

BLACK = 9
FLAT = 4


def to_bytes(image: Any) -> Any:
    """uint8 tensor, height x width x 3, of a decoded image in [-1, 1], 3 x height x width, on the same device.

    Scaled in the image's own type and rounded in float32, as the pipelines of diffusers do.
    """
    unit = (image * 0.5 + 0.5).clamp(0, 1)
    return from_unit(unit)


def from_unit(unit: Any) -> Any:
    """uint8 tensor, height x width x 3, of an image in [0, 1], 3 x height x width."""
    torch = load_torch()
    return (unit.float() * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()


def fault_of(pixels: Pixels) -> str | None:
    """Why this is no picture, as code and sentence, or None."""
    darkest, brightest = pixels.min(axis=(0, 1)), pixels.max(axis=(0, 1))
    if brightest.max() <= BLACK:
        return f"black: no level above {int(brightest.max())} of 255"
    span = int((brightest - darkest).max())
    if span <= FLAT:
        return f"flat: no channel spans more than {span} of 255 levels"
    return None
