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

from promptforge.models.clip_heads import NSFW_WIDTHS, nsfw_head
from promptforge.scorers.heads.scorer import (
    INPUTS,
    NEEDS,
    PLACES,
    HeadParams,
    HeadScorer,
    faults,
    identity,
    models,
    tower_for,
)

__all__ = ["INPUTS", "METRICS", "NEEDS", "PLACES", "VERSION", "Params", "build", "identity", "models", "self_test"]

VERSION = 1
METRICS = {"unsafe": "number"}


class Params(HeadParams):
    """The tower and the head."""


def build(params: Params, rank: int = 0) -> HeadScorer:
    """The scorer with tower and head loaded. Raises ConfigError where they do not fit together."""
    head = nsfw_head(*params.head_source)
    return HeadScorer(tower_for(params, rank, NSFW_WIDTHS[0], "NSFW"), head, "unsafe")


def self_test(params: Params) -> list[str]:
    """Faults of tower and head, one line each; loads them."""
    return faults(params, lambda: build(params))
