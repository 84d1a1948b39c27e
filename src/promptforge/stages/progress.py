"""How far a stage is, for whoever looks: counters of this process, by run folder and stage.

A view reads them when it likes; nothing here waits, prints or touches a disk. The other way, a view may ask the work
to stop: the next row that is counted raises Stopped.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path


class Stopped(Exception):
    """The person wants the run to end; what is committed stays."""


@dataclass
class Meter:
    """Counters of one run; every method may be called from any thread."""

    totals: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def expect(self, stage: str, n: int) -> None:
        """The stage has n rows to do (0: nothing is left); of several ranks' words the largest holds."""
        with self._guard:
            self.totals[stage] = max(n, self.totals.get(stage, 0))
            self.counts.setdefault(stage, 0)

    def expect_more(self, stage: str, n: int) -> None:
        """The stage has n rows more to do: for work that nobody knows the whole of."""
        with self._guard:
            self.totals[stage] = n + self.totals.get(stage, 0)
            self.counts.setdefault(stage, 0)

    def add(self, stage: str, n: int = 1) -> None:
        """The stage did n more rows. Raises Stopped where the run is to end."""
        if self.stopping.is_set():
            raise Stopped("stopped by the person; run the same command again to go on")
        with self._guard:
            self.counts[stage] = self.counts.get(stage, 0) + n

    def finish(self, stage: str) -> None:
        """The stage is done."""
        with self._guard:
            self.finished.add(stage)

    def resume(self, stage: str) -> None:
        """The stage, done already, goes on: another round."""
        with self._guard:
            self.finished.discard(stage)

    def note(self, text: str) -> None:
        """Say something to the person, once."""
        with self._guard:
            self.notes.append(text)

    def snapshot(self) -> tuple[dict[str, int], dict[str, int], set[str]]:
        """Totals, counts and finished stages, as of now."""
        with self._guard:
            return dict(self.totals), dict(self.counts), set(self.finished)


_METERS: dict[Path, Meter] = {}


def meter(root: Path) -> Meter:
    """The meter of a run folder in this process."""
    return _METERS.setdefault(root.resolve(), Meter())


def reset(root: Path) -> Meter:
    """A fresh meter for a run that starts."""
    _METERS[root.resolve()] = Meter()
    return meter(root)
