"""select: two decisions by policy, in SQL, from stored scores.

keep_prompt: may the trainer see this prompt. Policy `distill` lets prompt-side checks alone decide, since a student
that follows its teacher step by step must match its failures too; policy `images` also asks the gates whose
decision is keep_prompt. keep_image: may a trainer that consumes pictures see the best take. Accepted are the first
prompts up to the quota, in stream order or in that of [order], so a larger quota contains the smaller one. A prompt
that came too late because a cap held it back is not needed for that reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

from promptforge import catalog, records
from promptforge.records import AXES
from promptforge.schema import arrow_schema
from promptforge.stages.judging.takes import judge, policy_rows
from promptforge.stages.render import ELIGIBLE, wanted
from promptforge.stages.run import Run, Unit, digest_columns
from promptforge.stages.teachability import measure
from promptforge.store import Commit

VERSION = 2

READS = {
    "prompts": [
        "row_id",
        "prompt_id",
        "axis",
        "category",
        "split_group",
        "split",
        "stream_order",
        "scene",
        "expected_text",
    ],
    "verdicts": ["row_id", "verdict"],
    "arrangement": ["row_id", "place", "turn", "held", "left_over"],
    "render_plan": ["image_id", "prompt_id", "take", "fixed"],
    "images": ["image_id", "error"],
    "scores": ["image_id", "scorer", "digest", "metric", "value", "detail"],
}

# `beyond`: policy images renders only so many, so nobody has seen what comes after them. `left_over`: never taken.
_SELECTION = """
WITH judged AS (
    SELECT k.row_id, k.prompt_id, k.axis, k.split, b.*  EXCLUDE (prompt_id), l.quota, e.place, e.turn, e.held,
        coalesce(e.left_over, false) AS left_over,
        $policy = 'images' AND e.place > l.most AND b.n_takes IS NULL AS beyond,
        CASE WHEN e.place IS NULL THEN 'split_group_straddles'
             WHEN left_over THEN NULL
             WHEN $policy = 'images' AND coalesce(e.place <= l.most, true) AND b.n_takes IS NULL THEN 'not_rendered'
             WHEN $policy = 'images' THEN b.refusal END AS refused
    FROM kept k
    LEFT JOIN eligible e ON e.row_id = k.row_id
    LEFT JOIN best b ON b.prompt_id = k.prompt_id
    JOIN limits l ON l.axis = k.axis
), ranked AS (
    SELECT *, refused IS NULL AND NOT coalesce(beyond, false) AND NOT left_over AS passes,
        count_if(passes) OVER (PARTITION BY axis ORDER BY place) AS rank  -- count(*) FILTER takes 40 times as long
    FROM judged
), decided AS (
    SELECT *, CASE WHEN left_over THEN 'not_needed'
                   WHEN refused IS NOT NULL OR (NOT passes AND rank < quota) THEN 'not_selected'
                   WHEN passes AND (quota IS NULL OR rank <= quota) THEN 'accepted' ELSE 'not_needed' END AS state
    FROM ranked
)
SELECT row_id, prompt_id, axis, split, state,
    CASE state WHEN 'not_selected' THEN coalesce(refused, 'not_rendered')
               WHEN 'not_needed' THEN CASE WHEN left_over OR turn <= quota THEN coalesce(held, 'quota_full')
                                           ELSE 'quota_full' END END AS reason,
    state = 'accepted' AS keep_prompt,
    state = 'accepted' AND coalesce(n_passed, 0) > 0 AS keep_image,
    image_id,
    CASE WHEN n_takes IS NULL THEN 'not_rendered' ELSE image_reason END AS image_reason,
    coalesce(n_takes, 0)::INTEGER AS n_takes,
    coalesce(n_passed, 0)::INTEGER AS n_passed
FROM decided ORDER BY prompt_id
"""


def unit(run: Run, commits: Sequence[Commit]) -> Unit:
    """The work of the whole run over the commits of text, dedup, plan, render and score."""
    digest = records.digest_of(
        {
            "version": VERSION,
            "select": run.recipe.select.model_dump(mode="json"),
            "order": list(run.recipe.select.gates),  # the first gate that fails is the reason
            "scorers": [part.digest for part in run.parts.scorers],
            "input": digest_columns(commits, READS),
        }
    )

    def make() -> tuple[Mapping[str, pa.Table], Mapping[str, int]]:
        with catalog.connect(run.store, commits) as con:
            selection = decide(con, run)
            measured = con.sql("SELECT image_id, scorer, digest FROM in_force ORDER BY ALL").to_arrow_table()
            takes = measure.outcomes(con)
            teachability = measure.teachability(con, takes)
        policy = pa.Table.from_pylist(policy_rows(run.recipe), schema=arrow_schema("policy"))
        tables = {"policy": policy, "selection": selection, "measured": measured}
        tables |= {"take_outcomes": takes, "teachability": teachability}
        return tables, {"rows": selection.num_rows}

    return Unit("select", "all", digest, make)


def decide(con: duckdb.DuckDBPyConnection, run: Run) -> pa.Table:
    """The table selection under the run's policy, from a catalog that holds everything up to the scores."""
    quota = run.recipe.select.quota.model_dump()
    limits = pa.table(
        {
            "axis": list(AXES),
            "quota": pa.array([None if quota[axis] == "all" else quota[axis] for axis in AXES], pa.int64()),
            "most": pa.array(wanted(run.recipe).values(), pa.int64()),
        }
    )
    con.register("limits", limits)
    con.execute(f"CREATE TEMP TABLE eligible AS {ELIGIBLE}")
    judge(con, run)
    return con.sql(_SELECTION, params={"policy": run.recipe.select.policy}).to_arrow_table()
