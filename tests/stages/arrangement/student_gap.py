"""Files student_gap as an evaluation writes them, and a recipe that reads one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from promptforge.schema import arrow_schema

AXIS = "semantic_understanding"
SCHEMA = pa.schema([field.with_nullable(True) for field in arrow_schema("student_gap")])  # bad rows are written too


def line(prompt: str, gap: float, step: int = 0, **more: Any) -> dict[str, Any]:
    """A row of the table: one prompt at one step."""
    made = {"prompt_id": prompt, "axis": AXIS, "category": "color", "split": "test_words", "length": "06-10"}
    return (
        made
        | {"n_words": 8, "noise": 0, "step": step, "timestep": 1000.0, "error": gap * 4, "scale": 4.0, "blank": 4.0}
        | more
    )


def file(path: Path, lines: Iterable[dict[str, Any]]) -> str:
    """The path of a Parquet file of these rows."""
    pq.write_table(pa.Table.from_pylist(list(lines), schema=SCHEMA), path)
    return str(path)


def raw(folder: Path, n: int = 400, order: dict[str, Any] | None = None, quota: int | str = "all") -> dict[str, Any]:
    """A recipe of the grammar's rows, nothing drawn."""
    made: dict[str, Any] = {
        "name": "gap",
        "seed": 3,
        "sources": [{"kind": "grammar", "axis": AXIS, "n": n}],
        "regime": {"teacher": "canvas", "size": 128},
        "render": {"sample": 0.0},
        "select": {"quota": {AXIS: quota}},
        "publish": {"natural_test_share": 0.0},
        "run": {"workers": 1},
    }
    return made if order is None else made | {"order": order}
