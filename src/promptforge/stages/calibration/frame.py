"""The pictures that a gate applies to: its metric, whether each passes, and in which half of the prompts it is.

The halves are told by a hash of the split group, so that takes of a prompt, members of a minimal pair and near
duplicates lie in one. A picture without the metric passes its gate and is no part of this: no bound decides about it.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from promptforge.errors import ConfigError
from promptforge.policy import Gate
from promptforge.stages.calibration.estimates import F64, Flags
from promptforge.stages.run import Run

#: Mistakes of the embedded teacher that spoil the whole picture; every other is a fault against the prompt.
_FRAME_MISTAKES = ("blur", "dark", "flat", "black")

_FRAME = """
SELECT i.image_id, md5(coalesce(k.split_group, k.prompt_id)) < '8' AS chosen, s.value, s.detail AS word,
    coalesce(s.value >= $low, true) AND coalesce(s.value <= $high, true)
        AND ($words IS NULL OR coalesce(list_contains($words, s.detail), false)) AS passes,
    json_extract_string(i.truth, '$.mistake') AS mistake, i.truth IS NOT NULL AS is_known
FROM render_plan r
JOIN images i ON i.image_id = r.image_id
JOIN kept k ON k.prompt_id = r.prompt_id
JOIN scores_in_force s ON s.image_id = i.image_id
WHERE i.error IS NULL AND s.scorer = $scorer AND s.metric = $metric AND list_contains($axes, k.axis)
    AND (s.value IS NOT NULL OR s.detail IS NOT NULL)
ORDER BY i.image_id
"""


@dataclass(frozen=True)
class Frame:
    """A gate with every planned picture that it applies to, sorted by image_id. `chosen`: the choosing half.

    `key` orders pictures so that a larger one passes first; None where the gate has no single bound to move: words,
    yes or no, two bounds. `bound` is the key of the bound in force.
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
    """The frame of a gate of the recipe, from a catalog that holds everything up to the selection."""
    gate = run.recipe.select.gates[name]
    low, high = gate.min, gate.max
    if isinstance(low, dict) or isinstance(high, dict) or (low is None and high is None and gate.one_of is None):
        raise ConfigError(f"gate {name}: only gates with plain bounds or words are labelled")
    wanted = {"scorer": gate.scorer, "metric": gate.metric, "axes": [str(axis) for axis in gate.axes]}
    words = None if gate.one_of is None else list(gate.one_of)
    rows = con.sql(_FRAME, params={**wanted, "low": low, "high": high, "words": words}).to_arrow_table()
    values = rows["value"].to_numpy(zero_copy_only=False).astype(np.float64)
    bounds = [bound for bound in (low, high) if bound is not None]
    numeric = gate.one_of is None and bool(bounds)
    movable = numeric and len(bounds) == 1 and len(np.unique(values)) > 2  # a yes or no has no threshold to move
    sign = 1.0 if low is not None else -1.0
    return Frame(
        name,
        gate,
        rows["image_id"].to_pylist(),
        _flags(rows["chosen"]),
        _flags(rows["passes"]),
        np.min([np.abs(values - bound) for bound in bounds], axis=0) if numeric else None,
        rows["word"].to_pylist(),
        sign * values + 0.0 if movable else None,
        sign * bounds[0] + 0.0 if movable else None,  # never a negative zero
        _good(rows),
    )


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
