"""Quantile gates: which pictures they need, and their bounds as numbers for a recipe.

The bound is a quantile of the metric over take 0 of the first prompts of an axis, so it is settled once those are
drawn: more rounds, larger quotas and further takes never move it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import duckdb

from promptforge.errors import ConfigError
from promptforge.policy import OTHER, Gate
from promptforge.recipe import Recipe
from promptforge.records import AXES
from promptforge.stages import goals
from promptforge.stages.run import Run


def reference_prompts(recipe: Recipe) -> Mapping[str, int]:
    """Axis -> how many of its first prompts, by place, must be drawn for the quantile gates, whatever its quota.

    0 where none need any, or none of its prompts is wanted.
    """
    gates = [gate for gate in recipe.select.gates.values() if gate.kind == "quantile"]
    asked = {goal.axis for goal in goals.goals(recipe) if goal.wanted != 0}
    return {
        axis: max((gate.reference for gate in gates if axis in gate.axes), default=0) if axis in asked else 0
        for axis in AXES
    }


def fitted_to_sample(gates: Mapping[str, Gate], count: int) -> dict[str, int]:
    """Quantile gate -> its `least` where some `count` pictures an axis, drawn from all over, stand for the first ones.

    It shrinks as the reference does, so that the same groups have bounds of their own.
    """
    return {
        name: max(1, math.floor(gate.least * min(1.0, count / gate.reference)))
        for name, gate in gates.items()
        if gate.kind == "quantile"
    }


def frozen(con: duckdb.DuckDBPyConnection, run: Run) -> list[str]:
    """Lines for `--set @FILE` that make plain bounds of the quantile gates, from a database in which `judge` has run.

    Each stands for the whole gate, measured on the run's teacher. Raises ConfigError for a gate whose name cannot
    stand in a setting, and for one that has no bound yet.
    """
    lines = []
    for name, gate in run.recipe.select.gates.items():
        if gate.kind != "quantile":
            continue
        if set(".=") & set(name) or name != name.strip():
            raise ConfigError(
                f"gate {name!r} cannot be named in a setting; take a name without '.', '=' and outer blanks"
            )
        rows = con.execute(
            "SELECT axis, key, coalesce(minimum, maximum) FROM gates WHERE gate = $1 ORDER BY axis, key NULLS LAST",
            [name],
        ).fetchall()
        if not rows:
            raise ConfigError(f"gate {name!r} has no bound yet: no picture of its axes has {gate.scorer}.{gate.metric}")
        lines.append(f"select.gates.{name}={_table(_plain(gate, rows, run.teacher_fingerprint))}")
    return lines


def _plain(gate: Gate, rows: list[tuple[str, str | None, float]], teacher: str) -> dict[str, object]:
    """The same gate with numbers."""
    bounds = (
        {axis if gate.by in (None, "axis") else f"{axis}/{OTHER if key is None else key}": number}
        for axis, key, number in rows
    )
    about: dict[str, object] = {"scorer": gate.scorer, "metric": gate.metric, "by": gate.by or "axis"}
    about[gate.side] = {key: number for each in bounds for key, number in each.items()}
    about["axes"] = sorted({axis for axis, _, _ in rows})
    return about | {"decision": gate.decision, "validated": gate.validated, "measured_on": teacher}


def _table(value: object) -> str:
    """A TOML value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_word(key)}={_table(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_table(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, int | float) else _word(str(value))


def _word(text: str) -> str:
    # JSON's escapes are TOML's, but for surrogate pairs and DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
