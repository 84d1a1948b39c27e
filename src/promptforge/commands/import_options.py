"""The flags of import-images; imports nothing that a quick command would wait for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Import:
    """What is imported besides the pictures."""

    licence: Annotated[str, Parameter(help="terms of the pictures; goes into every row and the card")]
    prompts: Annotated[str | None, Parameter(help="column with the prompt or prompt_id")] = None
    pictures: Annotated[str | None, Parameter(help="column with the picture or its file name")] = None
    name: Annotated[str, Parameter(help="what drew them, as the card will state it")] = "imported"
    axis: Annotated[
        Literal["image_quality", "semantic_understanding", "text_rendering"] | None,
        Parameter(help="axis of prompts that name none"),
    ] = None

    def regime(self, path: str) -> dict[str, Any]:
        """The recipe's table [regime] for the pictures at `path`."""
        columns = {"prompts": self.prompts, "pictures": self.pictures}
        return {
            "teacher": "imported",
            "path": path,
            "licence": self.licence,
            "name": self.name,
            **{key: value for key, value in columns.items() if value is not None},
        }
