"""Prompts from a grammar: a lexicon, templates and a row number make a prompt whose scene is known exactly.

A cell is a category, a length and a style, e.g. color/long/painting. Row k of a cell is a pure function of (seed, axis,
cell, k); a source's row i is row k of some cell, found by arithmetic: any range can be read anywhere, a longer run
begins with the rows of a shorter one, other weights bring the same rows in another order. Cells rotate, so that every
prefix is balanced. Where neither length nor style is asked, a category is written in its own mix, mostly 6 to 35 words.

Lengths in words: tiny 1 to 5, short 6 to 10, medium 11 to 20, long 21 to 40, paragraph 41 to 120.
Styles: plain names no medium; photo, painting, drawing, print, illustration, digital and craft name one of that kind.
Every category can have every length and style, but for tiny: `writable` tells.

With `pairs` rows 2j and 2j + 1 are a minimal pair: they share all but one attribute, number, relation, noun or drawn
word. Their pair_id says which: number:numeracy/any/any:17.

Not covered: prompts in other languages than English (the strings to be drawn may be).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from promptforge.lexicon import digest
from promptforge.protocols import Source, SourcePart
from promptforge.records import Axis, Candidate, Relation, Scene, digest_of
from promptforge.sources.writing import captions, lettering, lettering_cells, semantic_cells, semantics
from promptforge.sources.writing.cells import ANY, BANDS, PLAIN, STYLES, Cell, Listed, Mix, Rotation, Wheel, style_kind
from promptforge.sources.writing.draw import Draw
from promptforge.sources.writing.nounphrases import Draft
from promptforge.sources.writing.pairs import kinds_of, twins
from promptforge.sources.writing.pools import template_bytes, template_names

VERSION = 5

LICENCE = "CC0-1.0"
#: What is put on a finished text, in per cent: a capital and a full stop, a capital alone, neither.
STOPPED, CAPITAL = 35, 25

CATEGORIES: Mapping[str, tuple[str, ...]] = {
    Axis.IMAGE_QUALITY: captions.CATEGORIES,
    Axis.SEMANTIC_UNDERSTANDING: semantics.CATEGORIES,
    Axis.TEXT_RENDERING: lettering.CATEGORIES,
}
#: Weights of categories that are not named; 1 where there is none.
WEIGHTS: Mapping[str, Mapping[str, int]] = {Axis.TEXT_RENDERING: lettering.WEIGHTS}


#: Five words are too few for these at all, and for these with a medium.
NEVER_TINY = frozenset(("complex", "sentence", "lines"))
TINY_PLAIN = frozenset(("spatial", "3d_spatial", *lettering.CATEGORIES))
#: Tries to write a row of a cell; the hardest, complex/short with a style, needs 4 on the average.
TRIES = 400


class Writer(Protocol):
    """Drafts of one axis."""

    def write(self, category: str, draw: Draw) -> Draft:
        """The draft of one row of a category, in the axis's own mix of lengths and styles."""
        ...

    def write_cell(self, cell: Cell, draw: Draw) -> Draft:
        """A try at a row of a cell; may miss its length or style."""
        ...


_WRITERS: Mapping[str, Callable[[], Writer]] = {
    Axis.IMAGE_QUALITY: captions.writer,
    Axis.SEMANTIC_UNDERSTANDING: semantic_cells.cells,
    Axis.TEXT_RENDERING: lettering_cells.cells,
}


def writable(axis: str, cell: Cell) -> bool:
    """Whether the grammar can write such a cell."""
    known = cell.category in CATEGORIES[axis] and cell.length in (ANY, *BANDS) and cell.style in (ANY, *STYLES)
    if not known or cell.length != "tiny":
        return known
    return cell.category not in NEVER_TINY and (cell.category not in TINY_PLAIN or cell.style in (ANY, PLAIN))


def draft(axis: str, cell: Cell, draw: Draw) -> Draft:
    """The draft of one row of a writable cell in its final form; `draw` is the only source of choice."""
    writer = _WRITERS[axis]()
    if cell.length == cell.style == ANY:
        return _finished(writer.write(cell.category, draw), draw)
    low, high = cell.words
    for _ in range(TRIES):
        found = writer.write_cell(cell, draw)
        fits = low <= len(found.text.split()) <= high
        if fits and cell.style in (ANY, style_kind(found.style)):
            return found if found.whole else _finished(found, draw)
    raise RuntimeError(f"no row of {axis} {cell} in {TRIES} tries")


