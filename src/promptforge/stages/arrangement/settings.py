"""The recipe's table [order]: in which order kept prompts are taken, and what no source or template may exceed."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from promptforge.records import Axis

Share = Annotated[float, Field(gt=0, le=1)]
Shares = Share | dict[Axis, Share]


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


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

    student_gap: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_one_or_more)] = Field(
        (),
        description="files student_gap.parquet from evaluations of a student: cells (category and length) in which it"
        " is further from the teacher get more of their axis",
    )
    gap_power: float = Field(
        1.0,
        ge=0,
        le=4,
        description="power of a cell's gap over that of its axis; 1: in proportion, 0: as the candidates are",
    )

    @model_validator(mode="after")
    def _power_has_gaps(self) -> Self:
        if "gap_power" in self.model_fields_set and not self.student_gap:
            raise ValueError(f"gap_power is {self.gap_power:g}, but no student_gap is given for it to act on")
        return self

    def share(self, name: str, axis: str) -> Fraction | None:
        """The cap of this name on this axis, exactly as it is written; None where there is none."""
        value: float | Mapping[Any, float] | None = getattr(self, name)
        found = value.get(axis) if isinstance(value, Mapping) else value
        return None if found is None else Fraction(str(found))

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the order besides the files of student_gap, whose digest is in gaps.py."""
        return self.model_dump(mode="json", exclude={"student_gap", "gap_power"})

    @property
    def resolved(self) -> dict[str, Any]:
        """Every setting that decides the order, without the places of files."""
        if not self.student_gap:
            return self.identity
        names = [PurePath(path).name for path in self.student_gap]
        return {**self.identity, "student_gap": names, "gap_power": self.gap_power}


#: Setting -> what a row that it holds back is said to be held by; of two that hold a row the first is named.
CAPS = {"max_source_share": "source_cap", "max_template_share": "template_cap"}
