"""A forecast that stays: saved in the run's folder before the run, held against what came after it.

It is a table of the folder under a fixed name, so a later one replaces it; the run's next head names it, and the view
plan_against_actual reads it. Bytes are compared here, since no table knows the sizes of files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptforge import catalog
from promptforge.errors import ConfigError
from promptforge.lock import Lock
from promptforge.records import digest_of
from promptforge.stages.forecast.basis import DATASET_PARTS, dataset_bytes
from promptforge.stages.forecast.lines import Line, table
from promptforge.stages.forecast.whole import Forecast
from promptforge.stages.run import DATASET
from promptforge.store import Store

STAGE = "forecast"


@dataclass(frozen=True, slots=True)
class Compared:
    """A line of a forecast beside what came; `error_share` is expected / actual - 1, None where either is not there."""

    line: Line
    actual: float

    @property
    def error_share(self) -> float | None:
        """How far off what was expected is."""
        if self.line.expected is None or not self.actual:
            return None
        return self.line.expected / self.actual - 1

    @property
    def is_inside(self) -> bool:
        """Whether what came lies within low and high."""
        return self.line.low <= self.actual and (self.line.high is None or self.actual <= self.line.high)


def save(forecast: Forecast, root: Path) -> None:
    """Put a forecast into a run folder, in the place of any earlier one. The folder's lock is taken."""
    store = Store(root)
    rows = table(forecast.lines)
    with Lock(root):
        digest = digest_of([STAGE])
        old = store.committed(STAGE, "all", digest)
        if old is None:
            store.commit(STAGE, "all", digest, {"forecast": rows}, {"lines": rows.num_rows})
        else:
            store.rewrite(old, {"forecast": rows})


def load(root: Path) -> list[Line]:
    """The lines of the folder's forecast. Raises ConfigError where there is none."""
    store = Store(root)
    found = [store.read(item) for commit in store.commits(STAGE) for item in commit.files]
    if not found:
        raise ConfigError(
            f"{root}: no forecast was saved here; promptforge plan --save leaves one before a run, and so does --pilot"
        )
    return [Line(**row) for row in found[-1].to_pylist()]


def against(root: Path) -> list[Compared]:
    """Rows, clock time and bytes of a finished run beside its saved forecast, in the forecast's order.

    Raises ConfigError where there is no forecast or no finished run.
    """
    lines = load(root)
    head = Store(root).head()
    if head is None or "publish" not in head.commits:
        raise ConfigError(f"{root}: has not published yet, so nothing can be held against its plan; run it to its end")
    with catalog.open_run(root) as con:
        rows = con.sql("SELECT part, item, axis, unit, actual FROM plan_against_actual").fetchall()
    actual: dict[tuple[Any, ...], float] = {tuple(row[:4]): row[4] for row in rows}
    for item, size in _sizes(root).items():
        actual[("disk", item, None, "bytes")] = float(size)
    return [
        Compared(line, actual[key]) for line in lines if (key := (line.part, line.item, line.axis, line.unit)) in actual
    ]


def _sizes(root: Path) -> dict[str, int]:
    """Bytes by item of the forecast of disk; all is the whole folder but the forecast's own."""
    found = {f"{DATASET}/{part}": size for part, size in dataset_bytes(root / DATASET).items() if part in DATASET_PARTS}
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and path.name != DATASET):
        name = {"heads": "_commits"}.get(folder.name, folder.name)
        found[name] = found.get(name, 0) + sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    found.pop(STAGE, None)
    found["all"] = sum(found.values())
    return found
