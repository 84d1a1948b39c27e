"""distill: train a student on a published set, with a bar on the screen."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from promptforge.commands import terminal
from promptforge.distill.named import settings_of


def distill(name: str, out: Path | None, changes: Sequence[str]) -> None:
    """Train to the end, or go on where an earlier call was stopped."""
    settings = settings_of(name, changes)
    folder = out or Path("runs") / "distill" / settings.name
    from promptforge.distill.train import Report, train

    is_first = os.environ.get("RANK", "0") == "0"  # of the ranks that torchrun or accelerate started
    console = terminal.err()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not (console.is_terminal and is_first)) as bar:
        task = bar.add_task(settings.name, total=sum(phase.batches for phase in settings.phases))

        def tell(report: Report) -> None:
            bar.update(task, completed=report.batch, description=f"{report.phase}, loss {report.loss:.3g}")
            if is_first and not console.is_terminal and report.batch % settings.checkpoint_every == 0:
                console.print(f"{report.phase}: batch {report.batch:,} of {report.n_batches:,}, loss {report.loss:.4g}")

        student = train(settings, folder, tell)
    if is_first:
        terminal.out().print(f"student:  {student}\nlosses:   {folder / 'losses.jsonl'}")
