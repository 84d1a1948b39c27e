"""A scorer that is a CLIP tower and a head of a few layers: one metric, null where the embedding is not finite.

Not covered: heads over the embedding of the text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from promptforge.errors import ConfigError
from promptforge.models import weights
from promptforge.models.open_clip import Tower, TowerParams, or_null, tower_of
from promptforge.models.open_clip import self_test as check_tower
from promptforge.protocols import Input, Need, Picture, Pixels, Score

NEEDS: Need = "picture"
INPUTS: tuple[Input, ...] = ()
PLACES = ("tower", "head")

#: From an embedding (1-d, as wide as the tower) to the metric.
Head = Callable[[npt.NDArray[np.float32]], float]


class HeadParams(TowerParams):
    """A tower, and the head over it; a module may give `head` a default."""

    head: str = Field(description="safetensors file or folder of the head, or a hub id; see the module for its layout")
    head_revision: str | None = Field(None, description="40-digit commit, where head is a hub id")

    @model_validator(mode="after")
    def _names_one_head(self) -> Self:
        weights.check_field(*self.head_source)
        return self

    @property
    def head_source(self) -> tuple[str, str | None]:
        """Where the head is, and at which commit."""
        return self.head, self.head_revision


def identity(params: HeadParams) -> Mapping[str, Any]:
    """The weights of tower and head by commit or SHA-256; nothing is loaded."""
    return {"tower": params.tower_spec.identity(), "head": weights.identity(*params.head_source)}


def models(params: HeadParams) -> tuple[str, ...]:
    """The judges: tower and head."""
    head = weights.identity(*params.head_source)
    return params.tower_spec.judge, head.get("repository") or f"sha256:{head['sha256']}"


def tower_for(params: HeadParams, rank: int, width: int, name: str) -> Tower:
    """The tower, loaded. Raises ConfigError where its embeddings have not the head's width."""
    tower = tower_of(params.tower_spec, rank)
    if tower.width != width:
        raise ConfigError(
            f"{params.tower}: embeddings of {tower.width} numbers; the {name} head takes {width}, those of"
            " OpenAI's ViT-L/14"
        )
    return tower


class HeadScorer:
    """Marks pictures by one metric."""

    needs = NEEDS
    inputs = INPUTS

    def __init__(self, tower: Tower, head: Head, metric: str) -> None:
        self._tower = tower
        self._head = head
        self._metric = metric

    def score(self, picture: Picture) -> Sequence[Score]:
        """The one metric."""
        return self.score_many([picture])[0]

    def score_many(self, pictures: Sequence[Picture]) -> Sequence[Sequence[Score]]:
        """The scores of each picture, in order."""
        vectors = self._tower.pictures([picture.pixels for picture in pictures])
        return [(Score(self._metric, or_null(self._head(vector))),) for vector in vectors]


def faults(params: HeadParams, build: Callable[[], HeadScorer]) -> list[str]:
    """Faults of tower and head, one line each; loads them."""

    def load() -> Callable[[Pixels], float | None]:
        scorer = build()
        return lambda pixels: scorer.score(Picture(pixels, "", "", (), None))[0].value

    return check_tower(params.tower_spec, load)
