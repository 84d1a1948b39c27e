"""The flags of run that say where prompts come from; imports nothing that a quick command would wait for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Given:
    """Prompts of the person's own."""

    source: Annotated[
        list[str] | None,
        Parameter(help="file or folder of prompts in place of the recipe's sources; may be repeated"),
    ] = None
    axis: Annotated[
        Literal["image_quality", "semantic_understanding", "text_rendering"] | None,
        Parameter(help="axis of the prompts of --source"),
    ] = None
    captions: Annotated[
        list[str] | None,
        Parameter(
            help="file or folder of natural captions in place of the recipe's sources of image_quality alone; may be"
            " repeated"
        ),
    ] = None
    columns: Annotated[
        str | None,
        Parameter(help="columns of these files, e.g. text=prompt,axis=kind; axis= reads no column for it"),
    ] = None
