"""The parameters of the flows: what the command line fills in and what Prefect shows as a form.

Everything that JSON schema can say is said here, since a Prefect server checks a submission against it; what only
promptforge knows (a field of a recipe, a file) is checked when the flow starts, before any work.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from promptforge import recipe as recipes
from promptforge.errors import ConfigError
from promptforge.records import Axis


def _known_recipes(schema: dict[str, Any]) -> None:
    names = "|".join(re.escape(name) for name in recipes.available())
    schema["pattern"] = rf"^({names}|.+\.toml|.+_run\.json)$"
    schema["examples"] = list(recipes.available())


class Counts(BaseModel):
    """Accepted prompts wanted on each axis; empty: as the recipe says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_quality: int | None = Field(None, ge=0, title="Image quality", description="prompts for pictures as such")
    semantic_understanding: int | None = Field(
        None, ge=0, title="Semantic understanding", description="prompts that bind, count and relate"
    )
    text_rendering: int | None = Field(None, ge=0, title="Text rendering", description="prompts with words to draw")


class CurateParams(BaseModel):
    """What to build, from what, where to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str = Field(
        "mini",
        title="Recipe",
        min_length=1,
        description="a recipe of the package by name, a .toml file, or the _run.json of an earlier run",
        json_schema_extra=_known_recipes,
    )
    sources: list[str] = Field(
        default_factory=list,
        title="Sources",
        description="files or folders of prompts, in place of the recipe's: .txt .json .jsonl .csv .tsv .parquet",
    )
    axis: Axis | None = Field(
        None, title="Axis of the sources", description="what their prompts are for; empty: by column, or told by text"
    )
    captions: list[str] = Field(
        default_factory=list,
        title="Natural captions",
        description="files or folders of captions, in place of the recipe's sources of image quality; the others stay",
    )
    columns: dict[str, str] = Field(
        default_factory=dict, title="Columns of the sources", description="promptforge's field to the files' column"
    )
    counts: Counts = Field(
        default_factory=Counts, title="Prompts wanted", description="on each axis; empty: as the recipe says"
    )
    takes: int | None = Field(
        None, ge=1, le=64, title="Takes", description="pictures of each prompt; empty: as the recipe says"
    )
    out: str | None = Field(None, title="Run folder", description="empty: runs/<name of the recipe>")
    runner: Literal["threads"] = Field("threads", title="Runner", description="how tasks are spread")
    settings: list[str] = Field(
        default_factory=list,
        title="Settings",
        description="fields of the recipe as path=value, for example render.sample=0.02; @file: one such a line of it",
        json_schema_extra={"items": {"type": "string", "pattern": "^(@.+|[^=]+=.*)$"}},
    )

    def raw(self) -> dict[str, Any]:
        """The recipe's tables with everything above put in. Raises ConfigError."""
        raw = _read(self.recipe)
        if self.sources and self.captions:
            raise ConfigError("sources take the place of all of the recipe's, captions included: give one of the two")
        if self.sources:
            raw["sources"] = [self._files("files", self.sources, self.axis)]
        elif self.captions:
            if self.axis:
                raise ConfigError("captions are of image_quality; axis belongs to --source: leave it out")
            kept = [item for item in raw.get("sources", ()) if item.get("axis") != str(Axis.IMAGE_QUALITY)]
            raw["sources"] = [self._files("captions", self.captions, Axis.IMAGE_QUALITY), *kept]
        elif self.axis or self.columns:
            raise ConfigError("axis and columns describe files of prompts: give --source too, or leave them out")
        if self.sources and self.recipe in recipes.available():  # its title is that of its own prompts
            raw.setdefault("publish", {})["pretty_name"] = "promptforge, own prompts"
        chosen = [
            f"select.quota.{axis}={count}" for axis, count in self.counts.model_dump().items() if count is not None
        ]
        if self.takes is not None:
            chosen.append(f"render.takes={self.takes}")
        chosen.append(f"run.runner='{self.runner}'")
        return recipes.override(raw, [*chosen, *self.settings])

    def _files(self, name: str, paths: list[str], axis: Axis | None) -> dict[str, Any]:
        """A source of files, with the columns that were given."""
        source: dict[str, Any] = {"kind": "files", "name": name, "paths": list(paths)}
        if axis:
            source["axis"] = str(axis)
        if self.columns:
            source["columns"] = dict(self.columns)
        return source

    def root(self, name: str) -> Path:
        """The run folder."""
        return Path(self.out) if self.out else Path("runs") / name


def _read(name: str) -> dict[str, Any]:
    if not name.endswith(".json"):
        return recipes.read(name)
    try:
        found = json.loads(Path(name).read_text("utf-8"))
    except FileNotFoundError as exc:
        raise ConfigError(f"{name}: no such file; expected the _run.json of an earlier run") from exc
    except ValueError as exc:
        raise ConfigError(f"{name}: not JSON: {exc}") from exc
    if not isinstance(found, dict):
        raise ConfigError(f"{name}: holds no recipe; expected the _run.json of an earlier run")
    return found
