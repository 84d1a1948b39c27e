"""What `promptforge select` shows of a difference, and with what it compares."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Shown:
    """The options of select besides the policy."""

    against: Annotated[
        int | None, Parameter(help="compare the newest head, heads/NNNNNN.json, with the one of this number")
    ] = None
    examples: Annotated[int, Parameter(help="prompts shown of each kind: lost, gained, other picture")] = 5
    difference: Annotated[
        Path | None, Parameter(help="file, .parquet or .csv, for every row that differs, with reasons and pictures")
    ] = None
    freeze: Annotated[
        Path | None, Parameter(help="file for the bounds of quantile gates as numbers: take them with --set @FILE")
    ] = None
    json: Annotated[bool, Parameter(negative="", help="as JSON, for programs")] = False
