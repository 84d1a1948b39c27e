"""select: two decisions by policy, in SQL, from stored scores.

keep_prompt: may the trainer see this prompt. Policy `distill` lets prompt-side checks alone decide, since a student
that follows its teacher step by step must match its failures too; policy `images` also asks the gates whose
decision is keep_prompt. keep_image: may a trainer that consumes pictures see the best take. Accepted are the first
prompts of each goal (goals.py) that pass, up to what it wants, in stream order or in that of [order], so a larger quota
contains the smaller one. A prompt that came too late because a cap held it back is not needed for that reason. One that
no round tried is not selected where its goal was given up or the budget was spent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

from promptforge import catalog, records
from promptforge.lexicon import style_kinds
from promptforge.stages import goals
from promptforge.stages.judging.takes import judge
from promptforge.stages.run import Run, Unit, digest_columns
from promptforge.stages.teachability import measure
from promptforge.store import Commit

VERSION = 2

READS = {
    "prompts": [
        "row_id",
        "prompt_id",
        "axis",
        *(name for name in goals.READS if name != "text_clean"),  # prompt_id names it
        "split_group",
        "split",
        "stream_order",
        "scene",
        "expected_text",
    ],
    "verdicts": ["row_id", "verdict"],
    "arrangement": ["row_id", "place", "turn", "held", "left_over"],
    "render_plan": ["image_id", "prompt_id", "take", "fixed"],
    "rounds": ["round", "axis", "cell", "state"],
    "images": ["image_id", "error"],
    "scores": ["image_id", "scorer", "digest", "metric", "value", "detail"],
}

# `beyond`: policy images renders only so many, so nobody has seen what comes after them. `left_over`: never taken.
_JUDGED = """
CREATE TEMP TABLE judged AS
WITH ended AS (
    SELECT axis, cell, state AS ending FROM rounds WHERE round = (SELECT max(round) FROM rounds)
)
SELECT k.row_id, k.prompt_id, k.axis, k.split, b.*  EXCLUDE (prompt_id), g.goal, g.wanted AS quota, r.ending,
    e.nth, e.nth_turn, e.held,
    coalesce(e.left_over, false) AS left_over,
    $policy = 'images' AND b.n_takes IS NULL AND ($in_rounds OR coalesce(e.nth > g.most, false)) AS beyond,
    CASE WHEN e.place IS NULL THEN 'split_group_straddles'
         WHEN left_over OR beyond THEN NULL
         WHEN $policy = 'images' AND b.n_takes IS NULL THEN 'not_rendered'
         WHEN $policy = 'images' THEN b.refusal END AS refused,
    refused IS NULL AND NOT beyond AND NOT left_over AS passes
FROM kept k
LEFT JOIN eligible e ON e.row_id = k.row_id
LEFT JOIN best b ON b.prompt_id = k.prompt_id
LEFT JOIN goals g ON g.goal = e.goal
LEFT JOIN ended r ON r.axis = g.axis AND r.cell = g.cell
"""
# Ranks are counted over numbers alone: a window moves whatever it is given, and count(*) FILTER takes 40 times as long.
_DECIDED = """
CREATE TEMP TABLE decided AS
WITH ranks AS (
    SELECT rowid AS number, count_if(passes) OVER (PARTITION BY goal ORDER BY nth) AS rank FROM judged
), decided AS (
    SELECT *, CASE WHEN left_over THEN 'not_needed'
                   WHEN refused IS NOT NULL OR (NOT passes AND coalesce(rank < quota, true)) THEN 'not_selected'
                   WHEN passes AND (quota IS NULL OR rank <= quota) THEN 'accepted' ELSE 'not_needed' END AS state
    FROM judged j JOIN ranks r ON r.number = j.rowid
)
SELECT row_id, prompt_id, axis, split, state,
    CASE state WHEN 'not_selected' THEN coalesce(refused, CASE ending WHEN 'budget' THEN 'budget_spent'
                                                    WHEN 'hopeless' THEN 'hopeless_cell' ELSE 'not_rendered' END)
               WHEN 'not_needed' THEN CASE WHEN left_over OR nth_turn <= quota THEN coalesce(held, 'quota_full')
                                           ELSE 'quota_full' END END AS reason,
    state = 'accepted' AS keep_prompt,
    state = 'accepted' AND coalesce(n_passed, 0) > 0 AS keep_image,
    image_id,
    CASE WHEN n_takes IS NULL THEN 'not_rendered' ELSE image_reason END AS image_reason,
    coalesce(n_takes, 0)::INTEGER AS n_takes,
    coalesce(n_passed, 0)::INTEGER AS n_passed
FROM decided
"""


def unit(run: Run, commits: Sequence[Commit]) -> Unit:
    """The work of the whole run over the commits of text, dedup, plan, render and score."""
    digest = records.digest_of(
        {
            "version": VERSION,
            "style_kinds": style_kinds.VERSION,
            "select": run.recipe.select.model_dump(mode="json"),
            "order": list(run.recipe.select.gates),  # the first gate that fails is the reason
            "scorers": [part.digest for part in run.parts.scorers],
            "input": digest_columns(commits, READS),
        }
    )

    def make() -> tuple[Mapping[str, pa.Table], Mapping[str, int]]:
        with catalog.connect(run.store, commits) as con:
            selection = decide(con, run)
            policy = con.sql("FROM gates").to_arrow_table()
            measured = con.sql("SELECT image_id, scorer, digest FROM in_force ORDER BY ALL").to_arrow_table()
            takes = measure.outcomes(con)
            teachability = measure.teachability(con, takes)
        tables = {"policy": policy, "selection": selection, "measured": measured}
        tables |= {"take_outcomes": takes, "teachability": teachability}
        return tables, {"rows": selection.num_rows}

    return Unit("select", "all", digest, make)


def decide(con: duckdb.DuckDBPyConnection, run: Run) -> pa.Table:
    """The table selection under the run's policy, from a catalog that holds everything up to the scores."""
    make_decided(con, run)
    return con.sql("FROM decided ORDER BY prompt_id").to_arrow_table()


def make_decided(con: duckdb.DuckDBPyConnection, run: Run) -> None:
    """The same as the temporary table `decided`, in no order."""
    goals.assign(con, run.recipe)
    judge(con, run)
    given = {"policy": run.recipe.select.policy, "in_rounds": run.recipe.rounds is not None}
    con.execute(_JUDGED, given)
    con.execute(_DECIDED)
