"""The chain of plans: what each round wants is committed before it is drawn, and rests on the rounds before it.

A recipe without [rounds] and render.until_pass has one plan and no chain. Else each round is a unit of work named by
everything that the recipe decides, its number and the round before it. What it knows of earlier rounds are facts, which
never change, so that an interrupted run goes on with the same plans. A plan without pictures closes the chain.

Without [rounds] the chain holds the waves of takes: the first plan has the first take of each prompt that the quotas
want, and each next one a further take of those with no picture that passes every gate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from promptforge import catalog, records
from promptforge.recipe import Recipe
from promptforge.schema import arrow_schema
from promptforge.stages import render
from promptforge.stages.judging.takes import judge
from promptforge.stages.render import Wish
from promptforge.stages.rounds import turns
from promptforge.stages.run import Run, Unit, digest_columns
from promptforge.stages.score import wanted_scores
from promptforge.store import Commit

VERSION = 2

_WAVE = """
SELECT t.prompt_id, any_value(k.noise_group), max(t.take) + 1 FROM takes t JOIN kept k USING (prompt_id)
GROUP BY t.prompt_id HAVING count(*) FILTER (t.error IS NULL AND t.n_failed = 0) = 0 AND max(t.take) + 1 < $takes
ORDER BY t.prompt_id
"""


@dataclass(frozen=True)
class Chain:
    """The plans so far. `closed`: nothing more is wanted, or the clock has stopped it (`stopped`)."""

    commits: tuple[Commit, ...]
    closed: bool
    stopped: bool = False

    @property
    def n_images(self) -> int:
        """Pictures that it wants in all."""
        return sum(commit.counts["images"] for commit in self.commits)


def is_chained(recipe: Recipe) -> bool:
    """Whether the plan comes in rounds."""
    return recipe.rounds is not None or (recipe.render.until_pass and recipe.render.takes > 1)


def found(run: Run, text: Sequence[Commit], asked: Sequence[Commit]) -> Chain:
    """The chain as it is on disk. `text` is what a plan reads, `asked` that and the questions."""
    if not is_chained(run.recipe):
        unit = render.plan_unit(run, text)
        commit = run.store.committed(unit.stage, unit.shard, unit.digest)
        return Chain((commit,) if commit else (), closed=commit is not None)
    commits: list[Commit] = []
    static = _static(run, asked)
    while True:
        digest = _digest(static, commits)
        commit = run.store.committed("plan", _shard(len(commits)), digest)
        if commit is None:
            stop = run.store.committed("plan", "stopped", digest)
            return Chain(
                (*commits, stop) if stop else tuple(commits), closed=stop is not None, stopped=stop is not None
            )
        commits.append(commit)
        if not commit.counts["images"]:
            return Chain(tuple(commits), closed=True)


def next_unit(run: Run, text: Sequence[Commit], asked: Sequence[Commit], chain: Chain, *, stop: bool = False) -> Unit:
    """The plan behind this chain; `stop`: one that wants nothing, since time is up, and holds until it is asked again.

    Every picture of the chain is drawn and scored.
    """
    if not is_chained(run.recipe):
        return render.plan_unit(run, text)
    plans = chain.commits[:-1] if chain.stopped else chain.commits
    number, static = len(plans), _static(run, asked)

    def make() -> tuple[Mapping[str, pa.Table], Mapping[str, int]]:
        facts = [commit for stage in ("render", "score") for commit in run.store.commits(stage)]
        with catalog.connect(run.store, [*asked, *plans, *facts], check=_CHECKED) as con:
            rows: list[dict[str, Any]] = []
            if run.recipe.rounds is not None:
                wishes, rows = turns.decide(con, run, number, stop=stop)
            elif not plans:
                wishes = render.wishes_of_quotas(con, run)
            else:
                judge(con, run)
                found = con.execute(_WAVE, {"takes": run.recipe.render.takes}).fetchall()
                wishes = [Wish(prompt, group, take, take + 1, False) for prompt, group, take in found]
        plan = render.plan_rows(run, wishes, number)
        table = pa.Table.from_pylist(rows, schema=arrow_schema("rounds"))
        return {"render_plan": plan, "rounds": table}, {
            "images": plan.num_rows,
            "round": number,
            "chain": int(records.digest_of(static)[:12], 16),
        }

    return Unit("plan", "stopped" if stop else _shard(number), _digest(static, plans), make)


#: Tables whose files are compared with their sums before a plan rests on them.
_CHECKED = ("prompts", "verdicts", "arrangement", "questions", "render_plan", "images", "scores")


def outstanding(run: Run, commits: Sequence[Commit]) -> tuple[int, int]:
    """Pictures of the plans that are not drawn, and pictures with something left to measure."""
    wanted = wanted_scores(run.parts.scorers, of_plan=True)
    failed = "ANTI JOIN (SELECT image_id FROM images WHERE error IS NOT NULL) USING (image_id)"
    with catalog.connect(run.store, commits, check=()) as con:
        ((undrawn, unscored),) = con.sql(
            "SELECT (SELECT count(*) FROM render_plan ANTI JOIN images USING (image_id)),"
            f" (SELECT count(DISTINCT image_id) FROM ({wanted}) {failed}"
            " ANTI JOIN scores USING (image_id, scorer, digest))"
        ).fetchall()
    return undrawn, unscored


def _shard(number: int) -> str:
    return f"round{number:04d}"


def _digest(static: Mapping[str, Any], plans: Sequence[Commit]) -> str:
    return records.digest_of([static, len(plans), plans[-1].digest if plans else None])


def _static(run: Run, asked: Sequence[Commit]) -> dict[str, Any]:
    """All that decides a plan besides what earlier rounds found."""
    recipe = run.recipe
    select = recipe.select.model_dump(mode="json", exclude={"other_regime"})
    for gate in select["gates"].values():
        del gate["validated"], gate["measured_on"]
    reads = {name: columns for name, columns in _READS.items() if name != "questions" or run.parts.asks_questions}
    return {
        "version": VERSION,
        "seed": recipe.seed,
        "render": recipe.render.model_dump(mode="json"),
        "rounds": recipe.rounds and recipe.rounds.model_dump(mode="json", exclude={"max_wall_s"}),
        "select": select,
        "teacher": run.teacher_fingerprint,
        "scorers": [part.digest for part in run.parts.scorers],
        "input": digest_columns(asked, reads),
    }


_READS: dict[str, list[str]] = {
    **render.READS,
    "prompts": [*render.READS["prompts"], "expected_text", "scene", "text_clean"],
    "questions": ["prompt_id", "place", "key", "kind", "text", "requires", "noun", "value", "other", "verified"],
}
