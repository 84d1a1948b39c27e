"""What an evaluation is told. Nothing in it changes a training."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from promptforge.distill.evaluation.judges import Judge, parts_of
from promptforge.errors import ConfigError
from promptforge.models import weights
from promptforge.models.open_clip import TowerParams

HeldOut = Literal["test_words", "test_composition", "test_natural"]


class ImageModel(BaseModel):
    """An image encoder of transformers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1, description="folder of a DINOv2 (save_pretrained), or hub id")
    revision: str | None = Field(None, description="commit of the hub repository, 40 hex digits; none for a folder")

    @model_validator(mode="after")
    def _names_one_model(self) -> Self:
        weights.check_field(self.model, self.revision)
        return self


class Evaluation(BaseModel):
    """Prompts, pictures and models. A measure whose model is not named is left out, and the table says so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    splits: tuple[HeldOut, ...] = Field((), description="splits to measure on; empty: every test split that there is")
    prompts: int = Field(200, ge=1, description="prompts of each axis in each split, for velocity errors; at most")
    pictures: int = Field(100, ge=0, description="how many of those are drawn by both; 0: none")
    noises: int = Field(1, ge=1, le=64, description="noises of each prompt, for velocity errors; pictures take one")
    seed: int = Field(0, ge=0, lt=2**63, description="decides noise, choice of prompts and intervals")
    size: int | None = Field(None, ge=64, le=4096, multiple_of=16, description="side in px; null: the teacher's")
    batch: int = Field(4, ge=1, le=1024, description="prompts at once")
    dino: ImageModel | None = Field(None, description="DINOv2, for the distance of pictures from the same noise")
    clip: TowerParams | None = Field(None, description="CLIP tower, for CMMD; {} takes OpenAI's ViT-L/14")
    scorers: dict[str, Judge] = Field(
        default_factory=dict, description="promptforge's scorers by name; choose models that did not select the set"
    )
    text_floor: float = Field(
        0.5, ge=0, le=1, description="character accuracy of the teacher below which none is claimed of the student"
    )
    resamples: int = Field(2000, ge=100, le=100_000, description="draws behind each 95% interval")
    cost: bool = Field(True, description="measure the encoders' time and memory")
    shared: str | None = Field(
        None, description="folder for the teacher's pictures and scores, where several students share them"
    )

    @field_validator("splits", mode="before")
    @classmethod
    def _held_out(cls, given: Any) -> Any:
        if isinstance(given, (list, tuple)) and "train" in given:
            raise ValueError("train is what the student learnt from, no part of it is held out; name test splits")
        return given

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.pictures > self.prompts:
            raise ValueError(f"pictures is {self.pictures}, prompts {self.prompts}; expected no more pictures")
        if (self.scorers or self.clip or self.dino) and not self.pictures:
            raise ValueError("pictures is 0, but scorers, clip or dino are named, which look at pictures")
        try:
            parts_of(self.scorers)
        except ConfigError as exc:
            raise ValueError(str(exc)) from exc
        return self
