"""The commands that ask a person about pictures: a signature and a sentence each, as in cli.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from promptforge.commands.label_options import Labelling

RunFolder = Annotated[Path | None, Parameter("--run", help="run folder; the one under runs/ that ran last by default")]


def first_contact(
    recipe: Annotated[str, Parameter(help="a recipe of the package, or a .toml file")] = "flux-schnell",
    *,
    labels: Annotated[
        Path | None, Parameter(help="CSV with image_id, question and label, in place of the page")
    ] = None,
    page: Annotated[
        bool, Parameter(negative="--no-page", help="ask in a browser; else write a sheet to fill in")
    ] = True,
    precision: Annotated[float, Parameter(help="share of good pictures that a bound must reach")] = 0.9,
    out: Annotated[Path | None, Parameter(help="run folder; runs/first-contact-NAME by default")] = None,
    settings: Annotated[
        list[str] | None,
        Parameter("--set", help="a field of the recipe as path=value, e.g. render.takes=3; may be repeated"),
    ] = None,
) -> int:
    """Draw 64 fixed prompts with your own weights, label them, and measure the recipe's bounds."""
    from promptforge.commands import first_contact as command

    return command.first_contact(recipe, settings=settings or (), out=out, given=labels, page=page, precision=precision)


def label(*, asked: Labelling | None = None, run: RunFolder = None) -> None:
    """Ask a person about pictures near the gates' bounds, on a page or by a sheet; the answers are kept."""
    from promptforge.commands import label as command
    from promptforge.commands.terminal import find_run

    command.label(find_run(run), asked or Labelling())


def calibrate(
    *,
    gate: Annotated[list[str] | None, Parameter(help="gate of the recipe; may be repeated; all by default")] = None,
    precision: Annotated[float, Parameter(help="share of good pictures that a threshold must reach")] = 0.9,
    out: Annotated[Path | None, Parameter(help="file for the bounds, for --set @FILE; thresholds.set in the run")] = (
        None
    ),
    truth: Annotated[
        bool, Parameter(negative="", help="take what the embedded teacher knows it drew as labels: canvas only")
    ] = False,
    run: RunFolder = None,
) -> None:
    """What labels say of each gate: precision, recall, yield and cost by threshold; which threshold to take."""
    from promptforge.commands import calibrate as command
    from promptforge.commands.terminal import find_run

    command.calibrate(find_run(run), gate or (), precision, out, truth=truth)
