"""The recipe's table [dedup]: which prompts count as near duplicates, and which of them survives."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class DedupSettings(BaseModel):
    """How near duplicates are found; exact ones are always dropped."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    near: bool = Field(True, description="whether near duplicates are dropped as well")
    view: Literal["content", "text"] = Field(
        "content",
        description="what is compared: the content, without style words and with counts, colours, things and quoted"
        " text that must agree; or the bare words of the whole text",
    )
    threshold: float = Field(
        0.8, gt=0.3, le=1, description="smallest Jaccard similarity of the n-grams that is a near duplicate"
    )
    ngram: int = Field(2, ge=1, le=8, description="words of an n-gram")
    head_words: int = Field(
        6, ge=0, le=64, description="first words of the content that must agree; view content alone"
    )
    spelling: bool = Field(
        True, description="whether one typing error in a word of the lexicon makes no difference; view content alone"
    )
    bands: int = Field(24, ge=1, le=128, description="bands of the signature; a pair that shares one is compared")
    rows: int = Field(6, ge=1, le=16, description="minima of a band")
    bucket_guard: int = Field(
        32,
        ge=2,
        le=1024,
        description="largest bucket whose rows are all compared with each other; in a larger one each row is compared"
        " with the first rows and its nearest",
    )
    max_cluster: int = Field(100_000, ge=1, description="rows that one survivor may drop, at most")
    survivor: Literal["first", "aesthetic"] = Field(
        "first",
        description="first: the earlier row of the stream, so that a longer run never drops what it once kept;"
        " aesthetic: the higher source_aesthetic, then the earlier",
    )
    compiled: bool | None = Field(
        None, description="numba: true demands it, false leaves it out; left out: taken where installed, same result"
    )

    @model_validator(mode="after")
    def _signature_fits(self) -> Self:
        if self.bands * self.rows > 512:
            raise ValueError(f"bands x rows is {self.bands * self.rows}; expected 512 at most")
        return self

    @property
    def identity(self) -> dict[str, object]:
        """What decides the result: everything but the way it is computed."""
        return self.model_dump(mode="json", exclude={"compiled"})
