"""Colours that are not in the lexicon, and the sheet that everything is painted on.

A scorer that sees only pixels tells objects apart by colour. So the one dark neutral that outlines and details
are painted in (`OUTLINE`) is at least 70 from every lexicon colour in RGB, and a shade of a colour stays within
`SHADE_STEP` of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Rgb = tuple[int, int, int]
Box = tuple[float, float, float, float]  #: x0, y0, x1, y1 in pixels

OUTLINE: Rgb = (74, 82, 88)
SHADE_STEP = 32


@dataclass(frozen=True)
class Sheet:
    """The picture in work: RGB, `px` by `px`; `rng` decides what the prompt leaves open."""

    image: Image.Image
    draw: ImageDraw.ImageDraw
    px: int
    rng: np.random.Generator

    def length(self, share: float) -> int:
        """`share` of the side in whole pixels, at least 1."""
        return max(1, round(share * self.px))


def distance(a: Rgb, b: Rgb) -> float:
    """Euclidean distance in RGB, in [0, 442]."""
    return math.dist(a, b)


def nearest(colour: Rgb, others: Iterable[Rgb]) -> float:
    """Distance to the nearest of `others`; 442 where there are none."""
    return min((distance(colour, other) for other in others), default=442.0)


def shade(colour: Rgb) -> Rgb:
    """The colour made darker by `SHADE_STEP`; lighter where it is too dark for that."""
    length = distance(colour, (0, 0, 0))
    if length < 100:
        return (min(255, colour[0] + 18), min(255, colour[1] + 18), min(255, colour[2] + 18))
    keep = 1 - SHADE_STEP / length
    return (round(colour[0] * keep), round(colour[1] * keep), round(colour[2] * keep))


def luma(colour: Rgb) -> float:
    """Rec. 601 luma in [0, 255]."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def shaken(candidates: tuple[Rgb, ...], rng: np.random.Generator) -> list[Rgb]:
    """The candidates in an order that the generator picks."""
    return [candidates[int(i)] for i in rng.permutation(len(candidates))]


def apart(candidates: Iterable[Rgb], used: Iterable[Rgb], enough: float) -> Rgb:
    """The first candidate at least `enough` from every used colour, else the one farthest from them."""
    listed, taken = list(candidates), list(used)
    for colour in listed:
        if nearest(colour, taken) >= enough:
            return colour
    return max(listed, key=lambda colour: nearest(colour, taken))
