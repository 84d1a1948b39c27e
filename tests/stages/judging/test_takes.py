"""The policy as a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from promptforge import schema
from promptforge.records import AXES
from promptforge.stages.judging.bounds import policy_rows
from promptforge.stages.run import prepare

GATES = {
    "not_black": {"scorer": "technical", "metric": "black", "max": 0},
    "sharp": {"scorer": "technical", "metric": "sharpness", "min": 0.3, "axes": ["image_quality"]},
    "reads": {"scorer": "text", "metric": "verdict", "one_of": ["read", "close"], "axes": ["text_rendering"]},
}


def test_the_policy_table_has_a_row_for_each_gate_and_axis(tmp_path: Path, tiny: Callable[[], Any]) -> None:
    raw = tiny()
    raw["scorers"] = {"technical": {}, "text": {}}
    raw["select"] = {"gates": GATES}
    rows = policy_rows(prepare(tmp_path, raw, "test").recipe)
    gates = [("not_black", AXES), ("sharp", AXES[:1]), ("reads", AXES[2:])]
    assert [(row["gate"], row["axis"]) for row in rows] == [(gate, axis) for gate, axes in gates for axis in axes]
    schema.conform("policy", pa.Table.from_pylist(rows, schema=schema.arrow_schema("policy")))
