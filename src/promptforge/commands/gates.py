"""The gates that applied to the pictures of one prompt: value, bound, and the group that the bound is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb

from promptforge import schema
from promptforge.commands import terminal
from promptforge.lexicon.style_kinds import kinds_sql
from promptforge.stages.judging.pictured import NO_NAN, literal
from promptforge.stages.judging.predicates import compiled, quoted_name
from promptforge.stages.run import Run

Row = Mapping[str, Any]

_PICTURES = f"""
CREATE OR REPLACE TEMP TABLE looked_at AS
SELECT r.take, r.image_id, k.axis, k.category, k.n_words, k.style_kind
FROM render_plan r JOIN images i USING (image_id)
JOIN ({kinds_sql("FROM kept WHERE prompt_id = $id")}) k ON k.prompt_id = r.prompt_id
WHERE r.prompt_id = $id AND i.error IS NULL AND ($image IS NULL OR r.image_id = $image)
"""

# Of a gate's rows on the axis that of the picture's own group, else the one for all that have none.
_BOUNDS = """
SELECT p.take, p.image_id, g.gate, g.decision, g."by", g.key, g.metric, s.value, s.detail,
    g.minimum, g.maximum, g.one_of, g.quantile, g.n_reference, NULL::VARCHAR AS predicate,
    coalesce(s.value < g.minimum, false) OR coalesce(s.value > g.maximum, false)
        OR (g.one_of IS NOT NULL AND NOT coalesce(list_contains(g.one_of, s.detail), false)) AS failed
FROM looked_at p
JOIN policy g ON g.axis = p.axis
JOIN (SELECT * REPLACE (nullif(value, 'nan'::DOUBLE) AS value) FROM scores_in_force) s
    ON s.image_id = p.image_id AND s.scorer = g.scorer AND s.metric = g.metric
WHERE g.key IS NULL OR g.key = CASE g."by" WHEN 'category' THEN p.category WHEN 'style' THEN p.style_kind END
QUALIFY row_number() OVER (PARTITION BY p.image_id, g.gate ORDER BY g.key NULLS LAST) = 1
"""


def tell(con: duckdb.DuckDBPyConnection, run: Run, prompt: str, image: str | None = None) -> None:
    """Print a table of the prompt's takes (or that one) and the gates of their axis; nothing where there are none."""
    have = con.table("policy").columns
    if not all(column.name in have for column in schema.describe("policy").columns):
        terminal.out().print(
            "gates      not told: the table policy is of an earlier version;"
            f" {terminal.program()} select --apply makes it anew",
            soft_wrap=True,
        )
        return
    con.execute(_PICTURES, {"id": prompt, "image": image})
    rows = _records(con, _BOUNDS)
    metrics = {part.name: dict(part.module.METRICS) for part in run.parts.scorers}
    predicates = _records(con, "SELECT DISTINCT gate, decision, predicate FROM policy WHERE predicate IS NOT NULL")
    for row in predicates if metrics else ():
        rows += _predicate(con, row, metrics)
    if not rows:
        return
    places = {name: place for place, name in enumerate(run.recipe.select.gates)}
    made = terminal.table("take", "image_id", "gate", "decides", "metric", "value", "wanted", "")
    for row in sorted(rows, key=lambda row: (row["take"], places.get(row["gate"], len(places)), row["gate"])):
        value = "" if row["value"] is None else f"{row['value']:g}"
        made.add_row(
            str(row["take"]),
            row["image_id"],
            terminal.safe(row["gate"]),
            row["decision"],
            terminal.safe(row["metric"]),
            terminal.safe(" ".join(filter(None, [value, row["detail"]]))),
            terminal.safe(_wanted(row)),
            "FAILS" if row["failed"] else "passes",
        )
    terminal.out().print(made)


def _predicate(con: duckdb.DuckDBPyConnection, gate: Row, metrics: Mapping[str, Mapping[str, str]]) -> list[Row]:
    """A row for each take: whether the predicate is false, and the values that it reads."""
    predicate = compiled(gate["predicate"], metrics)
    wide, said = ["p.*"], []
    for scorer, metric in predicate.reads:
        name, word = quoted_name(scorer, metric), metrics[scorer][metric] == "word"
        this = f"s.scorer = {literal(scorer)} AND s.metric = {literal(metric)}"
        found = f"max(s.{'detail' if word else 'value'}) FILTER ({this})"
        wide.append(f"{found if word else NO_NAN.format(found)} AS {name}")
        text = name if word else f"format('{{:g}}', {name})"
        said.append(f"{literal(metric + ' ')} || coalesce({text}, '-')")
    detail = " || ', ' || ".join(said) or "NULL"
    return _records(
        con,
        f"SELECT take, image_id, {literal(gate['gate'])} AS gate, {literal(gate['decision'])} AS decision,"
        f" 'where' AS metric, NULL::DOUBLE AS value, {detail} AS detail,"
        f" {literal(gate['predicate'])} AS predicate, NOT coalesce({predicate.sql}, true) AS failed"
        f" FROM (SELECT {', '.join(wide)} FROM looked_at p LEFT JOIN scores_in_force s ON s.image_id = p.image_id"
        " GROUP BY ALL)"
        f" WHERE axis IN (SELECT axis FROM policy WHERE gate = {literal(gate['gate'])})",
    )


def _wanted(row: Row) -> str:
    if row["predicate"] is not None:
        return str(row["predicate"])
    said = []
    if row["minimum"] is not None:
        said.append(f"at least {row['minimum']:g}")
    if row["maximum"] is not None:
        said.append(f"at most {row['maximum']:g}")
    if row["one_of"] is not None:
        said.append(f"one of {', '.join(row['one_of'])}")
    if row["by"] in ("category", "style"):
        said[-1] += f" for {row['by']} {row['key'] or '(any other)'}"
    if row["quantile"] is not None:
        said.append(f"quantile {row['quantile']:g} of {row['n_reference']} pictures")
    return ", ".join(said)


def _records(con: duckdb.DuckDBPyConnection, sql: str) -> list[Row]:
    rows: list[Row] = con.sql(sql).to_arrow_table().to_pylist()
    return rows