class Params(BaseModel):
    """What to write."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    axis: Axis = Field(description="axis that the prompts are for")
    n: int = Field(ge=1, le=100_000_000, description="rows; a larger n keeps the rows of a smaller one")
    name: str | None = Field(
        default=None,
        pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        description="name of the source; default grammar-<axis>",
    )
    weights: dict[str, int] = Field(
        default_factory=dict,
        description="rows of a category in each round, 0 to 100; its own weight, mostly 1, where not named",
    )
    lengths: dict[str, int] = Field(
        default_factory=dict,
        description="rows of a length in each round of a category: tiny (1 to 5 words), short (6 to 10), medium"
        " (11 to 20), long (21 to 40), paragraph (41 to 120), any; only those named. Default: the category's own mix",
    )
    styles: dict[str, int] = Field(
        default_factory=dict,
        description="rows of a style in each round of a length: plain (no medium), photo, painting, drawing, print,"
        " illustration, digital, craft, any; only those named. Default: the category's own mix",
    )
    cells: tuple[str, ...] = Field(
        default=(),
        description="these cells alone, in turn, each category/length/style, e.g. color/long/painting; not with"
        " weights, lengths or styles",
    )

    pairs: bool = Field(
        default=False, description="minimal pairs: rows 2j and 2j + 1 differ in one thing, which their pair_id names"
    )

    @field_validator("weights", "lengths", "styles")
    @classmethod
    def _within_bounds(cls, weights: dict[str, int]) -> dict[str, int]:
        for item, weight in weights.items():
            if not 0 <= weight <= 100:
                raise ValueError(f"weight of {item!r} is {weight}; allowed are 0 to 100")
        return weights

    @model_validator(mode="after")
    def _known_names(self) -> Params:
        known = {"category": CATEGORIES[self.axis], "length": (*BANDS, ANY), "style": (*STYLES, ANY)}
        for (kind, names), weights in zip(known.items(), (self.weights, self.lengths, self.styles), strict=True):
            for name in weights:
                if name not in names:
                    raise ValueError(f"{self.axis.value} has no {kind} {name!r}; it has {', '.join(names)}")
            if weights and kind != "category" and not any(weights.values()):
                raise ValueError(f"every {kind} has the weight 0; give at least one a weight of 1 or more")
        if self.pairs and self.n % 2:
            raise ValueError(f"n is {self.n}; pairs need an even number of rows")
        if self.cells and (self.weights or self.lengths or self.styles):
            raise ValueError("cells stand alone; leave out weights, lengths and styles")
        if not self.cells and not rotation(self.axis, self.weights):
            raise ValueError("every weight is 0; give at least one category a weight of 1 or more")
        self._refuse([cell for cell in self.wanted() if not writable(self.axis, cell)])
        return self

    def wanted(self) -> list[Cell]:
        """Every cell that rows are asked of."""
        if not self.cells:
            return self.mix().cells()
        found = [_cell(name) for name in self.cells]
        if len(set(found)) < len(found):
            twice = next(cell for cell in found if found.count(cell) > 1)
            raise ValueError(f"cell {twice} is named twice")
        return found

    def mix(self) -> Mix:
        """What is wanted of each category, length and style, in the order of the tables."""
        own = WEIGHTS.get(self.axis, {})
        categories = {name: self.weights.get(name, own.get(name, 1)) for name in CATEGORIES[self.axis]}
        lengths = {name: self.lengths[name] for name in (*BANDS, ANY) if self.lengths.get(name)}
        styles = {name: self.styles[name] for name in (*STYLES, ANY) if self.styles.get(name)}
        return Mix(categories, lengths, styles)

    def _refuse(self, cells: Sequence[Cell]) -> None:
        """Says which cells cannot be, and what can be in their place."""
        if not cells:
            return
        first, axis = cells[0], self.axis
        more = f" (and {len(cells) - 1} more)" if len(cells) > 1 else ""
        if first.category not in CATEGORIES[axis]:
            allowed = f"categories are {', '.join(CATEGORIES[axis])}"
        elif first.length not in (*BANDS, ANY) or not writable(axis, Cell(first.category, first.length)):
            lengths = [name for name in (*BANDS, ANY) if writable(axis, Cell(first.category, name))]
            allowed = f"lengths of {first.category} are {', '.join(lengths)}"
        else:
            styles = [name for name in (*STYLES, ANY) if writable(axis, Cell(first.category, first.length, name))]
            allowed = f"styles of {first.category}/{first.length} are {', '.join(styles)}"
        raise ValueError(f"{axis.value} cannot write {first}{more}; {allowed}")


def _cell(name: str) -> Cell:
    parts = name.split("/")
    if len(parts) != 3:
        raise ValueError(f"cell {name!r} has {len(parts)} parts; expected category/length/style, e.g. color/long/any")
    return Cell(*parts)


def rotation(axis: str, weights: Mapping[str, int]) -> tuple[str, ...]:
    """One round of categories, each as often as its weight, spread as evenly as can be."""
    own = WEIGHTS.get(axis, {})
    return Wheel({name: weights.get(name, own.get(name, 1)) for name in CATEGORIES[axis]}).order


class Pair(NamedTuple):
    """A minimal pair and its pair_id."""

    members: tuple[Draft, Draft]
    name: str


class GrammarSource:
    """One virtual part of n rows."""

    def __init__(self, params: Params, seed: int) -> None:
        self.axis = params.axis.value
        self.name = params.name or f"grammar-{self.axis}"
        self.licence = LICENCE
        self._n, self._seed, self._pairs = params.n, seed, params.pairs
        mix = params.mix()
        self._rotation = Listed(params.wanted()) if params.cells else Rotation(mix)
        self._digest = digest_of(
            {
                "version": VERSION,
                "lexicon": digest(),
                "templates": {name: template_bytes(name).decode("utf-8") for name in template_names()},
                "seed": seed,
                "axis": self.axis,
                "rotation": self._rotation.key,
                **({"pairs": True} if params.pairs else {}),
            }
        )

    def parts(self) -> Sequence[SourcePart]:
        """The one part; its digest leaves out n, so that more rows orphan none."""
        return (SourcePart("grammar", self._digest, self._n),)

    def read(self, part: SourcePart, start: int, stop: int) -> Iterator[Candidate]:
        """Rows start to stop - 1, about 15,000 a second up to 20 words and 3,000 in paragraphs."""
        if part.digest != self._digest:
            raise ValueError(f"part {part.label} has digest {part.digest[:12]}, this grammar {self._digest[:12]}")
        last: tuple[int, tuple[Cell, Pair]] | None = None
        for row in range(start, min(stop, self._n)):
            if not self._pairs:
                cell, number = self._rotation.at(row)
                yield self._candidate(
                    row, cell, draft(self.axis, cell, Draw(self._seed, f"{self.axis}/{cell}", number))
                )
                continue
            if last is None or last[0] != row // 2:
                last = (row // 2, self._pair(row // 2))
            cell, pair = last[1]
            yield self._candidate(row, cell, pair.members[row % 2], pair.name)

    def _pair(self, turn: int) -> tuple[Cell, Pair]:
        """Pair `turn` of the source; a first member that has no twin gives way to another."""
        cell, number = self._rotation.at(turn)
        kinds = kinds_of(self.axis, number)
        for attempt in range(TRIES):
            key = f"{self.axis}/{cell}/pair/{attempt}"
            chance = Draw(self._seed, f"{key}/chance", number)
            found = twins(lambda draw: draft(self.axis, cell, draw), Draw(self._seed, key, number), chance, kinds)
            if found is not None:
                first, second, kind = found
                return cell, Pair((first, second), f"{kind}:{cell}:{number}")
        raise RuntimeError(f"no pair of {self.axis} {cell} in {TRIES} tries")

    def _candidate(self, row: int, cell: Cell, found: Draft, pair: str | None = None) -> Candidate:
        return Candidate(
            row=row,
            text=found.text,
            axis=self.axis,
            category=cell.category,
            expected_text=found.expected_text,
            scene=Scene(
                objects=found.objects,
                relations=tuple(Relation(*ends) for ends in found.relations),
                carrier=found.carrier,
                setting=found.setting,
                light=found.light,
                style=found.style,
            ),
            template=found.template,
            style=found.style,
            pair_id=pair,
        )


def _finished(draft: Draft, draw: Draw) -> Draft:
    """With a capital and a full stop, a capital, or as it is; a text that begins with its quote stays as it is."""
    form = draw.below(100)
    if form >= STOPPED + CAPITAL:
        return draft
    text = draft.text[0].upper() + draft.text[1:]
    return replace(draft, text=f"{text}." if form < STOPPED else text)


def build(params: Params, seed: int) -> Source:
    """The source of one axis."""
    return GrammarSource(params, seed)
