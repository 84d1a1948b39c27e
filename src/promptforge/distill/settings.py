"""What a distillation is told: teacher, student, data, phases. Imports neither torch nor transformers."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from promptforge.distill.evaluation.settings import Evaluation
from promptforge.errors import ConfigError
from promptforge.faults import explain
from promptforge.models import weights
from promptforge.models.diffusion.settings import Settings
from promptforge.models.licences import licence_of
from promptforge.records import AXES


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StudentSettings(_Strict):
    """The encoder that is taught. The paper takes flan-t5-base; t5-small to t5-xl differ in nothing but size."""

    encoder: str = Field(min_length=1, description="folder of a T5 encoder (save_pretrained), or hub id")
    revision: str | None = Field(None, description="commit of the hub repository, 40 hex digits; none for a folder")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout of the projection")

    @model_validator(mode="after")
    def _names_one_encoder(self) -> Self:
        weights.check_field(self.encoder, self.revision)
        return self


class Phase(_Strict):
    """A stretch of training on one mix of axes at one size; one batch of prompts is one drawing of the teacher."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$", description="name in logs")
    batches: int = Field(ge=1, description="batches; each is as many optimiser steps as the teacher has steps")
    size: int | None = Field(None, ge=64, le=4096, multiple_of=16, description="side in px; null: the teacher's")
    weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default_factory=dict, description="visits of a prompt of an axis for each visit of another; 1 where unnamed"
    )

    @field_validator("weights")
    @classmethod
    def _of_known_axes(cls, given: dict[str, float]) -> dict[str, float]:
        if unknown := sorted(set(given) - set(AXES)):
            raise ValueError(f"no axis {', '.join(unknown)}; there are {', '.join(AXES)}")
        if not any(given.get(axis, 1.0) for axis in AXES):
            raise ValueError("every axis has weight 0; give at least one more than that")
        return given


class Guidance(_Strict):
    """Guidance scales that a batch draws from, one a prompt: low, low + step, ..., high."""

    low: float = Field(2.0, ge=0, le=100, description="smallest")
    high: float = Field(5.0, ge=0, le=100, description="largest")
    step: float = Field(0.5, gt=0, le=100, description="distance of neighbours")

    @model_validator(mode="after")
    def _goes_up(self) -> Self:
        if self.high < self.low:
            raise ValueError(f"low is {self.low}, high {self.high}; expected low to be the smaller")
        return self

    @property
    def scales(self) -> tuple[float, ...]:
        """Every scale there is."""
        return tuple(self.low + self.step * n for n in range(int((self.high - self.low) / self.step + 1e-9) + 1))


class DistillSettings(_Strict):
    """A whole distillation; the numbers by default are those of the paper's release."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="names the folder of the run")
    seed: int = Field(0, ge=0, lt=2**63, description="decides projection, order, noise, guidance and dropout")
    dataset: str = Field(min_length=1, description="folder of a published data set")
    split: str = Field("train", description="split to train on")
    teacher: Settings = Field(description="the frozen pipeline: model, steps, size, max_sequence_length, pooled, ...")
    accept_license: str | None = Field(
        None, description="name of the teacher's licence, where it restricts what the model may be used for"
    )
    student: StudentSettings
    objective: Literal["following", "embedding"] = Field(
        "following", description="following: the teacher's predictions; embedding: its embeddings, for comparison"
    )
    phases: tuple[Phase, ...] = Field(min_length=1, description="in order")
    batch: int = Field(4, ge=1, le=1024, description="prompts of one drawing, on each GPU")
    guidance: Guidance = Guidance()
    learning_rate: float = Field(1e-4, gt=0, le=1, description="of AdamW")
    weight_decay: float = Field(1e-3, ge=0, le=1, description="of AdamW")
    clip_norm: float = Field(1.0, gt=0, description="largest norm of the student's gradient")
    ema: float | None = Field(None, gt=0, lt=1, description="share of the average that a step keeps; null: none")
    precision: Literal["bf16", "fp32"] = Field("bf16", description="arithmetic of the student; its weights are fp32")
    checkpoint_every: int = Field(50, ge=1, description="batches between checkpoints: the most that a kill costs")
    evaluation: Evaluation = Field(Evaluation(), description="how the student is measured; changes no training")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.teacher.pipeline != "flux":
            raise ValueError(f"teacher.pipeline is {self.teacher.pipeline!r}; distillation knows flux")
        try:
            terms = licence_of(self.teacher.model, self.teacher.licence, self.teacher.restricted)
        except ConfigError as exc:
            raise ValueError(f"teacher: {exc}") from exc
        if terms.needs_consent and self.accept_license != terms.name:
            raise ValueError(
                f"accept_license is {self.accept_license!r}; the teacher comes under {terms.name!r}, which restricts"
                f" its use (training included): read it, and where you agree, --set accept_license={terms.name}"
            )
        if len({phase.name for phase in self.phases}) < len(self.phases):
            raise ValueError("two phases have one name")
        return self


def read(raw: object, where: str) -> DistillSettings:
    """The settings, or a ConfigError with a line for every fault."""
    try:
        return DistillSettings.model_validate(raw)
    except ValidationError as exc:
        raise ConfigError(explain(exc, DistillSettings, where)) from exc
