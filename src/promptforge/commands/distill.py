"""distill: train a student on a published set, with a bar on the screen."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from promptforge.commands import terminal
from promptforge.distill.named import settings_of
from promptforge.distill.settings import DistillSettings
from promptforge.lock import Lock
from promptforge.view import clock, is_live

if TYPE_CHECKING:
    from promptforge.distill.train import Report

_PACE_S = 600.0  # rates are over the last ten minutes: a batch of the full size takes most of one


class _PaceColumn(ProgressColumn):
    """Batches a second, or seconds a batch."""

    def render(self, task: Task) -> Text:
        return Text(_pace(task))


class _Screen:
    """A bar in a terminal; elsewhere a line at each checkpoint. The other ranks of a training are silent."""

    def __init__(self, settings: DistillSettings, console: Console, *, is_first: bool) -> None:
        self._settings, self._console, self._is_first = settings, console, is_first
        self._is_live = is_first and is_live(console)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _PaceColumn())
        self.bar = Progress(
            *columns,
            TimeRemainingColumn(),
            console=console,
            disable=not self._is_live,
            speed_estimate_period=_PACE_S,
        )
        total = sum(phase.batches for phase in settings.phases)
        self._task = self.bar.add_task(f"{settings.name}: loading", total=total)
        self._is_new = True

    def tell(self, report: Report) -> None:
        """After each batch."""
        if self._is_new and report.batch > 1 and self._is_first:
            self._console.print(f"going on after batch {report.batch - 1:,}")
        self._is_new = False
        self.bar.update(self._task, completed=report.batch, description=f"{report.phase}, loss {report.loss:.3g}")
        task = self.bar.tasks[self._task]
        if self._is_first and not self._is_live and report.batch % self._settings.checkpoint_every == 0:
            left = "" if task.time_remaining is None else f", {clock(task.time_remaining)} left"
            pace = f", {_pace(task)}" if task.speed else ""
            at = f"{report.phase}: batch {report.batch:,} of {report.n_batches:,}"
            self._console.print(f"{at}, loss {report.loss:.4g}{pace}{left}")


def _pace(task: Task) -> str:
    """Of the calls since the training was started, whatever an earlier one had done; empty after the first batch."""
    speed = task.speed
    if not speed:
        return ""
    return f"{speed:.1f} batches/s" if speed >= 1 else f"{1 / speed:.1f} s a batch"


def distill(name: str, out: Path | None, changes: Sequence[str]) -> int:
    """Train to the end, or go on where an earlier call was stopped; the exit code."""
    settings = settings_of(name, changes)
    folder = out or Path("runs") / "distill" / settings.name
    from promptforge.distill.train import train

    is_first = os.environ.get("RANK", "0") == "0"  # of the ranks that torchrun or accelerate started
    console = terminal.err()
    screen = _Screen(settings, console, is_first=is_first)
    try:
        with Lock(folder, say=console.print) if is_first else nullcontext(), screen.bar:
            student = train(settings, folder, screen.tell)
    except KeyboardInterrupt:
        if is_first:
            lost = f"batches since the last checkpoint, at most {settings.checkpoint_every:,}, are done again"
            console.print(f"stopped; {lost}; run the same command to go on", soft_wrap=True)
        return 130
    if is_first:
        terminal.out().print(f"student:  {student}\nlosses:   {folder / 'losses.jsonl'}")
    return 0
