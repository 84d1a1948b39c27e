"""evaluate: hold a student against its teacher, with a bar on the screen and the table at the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from promptforge.commands import terminal
from promptforge.distill import evaluation
from promptforge.distill.evaluation.table import grids
from promptforge.distill.named import settings_of


def evaluate(name: str, out: Path | None, student: Path | None, changes: Sequence[str]) -> None:
    """Measure to the end, or go on where an earlier call was stopped."""
    settings = settings_of(name, changes)
    folder = out or Path("runs") / "distill" / settings.name
    console = terminal.err()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        tasks = {}

        def tell(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=of)
            bar.update(tasks[what], completed=done)
            if not console.is_terminal and done == of:
                console.print(f"{what}: {done:,} of {of:,} batches")

        place = evaluation.evaluate(settings, folder, tell, student)
    show(place)


def show(place: Path) -> None:
    """The tables of an evaluation on the screen."""
    screen = terminal.out()
    for grid in grids(json.loads((place / "evaluation.json").read_text("utf-8"))):
        made = terminal.table(*grid.columns, numeric=grid.columns[1:])
        for row in grid.rows:
            made.add_row(*(terminal.safe(cell) for cell in row))
        screen.print(f"\n{grid.title}", style="bold")
        screen.print(made)
        for note in grid.notes:
            screen.print(terminal.safe(note))
    screen.print(f"\ntable:    {place / 'table.md'}\nnumbers:  {place / 'evaluation.json'}")
    screen.print(f"gap:      {place / 'student_gap.parquet'}")
