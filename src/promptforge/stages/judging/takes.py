"""Every planned picture against the gates, in SQL: which gates it fails, and which take of a prompt is the best.

A metric that does not apply, or is NaN, passes, and so does a predicate that is null. The result does not depend on
which other pictures there are, but for quantile gates, whose bounds are settled by the first prompts of each axis. Of
takes with equally few failed gates the best has the lowest mean rank within its prompt over `select.prefer`: among all
its takes that were drawn, equal values share the mean of their ranks, a metric that does not apply comes last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

from promptforge.policy import Gate
from promptforge.schema import arrow_schema
from promptforge.stages.judging.bounds import policy_rows
from promptforge.stages.judging.pictured import Columns, literal, make_pictured
from promptforge.stages.judging.predicates import Predicate, compiled
from promptforge.stages.judging.quantiles import fit
from promptforge.stages.run import Run

_BEST = """
CREATE TEMP TABLE best AS
SELECT prompt_id,
    arg_min(image_id, (error IS NOT NULL, n_failed, preference, take)) AS image_id,
    -- '' for none, since arg_min passes over nulls
    nullif(arg_min(CASE WHEN error IS NOT NULL THEN 'render_error' ELSE coalesce(first_failed, '') END,
                   (error IS NOT NULL, n_failed, preference, take)), '') AS image_reason,
    nullif(arg_min(CASE WHEN error IS NOT NULL THEN 'render_error' ELSE coalesce(first_refused, '') END,
                   (error IS NOT NULL, n_refused, take)), '') AS refusal,
    count(*)::INTEGER AS n_takes,
    (count(*) FILTER (error IS NULL AND n_failed = 0))::INTEGER AS n_passed
