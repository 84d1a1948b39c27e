"""The flags of plan that say what it rests on; imports nothing that a quick command would wait for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What a plan rests on, and what becomes of it."""

    pilot: Annotated[
        int | None,
        Parameter(help="draw and judge so many prompts of each axis first, in runs/NAME-pilot; 100 is usual"),
    ] = None
    earlier: Annotated[Path | None, Parameter("--from", help="a run or pilot to rest on")] = None
    price: Annotated[float | None, Parameter(help="price of an hour of one rank (GPU)")] = None
    save: Annotated[bool, Parameter(negative="", help="keep the forecast in the run folder, for --against")] = False
    against: Annotated[Path | None, Parameter(help="a finished run: its saved forecast beside what came")] = None
    json: Annotated[bool, Parameter(negative="", help="every line with what it rests on, for programs")] = False
