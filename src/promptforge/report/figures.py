"""The report's tables: each a query over the catalog, the same that a person can ask.

An empty table of the run gives an empty list, and the page leaves that part out. Sums and means are rounded, since
their last digits depend on the order in which threads add.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from promptforge import recipe as recipes
from promptforge.records import AXES
from promptforge.stages.goals import REST, assign
from promptforge.store import Store

Row = dict[str, Any]

WORDS = ("01-05", "06-10", "11-20", "21-40", "41+")  # of the view cells

_BY_AXIS = """
SELECT coalesce(p.axis, '') AS axis, count(*) AS candidates, count(k.row_id) AS kept,
    count(k.row_id) FILTER (k.prompt_id IN (
        SELECT r.prompt_id FROM render_plan r JOIN images i USING (image_id) WHERE i.error IS NULL)) AS rendered,
    count(s.row_id) FILTER (s.keep_prompt) AS accepted,
    count(d.prompt_id) FILTER (k.row_id IS NOT NULL) AS published,
    count(d.prompt_id) FILTER (k.row_id IS NOT NULL AND d.keep_image) AS usable
FROM prompts p
LEFT JOIN kept k ON k.row_id = p.row_id
LEFT JOIN selection s ON s.row_id = p.row_id
LEFT JOIN published d ON d.prompt_id = s.prompt_id
GROUP BY 1
"""

_FUNNEL = """
SELECT coalesce(axis, '') AS axis, step, stage, check_name, reason, sum(n_in)::BIGINT AS n_in,
    sum(n_dropped)::BIGINT AS n_dropped
FROM funnel GROUP BY ALL ORDER BY step, n_dropped DESC, check_name, reason, axis
"""

_IMAGE_REASONS = """
SELECT axis, image_reason AS reason, count(*) AS n FROM selection
WHERE image_reason IS NOT NULL AND image_id IS NOT NULL GROUP BY ALL ORDER BY ALL
"""

_EXAMPLES = """
SELECT coalesce(r.axis, '') AS axis, r.stage, coalesce(r.check_name, r.fate) AS check_name, r.reason, r.text,
    r.row_id, r.value, r.threshold
FROM rejects r JOIN prompts p USING (row_id)
WHERE r.text IS NOT NULL AND r.stage <> 'select'
    AND coalesce(r.prompt_id, '') NOT IN (SELECT prompt_id FROM withheld WHERE prompt_id IS NOT NULL)
QUALIFY row_number() OVER (
    PARTITION BY r.stage, coalesce(r.check_name, r.fate), r.reason ORDER BY p.stream_order, r.row_id) <= 3
ORDER BY p.stream_order, r.row_id
"""

_COVERAGE = """
WITH rows AS (
    SELECT c.axis, coalesce(c.category, '') AS category, c.words, coalesce(s.keep_prompt, false) AS is_in,
        coalesce(s.keep_image, false) AS has_image, n.nouns, v.row_id IS NULL AS is_kept,
        coalesce(v.check_name = 'near_duplicate', false) AS is_near
    FROM cells c
    LEFT JOIN selection s ON s.row_id = c.row_id
    LEFT JOIN prompt_nouns n ON n.prompt_id = s.prompt_id AND s.keep_prompt
    LEFT JOIN verdicts v ON v.row_id = c.row_id AND v.verdict = 'drop'
)
SELECT axis, category, words, count(*) FILTER (is_in) AS n_prompts, count(*) FILTER (has_image) AS n_images,
    coalesce(len(list_distinct(flatten(list(nouns) FILTER (nouns IS NOT NULL)))), 0)::BIGINT AS unique_nouns,
    round(sum(len(nouns)) / count(nouns), 2) AS nouns_per_prompt,
    count(*) FILTER (is_near) / nullif(count(*) FILTER (is_near OR is_kept), 0) AS near_share,
    grouping(words) AS all_words, grouping(category) AS all_categories
FROM rows GROUP BY GROUPING SETS ((axis, category, words), (axis, category), (axis))
ORDER BY axis, all_categories, category, all_words, words
"""

_TEACHABILITY = """
SELECT axis, coalesce(category, '') AS category, count(*) AS n, sum(n_takes)::BIGINT AS n_takes,
    round(avg(share), 4) AS mean, count(*) FILTER (high < 0.5) AS under, count(*) FILTER (low > 0.5) AS over
FROM teachability WHERE prompt_id NOT IN (SELECT prompt_id FROM withheld WHERE prompt_id IS NOT NULL)
GROUP BY ALL ORDER BY ALL
"""

_ROUNDS = """
SELECT axis, round, sum(n_accepted)::BIGINT AS accepted,
    CASE WHEN count(wanted) = count(*) THEN sum(wanted)::BIGINT END AS wanted, sum(n_new)::BIGINT AS new_prompts,
    sum(n_renders)::BIGINT AS renders, sum(n_spent)::BIGINT AS spent,
    string_agg(DISTINCT state, ', ' ORDER BY state) AS states
