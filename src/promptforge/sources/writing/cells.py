"""Cells of the grammar: category x length x style, and which row of a source is which row of which cell.

A row number is turned into (cell, row of the cell) by three wheels, one inside the other: categories, the lengths of a
category, the styles of a category and length. Each is arithmetic on the row number, so any row can be reached at once,
and every prefix is as balanced as whole rows allow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from promptforge.lexicon import load

#: Words of a text, both ends included: the steps of the view `coverage`. Above 120 words nothing is written.
BANDS: Mapping[str, tuple[int, int]] = {
    "tiny": (1, 5),
    "short": (6, 10),
    "medium": (11, 20),
    "long": (21, 40),
    "paragraph": (41, 120),
}
#: The length or style that the writer's own mix has; most of it is short and medium.
ANY = "any"
PLAIN, PHOTO = "plain", "photo"
#: Media by kind; `plain` names none, `photo` has those that take a lens.
ART: Mapping[str, tuple[str, ...]] = {
    "painting": (
        *("oil painting", "watercolour", "gouache painting", "acrylic painting", "fresco", "digital painting"),
        *("painting",),
    ),
    "drawing": ("pencil drawing", "charcoal drawing", "ink drawing", "pastel drawing", "drawing"),
    "print": ("woodcut print", "linocut", "screen print", "engraving"),
    "illustration": (
        *("digital illustration", "vector illustration", "storybook illustration", "comic book panel", "cartoon"),
    ),
    "digital": ("3d render", "pixel art picture"),
    "craft": ("paper collage", "mosaic", "tapestry", "stained glass panel"),
}
STYLES: tuple[str, ...] = (PLAIN, PHOTO, *ART)


class Cell(NamedTuple):
    """One stream of rows."""

    category: str
    length: str = ANY
    style: str = ANY

    def __str__(self) -> str:
        return "/".join(self)

    @property
    def words(self) -> tuple[int, int]:
        """Fewest and most words of a row; 120 at most where any length will do."""
        return (1, BANDS["paragraph"][1]) if self.length == ANY else BANDS[self.length]


@lru_cache(maxsize=1)
def _kinds() -> Mapping[str, str]:
    kinds = {medium: kind for kind, media in ART.items() for medium in media}
    return {row.word: PHOTO if row.kind == "photo" else kinds[row.word] for row in load().mediums.values()}


def style_kind(style: str | None) -> str:
    """The kind of a scene's style: plain for none, "style" for a manner without a medium (impressionist)."""
    return PLAIN if style is None else _kinds().get(style, "style")


@lru_cache(maxsize=len(STYLES))
def media(kind: str) -> tuple[str, ...]:
    """Media of a kind that suit any subject and take no colour away."""
    never = ("macro photograph", "black and white photograph")
    rows = [row for row in load().mediums.values() if row.written and not row.view and row.word not in never]
    return tuple(row.word for row in rows if style_kind(row.word) == kind)


def band_of(n_words: int) -> str | None:
    """Name of the band; None above 120 words."""
    return next((name for name, (low, high) in BANDS.items() if low <= n_words <= high), None)


class Wheel:
    """Items that take turns, each as often a round as its weight, spread as evenly as can be."""

    def __init__(self, weights: Mapping[str, int], turned: int = 0) -> None:
        # The k-th of w stands at (k + 1/2) / w of the round.
        places = [
            ((2 * k + 1) / (2 * weight), order, item)
            for order, (item, weight) in enumerate(weights.items())
            for k in range(weight)
        ]
        order = [item for _, _, item in sorted(places)]
        turned %= max(1, len(order))
        self.order = tuple(order[turned:] + order[:turned])
        self._weights = weights
        seen: dict[str, int] = dict.fromkeys(weights, 0)
        self._earlier: list[int] = []
        for item in self.order:
            self._earlier.append(seen[item])
            seen[item] += 1

    def at(self, turn: int) -> tuple[str, int]:
        """Whose turn it is, and how many turns that item had before."""
        rounds, place = divmod(turn, len(self.order))
        item = self.order[place]
        return item, rounds * self._weights[item] + self._earlier[place]

    def count(self, item: str, turn: int) -> int:
        """Turns that an item has before turn number `turn`."""
        rounds, place = divmod(turn, len(self.order))
        return rounds * self._weights.get(item, 0) + self.order[:place].count(item)


@dataclass(frozen=True, slots=True)
class Mix:
    """What a source wants of each category, length and style; an empty mapping asks for the writer's own mix."""

    categories: Mapping[str, int]
    lengths: Mapping[str, int]
    styles: Mapping[str, int]

    def cells(self) -> list[Cell]:
        """Every cell that has a weight."""
        return [
            Cell(category, length, style)
            for category in _named(self.categories)
            for length in _named(self.lengths) or [ANY]
            for style in _named(self.styles) or [ANY]
        ]


def _named(weights: Mapping[str, int]) -> list[str]:
    return [item for item, weight in weights.items() if weight]


class Rotation:
    """Which row of which cell a source's row is."""

    def __init__(self, mix: Mix) -> None:
        #: What decides it, for a digest.
        self.key = [list(weights.items()) for weights in (mix.categories, mix.lengths, mix.styles)]
        self._outer = Wheel(mix.categories)
        lengths, styles = mix.lengths or {ANY: 1}, mix.styles or {ANY: 1}
        # Each category begins at another length, each length at another style: also short prefixes have all of them.
        self._lengths = {category: Wheel(lengths, turned=n) for n, category in enumerate(mix.categories)}
        self._styles = {
            (category, length): Wheel(styles, turned=n + m)
            for n, category in enumerate(mix.categories)
            for m, length in enumerate(lengths)
        }

    def at(self, row: int) -> tuple[Cell, int]:
        """The cell of a row, and its number within the cell."""
        category, turn = self._outer.at(row)
        length, turn = self._lengths[category].at(turn)
        style, number = self._styles[category, length].at(turn)
        return Cell(category, length, style), number

    def count(self, cell: Cell, row: int) -> int:
        """Rows of a cell before row number `row`."""
        turn = self._outer.count(cell.category, row)
        if not turn:
            return 0
        turn = self._lengths[cell.category].count(cell.length, turn)
        styles = self._styles.get((cell.category, cell.length))
        return styles.count(cell.style, turn) if styles and turn else 0


class Listed:
    """Demanded cells alone, in turn."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._cells = tuple(cells)
        self.key = [str(cell) for cell in cells]

    def at(self, row: int) -> tuple[Cell, int]:
        """The cell of a row, and its number within the cell."""
        number, place = divmod(row, len(self._cells))
        return self._cells[place], number

    def count(self, cell: Cell, row: int) -> int:
        """Rows of a cell before row number `row`."""
        if cell not in self._cells:
            return 0
        rounds, place = divmod(row, len(self._cells))
        return rounds + (self._cells.index(cell) < place)
