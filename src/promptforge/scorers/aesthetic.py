"""How pleasing the picture looks: LAION's aesthetic head over a CLIP embedding (sac+logos+ava1-l14-linearMSE).

    metric            unit and range
    render_aesthetic  about 1 to 10, unbounded: the mean mark that people would give. LAION calls 6.0 to 6.5 and more
                      good; means of good sets lie near 5.5 to 6.5

It is the score of the render. The score of the picture that a caption came from is prompts.source_aesthetic.
Null where the embedding is not finite. Trained on marks for photographs, logos and early generated pictures: it likes
shallow focus, sunsets and faces, and says nothing of what the prompt asked for.
Not covered: composition in detail, since the tower sees the central square at 224 px; text; anatomy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from pydantic import Field, model_validator

from promptforge.errors import ConfigError
from promptforge.models import weights
from promptforge.models.clip_heads import AESTHETIC_WIDTHS, AffineHead, aesthetic_head
from promptforge.models.open_clip import Tower, TowerParams, or_null, tower_of
from promptforge.models.open_clip import self_test as check_tower
from promptforge.protocols import Input, Need, Picture, Pixels, Score

VERSION = 1
NEEDS: Need = "picture"
INPUTS: tuple[Input, ...] = ()
PLACES = ("tower", "head")
METRICS = {"render_aesthetic": "number"}

DEFAULT_HEAD = "ttj/sac-logos-ava1-l14-linearMSE"
#: As NVIDIA's Cosmos Curator pins it; its NeMo Curator names the same commit, 1e77fa0.
DEFAULT_HEAD_REVISION = "1e77fa05081323d99725fc40a9bf9f88180490e7"


class Params(TowerParams):
    """The tower and the head; the default head fits OpenAI's ViT-L/14 alone."""

    head: str = Field(DEFAULT_HEAD, description="hub id, folder or safetensors file of the head")
    head_revision: str | None = Field(
        None, description="40-digit commit of the hub repository; known for the default head alone"
    )

    @model_validator(mode="after")
    def _names_one_head(self) -> Self:
        try:
            weights.check(*self.head_source)
        except ConfigError as exc:
            raise ValueError(str(exc)) from exc
        return self

    @property
    def head_source(self) -> tuple[str, str | None]:
        """Where the head is, and at which commit."""
        return self.head, self.head_revision or (DEFAULT_HEAD_REVISION if self.head == DEFAULT_HEAD else None)


def identity(params: Params) -> Mapping[str, Any]:
    """The weights of tower and head by commit or SHA-256; nothing is loaded."""
    return {"tower": params.tower_spec.identity(), "head": weights.identity(*params.head_source)}


def models(params: Params) -> tuple[str, ...]:
    """The judges: tower and head."""
    head = weights.identity(*params.head_source)
    return params.tower_spec.judge, head.get("repository") or f"sha256:{head['sha256']}"


def build(params: Params, rank: int = 0) -> Aesthetic:
    """The scorer with tower and head loaded. Raises ConfigError where they do not fit together."""
    head = aesthetic_head(*params.head_source)
    tower = tower_of(params.tower_spec, rank)
    if tower.width != AESTHETIC_WIDTHS[0]:
        raise ConfigError(
            f"{params.tower}: embeddings of {tower.width} numbers; the aesthetic head takes {AESTHETIC_WIDTHS[0]},"
            " those of OpenAI's ViT-L/14"
        )
    return Aesthetic(tower, head)


class Aesthetic:
    """Marks the picture."""

    needs = NEEDS
    inputs = INPUTS

    def __init__(self, tower: Tower, head: AffineHead) -> None:
        self._tower = tower
        self._head = head

    def score(self, picture: Picture) -> Sequence[Score]:
        """The one metric."""
        return self.score_many([picture])[0]

    def score_many(self, pictures: Sequence[Picture]) -> Sequence[Sequence[Score]]:
        """The scores of each picture, in order."""
        vectors = self._tower.pictures([picture.pixels for picture in pictures])
        return [(Score("render_aesthetic", or_null(self._head(vector))),) for vector in vectors]


def self_test(params: Params) -> list[str]:
    """Faults of tower and head, one line each; loads them."""

    def load() -> Callable[[Pixels], float | None]:
        scorer = build(params)
        return lambda pixels: scorer.score(Picture(pixels, "", "", (), None))[0].value

    return check_tower(params.tower_spec, load)
