"""What a person sees of a run: a live view in a terminal, plain lines elsewhere, and the closing table.

The work runs in a thread of its own and counts in stages.progress; the main thread looks, draws and gets the Ctrl-C.
"""

from __future__ import annotations

import contextvars
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from promptforge.stages.ask import STAGE as ASK
from promptforge.stages.meaning.vectors import STAGE as EMBED
from promptforge.stages.progress import Meter, reset
from promptforge.stages.run import OPTIONAL, STAGES

Result = TypeVar("Result")

LIVE_S = 0.25
PLAIN_S = 5.0
STOP_S = 10.0  # a picture takes a fraction of a second; a text shard may take longer, and is left to the commit rules
WINDOW_S = 10.0  # rates are over the last ten seconds


class Interrupted(Exception):
    """The person pressed Ctrl-C and the work has ended."""


@dataclass
class Pace:
    """Rows a second of one stage over the last seconds."""

    samples: deque[tuple[float, int]] = field(default_factory=deque)

    def see(self, now: float, count: int) -> float | None:
        """Take a sample; the rate in rows/s, or None where it is too early to say."""
        self.samples.append((now, count))
        while len(self.samples) > 2 and now - self.samples[0][0] > WINDOW_S:
            self.samples.popleft()
        (first, before), (last, after) = self.samples[0], self.samples[-1]
        return (after - before) / (last - first) if last - first >= 1 and after > before else None


@dataclass(frozen=True)
class StageState:
    """One line of the view; `state` is waiting, running or done."""

    name: str
    state: str
    count: int | None
    total: int | None
    rate: float | None

    @property
    def unit(self) -> str:
        """What is counted."""
        return "answers" if self.name == ASK else "rows"

    @property
    def eta_s(self) -> float | None:
        """Seconds that are left of this stage."""
        if not self.rate or self.total is None or self.count is None:
            return None
        return max(0, self.total - self.count) / self.rate


class Board:
    """The states of all stages, from a meter."""

    def __init__(self, progress: Meter) -> None:
        self._meter = progress
        self._paces: dict[str, Pace] = {}
        self._told = 0

    def look(self, now: float) -> list[StageState]:
        """Every stage as of now; the one after the last finished one is running."""
        totals, counts, finished = self._meter.snapshot()
        states, running = [], bool(totals or finished)
        for name in STAGES:
            count, total = counts.get(name), totals.get(name)
            if name in OPTIONAL and total is None and name not in finished:
                continue
            if name in (ASK, EMBED):
                at_work = (count or 0) < (total or 0)
                rate = self._paces.setdefault(name, Pace()).see(now, count or 0)
                states.append(StageState(name, "running" if at_work else "waiting", count, total, rate))
                continue
            if name in finished:
                states.append(StageState(name, "done", count, total, None))
                continue
            rate = self._paces.setdefault(name, Pace()).see(now, count or 0) if running else None
            states.append(StageState(name, "running" if running else "waiting", count, total, rate))
            running = False
        return states

    def new_notes(self) -> list[str]:
        """What has been said since the last call."""
        said = self._meter.notes[self._told :]
        self._told += len(said)
        return said


