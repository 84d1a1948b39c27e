"""Every planned picture against the gates, in SQL: which gates it fails, and which take of a prompt is the best.

A metric that does not apply passes. The result does not depend on which other pictures there are.
"""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

from promptforge.errors import StoreFault
from promptforge.recipe import Recipe
from promptforge.schema import arrow_schema
from promptforge.stages.run import Run
from promptforge.stages.score import wanted_scores

# Each picture of the plan with the gates that it fails, in the recipe's order; a metric that does not apply passes.
_TAKES = """
CREATE TEMP TABLE takes AS
WITH failed AS (
    SELECT r.image_id, g.position, g.gate, g.decision
    FROM render_plan r
    JOIN kept k ON k.prompt_id = r.prompt_id
    JOIN gates g ON g.axis = k.axis
    JOIN in_force f ON f.image_id = r.image_id AND f.scorer = g.scorer
    JOIN scores s ON s.image_id = f.image_id AND s.scorer = f.scorer AND s.digest = f.digest AND s.metric = g.metric
    WHERE s.value < g.minimum OR s.value > g.maximum
        OR (g.one_of IS NOT NULL AND NOT coalesce(list_contains(g.one_of, s.detail), false))
)
SELECT r.image_id, r.prompt_id, r.take, i.error,
    count(f.gate) AS n_failed,
    count(f.gate) FILTER (f.decision = 'keep_prompt') AS n_refused,
    arg_min(f.gate, f.position) AS first_failed,
    arg_min(f.gate, f.position) FILTER (f.decision = 'keep_prompt') AS first_refused
FROM render_plan r
JOIN images i ON i.image_id = r.image_id
LEFT JOIN failed f ON f.image_id = r.image_id
GROUP BY r.image_id, r.prompt_id, r.take, i.error
"""

_BEST = """
CREATE TEMP TABLE best AS
SELECT prompt_id,
    first(image_id ORDER BY error IS NOT NULL, n_failed, take) AS image_id,
    first(CASE WHEN error IS NOT NULL THEN 'render_error' ELSE first_failed END
          ORDER BY error IS NOT NULL, n_failed, take) AS image_reason,
    first(CASE WHEN error IS NOT NULL THEN 'render_error' ELSE first_refused END
          ORDER BY error IS NOT NULL, n_refused, take) AS refusal,
    count(*)::INTEGER AS n_takes,
    (count(*) FILTER (error IS NULL AND n_failed = 0))::INTEGER AS n_passed
FROM takes GROUP BY prompt_id
"""


def policy_rows(recipe: Recipe) -> list[dict[str, Any]]:
    """Rows of the table policy: one for each gate and axis, in the recipe's order."""
    return [
        {
            "gate": name,
            "decision": gate.decision,
            "axis": str(axis),
            "scorer": gate.scorer,
            "metric": gate.metric,
            "minimum": gate.min,
            "maximum": gate.max,
            "one_of": None if gate.one_of is None else list(gate.one_of),
            "validated": gate.validated,
        }
        for name, gate in recipe.select.gates.items()
        for axis in gate.axes
    ]


def judge(con: duckdb.DuckDBPyConnection, run: Run) -> None:
    """Make the temporary tables `in_force`, `takes` and `best` in a catalog that holds everything up to the scores.

    in_force (image_id, scorer, digest): the scores that count. takes: a row for each planned picture, with error,
    n_failed (gates), n_refused (gates that decide keep_prompt), first_failed, first_refused. best: a row for each
    prompt with a planned picture: image_id and image_reason of its best take, refusal (null: some take passes every
    gate that decides keep_prompt), n_takes, n_passed (takes that fail no gate). Raises StoreFault where a planned
    picture is not rendered or a score not measured.
    """
    gates = pa.Table.from_pylist(policy_rows(run.recipe), schema=arrow_schema("policy"))
    gates = gates.append_column("position", pa.array(range(gates.num_rows), pa.int64()))
    con.register("gates", gates)
    con.execute(f"CREATE TEMP TABLE in_force AS {wanted_scores(run.parts.scorers)}")
    _check_complete(con)
    con.execute(_TAKES)
    con.execute(_BEST)


def _check_complete(con: duckdb.DuckDBPyConnection) -> None:
    """Raise StoreFault where a planned picture or a wanted score is not there: a decision would rest on a gap."""
    ((unmade,),) = con.sql("SELECT count(*) FROM render_plan ANTI JOIN images USING (image_id)").fetchall()
    ((unscored,),) = con.sql(
        "SELECT count(*) FROM in_force ANTI JOIN scores USING (image_id, scorer, digest)"
    ).fetchall()
    if unmade or unscored:
        raise StoreFault(
            f"{unmade} planned pictures are not rendered and {unscored} scores not measured; run render and score"
        )
