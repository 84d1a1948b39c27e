"""The pictures that were decided about, and their values against every bound: temporary tables for the report.

report_pictures: the chosen take of each prompt that was drawn, with its decision; never of a withheld row. passes: it
fails no gate; null: it was not drawn. report_gates: the table policy, whatever version wrote it. report_bounds: value
and bound of each picture and gate with numbers.
Not covered: takes that were not chosen, and predicates picture by picture: `image_reason` counts those.
"""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

from promptforge.lexicon.style_kinds import kinds_sql
from promptforge.schema import arrow_schema

_PICTURES = """
CREATE OR REPLACE TEMP TABLE report_pictures AS
SELECT s.image_id, s.prompt_id, s.row_id, p.axis, coalesce(p.category, '') AS category, p.style, p.text_clean AS text,
    p.expected_text, s.split, s.state, s.keep_image, s.image_reason, s.n_takes, s.n_passed, i.take, i.seed, i.error,
    i.teacher, CASE WHEN i.error IS NULL THEN s.image_reason IS NULL END AS passes, {kind} AS style_kind
FROM selection s
JOIN {prompts} p ON p.row_id = s.row_id
JOIN images i ON i.image_id = s.image_id
WHERE p.text_clean IS NOT NULL AND s.prompt_id NOT IN (SELECT prompt_id FROM withheld WHERE prompt_id IS NOT NULL)
"""

_BOUNDS = """
CREATE OR REPLACE TEMP TABLE report_bounds AS
WITH asked AS (SELECT DISTINCT gate, axis, scorer, metric, "by" FROM report_gates WHERE kind IN ('bound', 'quantile'))
SELECT p.image_id, p.axis, a.gate, a.scorer, a.metric, own.key, s.value, p.passes,
    CASE WHEN own.gate IS NULL THEN rest.minimum ELSE own.minimum END AS minimum,
    CASE WHEN own.gate IS NULL THEN rest.maximum ELSE own.maximum END AS maximum
FROM report_pictures p
JOIN asked a ON a.axis = p.axis
JOIN scores_in_force s ON s.image_id = p.image_id AND s.scorer = a.scorer AND s.metric = a.metric
LEFT JOIN report_gates own ON own.gate = a.gate AND own.axis = a.axis
    AND own.key = CASE a."by" WHEN 'category' THEN p.category WHEN 'style' THEN p.style_kind END
LEFT JOIN report_gates rest ON rest.gate = a.gate AND rest.axis = a.axis AND rest.key IS NULL
WHERE s.value IS NOT NULL AND isfinite(s.value) AND (own.gate IS NOT NULL OR rest.gate IS NOT NULL)
"""


def make_tables(con: duckdb.DuckDBPyConnection) -> None:
    """Make the temporary tables in a run's catalog."""
    gates = _gates(con)
    con.register("report_gates", pa.Table.from_pylist(gates, schema=arrow_schema("policy")))
    by_style = any(row["by"] == "style" for row in gates)
    drawn = "SELECT * FROM prompts WHERE row_id IN (SELECT row_id FROM selection WHERE image_id IS NOT NULL)"
    con.execute(
        _PICTURES.format(
            prompts=f"({kinds_sql(drawn)})" if by_style else "prompts",
            kind="p.style_kind" if by_style else "NULL::VARCHAR",
        )
    )
    con.execute(_BOUNDS)


def _gates(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The rows of policy; what an older version did not know is filled in."""
    found = con.sql("SELECT * FROM policy").to_arrow_table().to_pylist()
    empty = dict.fromkeys(arrow_schema("policy").names)
    rows = [{**empty, **row} for row in found]
    for row in rows:
        row["kind"] = row["kind"] or ("one_of" if row["one_of"] is not None else "bound")
    return [{name: row[name] for name in empty} for row in rows]
