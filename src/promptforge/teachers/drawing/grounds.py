"""The background: a pale tone, a gradient, a hint of the setting, and grain.

It stays unsaturated and at least 55 in RGB from the colours in use where any of the tones allows it, so that only
things carry the colours of the lexicon. The grain (three levels) gives an unblurred picture detail everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from promptforge.teachers.drawing.paint import Rgb, apart, shaken

#: Distance from any colour in use at which a tone is taken at once.
_ENOUGH = 62
_GRAIN_SIDE = 256
_GRAIN_STEP = 4
_GRADIENT = 9
#: How far the hint of a setting is from the tone, in levels a channel.
_FAINT = 9
#: Factors on it, each channel its own, where the ground is the whole picture.
_ALONE = (1.2, 3.4)

_PALE: Final[tuple[Rgb, ...]] = (
    (212, 225, 238),
    (212, 230, 214),
    (238, 219, 222),
    (225, 216, 238),
    (240, 232, 214),
    (226, 226, 229),
    (204, 228, 228),
    # For white, silver and beige things.
    (170, 196, 176),
    (168, 202, 158),
    (196, 176, 190),
    (176, 170, 200),
    (204, 190, 164),
)
_WARM: Final[tuple[Rgb, ...]] = ((243, 219, 200), (241, 211, 205), (238, 222, 204))
_DIM: Final[tuple[Rgb, ...]] = ((96, 102, 126), (104, 96, 122), (88, 110, 116), (120, 112, 104))
_COLD: Final[tuple[Rgb, ...]] = ((206, 222, 238), (214, 228, 236), (200, 216, 230))

Grain = npt.NDArray[np.int16]
_Hint = Callable[[ImageDraw.ImageDraw, int, np.random.Generator], None]
_MIDDLE = 128


def grain() -> Grain:
    """A tile of noise with three levels; the same on every call."""
    levels = np.random.default_rng(20260101).integers(-1, 2, (_GRAIN_SIDE, _GRAIN_SIDE))
    return (levels * _GRAIN_STEP).astype(np.int16)


@dataclass(frozen=True)
class Scenery:
    """What the ground shows; `alone` where nothing stands before it, so that it may be strong."""

    tone: Rgb
    setting: str | None
    alone: bool


def tone(light: str | None, used: Iterable[Rgb], rng: np.random.Generator) -> Rgb:
    """The background's main colour for this light, away from the colours in use."""
    words = (light or "").lower()
    first: tuple[Rgb, ...] = ()
    if any(stem in words for stem in ("night", "moon", "dark", "dim", "candle", "midnight", "neon", "star", "dusk")):
        first = _DIM
    elif any(stem in words for stem in ("sunset", "sunrise", "golden", "warm", "dawn", "evening", "amber")):
        first = _WARM
    elif any(stem in words for stem in ("cold", "fog", "mist", "overcast", "winter", "storm", "rain", "snow")):
        first = _COLD
    return apart([*shaken(first, rng), *shaken(_PALE, rng)], used, _ENOUGH)


