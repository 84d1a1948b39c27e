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

from pydantic import Field

from promptforge.models.clip_heads import AESTHETIC_WIDTHS, aesthetic_head
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
METRICS = {"render_aesthetic": "number"}

DEFAULT_HEAD = "ttj/sac-logos-ava1-l14-linearMSE"
#: As NVIDIA's Cosmos Curator pins it; its NeMo Curator names the same commit, 1e77fa0.
DEFAULT_HEAD_REVISION = "1e77fa05081323d99725fc40a9bf9f88180490e7"


class Params(HeadParams):
    """The tower and the head; the default head fits OpenAI's ViT-L/14 alone."""

    head: str = Field(DEFAULT_HEAD, description="hub id, folder or safetensors file of the head")
    head_revision: str | None = Field(
        None, description="40-digit commit of the hub repository; known for the default head alone"
    )

    @property
    def head_source(self) -> tuple[str, str | None]:
        """Where the head is, and at which commit."""
        return self.head, self.head_revision or (DEFAULT_HEAD_REVISION if self.head == DEFAULT_HEAD else None)


def build(params: Params, rank: int = 0) -> HeadScorer:
    """The scorer with tower and head loaded. Raises ConfigError where they do not fit together."""
    head = aesthetic_head(*params.head_source)
    return HeadScorer(tower_for(params, rank, AESTHETIC_WIDTHS[0], "aesthetic"), head, "render_aesthetic")


def self_test(params: Params) -> list[str]:
    """Faults of tower and head, one line each; loads them."""
    return faults(params, lambda: build(params))
