"""One kind of thing, painted `count` times: outline, body, flat colour with its surface, details.

A plain thing is its icon in the thing's colour. A thing with a shape is a plate of that shape in its colour with
the icon on it in the dark neutral. Either way each copy is one connected region of the colour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from promptforge.teachers.drawing import shapes, textures
from promptforge.teachers.drawing.icons import Icon
from promptforge.teachers.drawing.paint import OUTLINE, Box, Rgb, Sheet, shade


@dataclass(frozen=True)
class Look:
    """How one kind of thing looks."""

    icon: Icon
    rgb: Rgb
    shape: str | None = None
    texture: str | None = None
    flip: bool = False


@dataclass(frozen=True)
class Layers:
    """A look at one size: masks in the order of painting, with what each is painted in."""

    steps: tuple[tuple[Image.Image, Rgb | Image.Image], ...]
    size: tuple[int, int]


def fitted(look: Look, width: float, height: float) -> tuple[int, int]:
    """Width and height in pixels of the look inside a slot, proportions kept."""
    stretch = shapes.stretch_of(look.shape)
    if shapes.plate_of(look.shape):
        side = max(4, int(min(width, height)))
        return side, side
    w, h = look.icon.size[0] * stretch.width, look.icon.size[1] * stretch.height
    factor = min(width / w, height / h) * max(stretch.width, stretch.height)
    return max(4, int(w * factor)), max(4, int(h * factor))


def layers(look: Look, size: tuple[int, int]) -> Layers:
    """The look at this size, to be painted any number of times."""
    kind = shapes.plate_of(look.shape)
    return _plated(look, kind, size) if kind else _plain(look, size)


def paint(sheet: Sheet, drawn: Layers, left: int, top: int) -> Box:
    """Paints one copy and returns its box."""
    for mask, fill in drawn.steps:
        if isinstance(fill, Image.Image):
            sheet.image.paste(fill, (left, top), mask)
        else:
            sheet.image.paste(fill, (left, top, left + mask.width, top + mask.height), mask)
    return (left, top, left + drawn.size[0], top + drawn.size[1])


def _plain(look: Look, size: tuple[int, int]) -> Layers:
    icon = look.icon.scaled(*size, flip=look.flip)
    # Gaps that divide the glyph must keep its colour, or one thing would count as several.
    gaps = OUTLINE if icon.whole else shade(look.rgb)
    surface = _surface(look, size)
    return Layers(((icon.edge, OUTLINE), (icon.body, gaps), (icon.fill, surface)), size)


def _plated(look: Look, kind: str, size: tuple[int, int]) -> Layers:
    side = size[0]
    rim = max(2, round(side * 0.014))
    inner = side - 2 * rim
    plate = shapes.plate(kind)
    whole, facets = (_framed(mask, size, rim) for mask in shapes.masks(kind, inner))
    edge = whole.filter(ImageFilter.MaxFilter(2 * rim - 1))
    room = inner * plate.share
    factor = room / max(look.icon.size)
    w, h = max(3, int(look.icon.size[0] * factor)), max(3, int(look.icon.size[1] * factor))
    glyph = Image.new("L", size)
    glyph.paste(
        look.icon.scaled(w, h, flip=look.flip).fill,
        (int(rim + inner * plate.centre[0] - w / 2), int(rim + inner * plate.centre[1] - h / 2)),
    )
    steps: list[tuple[Image.Image, Rgb | Image.Image]] = [(edge, OUTLINE), (whole, _surface(look, size))]
    if plate.facets:
        steps.append((facets, shade(look.rgb)))
    steps.append((glyph, OUTLINE))
    return Layers(tuple(steps), size)


def _framed(mask: Image.Image, size: tuple[int, int], rim: int) -> Image.Image:
    out = Image.new("L", size)
    out.paste(mask, (rim, rim))
    return out


def _surface(look: Look, size: tuple[int, int]) -> Rgb | Image.Image:
    kind = textures.kind_of(look.texture)
    if kind is None:
        return look.rgb
    tile = textures.tile(kind)
    repeats = (-(-size[1] // textures.SIDE), -(-size[0] // textures.SIDE))
    offsets = np.tile(tile, repeats)[: size[1], : size[0], None]
    pixels = np.clip(np.asarray(look.rgb, np.int16) + offsets, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels)
