"""Does the picture fit the prompt as a whole? The cosine of their CLIP embeddings.

    metric      unit and range
    clip_score  [0, 100]: 100 max(cosine, 0). Hessel et al. 2021 scale by 2.5 instead: theirs is clip_score / 40
    cosine      [-1, 1]: pictures that fit have some 0.25 to 0.35 with OpenAI's ViT-L/14
    truncated   0 or 1: the prompt is longer than the tower's context (77 tokens, two of them marks), and only its
                beginning was compared

clip_score and cosine are null where an embedding is not finite. Numbers of two towers cannot be compared. Under
another name in the recipe, with another tower and the role evaluate, it judges a set that the first one selected.
Not covered: counts, relations and which attribute belongs to which thing, which CLIP hardly sees; text beyond the
context; what lies outside the central square of the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from promptforge.models.open_clip import Tower, TowerParams, Vector, or_null, tower_of
from promptforge.models.open_clip import self_test as check_tower
from promptforge.protocols import Input, Need, Picture, Pixels, Score

VERSION = 1
NEEDS: Need = "picture"
INPUTS: tuple[Input, ...] = ("text",)
PLACES = ("tower",)
METRICS = dict.fromkeys(("clip_score", "cosine", "truncated"), "number")


class Params(TowerParams):
    """The tower; any model that open_clip reads."""


def identity(params: Params) -> Mapping[str, Any]:
    """The tower's weights by commit or SHA-256; nothing is loaded."""
    return {"tower": params.tower_spec.identity()}


def models(params: Params) -> tuple[str, ...]:
    """The judge: the tower."""
    return (params.tower_spec.judge,)


def build(params: Params, rank: int = 0) -> Alignment:
    """The scorer with its tower loaded."""
    return Alignment(tower_of(params.tower_spec, rank))


class Alignment:
    """Compares picture and prompt."""

    needs = NEEDS
    inputs = INPUTS

    def __init__(self, tower: Tower) -> None:
        self._tower = tower

    def score(self, picture: Picture) -> Sequence[Score]:
        """Every metric, in the order of the module's table."""
        return self.score_many([picture])[0]

    def score_many(self, pictures: Sequence[Picture]) -> Sequence[Sequence[Score]]:
        """The scores of each picture, in order."""
        vectors = self._tower.pictures([picture.pixels for picture in pictures])
        return [
            compared(seen, *self._tower.text(picture.text)) for picture, seen in zip(pictures, vectors, strict=True)
        ]


def compared(seen: Vector, said: Vector, truncated: bool) -> tuple[Score, ...]:
    """The scores of a picture's and a text's embedding, each of length 1."""
    cosine = or_null(float(np.clip(seen.astype(np.float64) @ said.astype(np.float64), -1, 1)))
    return (
        Score("clip_score", None if cosine is None else 100 * max(cosine, 0.0)),
        Score("cosine", cosine),
        Score("truncated", float(truncated)),
    )


def self_test(params: Params) -> list[str]:
    """Faults of the tower, one line each; loads it."""

    def load() -> Callable[[Pixels], float | None]:
        scorer = build(params)
        return lambda pixels: scorer.score(Picture(pixels, "a red square on a grey ramp", "", (), None))[1].value

    return check_tower(params.tower_spec, load)
