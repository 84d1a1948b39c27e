"""The recipe's table [dedup]: which prompts count as near duplicates, and which of them survives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from promptforge.models import weights
from promptforge.records import Axis


class Against(BaseModel):
    """Prompts that are accepted elsewhere; a text alone is its path."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(
        min_length=1,
        description="run folder (its accepted prompts), published data set, file of prompts, or folder of such files",
    )
    name: str = Field("", max_length=64, description="name in verdicts; left out: the last part of the path")
    column: str | None = Field(
        None, description="of files, the column of the prompts; left out: prompt, text or caption, whichever is there"
    )

    @property
    def label(self) -> str:
        """What verdicts call it; never a path."""
        last = PurePath(self.path)
        return self.name or (f"{last.parent.name}/dataset" if last.name == "dataset" else last.name) or "accepted"


def _a_path_alone(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


class SemanticSettings(BaseModel):
    """The recipe's table [dedup.semantic]: which prompts count as saying the same in other words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = Field(
        None, description="encoder of sentences: a folder in the layout of transformers, or a hub id with revision"
    )
    revision: str | None = Field(None, description="commit of the hub id, 40 hex digits")
    vectors: str | None = Field(
        None, description="in place of a model: Parquet file with prompt_id or text, and a column of lists of numbers"
    )
    threshold: float = Field(0.9, gt=0, le=1, description="smallest cosine of two vectors that is a duplicate")
    words: bool = Field(
        True,
        description="whether known things, colours, numbers, traits, places and negations must be the same; false: only"
        " scenes and texts to be drawn",
    )

    @model_validator(mode="after")
    def _has_vectors(self) -> Self:
        if (self.model is None) == (self.vectors is None):
            raise ValueError("expected either model or vectors")
        if self.model is not None:
            weights.check_field(self.model, self.revision)
        return self


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
    prefer: tuple[Axis, ...] = Field(
        (),
        description="axes whose rows survive those of the others, the first before all; left out: the order of the"
        " stream decides between axes as within one",
    )
    against: tuple[Annotated[Against, BeforeValidator(_a_path_alone)], ...] = Field(
        (), description="what is accepted already: its prompts survive, and drop what equals or resembles them"
    )
    semantic: SemanticSettings | None = Field(
        None, description="other words for the same; left out: meanings are not compared"
    )
    compiled: bool | None = Field(
        None, description="numba: true demands it, false leaves it out; left out: taken where installed, same result"
    )

    @model_validator(mode="after")
    def _signature_fits(self) -> Self:
        if self.bands * self.rows > 512:
            raise ValueError(f"bands x rows is {self.bands * self.rows}; expected 512 at most")
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [item.label for item in self.against]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two of against are called {twice[0]!r}; give one a name: {{path = ..., name = ...}}")
        return self

    @property
    def identity(self) -> dict[str, object]:
        """What decides near duplicates, given the prompts: everything but the way they are computed."""
        return self.model_dump(mode="json", exclude={"compiled", "prefer", "against", "semantic"})

    @property
    def resolved(self) -> Mapping[str, Any]:
        """Every setting that decides a row, without the places of files."""
        semantic = self.semantic and self.semantic.model_dump(mode="json")
        if semantic and semantic["vectors"]:
            semantic["vectors"] = PurePath(semantic["vectors"]).name
        if semantic and semantic["model"] and weights.is_local(semantic["model"]):
            semantic["model"] = PurePath(semantic["model"]).name
        return {
            **self.identity,
            "prefer": [str(axis) for axis in self.prefer],
            "against": [item.label for item in self.against],
            "semantic": semantic,
        }
