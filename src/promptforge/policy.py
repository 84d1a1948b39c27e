"""What a recipe's table [select] may say: quotas, cells, gates. Which prompts and pictures are kept."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from promptforge.records import Axis


class Strict(BaseModel):
    """No unknown keys, no changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Gate(Strict):
    """A bound on one metric of a picture."""

    scorer: str = Field(description="module of scorers/")
    metric: str = Field(description="metric of that scorer")
    min: float | None = Field(None, allow_inf_nan=False, description="smallest value that passes")
    max: float | None = Field(None, allow_inf_nan=False, description="largest value that passes")
    one_of: tuple[str, ...] | None = Field(None, description="details (words) that pass")
    axes: tuple[Axis, ...] = Field(tuple(Axis), description="axes that it applies to", min_length=1)
    decision: Literal["keep_image", "keep_prompt"] = Field(
        "keep_image", description="keep_prompt lets a picture drop its prompt; only where policy is 'images'"
    )
    validated: bool = Field(
        False, description="whether the bound was measured against labels or a known truth; the card says where not"
    )
    measured_on: str | None = Field(None, description="fingerprint of the teacher on whose pictures it was measured")

    @model_validator(mode="after")
    def _has_a_bound(self) -> Self:
        if self.min is None and self.max is None and self.one_of is None:
            raise ValueError("a gate needs min, max or one_of")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}: nothing could pass")
        return self


def _number_or_all(value: object) -> object:
    """One message for both; pydantic would give one for each member of the union."""
    if value == "all" or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise ValueError(f"is {value!r}; expected a whole number from 0 up, or 'all'")


Wanted = Annotated[int | Literal["all"], BeforeValidator(_number_or_all)]


class Quota(Strict):
    """Accepted prompts wanted on each axis; the rest of the stream is not_needed."""

    image_quality: Wanted = "all"
    semantic_understanding: Wanted = "all"
    text_rendering: Wanted = "all"


class Select(Strict):
    """Which prompts and pictures are kept."""

    policy: Literal["distill", "images"] = Field(
        "distill",
        description="distill: prompt-side checks alone drop a prompt; images: gates with decision keep_prompt too",
    )
    quota: Quota = Quota()
    cells: dict[str, int] = Field(
        default_factory=dict,
        description="axis/category/length/style -> accepted prompts wanted of that cell; 'any' leaves a part open. A"
        " prompt counts for the first cell that fits; what the axis's quota leaves is for its other prompts",
    )
    oversample: float = Field(
        1.25, ge=1, le=10, description="policy images: prompts rendered for each one wanted; distill needs 1"
    )
    gates: dict[str, Gate] = Field(default_factory=dict, description="name -> bound")
    other_regime: bool = Field(False, description="take bounds that were measured on another teacher's pictures")

    @model_validator(mode="after")
    def _gates_fit_the_policy(self) -> Self:
        if self.policy == "distill":
            wrong = sorted(name for name, gate in self.gates.items() if gate.decision == "keep_prompt")
            if wrong:
                raise ValueError(
                    f"gates {', '.join(wrong)} decide keep_prompt, which policy 'distill' rules out: a student that"
                    " follows its teacher must match its failures too; use decision 'keep_image' or policy 'images'"
                )
        return self
