"""The pictures that a gate applies to: its metric, whether each passes, and in which half of the prompts it is.

The halves are told by a hash of the split group, so that takes of a prompt, members of a minimal pair and near
duplicates lie in one. A picture without the metric passes its gate and is no part of this: no bound decides about it.
Nor is one for whose axis, category or style the gate has no bound.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import duckdb
import numpy as np
import pyarrow as pa

from promptforge.policy import Gate
from promptforge.stages.calibration.estimates import F64, Flags
from promptforge.stages.judging.takes import judge
from promptforge.stages.run import Run

#: Mistakes of the embedded teacher that spoil the whole picture; every other is a fault against the prompt.
_FRAME_MISTAKES = ("blur", "dark", "flat", "black")


@dataclass(frozen=True)
class Frame:
    """A gate with every planned picture that it applies to, sorted by image_id. `chosen`: the choosing half.

    `key` orders pictures so that a larger one passes first; None where the gate has no single bound to move: words,
    yes or no, two bounds, bounds by group or quantile, predicates. `bound` is the key of the bound in force.
    """

    name: str
    gate: Gate
    images: list[str]
    chosen: Flags
    passes: Flags
    distance: F64 | None
    words: list[str | None]
    key: F64 | None
    bound: float | None
    good: dict[str, Flags] | None

    @property
    def side(self) -> str:
        """Which bound of the gate a key is about: min or max."""
        return "min" if self.gate.min is not None else "max"

    @property
    def sign(self) -> float:
        """What a key is multiplied with to be a value of the metric."""
        return 1.0 if self.side == "min" else -1.0

    @property
    def yields(self) -> float:
        """Share of the pictures that pass as the gate stands."""
        return float(np.mean(self.passes)) if len(self.passes) else float("nan")


def frame_of(con: duckdb.DuckDBPyConnection, run: Run, name: str) -> Frame:
    """The frame of a gate of the recipe, from a catalog that holds everything up to the scores.

    Judged alone, by what judges the whole policy. Faults as stages/judging/takes.py.
    """
    gate = run.recipe.select.gates[name]
    alone = run.recipe.select.model_copy(update={"gates": {name: gate}, "prefer": ()})
    own = con.cursor()  # with temporary tables of its own
    judge(own, replace(run, recipe=run.recipe.model_copy(update={"select": alone})))
    rows = own.sql(_frame_sql(gate), params={"axes": [str(axis) for axis in gate.axes]}).to_arrow_table()
    own.close()
    values, low, high = (_numbers(rows[column]) for column in ("value", "low", "high"))
    numeric = gate.kind in ("bound", "quantile")
    single = numeric and gate.kind == "bound" and gate.by is None and (gate.min is None) != (gate.max is None)
    movable = single and len(np.unique(values)) > 2  # a yes or no has no threshold to move
    sign = 1.0 if gate.min is not None else -1.0
    bounds = low if gate.min is not None else high
    return Frame(
        name,
        gate,
        rows["image_id"].to_pylist(),
        _flags(rows["chosen"]),
        _flags(rows["passes"]),
        np.fmin(np.abs(values - low), np.abs(values - high)) if numeric else None,
        rows["word"].to_pylist(),
        sign * values + 0.0 if movable else None,
        float(sign * bounds[0]) + 0.0 if movable else None,  # never a negative zero
        _good(rows),
    )


def _frame_sql(gate: Gate) -> str:
    """SQL of a frame, from the tables that `judge` made for this gate alone."""
    numeric = gate.kind in ("bound", "quantile")
    value, word, applies = "NULL::DOUBLE", "NULL::VARCHAR", "true"
    if numeric:
        value, applies = "p.m0", "p.m0 IS NOT NULL AND (b.low_0 IS NOT NULL OR b.high_0 IS NOT NULL)"
    elif gate.one_of is not None:
        word, applies = "p.m0", "p.m0_seen"
    low, high = ("b.low_0", "b.high_0") if numeric else ("NULL::DOUBLE", "NULL::DOUBLE")
    group = {"category": "category", "style": "style_kind"}.get(gate.by or "") if numeric else None
    same = f" AND b.{group} IS NOT DISTINCT FROM p.{group}" if group else ""
    return f"""
    SELECT p.image_id, md5(coalesce(k.split_group, k.prompt_id)) < '8' AS chosen, t.n_failed = 0 AS passes,
        {value} AS value, {word} AS word, {low} AS low, {high} AS high,
        json_extract_string(i.truth, '$.mistake') AS mistake, i.truth IS NOT NULL AS is_known
    FROM pictured p
    JOIN takes t ON t.image_id = p.image_id
    JOIN images i ON i.image_id = p.image_id
    JOIN kept k ON k.prompt_id = p.prompt_id
    LEFT JOIN bounds b ON b.axis = p.axis{same}
    WHERE p.error IS NULL AND list_contains($axes, p.axis) AND {applies}
    ORDER BY p.image_id
    """


def _numbers(column: pa.ChunkedArray) -> F64:
    """The values; nan for null."""
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)


def _flags(column: pa.ChunkedArray) -> Flags:
    return np.asarray(column.to_numpy(zero_copy_only=False), bool)


def _good(rows: pa.Table) -> dict[str, Flags] | None:
    """By question, what the embedded teacher knows of its pictures: canvas only. None where it knows nothing of one."""
    if not rows.num_rows or not _flags(rows["is_known"]).all():
        return None
    mistakes = np.array(rows["mistake"].to_pylist(), object)
    right = np.array([mistake is None for mistake in mistakes], bool)
    whole = ~np.isin(mistakes.astype(str), _FRAME_MISTAKES)
    return {"quality": whole, "matches": right, "text": right}
