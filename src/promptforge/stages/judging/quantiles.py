"""The bounds of quantile gates, fitted to take 0 of the first prompts of each axis.

Linear interpolation between order statistics, as numpy's default (Hyndman and Fan 1996, definition 7). A picture that
failed, or to which the metric does not apply, is no reference picture; nor is one that was not drawn, so where
render.sample is below 1 the same first prompts give fewer, and policy.n_reference tells how many.
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

from promptforge.errors import DataFault
from promptforge.policy import Gate
from promptforge.stages.judging.bounds import Fitted
from promptforge.stages.judging.pictured import Columns
from promptforge.stages.render import ELIGIBLE

#: Over pictured and its prompts' places: the bound of every group that has enough, then that of the axis.
_FIT = """
WITH reference AS (
    SELECT p.axis, {group} AS key, p.{column} AS value FROM pictured p JOIN places e ON e.prompt_id = p.prompt_id
    WHERE p.take = 0 AND p.error IS NULL AND e.place <= $reference AND list_contains($axes, p.axis)
        AND p.{column} IS NOT NULL
)
SELECT axis, key, quantile_cont(value, $share), count(*) AS n FROM reference
GROUP BY GROUPING SETS ((axis, key), (axis)) HAVING grouping(key) = 1 OR (key IS NOT NULL AND n >= $least)
ORDER BY axis, grouping(key), key
"""


def fit(con: duckdb.DuckDBPyConnection, gates: Mapping[str, Gate], columns: Columns) -> list[Fitted]:
    """The bounds of these gates, from the table pictured.

    An axis on which no picture has the metric gets none: there is nothing to judge. Raises DataFault where some have
    it and fewer than `least` of the reference pictures do.
    """
    if not gates:
        return []
    known = con.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'eligible'").fetchone()
    eligible = "eligible" if known and known[0] else f"({ELIGIBLE})"
    most = max(gate.reference for gate in gates.values())
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE places AS SELECT prompt_id, place FROM {eligible}"
        " WHERE NOT left_over AND place <= $1",
        [most],
    )
    return [found for name, gate in gates.items() for found in _fit(con, name, gate, columns(gate.scorer, gate.metric))]


def _fit(con: duckdb.DuckDBPyConnection, name: str, gate: Gate, column: str) -> list[Fitted]:
    assert gate.quantile is not None
    group = {"category": "p.category", "style": "p.style_kind"}.get(gate.by or "", "NULL::VARCHAR")
    axes = [str(axis) for axis in gate.axes]
    rows = con.execute(
        _FIT.format(group=group, column=column),
        {
            "reference": gate.reference,
            "axes": axes,
            "share": gate.quantile if gate.side == "min" else 1 - gate.quantile,
            "least": gate.least,
        },
    ).fetchall()
    found = [Fitted(name, axis, key, bound, n) for axis, key, bound, n in rows]
    have = {each.axis: each.n_reference for each in found if each.key is None}
    measured = con.execute(
        f"SELECT DISTINCT axis FROM pictured WHERE {column} IS NOT NULL AND list_contains($1, axis) ORDER BY axis",
        [axes],
    ).fetchall()
    short = [axis for (axis,) in measured if have.get(axis, 0) < gate.least]
    if short:
        raise DataFault(
            f"gate {name!r}: of the first {gate.reference} prompts of"
            f" {', '.join(f'{axis} {have.get(axis, 0)}' for axis in short)} have a picture with"
            f" {gate.scorer}.{gate.metric}, at least {gate.least} are needed for its quantile; draw more of them"
            f" (render.sample, select.quota), leave the axis out (select.gates.{name}.axes), lower"
            f" select.gates.{name}.least, or give the bound as a number"
        )
    return found
