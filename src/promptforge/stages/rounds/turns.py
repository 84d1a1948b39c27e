"""One round: the tables of what is known, the play over them, and the pictures and the record that follow."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import numpy as np
import pyarrow as pa

from promptforge.errors import ConfigError
from promptforge.recipe import Rounds
from promptforge.stages import goals
from promptforge.stages.judging.reference import reference_prompts
from promptforge.stages.judging.takes import judge
from promptforge.stages.render import Wish, is_fixed
from promptforge.stages.rounds.replay import NEVER, Batch, Candidates, Ints, Next, Play, Rules, Standing
from promptforge.stages.rounds.spending import affordable
from promptforge.stages.run import Row, Run

# By goal and place: the prompts that may be taken, and what is known of their pictures.
_KNOWN = f"""
SELECT e.goal, e.prompt_id, e.noise_group, e.place, coalesce(t.planned, 0) AS planned, coalesce(m.made, 0) AS made,
    coalesce(t.accepted_at, {NEVER}) AS accepted_at, coalesce(t.passed_at, {NEVER}) AS passed_at
FROM eligible e
LEFT JOIN (
    SELECT prompt_id, max(take) + 1 AS planned, min(take) FILTER (error IS NULL AND n_refused = 0) AS accepted_at,
        min(take) FILTER (error IS NULL AND n_failed = 0) AS passed_at
    FROM takes GROUP BY prompt_id
) t ON t.prompt_id = e.prompt_id
LEFT JOIN (SELECT prompt_id, max(take) + 1 AS made FROM images WHERE teacher = $teacher GROUP BY prompt_id) m
    ON m.prompt_id = e.prompt_id