FROM takes GROUP BY prompt_id
"""


def judge(con: duckdb.DuckDBPyConnection, run: Run) -> None:
    """Make `in_force`, `gates`, `takes` and `best` in a catalog that holds everything up to the scores.

    in_force (image_id, scorer, digest): the scores that count. gates: the table policy, with the fitted bounds of
    quantile gates. takes: a row for each planned picture, with error, n_failed (gates), n_refused (gates that decide
    keep_prompt), first_failed, first_refused, preference (mean rank, 0 without `prefer`). best: a row for each prompt
    with a planned picture: image_id and image_reason of its best take, refusal (null: some take passes every gate that
    decides keep_prompt), n_takes, n_passed (takes that fail no gate). Raises StoreFault where a planned picture is not
    rendered or a score not measured, DataFault where a quantile gate has too few reference pictures.
    """
    select = run.recipe.select
    columns = Columns({part.name: dict(part.module.METRICS) for part in run.parts.scorers})
    # Where nothing is drawn there are no scorers: no gate has anything to look at.
    gates = select.gates if columns.metrics else {}
    preferred = select.preferred if columns.metrics else []
    predicates = {
        name: compiled(gate.where, columns.metrics, columns) for name, gate in gates.items() if gate.where is not None
    }
    pairs = [(gate.scorer, gate.metric) for gate in gates.values() if gate.where is None]
    for scorer, metric in (*pairs, *((scorer, metric) for scorer, metric, _ in preferred)):
        columns(scorer, metric)
    by_style = any(gate.by == "style" for gate in gates.values())
    by_style |= any("style_kind" in predicate.columns for predicate in predicates.values())
    make_pictured(con, run.parts.scorers, columns, by_style)
    fitted = fit(con, {name: gate for name, gate in gates.items() if gate.kind == "quantile"}, columns)
    policy = pa.Table.from_pylist(policy_rows(run.recipe, fitted), schema=arrow_schema("policy"))
    con.register("gates", policy)
    con.execute(_bounds(gates))
    con.execute(_preferences([(columns(scorer, metric), more) for scorer, metric, more in preferred]))
    con.execute(_takes(gates, columns, predicates))
    con.execute(_BEST)


def _bounds(gates: Mapping[str, Gate]) -> str:
    """SQL of the table bounds: for each group of pictures, low and high of gate number n as low_n and high_n."""
    selected, joined = ["g.axis", "g.category", "g.style_kind"], []
    by = {gate.by for gate in gates.values() if _is_bound(gate)}
    for place, (name, gate) in enumerate(gates.items()):
        if not _is_bound(gate):
            continue
        own, rest = f"own_{place}", f"rest_{place}"
        keys = {"category": "= g.category", "style": "= g.style_kind"}
        for alias, on in ((own, keys.get(gate.by or "", "IN ('')")), (rest, "IS NULL")):
            joined.append(
                f"LEFT JOIN gates {alias} ON {alias}.gate = {literal(name)} AND {alias}.axis = g.axis"
                f" AND {alias}.key {on}"
            )
        for side, bound in (("low", "minimum"), ("high", "maximum")):
            selected.append(
                f"CASE WHEN {own}.gate IS NULL THEN {rest}.{bound} ELSE {own}.{bound} END AS {side}_{place}"
            )
    category = "category" if "category" in by else "NULL::VARCHAR AS category"
    style = "style_kind" if "style" in by else "NULL::VARCHAR AS style_kind"
    return (
        f"CREATE TEMP TABLE bounds AS SELECT {', '.join(selected)}"
        f" FROM (SELECT DISTINCT axis, {category}, {style} FROM pictured) g {' '.join(joined)}"
    )


def _preferences(preferred: Sequence[tuple[str, bool]]) -> str:
    """SQL of the table preferences: the mean rank of each picture whose prompt has several; fewer ranks are better."""
    if not preferred:
        return "CREATE TEMP TABLE preferences (image_id VARCHAR, preference DOUBLE)"
    ranks = [
        f"rank() OVER (PARTITION BY prompt_id ORDER BY {column} {'DESC' if more else 'ASC'} NULLS LAST)"
        f" + (count(*) OVER (PARTITION BY prompt_id, {column}) - 1) / 2"
        for column, more in preferred
    ]
    several = "SELECT prompt_id FROM pictured WHERE error IS NULL GROUP BY prompt_id HAVING count(*) > 1"
    return (
        f"CREATE TEMP TABLE preferences AS SELECT image_id, ({' + '.join(ranks)}) / {len(ranks)} AS preference"
        f" FROM pictured SEMI JOIN ({several}) USING (prompt_id) WHERE error IS NULL"
    )


def _takes(gates: Mapping[str, Gate], columns: Columns, predicates: Mapping[str, Predicate]) -> str:
    """SQL of the table takes, from pictured, bounds and preferences."""
    fails = [
        f"error IS NULL AND coalesce({_fails(place, gate, columns, predicates.get(name))}, false) AS f{place}"
        for place, (name, gate) in enumerate(gates.items())
    ]
    every = [(f"f{place}", name) for place, name in enumerate(gates)]
    refusing = [pair for pair, gate in zip(every, gates.values(), strict=True) if gate.decision == "keep_prompt"]
    groups = [
        f" AND b.{column} IS NOT DISTINCT FROM p.{column}"
        for column, key in (("category", "category"), ("style_kind", "style"))
        if any(gate.by == key and _is_bound(gate) for gate in gates.values())
    ]
    return f"""
    CREATE TEMP TABLE takes AS
    SELECT image_id, prompt_id, take, error, {_counted(every)} AS n_failed, {_counted(refusing)} AS n_refused,
        {_first(every)} AS first_failed, {_first(refusing)} AS first_refused, preference
    FROM (
        SELECT {", ".join(["image_id", "prompt_id", "take", "error", "preference", *fails])} FROM (
            SELECT p.*, b.* EXCLUDE (axis, category, style_kind), coalesce(r.preference, 0) AS preference
            FROM pictured p
            LEFT JOIN bounds b ON b.axis = p.axis{"".join(groups)}
            LEFT JOIN preferences r ON r.image_id = p.image_id
        )
    )
    """


def _fails(place: int, gate: Gate, columns: Columns, predicate: Predicate | None) -> str:
    """SQL that is true where a picture fails the gate; null or false where it passes."""
    on_axis = f"axis IN ({', '.join(literal(axis) for axis in gate.axes)})"
    if predicate is not None:
        return f"({on_axis} AND NOT {predicate.sql})"
    column = columns(gate.scorer, gate.metric)
    if gate.one_of is not None:
        words = ", ".join(["NULL", *map(literal, gate.one_of)])
        return f"({on_axis} AND {column}_seen AND NOT coalesce({column} IN ({words}), false))"
    return f"(coalesce({column} < low_{place}, false) OR coalesce({column} > high_{place}, false))"


def _is_bound(gate: Gate) -> bool:
    return gate.kind in ("bound", "quantile")


def _counted(flags: Sequence[tuple[str, str]]) -> str:
    return " + ".join(["0::BIGINT", *(f"{flag}::INTEGER" for flag, _ in flags)])


def _first(flags: Sequence[tuple[str, str]]) -> str:
    whens = " ".join(f"WHEN {flag} THEN {literal(name)}" for flag, name in flags)
    return f"CASE {whens} END" if whens else "NULL::VARCHAR"