def ground(px: int, scenery: Scenery, rng: np.random.Generator, noise: Grain) -> Image.Image:
    """The background of a picture."""
    hints = Image.new("L", (px, px), _MIDDLE)
    _hint_for(scenery, rng)(ImageDraw.Draw(hints), px, rng)
    offsets = np.asarray(hints, dtype=np.int16) - _MIDDLE
    repeats = -(-px // _GRAIN_SIDE)
    dy, dx = (int(v) for v in rng.integers(0, _GRAIN_SIDE, 2))
    rough = np.tile(np.roll(noise, (dy, dx), axis=(0, 1)), (repeats, repeats))[:px, :px]
    slope = _GRADIENT if rng.integers(2) else -_GRADIENT
    rough += np.rint(np.linspace(slope, -slope, px)).astype(np.int16)[:, None]
    tints = rng.uniform(*_ALONE, 3) if scenery.alone else np.ones(3)
    pixels = np.empty((px, px, 3), np.uint8)
    for channel in range(3):
        tinted = offsets if tints[channel] == 1 else np.rint(offsets * tints[channel]).astype(np.int16)
        np.clip(rough + tinted + scenery.tone[channel], 0, 255, out=pixels[:, :, channel], casting="unsafe")
    return Image.fromarray(pixels)


def _hint_for(scenery: Scenery, rng: np.random.Generator) -> _Hint:
    words = (scenery.setting or "").lower()
    for stems, hint in _HINTS:
        if any(stem in words for stem in stems):
            return hint
    return _abstract if scenery.alone else (_room, _hills, _discs)[int(rng.integers(3))]


def _abstract(draw: ImageDraw.ImageDraw, px: int, rng: np.random.Generator) -> None:
    """Large overlapping shapes, for a prompt of which nothing was understood."""
    for i in range(7):
        x, y, r = rng.uniform(0, px), rng.uniform(0, px), rng.uniform(0.1, 0.32) * px
        level = _MIDDLE + int(rng.integers(-3, 4)) * _FAINT
        if i % 3 == 0:
            draw.ellipse((x - r, y - r, x + r, y + r), fill=level)
        elif i % 3 == 1:
            turns = np.sort(rng.uniform(0, 2 * np.pi, 3))
            draw.polygon([(x + r * np.cos(t), y + r * np.sin(t)) for t in turns], fill=level)
        else:
            draw.rectangle((x - r, y - r / 3, x + r, y + r / 3), fill=level)


def _room(draw: ImageDraw.ImageDraw, px: int, rng: np.random.Generator) -> None:
    floor = round(px * rng.uniform(0.66, 0.8))
    draw.rectangle((0, floor, px, px), fill=_MIDDLE - _FAINT)
    draw.rectangle((0, floor, px, floor + round(px * 0.012)), fill=_MIDDLE + _FAINT)
    step = round(px * rng.uniform(0.09, 0.16))
    for x in range(-px, 2 * px, step):
        draw.line((px / 2 + (x - px / 2), floor, px / 2 + 2 * (x - px / 2), px), fill=_MIDDLE - 2 * _FAINT)


def _hills(draw: ImageDraw.ImageDraw, px: int, rng: np.random.Generator) -> None:
    for depth in (1, 2):
        base = px * (0.5 + 0.16 * depth)
        height, waves, phase = px * rng.uniform(0.03, 0.09), rng.uniform(0.8, 2.2), rng.uniform(0, 6.28)
        xs = np.linspace(0, px, 40)
        ys = base + height * np.sin(phase + waves * 2 * np.pi * xs / px)
        draw.polygon([*zip(xs.tolist(), ys.tolist(), strict=True), (px, px), (0, px)], fill=_MIDDLE - depth * _FAINT)


def _discs(draw: ImageDraw.ImageDraw, px: int, rng: np.random.Generator) -> None:
    for i in range(9):
        x, y, r = rng.uniform(0, px), rng.uniform(0, px), rng.uniform(0.05, 0.2) * px
        draw.ellipse((x - r, y - r, x + r, y + r), fill=_MIDDLE + (_FAINT if i % 2 else -_FAINT))


def _water(draw: ImageDraw.ImageDraw, px: int, rng: np.random.Generator) -> None:
    line = round(px * rng.uniform(0.42, 0.56))
    draw.rectangle((0, line, px, px), fill=_MIDDLE - _FAINT)
    for _ in range(16):
        x, y, w = rng.uniform(0, px), rng.uniform(line, px), rng.uniform(0.05, 0.16) * px
        draw.arc((x, y, x + w, y + w * 0.3), 180, 360, fill=_MIDDLE + _FAINT, width=max(1, px // 170))


def _trees(draw: ImageDraw.ImageDraw, px: int, rng: np.random.Generator) -> None:
    floor = px * rng.uniform(0.68, 0.8)
    draw.rectangle((0, floor, px, px), fill=_MIDDLE - _FAINT)
    for x in np.arange(0.02, 1.0, 0.11):
        left, h = (x + rng.uniform(-0.02, 0.02)) * px, rng.uniform(0.2, 0.42) * px
        draw.polygon(
            ((left - 0.06 * px, floor), (left, floor - h), (left + 0.06 * px, floor)), fill=_MIDDLE - 2 * _FAINT
        )


def _city(draw: ImageDraw.ImageDraw, px: int, rng: np.random.Generator) -> None:
    floor = px * 0.82
    draw.rectangle((0, floor, px, px), fill=_MIDDLE - 2 * _FAINT)
    x = 0.0
    while x < px:
        w, h = rng.uniform(0.08, 0.16) * px, rng.uniform(0.2, 0.5) * px
        draw.rectangle((x, floor - h, x + w, floor), fill=_MIDDLE - _FAINT)
        for wy in np.arange(floor - h + 0.03 * px, floor - 0.05 * px, 0.06 * px):
            for wx in np.arange(x + 0.02 * px, x + w - 0.03 * px, 0.04 * px):
                draw.rectangle((wx, wy, wx + 0.015 * px, wy + 0.025 * px), fill=_MIDDLE + _FAINT)
        x += w + rng.uniform(0.005, 0.03) * px


def _peaks(draw: ImageDraw.ImageDraw, px: int, rng: np.random.Generator) -> None:
    floor = px * 0.76
    for x in (0.1, 0.42, 0.72, 0.98):
        at, h, w = (x + rng.uniform(-0.05, 0.05)) * px, rng.uniform(0.25, 0.5) * px, rng.uniform(0.2, 0.34) * px
        draw.polygon(((at - w, floor), (at, floor - h), (at + w, floor)), fill=_MIDDLE - _FAINT)
        cap = 0.22
        draw.polygon(
            ((at - w * cap, floor - h * (1 - cap)), (at, floor - h), (at + w * cap, floor - h * (1 - cap))),
            fill=_MIDDLE + _FAINT,
        )
    draw.rectangle((0, floor, px, px), fill=_MIDDLE - 2 * _FAINT)


def _sky(draw: ImageDraw.ImageDraw, px: int, rng: np.random.Generator) -> None:
    for _ in range(6):
        x, y, r = rng.uniform(0, px), rng.uniform(0, 0.8 * px), rng.uniform(0.03, 0.06) * px
        for dx, grow in ((-1.3, 0.8), (0.0, 1.2), (1.3, 0.9)):
            box = (x + (dx - grow) * r, y - grow * r, x + (dx + grow) * r, y + grow * r)
            draw.ellipse(box, fill=_MIDDLE + _FAINT)


def _stars(draw: ImageDraw.ImageDraw, px: int, rng: np.random.Generator) -> None:
    for _ in range(70):
        x, y, r = rng.uniform(0, px), rng.uniform(0, px), rng.uniform(0.002, 0.006) * px
        draw.ellipse((x - r, y - r, x + r, y + r), fill=_MIDDLE + 3 * _FAINT)


_HINTS: Final[tuple[tuple[tuple[str, ...], _Hint], ...]] = (
    (("space", "galaxy", "night", "star", "moon"), _stars),
    (("beach", "sea", "ocean", "lake", "river", "pond", "water", "harbo", "shore", "pier", "island", "pool"), _water),
    (("forest", "wood", "jungle", "park", "garden", "orchard", "tree"), _trees),
    (("city", "street", "town", "market", "road", "alley", "square", "station", "skyline", "downtown"), _city),
    (("mountain", "alp", "snow", "canyon", "cliff", "peak", "volcan", "glacier"), _peaks),
    (("sky", "cloud", "air"), _sky),
    (("field", "meadow", "farm", "desert", "hill", "valley", "prairie", "grass", "dune", "vineyard"), _hills),
    (
        ("room", "kitchen", "office", "house", "indoor", "studio", "library", "museum", "caf", "hall", "shop", "bar",
         "restaurant", "school", "floor", "cabin", "attic", "workshop"),
        _room,
    ),
)  # fmt: skip
