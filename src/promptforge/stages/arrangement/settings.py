"""The recipe's table [order]: in which order kept prompts are taken, and what no source or template may exceed."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from promptforge.records import Axis

Share = Annotated[float, Field(gt=0, le=1)]
Shares = Share | dict[Axis, Share]


class OrderSettings(BaseModel):
    """How the kept prompts of each axis are put in order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: Literal["coverage", "stream"] = Field(
        "coverage", description="coverage: inside a block, what adds most that is new comes first; stream: as they come"
    )
    block: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="candidates of the stream that are put in order together; an earlier block comes first",
    )
    max_source_share: Shares | None = Field(
        None, description="largest share of an axis's prompts from one source; one number, or a table axis -> number"
    )
    max_template_share: Shares | None = Field(
        None, description="largest share of an axis's prompts of one template; prompts without a template have no cap"
    )
    caps_from: int = Field(
        100, ge=1, description="prompts from which on a share counts; fewer may hold as many of a source as these may"
    )

    def share(self, name: str, axis: str) -> Fraction | None:
        """The cap of this name on this axis, exactly as it is written; None where there is none."""
        value: float | Mapping[Any, float] | None = getattr(self, name)
        found = value.get(axis) if isinstance(value, Mapping) else value
        return None if found is None else Fraction(str(found))

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the order."""
        return self.model_dump(mode="json")


#: Setting -> what a row that it holds back is said to be held by; of two that hold a row the first is named.
CAPS = {"max_source_share": "source_cap", "max_template_share": "template_cap"}
