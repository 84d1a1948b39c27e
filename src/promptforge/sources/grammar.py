"""Prompts from a grammar: a lexicon, templates and a row number make a prompt whose scene is known exactly.

Row i is a pure function of (seed, axis, weights, i): any range can be read anywhere, and a longer run begins with
the rows of a shorter one. Categories rotate, so that every prefix is balanced.

Not covered: other languages than English, paragraphs, minimal pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from promptforge.lexicon import digest
from promptforge.protocols import Source, SourcePart
from promptforge.records import Axis, Candidate, Relation, Scene, digest_of
from promptforge.sources.writing import captions, lettering, semantics
from promptforge.sources.writing.draw import Draw
from promptforge.sources.writing.nounphrases import Draft
from promptforge.sources.writing.pools import template_bytes, template_names

VERSION = 1

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


class Writer(Protocol):
    """Drafts of one axis."""

    def write(self, category: str, draw: Draw) -> Draft:
        """The draft of one row of a category."""
        ...


_WRITERS: Mapping[str, Callable[[], Writer]] = {
    Axis.IMAGE_QUALITY: captions.writer,
    Axis.SEMANTIC_UNDERSTANDING: semantics.writer,
    Axis.TEXT_RENDERING: lettering.writer,
}


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

    @field_validator("weights")
    @classmethod
    def _within_bounds(cls, weights: dict[str, int]) -> dict[str, int]:
        for category, weight in weights.items():
            if not 0 <= weight <= 100:
                raise ValueError(f"weight of {category!r} is {weight}; allowed are 0 to 100")
        return weights

    @model_validator(mode="after")
    def _known_categories(self) -> Params:
        known = CATEGORIES[self.axis]
        for category in self.weights:
            if category not in known:
                raise ValueError(f"{self.axis.value} has no category {category!r}; it has {', '.join(known)}")
        if not rotation(self.axis, self.weights):
            raise ValueError("every weight is 0; give at least one category a weight of 1 or more")
        return self


def rotation(axis: str, weights: Mapping[str, int]) -> tuple[str, ...]:
    """One round of categories, each as often as its weight, spread as evenly as can be."""
    own = WEIGHTS.get(axis, {})
    counts = {category: weights.get(category, own.get(category, 1)) for category in CATEGORIES[axis]}
    # The k-th of w stands at (k + 1/2) / w of the round.
    places = [
        ((2 * k + 1) / (2 * weight), order, category)
        for order, (category, weight) in enumerate(counts.items())
        for k in range(weight)
    ]
    return tuple(category for _, _, category in sorted(places))


class GrammarSource:
    """One virtual part of n rows."""

    def __init__(self, params: Params, seed: int) -> None:
        self.axis = params.axis.value
        self.name = params.name or f"grammar-{self.axis}"
        self.licence = LICENCE
        self._n, self._seed = params.n, seed
        self._round = rotation(self.axis, params.weights)
        self._digest = digest_of(
            {
                "version": VERSION,
                "lexicon": digest(),
                "templates": {name: template_bytes(name).decode("utf-8") for name in template_names()},
                "seed": seed,
                "axis": self.axis,
                "round": self._round,
            }
        )
        self._writer = _WRITERS[params.axis]()

    def parts(self) -> Sequence[SourcePart]:
        """The one part; its digest leaves out n, so that more rows orphan none."""
        return (SourcePart("grammar", self._digest, self._n),)

    def read(self, part: SourcePart, start: int, stop: int) -> Iterator[Candidate]:
        """Rows start to stop - 1, about 15,000 a second."""
        if part.digest != self._digest:
            raise ValueError(f"part {part.label} has digest {part.digest[:12]}, this grammar {self._digest[:12]}")
        for row in range(start, min(stop, self._n)):
            yield self._candidate(row)

    def _candidate(self, row: int) -> Candidate:
        category = self._round[row % len(self._round)]
        draw = Draw(self._seed, self.axis, row)
        draft = self._writer.write(category, draw)
        return Candidate(
            row=row,
            text=_finished(draft, draw),
            axis=self.axis,
            category=category,
            expected_text=draft.expected_text,
            scene=Scene(
                objects=draft.objects,
                relations=tuple(Relation(*ends) for ends in draft.relations),
                carrier=draft.carrier,
                setting=draft.setting,
                light=draft.light,
                style=draft.style,
            ),
            template=draft.template,
            style=draft.style,
        )


def _finished(draft: Draft, draw: Draw) -> str:
    """With a capital and a full stop, a capital, or as it is; a text that begins with its quote stays as it is."""
    form = draw.below(100)
    if form >= STOPPED + CAPITAL:
        return draft.text
    text = draft.text[0].upper() + draft.text[1:]
    return f"{text}." if form < STOPPED else text


def build(params: Params, seed: int) -> Source:
    """The source of one axis."""
    return GrammarSource(params, seed)
