"""What `promptforge label` asks about, and where the answers come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Labelling:
    """The options of label besides the run."""

    gate: Annotated[list[str] | None, Parameter(help="gate of the recipe; may be repeated; all by default")] = None
    n: Annotated[int, Parameter(help="pictures to ask about, shared by the gates")] = 200
    question: Annotated[
        str | None,
        Parameter(help="quality, matches or text: asked of the gates named, or of all that it judges by default"),
    ] = None
    seed: Annotated[int, Parameter(help="another seed draws other pictures")] = 0
    rater: Annotated[str | None, Parameter(help="who answers; page by default, or the name of the file of labels")] = (
        None
    )
    port: Annotated[int, Parameter(help="port on 127.0.0.1; a free one by default")] = 0
    labels: Annotated[Path | None, Parameter(help="CSV with image_id, question and label, in place of the page")] = None
    sheet: Annotated[bool, Parameter(negative="", help="write pictures and a CSV to fill in, in place of the page")] = (
        False
    )