def clock(seconds: float) -> str:
    """m:ss, or h:mm:ss from an hour on."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def _cells(state: StageState) -> tuple[RenderableType, ...]:
    marks: dict[str, RenderableType] = {
        "done": Text("✓", style="green"),
        "running": Spinner("dots", style="cyan"),
        "waiting": Text("·", style="dim"),
    }
    name = Text(state.name, style={"running": "bold", "waiting": "dim"}.get(state.state, ""))
    amount = ""
    bar: RenderableType = ""
    if state.total:
        amount = f"{state.count or 0:,} / {state.total:,}"
        bar = ProgressBar(total=state.total, completed=state.count or 0, width=24)
    elif state.total == 0 and state.state == "done":
        amount = "nothing new"
    rate = (
        f"{state.rate:,.0f} {state.unit}/s"
        if state.rate and state.rate >= 10
        else f"{state.rate:.1f} {state.unit}/s"
        if state.rate
        else ""
    )
    left = f"{clock(state.eta_s)} left" if state.eta_s is not None else ""
    return marks[state.state], name, Text(amount, justify="right"), bar, Text(rate, justify="right"), left


def picture(title: str, states: list[StageState], notes: list[str], elapsed_s: float) -> RenderableType:
    """The live view."""
    table = Table.grid(padding=(0, 1))
    for state in states:
        table.add_row(*_cells(state))
    head = Text(f"{title}  {clock(elapsed_s)}")
    if not any(state.state != "waiting" for state in states):
        head.append("  starting Prefect", style="dim")
    return Group(head, table, *(Text(note, style="dim") for note in notes))


def line(states: list[StageState]) -> str | None:
    """The running stage in words; None before the first."""
    current = next((state for state in states if state.state == "running"), None)
    if current is None:
        return None
    if not current.total:
        return f"{current.name} ..."
    said = [f"{current.name}:"]
    said.append(f"{current.count or 0:,} of {current.total:,} {current.unit}")
    if current.rate:
        said.append(f"({current.rate:,.1f} {current.unit}/s, {clock(current.eta_s or 0)} left)")
    return " ".join(said)


def is_live(console: Console) -> bool:
    """Whether to draw over what was drawn: not into a file, not in CI."""
    return console.is_terminal and not console.is_dumb_terminal and os.environ.get("CI", "").lower() != "true"


def watch(root: Path, title: str, console: Console, work: Callable[[], Result]) -> Result:
    """What `work` gives, with a view of the run in `root` while it goes on.

    What it raises is raised here. On Ctrl-C the work is asked to stop, and Interrupted raised when it has; on a
    second one, or after 10 s, the process ends at once with code 130: a kill loses no committed work.
    """
    progress = reset(root)
    outcome: dict[str, Any] = {}
    ended = threading.Event()  # not thread.join: a Ctrl-C in it makes Python 3.11 take a living thread for a dead one

    def run() -> None:
        try:
            outcome["result"] = work()
        except BaseException as exc:  # handed over to the main thread, whatever it is
            outcome["fault"] = exc
        finally:
            ended.set()

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), name="promptforge-run", daemon=True)
    thread.start()
    try:
        _show(progress, title, console, ended)
    except KeyboardInterrupt:
        progress.stopping.set()
        console.print("stopping; finished batches are kept ...", highlight=False)
        _wait_or_leave(ended)
        raise Interrupted from None
    if "fault" in outcome:
        raise outcome["fault"]
    result: Result = outcome["result"]
    return result


def _wait_or_leave(ended: threading.Event) -> None:
    try:
        in_time = ended.wait(STOP_S)
    except KeyboardInterrupt:
        in_time = False
    if not in_time:
        os._exit(130)


def _show(progress: Meter, title: str, console: Console, ended: threading.Event) -> None:
    board = Board(progress)
    begun = time.monotonic()
    if not is_live(console):
        _show_lines(board, console, ended, begun)
        return
    notes: list[str] = []
    with Live(console=console, transient=True, auto_refresh=False) as live:
        while not ended.is_set():
            now = time.monotonic()
            notes += board.new_notes()
            live.update(picture(title, board.look(now), notes, now - begun), refresh=True)
            ended.wait(LIVE_S)


def _show_lines(board: Board, console: Console, ended: threading.Event, begun: float) -> None:
    done: set[str] = set()
    spoken, last = -PLAIN_S, ""
    console.print("[0:00] starting Prefect", markup=False, highlight=False)
    while not ended.is_set():
        now = time.monotonic()
        states = board.look(now)
        for state in states:
            if state.state == "done" and state.name not in done:
                done.add(state.name)
                rows = f" {state.count:,} rows" if state.count else ""
                console.print(f"[{clock(now - begun)}] {state.name} done{rows}", markup=False, highlight=False)
        for note in board.new_notes():
            console.print(f"[{clock(now - begun)}] {note}", markup=False, highlight=False)
        said = line(states)
        if said and said != last and now - spoken >= PLAIN_S:
            console.print(f"[{clock(now - begun)}] {said}", markup=False, highlight=False)
            spoken, last = now, said
        ended.wait(LIVE_S)
