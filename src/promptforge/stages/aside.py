"""Columns that are needed for few rows at the end, set aside on disk while a step over every row is at work.

A file of the run's spill folder, removed on the way out; what a kill leaves is swept with the folder. Rows are read
through a memory map, so that the system may take their pages back at any time.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from promptforge.files import SPILL


class Column:
    """One column of what was set aside, in an order of its own."""

    def __init__(self, chunks: Sequence[pa.Array], order: np.ndarray) -> None:
        self._chunks = chunks
        self._starts = np.cumsum([0, *map(len, chunks)])
        self._order = order
        self.type = chunks[0].type if chunks else pa.string()

    def __len__(self) -> int:
        return len(self._order)

    def take(self, places: pa.Array) -> pa.Array:
        """The values at these places; only the batches that hold them are read."""
        rows = self._order[np.asarray(places)]
        by_row = np.argsort(rows, kind="stable")
        batch = np.searchsorted(self._starts, rows[by_row], side="right") - 1
        edges = np.append(np.flatnonzero(np.diff(batch, prepend=-1)), len(rows))
        found = [
            self._chunks[batch[start]].take(pa.array(rows[by_row[start:stop]] - self._starts[batch[start]]))
            for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        ]
        back = np.empty(len(rows), np.int64)
        back[by_row] = np.arange(len(rows))
        return pa.concat_arrays([pa.array([], self.type), *found]).take(pa.array(back))


class Aside:
    """Batches written one after the other, then read by place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pa.RecordBatchFileWriter | None = None
        self._batches: list[pa.RecordBatch] | None = None
        self.n = 0

    def add(self, rows: pa.RecordBatch) -> None:
        """Set these rows aside; they are numbered on from those before."""
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pa.ipc.new_file(str(self._path), rows.schema)
        self._writer.write_batch(rows)
        self.n += rows.num_rows

    def column(self, name: str, order: np.ndarray) -> Column:
        """A column, its rows in this order. Nothing can be added any more."""
        if self._batches is None:
            self._batches = []
            if self._writer is not None:
                self._writer.close()
                reader = pa.ipc.open_file(pa.memory_map(str(self._path)))
                self._batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        return Column([batch.column(name) for batch in self._batches], order)


@contextmanager
def aside(root: Path) -> Iterator[Aside]:
    """A place for rows in the run folder `root`."""
    path = root / SPILL / f"aside-{uuid.uuid4().hex}.arrow"
    held = Aside(path)
    try:
        yield held
    finally:
        if held._writer is not None:
            held._writer.close()
        path.unlink(missing_ok=True)
