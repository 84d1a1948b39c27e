"""The recipe's table [coverage]: what the accepted prompts must have at least."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

ALL = "all"  #: stands for the axes together


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Part = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Count(_Strict):
    """Smallest number on each axis, and over all of them; 0 demands nothing."""

    all: _Number = 0
    image_quality: _Number = 0
    semantic_understanding: _Number = 0
    text_rendering: _Number = 0


class Share(_Strict):
    """Smallest share on each axis, and over all of them; 0 demands nothing."""

    all: _Part = 0
    image_quality: _Part = 0
    semantic_understanding: _Part = 0
    text_rendering: _Part = 0


@dataclass(frozen=True, slots=True)
class Bound:
    """One demand; `axis` is an axis or `all`, and '' for cells."""

    measure: str
    axis: str
    least: float

    @property
    def name(self) -> str:
        """As it is written in a recipe below coverage.min."""
        return f"{self.measure}.{self.axis}" if self.axis else self.measure


class Minimum(_Strict):
    """What is demanded: natural_share.image_quality = 0.7, unique_nouns.all = 500, cell = 20."""

    prompts: Count = Field(Count(), description="accepted prompts")
    noun_pairs: Count = Field(Count(), description="I-N: nouns, each once a prompt")
    unique_nouns: Count = Field(Count(), description="UN: different nouns")
    nouns_per_prompt: Count = Field(Count(), description="N/I: nouns of a prompt in the mean")
    distinct_1: Share = Field(Share(), description="different words over all words")
    distinct_2: Share = Field(Share(), description="different pairs of words in a row over all of them")
    distinct_3: Share = Field(Share(), description="different triples of words in a row over all of them")
    words_p05: Count = Field(Count(), description="words; one prompt in 20 has no more")
    words_p50: Count = Field(Count(), description="words of the median prompt")
    words_p95: Count = Field(Count(), description="words; 19 prompts in 20 have no more")
    templates: Count = Field(Count(), description="different templates of grammars")
    natural_share: Share = Field(Share(), description="prompts that no grammar wrote")
    cell: int = Field(
        0, ge=0, description="accepted prompts in every cell (axis and category) of which the sources wrote any"
    )

    def bounds(self) -> Iterator[Bound]:
        """Every demand above 0."""
        for measure in type(self).model_fields:
            found = getattr(self, measure)
            each = {"": float(found)} if measure == "cell" else found.model_dump()
            yield from (Bound(measure, axis, least) for axis, least in each.items() if least > 0)


class CoverageSettings(_Strict):
    """The whole table."""

    min: Minimum = Minimum()
