"""Surfaces: tiles of brightness offsets with mean 0, laid over the flat colour of a thing.

Offsets reach `DEPTH` of 255 a channel, which moves a colour by at most 28 in RGB: seen by a person, not enough to
turn one lexicon colour into another.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

DEPTH = 16
SIDE = 256

Tile = npt.NDArray[np.int16]
_Field = npt.NDArray[np.float64]


def kind_of(word: str | None) -> str | None:
    """The tile for a texture word such as "wooden"; None where the surface stays flat."""
    if not word:
        return None
    lowered = word.lower()
    return next((kind for kind, stems in _STEMS.items() if any(stem in lowered for stem in stems)), "rough")


@cache
def tile(kind: str) -> Tile:
    """SIDE x SIDE offsets in [-DEPTH, DEPTH], mean below 1; the same on every call."""
    down, across = (axis.astype(np.float64) / SIDE for axis in np.mgrid[0:SIDE, 0:SIDE])
    field = _FIELDS[kind](across, down)
    field = field - field.mean()
    found: Tile = np.rint(field / max(1e-9, float(np.abs(field).max())) * DEPTH).astype(np.int16)
    return found


def _noise(cells: int, seed: int) -> _Field:
    """Smooth noise with this many cells a side."""
    grid = np.random.default_rng(seed).standard_normal((cells, cells))
    places = np.arange(SIDE) * cells / SIDE
    low = places.astype(int)
    part = places - low
    high = (low + 1) % cells
    rows = grid[low] * (1 - part)[:, None] + grid[high] * part[:, None]
    out: _Field = rows[:, low] * (1 - part) + rows[:, high] * part
    return out


def _stripes(across: _Field, down: _Field) -> _Field:
    return np.sign(np.sin(2 * np.pi * 9 * (across + down * 0.35)))


def _wood(across: _Field, down: _Field) -> _Field:
    return np.sin(2 * np.pi * (11 * down + 0.6 * _noise(6, 1) + 0.4 * across)) + 0.4 * _noise(96, 2)


def _metal(across: _Field, down: _Field) -> _Field:
    return np.sin(2 * np.pi * 1.6 * (across + down)) + 0.35 * np.sin(2 * np.pi * 5 * (across + down))


def _fluff(across: _Field, down: _Field) -> _Field:
    del across, down
    return np.abs(_noise(40, 3)) + 0.6 * _noise(100, 4)


def _weave(across: _Field, down: _Field) -> _Field:
    return np.sign(np.sin(2 * np.pi * 24 * across)) * np.sign(np.sin(2 * np.pi * 24 * down))


def _hide(across: _Field, down: _Field) -> _Field:
    del across, down
    return np.clip(np.abs(_noise(32, 5)), 0, 0.6) + 0.2 * np.abs(_noise(64, 6))


def _gloss(across: _Field, down: _Field) -> _Field:
    return np.exp(-(((across - 0.3) / 0.16) ** 2) - ((down - 0.25) / 0.16) ** 2) * 2 - down


def _glaze(across: _Field, down: _Field) -> _Field:
    place = (across + 0.6 * down) % 0.5
    return ((place < 0.06) | ((place > 0.1) & (place < 0.13))).astype(np.float64)


def _dots(across: _Field, down: _Field) -> _Field:
    row = np.floor(down * 9)
    x, y = (across * 9 + 0.5 * (row % 2)) % 1 - 0.5, (down * 9) % 1 - 0.5
    return (x * x + y * y < 0.09).astype(np.float64)


def _checks(across: _Field, down: _Field) -> _Field:
    return ((np.floor(across * 8) + np.floor(down * 8)) % 2).astype(np.float64)


def _bricks(across: _Field, down: _Field) -> _Field:
    row = np.floor(down * 10)
    x, y = (across * 5 + 0.5 * (row % 2)) % 1, (down * 10) % 1
    return ((x > 0.06) & (y > 0.12)).astype(np.float64)


def _grit(across: _Field, down: _Field) -> _Field:
    del across, down
    return np.clip(_noise(80, 7), -1, 1)


_FIELDS: Final[dict[str, Callable[[_Field, _Field], _Field]]] = {
    "stripes": _stripes,
    "wood": _wood,
    "metal": _metal,
    "fluff": _fluff,
    "weave": _weave,
    "hide": _hide,
    "gloss": _gloss,
    "glaze": _glaze,
    "dots": _dots,
    "checks": _checks,
    "bricks": _bricks,
    "rough": _grit,
}
_STEMS: Final[dict[str, tuple[str, ...]]] = {
    "stripes": ("strip", "lined", "ribbed", "corrugat"),
    "dots": ("dot", "spot", "speckl", "bumpy"),
    "checks": ("check", "plaid", "tartan", "pixel", "tile"),
    "bricks": ("brick", "stone", "masonry", "cobble"),
    "wood": ("wood", "timber", "bark", "bamboo", "oak", "straw", "wicker"),
    "metal": ("metal", "steel", "iron", "chrome", "copper", "brass", "bronze", "rust", "silver", "gold", "tin"),
    "fluff": ("fluff", "fur", "fuzzy", "wool", "soft", "feather", "plush", "hairy", "velvet"),
    "weave": ("fabric", "cloth", "woven", "knit", "cotton", "linen", "denim", "silk", "paper", "canvas"),
    "hide": ("leather", "suede", "wrinkl", "cracked", "marble", "scal"),
    "gloss": ("plastic", "rubber", "smooth", "polish", "shiny", "glossy", "sleek", "porcelain", "ceramic"),
    "glaze": ("glass", "crystal", "transparent", "icy", "clear"),
}
