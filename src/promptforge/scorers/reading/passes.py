"""Second looks at a picture: the neighbourhood of the text, at another scale and with its contrast stretched.

A detector's box decides what the recogniser sees; a look at another scale draws other boxes, so that an accident
of one look is not repeated by the next, while a wrong letter is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from promptforge.protocols import Pixels, TextLine, TextReader

#: Longest side of a second look, in px: what the engine's detector takes without shrinking.
_LONGEST = 512
#: Room around the text, in heights of its tallest line: a lost line above or below comes into view.
_ROOM = 1.5


@dataclass(frozen=True, slots=True)
class Look:
    """One way of looking: at the neighbourhood of the text or the whole picture, in colour or grey."""

    zoom: float
    whole: bool
    grey: bool


CLOSER = Look(zoom=1.6, whole=False, grey=False)
GREY = Look(zoom=1.0, whole=True, grey=True)
FARTHER = Look(zoom=0.7, whole=True, grey=False)


def further_looks(complete: bool) -> tuple[Look, ...]:
    """What to try after a reading that disagrees.

    One that lacks a word is not looked at more closely: the word may be anywhere.
    """
    return (CLOSER, GREY) if complete else (GREY, FARTHER)


def look_again(reader: TextReader, pixels: Pixels, lines: Sequence[TextLine], look: Look) -> tuple[TextLine, ...]:
    """What this look reads; `lines` are those of the first look, boxes are in pixels of the picture."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = (0, 0, width, height) if look.whole or not lines else _neighbourhood(pixels, lines)
    part = Image.fromarray(np.ascontiguousarray(pixels[top:bottom, left:right]))
    if look.grey:
        part = part.convert("L")
    zoom = min(look.zoom, max(1.0, _LONGEST / max(part.size)))
    size = (max(32, round(part.width * zoom)), max(32, round(part.height * zoom)))
    across, down = part.width / size[0], part.height / size[1]
    seen = stretched(np.asarray(part.resize(size, Image.Resampling.BICUBIC).convert("RGB")))
    return tuple(
        replace(line, box=tuple((left + x * across, top + y * down) for x, y in line.box)) for line in reader.read(seen)
    )


def stretched(pixels: Pixels) -> Pixels:
    """The same picture with its 1st to 99th percentile of level spread over the whole range."""
    low, high = (float(x) for x in np.percentile(pixels, (1, 99)))
    if high - low < 1:
        return pixels
    spread = (pixels.astype(np.float32) - low) * (255 / (high - low))
    levels: Pixels = np.clip(np.rint(spread), 0, 255).astype(np.uint8)
    return levels


def _neighbourhood(pixels: Pixels, lines: Sequence[TextLine]) -> tuple[int, int, int, int]:
    height, width = pixels.shape[:2]
    xs = [x for line in lines for x, _ in line.box]
    ys = [y for line in lines for _, y in line.box]
    room = _ROOM * max(line_height(line) for line in lines)
    return (
        max(0, int(min(xs) - room)),
        max(0, int(min(ys) - room)),
        min(width, int(max(xs) + room) + 1),
        min(height, int(max(ys) + room) + 1),
    )


def line_height(line: TextLine) -> float:
    """Height of the box along its left side, in px."""
    (x0, y0), (x3, y3) = line.box[0], line.box[-1]
    return float(np.hypot(x3 - x0, y3 - y0))