WHERE NOT e.left_over ORDER BY e.goal, e.nth
"""


_NOTHING = """
CREATE TEMP TABLE takes AS
SELECT prompt_id, take, NULL::VARCHAR AS error, 0 AS n_refused, 0 AS n_failed FROM render_plan WHERE false
"""


def decide(
    con: duckdb.DuckDBPyConnection, run: Run, number: int, *, stop: bool = False
) -> tuple[list[Wish], list[Row]]:
    """The pictures of this round, and its rows of the table rounds; the catalog holds all that earlier rounds made.

    `stop`: nothing is begun any more, and what is open stays short.
    """
    recipe = run.recipe
    assert recipe.rounds is not None
    goals.assign(con, recipe)
    if number:
        judge(con, run)
    else:  # a quantile gate has nothing to be fitted on yet
        con.execute(_NOTHING)
    known = con.sql(_KNOWN, params={"teacher": run.teacher_fingerprint}).to_arrow_table()
    candidates = _candidates(run, known)
    rules = Rules(
        takes=recipe.render.takes,
        until_pass=recipe.render.until_pass,
        max_renders=recipe.rounds.max_renders,
        hopeless_below=recipe.rounds.hopeless_below,
        hopeless_after=recipe.rounds.hopeless_after,
    )
    _refuse_too_few(run, candidates, rules)
    play = Play(candidates, rules)
    found = play.run()
    batch = _within(run, found.batch, candidates, recipe.rounds, stop=stop)
    if len(found.batch) and not len(batch):
        found = Next(batch, tuple("budget" if state == "open" else state for state in found.states))
    rows = [
        {"round": number, "axis": goal.axis, "cell": goal.cell, "wanted": goal.wanted, "state": state}
        | _standing(standing, batch.chosen(batch.goal == place), recipe.render.takes)
        for place, (goal, standing, state) in enumerate(zip(goals.goals(recipe), play.goals, found.states, strict=True))
    ]
    return _wishes(known, candidates, batch), rows


def _candidates(run: Run, known: pa.Table) -> list[Candidates]:
    goal = known["goal"].to_numpy()
    accepted, passed, planned, made = (
        known[name].to_numpy().astype(np.int64) for name in ("accepted_at", "passed_at", "planned", "made")
    )
    settings = run.recipe.render
    if settings.until_pass and settings.fixed_share > 0:
        fixed = np.array([is_fixed(settings, prompt) for prompt in known["prompt_id"].to_pylist()], bool)
    else:
        fixed = np.full(len(known), not settings.until_pass)
    place = known["place"].to_numpy()
    reference = dict(reference_prompts(run.recipe))  # in the first round, since gates are fitted on them
    for axis, quota in run.recipe.select.quota.model_dump().items():
        if quota == 0:
            reference[axis] = 0
    ends = np.searchsorted(goal, np.arange(len(goals.goals(run.recipe)) + 1))
    return [
        Candidates(
            each.wanted,
            accepted[a:b],
            passed[a:b],
            planned[a:b],
            made[a:b],
            fixed[a:b],
            first=int((place[a:b] <= reference.get(each.axis, 0)).sum()),
        )
        for each, a, b in zip(goals.goals(run.recipe), ends[:-1], ends[1:], strict=True)
    ]


def _refuse_too_few(run: Run, candidates: Sequence[Candidates], rules: Rules) -> None:
    """Raise ConfigError where the budget is under what the first round must hold."""
    if rules.max_renders is None:
        return
    firsts = [each.fixed[: each.first] for each in candidates]
    needed = sum(int(np.where(fixed, rules.takes, 1).sum()) for fixed in firsts)
    if needed > rules.max_renders:
        gates = ", ".join(name for name, gate in run.recipe.select.gates.items() if gate.kind == "quantile")
        raise ConfigError(
            f"rounds.max_renders is {rules.max_renders:,}, but the first round needs {needed:,} pictures, which the"
            f" quantile of {gates} is fitted to; raise it, lower select.gates.NAME.reference, or give the bound as a"
            " number (select --freeze)"
        )


def _within(run: Run, batch: Batch, candidates: Sequence[Candidates], rounds: Rounds, *, stop: bool) -> Batch:
    """The head of the batch that this round may hold: by its size, the renders that are left, and time and money.

    What gates are fitted on comes in one round, whatever its size and before anything is known of the cost, or not at
    all: bounds fitted on a part of it would move. Pictures that are there cost no time.
    """
    if stop:
        return batch.chosen(slice(0, 0))
    must = int(batch.renders[batch.must].sum())
    if rounds.round_renders is not None:
        batch = batch.head(batch.renders, max(rounds.round_renders, must))
    if rounds.max_renders is not None:
        batch = batch.head(batch.renders, rounds.max_renders - sum(int(each.planned.sum()) for each in candidates))
    made = _of(batch, [each.made for each in candidates])
    cost = np.maximum(0, batch.stop - np.maximum(batch.start, made))
    paid = affordable(rounds, run.store, least=int(cost[batch.must].sum()))
    batch = batch.head(cost, paid)
    return batch if int(batch.renders[batch.must].sum()) == must else batch.chosen(slice(0, 0))


def _of(batch: Batch, columns: Sequence[Ints]) -> Ints:
    """The value of each line of the batch in these columns, one a goal."""
    offset = np.cumsum([0, *map(len, columns)])
    return np.concatenate([*columns, np.zeros(0, np.int64)])[offset[batch.goal] + batch.index]


def _wishes(known: pa.Table, candidates: Sequence[Candidates], batch: Batch) -> list[Wish]:
    offset = np.cumsum([0, *map(len, candidates)])
    rows = offset[batch.goal] + batch.index
    taken = known.take(pa.array(rows, pa.int64()))
    fixed = _of(batch, [each.fixed.astype(np.int64) for each in candidates])
    lines = zip(
        *(taken[name].to_pylist() for name in ("prompt_id", "noise_group")),
        batch.start.tolist(),
        batch.stop.tolist(),
        fixed.astype(bool).tolist(),
        strict=True,
    )
    return sorted(Wish(*line) for line in lines)


def _standing(played: Standing, batch: Batch, takes: int) -> Row:
    """What is known of a goal before this round, and what the round wants of it."""
    of = played.of
    tried = int((of.planned > 0).sum())
    now = Standing(of, of.planned, [(0, tried)], tried)
    undecided = int(now.undecided(takes).sum())
    record = played.record(takes) if undecided else now.record(takes)
    low, high = record.interval() if record.decided else (None, None)
    return {
        "n_candidates": len(of),
        "n_tried": tried,
        "n_undecided": undecided,
        "n_accepted": int(now.accepted.sum()),
        "acceptance": record.share,
        "low": low,
        "high": high,
        "n_new": int((batch.start == 0).sum()),
        "n_renders": int(batch.renders.sum()),
        "n_spent": int(of.planned.sum()),
    }
