"""Rows set aside on disk come back by place, whatever the order, and leave nothing behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from promptforge.files import SPILL
from promptforge.stages.aside import aside


def _batch(first: int, last: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"name": [f"row {number}" for number in range(first, last)]})


def test_rows_of_several_batches_come_back_in_an_order_of_their_own(tmp_path: Path) -> None:
    with aside(tmp_path) as held:
        for first, last in ((0, 3), (3, 4), (4, 9)):
            held.add(_batch(first, last))
        order = np.array([8, 0, 3, 5, 2, 1, 4, 7, 6])
        column = held.column("name", order)
        assert len(column) == held.n == 9
        # places 0, 3, 3, 2 of the order are the rows 8, 5, 5, 3
        assert column.take(pa.array([0, 3, 3, 2])).to_pylist() == ["row 8", "row 5", "row 5", "row 3"]
        assert column.take(pa.array([], pa.int64())).to_pylist() == []


def test_nothing_is_left_on_disk(tmp_path: Path) -> None:
    with aside(tmp_path) as held:
        held.add(_batch(0, 2))
        held.column("name", np.arange(2))
        assert list((tmp_path / SPILL).iterdir())
    assert list((tmp_path / SPILL).iterdir()) == []


def test_a_place_for_no_rows_makes_no_file(tmp_path: Path) -> None:
    with aside(tmp_path) as held:
        assert held.column("name", np.arange(0)).take(pa.array([], pa.int64())).to_pylist() == []
    assert list(tmp_path.iterdir()) == []
