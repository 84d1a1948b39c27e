"""What the run that made a data set stored beside it: latents, and what its teacher knows of its pictures.

A run folder holds dataset/; a data set that was copied elsewhere has none, unless the parameters name it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
from pydantic import Field

from promptforge.export.folder.published import Chosen, Published
from promptforge.store import Store, TableFile


class WithRun(Chosen):
    """Which rows, and the run that made them."""

    # Left out of export.json: a path of this machine, while image_id says which row of the run is meant.
    run: Path | None = Field(None, exclude=True, description="run folder; by default the one that holds the data set")


def run_of(source: Published, params: WithRun) -> Path:
    """The folder of the run, whether or not it is one."""
    return params.run or source.root.resolve().parent


def files_of(run: Path, table: str) -> list[TableFile]:
    """The files of a table that the newest head names; none where the folder is no run."""
    store = Store(run)
    head = store.head()
    return [] if head is None else [f for commit in store.in_force(head) for f in commit.files if f.table == table]


def parts_of(run: Path, table: str, columns: Sequence[str]) -> Iterator[tuple[TableFile, pa.Table]]:
    """Each file with its rows, one file in memory, SHA-256 compared first."""
    store = Store(run)
    for item in files_of(run, table):
        yield item, store.read(item, columns)
