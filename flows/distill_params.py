"""The parameters of the flow distill, as Prefect's form shows them; params.py has those of curate."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from promptforge.distill import named
from promptforge.distill.settings import DistillSettings


def _known_settings(schema: dict[str, Any]) -> None:
    names = "|".join(re.escape(name) for name in named.available())
    schema["pattern"] = rf"^({names}|.+\.toml)$"
    schema["examples"] = list(named.available())


class DistillParams(BaseModel):
    """Which student, taught on what, where to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: str = Field(
        "flux-t5-base",
        title="Settings",
        min_length=1,
        description="settings of the package by name, or a .toml file",
        json_schema_extra=_known_settings,
    )
    dataset: str | None = Field(
        None, title="Data set", description="folder of a published data set; empty: as the settings say"
    )
    out: str | None = Field(
        None, title="Folder of the training", description="empty: runs/distill/<name of the settings>"
    )
    processes: int = Field(1, ge=1, le=64, title="Processes", description="one for each GPU; on a CPU, 1")
    evaluate: bool = Field(True, title="Evaluate", description="measure the student beside its teacher afterwards")
    changes: list[str] = Field(
        default_factory=list,
        title="Changes",
        description="fields of the settings as path=value, for example batch=8 or accept_license=<name of the"
        " teacher's licence>; @file: one such a line of it",
        json_schema_extra={"items": {"type": "string", "pattern": "^(@.+|[^=]+=.*)$"}},
    )

    def read(self) -> DistillSettings:
        """The settings with everything above put in. Raises ConfigError."""
        chosen = [] if self.dataset is None else [f"dataset={json.dumps(self.dataset, ensure_ascii=False)}"]
        return named.settings_of(self.settings, [*chosen, *self.changes])

    def root(self, name: str) -> Path:
        """The folder of the training."""
        return Path(self.out) if self.out else Path("runs") / "distill" / name
