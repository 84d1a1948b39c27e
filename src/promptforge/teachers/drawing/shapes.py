"""Plates for shape words: a round clock is the clock's icon on a round plate.

Every plate is one polygon or ellipse, solid ones with a facet in a shade of the colour, drawn large once and scaled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from math import cos, pi, sin
from typing import Final

from PIL import Image, ImageDraw

Points = tuple[tuple[float, float], ...]
_SIDE = 1024


@dataclass(frozen=True)
class Plate:
    """Outline in the unit square, facets in a shade of the colour, and where the icon sits (centre, share)."""

    outline: Points
    facets: tuple[Points, ...] = ()
    centre: tuple[float, float] = (0.5, 0.5)
    share: float = 0.56


@dataclass(frozen=True)
class Stretch:
    """Words that change the proportions instead: factors on width and height."""

    width: float
    height: float


def _ellipse(cx: float, cy: float, rx: float, ry: float, turns: tuple[float, float] = (0, 1)) -> Points:
    start, stop = turns
    steps = 72
    return tuple(
        (
            cx + rx * cos(2 * pi * (start + (stop - start) * i / steps)),
            cy + ry * sin(2 * pi * (start + (stop - start) * i / steps)),
        )
        for i in range(steps + 1)
    )


def _regular(corners: int) -> Points:
    return tuple((0.5 + 0.5 * sin(2 * pi * i / corners), 0.5 - 0.5 * cos(2 * pi * i / corners)) for i in range(corners))


def _star() -> Points:
    radii = (0.5, 0.27)
    return tuple((0.5 + radii[i % 2] * sin(pi * i / 5), 0.5 - radii[i % 2] * cos(pi * i / 5)) for i in range(10))


def _heart() -> Points:
    def place(t: float) -> tuple[float, float]:
        x = 16 * sin(t) ** 3
        y = 13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t)
        return 0.5 + x / 34, 0.45 - y / 34

    return tuple(place(2 * pi * i / 90) for i in range(90))


def _drop() -> Points:
    return ((0.5, 0.0), *_ellipse(0.5, 0.64, 0.36, 0.36, (-0.07, 0.57)))


def _can() -> Points:
    return (*_ellipse(0.5, 0.14, 0.36, 0.12, (0.5, 1.0)), *_ellipse(0.5, 0.86, 0.36, 0.12, (0.0, 0.5)))


_HEXAGON: Final[Points] = tuple((0.5 + 0.5 * sin(pi / 3 * i), 0.5 - 0.5 * cos(pi / 3 * i)) for i in range(6))

_PLATES: Final[Mapping[str, Callable[[], Plate]]] = {
    "circle": lambda: Plate(_ellipse(0.5, 0.5, 0.5, 0.5)),
    "sphere": lambda: Plate(_ellipse(0.5, 0.5, 0.5, 0.5), (_ellipse(0.5, 0.5, 0.5, 0.5, (0.0, 0.35)),)),
    "oval": lambda: Plate(_ellipse(0.5, 0.5, 0.5, 0.36)),
    "square": lambda: Plate(((0.06, 0.06), (0.94, 0.06), (0.94, 0.94), (0.06, 0.94)), share=0.62),
    "rectangle": lambda: Plate(((0.0, 0.2), (1.0, 0.2), (1.0, 0.8), (0.0, 0.8)), share=0.48),
    "triangle": lambda: Plate(((0.5, 0.02), (1.0, 0.95), (0.0, 0.95)), centre=(0.5, 0.66), share=0.4),
    "diamond": lambda: Plate(((0.5, 0.0), (0.92, 0.5), (0.5, 1.0), (0.08, 0.5)), share=0.42),
    "pentagon": lambda: Plate(_regular(5), share=0.5),
    "hexagon": lambda: Plate(_HEXAGON, share=0.52),
    "octagon": lambda: Plate(_regular(8), share=0.54),
    "star": lambda: Plate(_star(), share=0.34),
    "heart": lambda: Plate(_heart(), centre=(0.5, 0.44), share=0.42),
    "drop": lambda: Plate(_drop(), centre=(0.5, 0.64), share=0.4),
    "crescent": lambda: Plate(
        (*_ellipse(0.45, 0.5, 0.5, 0.5, (0.12, 0.88)), *reversed(_ellipse(0.72, 0.5, 0.42, 0.4, (0.2, 0.8)))),
        centre=(0.14, 0.5),
        share=0.18,
    ),
    "cube": lambda: Plate(
        _HEXAGON, (((0.5, 0.5), (0.933, 0.25), (0.933, 0.75), (0.5, 1.0)),), centre=(0.29, 0.6), share=0.3
    ),
    "can": lambda: Plate(_can(), (_ellipse(0.5, 0.14, 0.36, 0.12),), centre=(0.5, 0.6), share=0.44),
    "cone": lambda: Plate(
        ((0.5, 0.0), *_ellipse(0.5, 0.88, 0.4, 0.1, (0.0, 0.5))),
        (((0.5, 0.0), (0.9, 0.88), *_ellipse(0.5, 0.88, 0.4, 0.1, (0.02, 0.2))),),
        centre=(0.46, 0.7),
        share=0.3,
    ),
    "pyramid": lambda: Plate(
        ((0.5, 0.03), (1.0, 0.8), (0.62, 0.97), (0.0, 0.85)),
        (((0.5, 0.03), (1.0, 0.8), (0.62, 0.97)),),
        centre=(0.36, 0.68),
        share=0.3,
    ),
}
_STEMS: Final[Mapping[str, tuple[str, ...]]] = {
    "sphere": ("spher", "globular", "ball"),
    "circle": ("round", "circ", "disc"),
    "oval": ("oval", "ellip", "oblong", "egg"),
    "rectangle": ("rectang",),
    "pyramid": ("pyramid",),
    "triangle": ("triang",),
    "pentagon": ("pentag",),
    "hexagon": ("hexag",),
    "octagon": ("octag",),
    "diamond": ("diamond", "rhomb"),
    "star": ("star",),
    "heart": ("heart",),
    "drop": ("teardrop", "drop"),
    "crescent": ("crescent",),
    "cube": ("cub", "box"),
    "can": ("cylind", "tub"),
    "cone": ("con",),
    "square": ("square",),
}
_STRETCHES: Final[Mapping[str, Stretch]] = {
    "big": Stretch(1.0, 1.0),
    "large": Stretch(1.0, 1.0),
    "huge": Stretch(1.0, 1.0),
    "giant": Stretch(1.0, 1.0),
    "small": Stretch(0.62, 0.62),
    "tiny": Stretch(0.5, 0.5),
    "little": Stretch(0.62, 0.62),
    "tall": Stretch(0.72, 1.0),
    "long": Stretch(1.0, 0.72),
    "short": Stretch(0.9, 0.62),
    "wide": Stretch(1.0, 0.8),
    "thin": Stretch(0.66, 1.0),
}


def plate_of(word: str | None) -> str | None:
    """The plate for a shape word such as "spherical"; None where there is none."""
    if not word or word.lower() in _STRETCHES:
        return None
    lowered = word.lower()
    return next((kind for kind, stems in _STEMS.items() if any(lowered.startswith(stem) for stem in stems)), None)


def stretch_of(word: str | None) -> Stretch:
    """How a word of size changes the proportions."""
    return _STRETCHES.get((word or "").lower(), Stretch(1.0, 1.0))


@cache
def plate(kind: str) -> Plate:
    """The plate of this kind."""
    return _PLATES[kind]()


def masks(kind: str, side: int) -> tuple[Image.Image, Image.Image]:
    """Outline and facets of a plate as masks (mode L) of side x side pixels, smooth at the edges."""
    whole, facets = _large(kind)
    size = (side, side)
    return whole.resize(size, Image.Resampling.BILINEAR), facets.resize(size, Image.Resampling.BILINEAR)


@cache
def _large(kind: str) -> tuple[Image.Image, Image.Image]:
    shape = plate(kind)
    whole, facets = Image.new("L", (_SIDE, _SIDE)), Image.new("L", (_SIDE, _SIDE))
    for points, target in [(shape.outline, whole), *((facet, facets) for facet in shape.facets)]:
        ImageDraw.Draw(target).polygon([(x * (_SIDE - 1), y * (_SIDE - 1)) for x, y in points], fill=255)
    return whole, facets