FROM rounds GROUP BY axis, round ORDER BY axis, round
"""

# Where a cell ended short of what was wanted.
_SHORT_CELLS = """
SELECT axis, cell, wanted, n_accepted, state FROM rounds
WHERE round = (SELECT max(round) FROM rounds) AND n_accepted < wanted ORDER BY axis, cell
"""

# Pictures that a row is the bound of, those outside it, and for each gate and axis those that fail it first.
_GATES = """
WITH counted AS (
    SELECT axis, image_reason AS gate, count(*) AS n FROM report_pictures WHERE image_reason IS NOT NULL GROUP BY ALL
), drawn AS (
    SELECT axis, count(*) AS n FROM report_pictures WHERE error IS NULL GROUP BY ALL
), judged AS (
    SELECT gate, axis, key, count(*) AS n,
        count(*) FILTER (coalesce(value < minimum, false) OR coalesce(value > maximum, false)) AS n_outside
    FROM report_bounds GROUP BY ALL
    UNION ALL
    SELECT g.gate, g.axis, NULL, count(*),
        count(*) FILTER (NOT coalesce(list_contains(g.one_of, s.detail), false))
    FROM report_gates g JOIN report_pictures p ON p.axis = g.axis
    JOIN scores_in_force s ON s.image_id = p.image_id AND s.scorer = g.scorer AND s.metric = g.metric
    WHERE g.kind = 'one_of' GROUP BY ALL
)
SELECT g.gate, g.axis, g.key, g.kind, g.decision, g.scorer, g.metric, g.minimum, g.maximum, g.one_of, g.quantile,
    g.n_reference, g.predicate, g.validated,
    coalesce(CASE WHEN g.kind = 'where' THEN d.n ELSE j.n END, 0) AS n_pictures, j.n_outside,
    CASE WHEN row_number() OVER (PARTITION BY g.gate, g.axis ORDER BY g.key NULLS FIRST) = 1
         THEN coalesce(c.n, 0) END AS n_first
FROM report_gates g
LEFT JOIN drawn d ON d.axis = g.axis
LEFT JOIN judged j ON j.gate = g.gate AND j.axis = g.axis AND j.key IS NOT DISTINCT FROM g.key
LEFT JOIN counted c ON c.gate = g.gate AND c.axis = g.axis
ORDER BY g.gate, g.axis, g.key NULLS FIRST
"""

_CELLS = f"""
SELECT g.axis, g.cell, g.wanted, count(s.row_id) FILTER (s.keep_prompt) AS accepted
FROM goals g LEFT JOIN eligible e ON e.goal = g.goal LEFT JOIN selection s ON s.row_id = e.row_id
WHERE g.cell <> '{REST}' GROUP BY ALL ORDER BY g.axis, g.cell
"""

_SPLITS = """
SELECT split, count(*) AS n, count(*) FILTER (keep_image) AS n_images FROM published GROUP BY split ORDER BY split
"""

_SOURCES = """
SELECT p.source, p.licence, count(*) AS n, count(s.row_id) FILTER (s.keep_prompt) AS n_accepted
FROM prompts p LEFT JOIN selection s ON s.row_id = p.row_id GROUP BY ALL ORDER BY ALL
"""

_TEACHERS = """
SELECT teacher, licence, regime, count(*) AS n_images, count(error) AS n_errors
FROM images SEMI JOIN render_plan USING (image_id) GROUP BY ALL ORDER BY ALL
"""

_SIMPLE: Mapping[str, str] = {
    "funnel": _FUNNEL,
    "image_reasons": _IMAGE_REASONS,
    "examples": _EXAMPLES,
    "coverage": _COVERAGE,
    "teachability": _TEACHABILITY,
    "take_yield": "SELECT * FROM take_yield ORDER BY fixed DESC, axis, take",
    "contamination": "SELECT * FROM contamination_report",
    "rounds": _ROUNDS,
    "short_cells": _SHORT_CELLS,
    "gates": _GATES,
    "cost": "SELECT stage, sum(n_rows)::BIGINT AS n_rows, round(sum(seconds), 1) AS seconds FROM cost GROUP BY stage"
    " ORDER BY seconds DESC, stage",
    "llm_cost": "SELECT task, model, n_requests, n_tokens_in, n_tokens_out, round(seconds, 1) AS seconds,"
    " round(price, 4) AS price FROM llm_cost",
    "plan": "SELECT part, item, axis, unit, low, expected, high, basis, round(actual, 1) AS actual,"
    " round(error_share, 4) AS error_share FROM plan_against_actual",
    "splits": _SPLITS,
    "sources": _SOURCES,
    "teachers": _TEACHERS,
}


def gather(con: duckdb.DuckDBPyConnection) -> dict[str, list[Row]]:
    """Every table by name; `make_tables` of pictures.py came before."""
    found: dict[str, list[Row]] = {name: con.sql(sql).to_arrow_table().to_pylist() for name, sql in _SIMPLE.items()}
    order = {axis: place for place, axis in enumerate(AXES)}
    by_axis = con.sql(_BY_AXIS).to_arrow_table().to_pylist()
    found["by_axis"] = sorted(by_axis, key=lambda row: order.get(row["axis"], len(order)))
    return found


def cells(con: duckdb.DuckDBPyConnection, root: Path) -> list[Row]:
    """Of each cell that the recipe names in [select.cells]: axis, cell, wanted, accepted; [] where it names none."""
    path = root / "_run.json"
    recipe = recipes.validate(json.loads(path.read_text("utf-8")), str(path)) if path.is_file() else None
    if recipe is None or not recipe.select.cells:
        return []
    with con.cursor() as own:  # its temporary tables are gone with it
        assign(own, recipe)
        return list(own.sql(_CELLS).to_arrow_table().to_pylist())


def resolved(root: Path) -> tuple[Mapping[str, Any], Mapping[str, Any], int | None]:
    """The recipe of the newest head with its defaults filled in, the manifest of dataset/ ({} for none), its number."""
    head = Store(root).head()
    path = root / "dataset" / "manifest.json"
    manifest = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return ({}, manifest, None) if head is None else (head.recipe, manifest, head.number)
