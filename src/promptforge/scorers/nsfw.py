"""Is the picture sexually explicit? LAION's CLIP-based NSFW detector for ViT-L/14 over the shared embedding.

    metric  unit and range
    unsafe  [0, 1]: probability that the picture is not safe for work; null where the embedding is not finite

There is no default for `head`: the release (LAION-AI/CLIP-based-NSFW-Detector) is a Keras model or a pickle.
Convert it once to safetensors: norm.mean and norm.variance (768 each), then linear_1 to linear_4 with weight and bias
(768-64-512-256-1, ReLU between, logistic at the end).
Trained on web pictures as a binary label, whose errors it has: drawings, swimwear and medical pictures are often
called unsafe. A screen to send pictures to a person, no proof either way.
Not covered: violence, hate, minors, anything but sexual content.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from pydantic import Field, model_validator

from promptforge.errors import ConfigError
from promptforge.models import weights
from promptforge.models.clip_heads import NSFW_WIDTHS, ReluHead, nsfw_head
from promptforge.models.open_clip import Tower, TowerParams, or_null, tower_of
from promptforge.models.open_clip import self_test as check_tower
from promptforge.protocols import Input, Need, Picture, Pixels, Score

VERSION = 1
NEEDS: Need = "picture"
INPUTS: tuple[Input, ...] = ()
PLACES = ("tower", "head")
METRICS = {"unsafe": "number"}


class Params(TowerParams):
    """The tower and the head."""

    head: str = Field(description="safetensors file or folder of the head, or a hub id; see the module for its layout")
    head_revision: str | None = Field(None, description="40-digit commit, where head is a hub id")

    @model_validator(mode="after")
    def _names_one_head(self) -> Self:
        try:
            weights.check(self.head, self.head_revision)
        except ConfigError as exc:
            raise ValueError(str(exc)) from exc
        return self


def identity(params: Params) -> Mapping[str, Any]:
    """The weights of tower and head by commit or SHA-256; nothing is loaded."""
    return {"tower": params.tower_spec.identity(), "head": weights.identity(params.head, params.head_revision)}


def models(params: Params) -> tuple[str, ...]:
    """The judges: tower and head."""
    head = weights.identity(params.head, params.head_revision)
    return params.tower_spec.judge, head.get("repository") or f"sha256:{head['sha256']}"


def build(params: Params, rank: int = 0) -> Nsfw:
    """The scorer with tower and head loaded. Raises ConfigError where they do not fit together."""
    head = nsfw_head(params.head, params.head_revision)
    tower = tower_of(params.tower_spec, rank)
    if tower.width != NSFW_WIDTHS[0]:
        raise ConfigError(
            f"{params.tower}: embeddings of {tower.width} numbers; the NSFW head takes {NSFW_WIDTHS[0]}, those of"
            " OpenAI's ViT-L/14"
        )
    return Nsfw(tower, head)


class Nsfw:
    """Screens the picture."""

    needs = NEEDS
    inputs = INPUTS

    def __init__(self, tower: Tower, head: ReluHead) -> None:
        self._tower = tower
        self._head = head

    def score(self, picture: Picture) -> Sequence[Score]:
        """The one metric."""
        return self.score_many([picture])[0]

    def score_many(self, pictures: Sequence[Picture]) -> Sequence[Sequence[Score]]:
        """The scores of each picture, in order."""
        vectors = self._tower.pictures([picture.pixels for picture in pictures])
        return [(Score("unsafe", or_null(self._head(vector))),) for vector in vectors]


def self_test(params: Params) -> list[str]:
    """Faults of tower and head, one line each; loads them."""

    def load() -> Callable[[Pixels], float | None]:
        scorer = build(params)
        return lambda pixels: scorer.score(Picture(pixels, "", "", (), None))[0].value

    return check_tower(params.tower_spec, load)
