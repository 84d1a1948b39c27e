"""The stages in order, as functions of a run folder and integers: what a scheduler's tasks call.

Every function looks up what is in force by asking each stage for its units of work, so it may be called again at any
time, by any process, and does only what is missing. The caller holds the folder's lock.

    text_shards -> make_text (each shard) -> make_dedup -> make_decontaminate -> make_arrange -> make_questions
    -> make_plan -> make_render (each rank) -> make_score (each rank) -> [these three until the plan is closed]
    -> make_respond (each rank) -> make_lookalikes -> make_select -> make_publish; advance puts finished stages in force
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from promptforge import catalog
from promptforge.errors import StoreFault
from promptforge.protocols import Scorer
from promptforge.records import digest_of
from promptforge.schema import arrow_schema
from promptforge.stages import (
    arrange,
    decontaminate,
    dedup,
    filter,
    generate,
    lookalikes,
    questions,
    render,
    respond,
    score,
    select,
)
from promptforge.stages.coverage.minimum import check_accepted, check_plan
from promptforge.stages.extension.fitness import require_fit
from promptforge.stages.extension.purged import take_over
from promptforge.stages.parts import build_scorer, build_teacher
from promptforge.stages.progress import meter
from promptforge.stages.publish import publish
from promptforge.stages.rounds import chain, spending, told
from promptforge.stages.run import Run, Tally, Unit, open_run
from promptforge.store import Commit, Head


def _found(run: Run, unit: Unit) -> Commit:
    commit = run.store.committed(unit.stage, unit.shard, unit.digest)
    if commit is None:
        raise StoreFault(f"{run.root}: {unit.stage} {unit.shard} is not done yet; run the stages in order")
    return commit


def _text(run: Run) -> list[Commit]:
    """Commits of generate and filter in force."""
    found = []
    for shard in generate.shards(run):
        made = _found(run, generate.unit(run, shard))
        found += [made, _found(run, filter.unit(run, made))]
    return found


def _deduplicated(run: Run) -> list[Commit]:
    text = _text(run)
    return [*text, _found(run, dedup.unit(run, text))]


def _checked(run: Run) -> list[Commit]:
    """Commits up to the last check of the text: decontamination where the recipe has it."""
    text = _deduplicated(run)
    if run.decontaminate is None:
        return text
    return [*text, _found(run, decontaminate.unit(run, text))]


def _arranged(run: Run) -> list[Commit]:
    """Commits up to the order in which prompts are taken, where the recipe has one."""
    text = _checked(run)
    if run.order is None:
        return text
    return [*text, _found(run, arrange.unit(run, text))]


def _asked(run: Run) -> list[Commit]:
    """Commits up to the questions about each prompt, where a scorer wants them."""
    text = _arranged(run)
    if not run.parts.asks_questions:
        return text
    return [*text, _found(run, questions.unit(run, text))]


def _planned(run: Run) -> list[Commit]:
    """Commits up to the plans; a plan in one piece reads nothing of the questions."""
    text = _asked(run)
    known = chain.found(run, _arranged(run), text)
    if not known.commits:
        raise StoreFault(f"{run.root}: the plan is not done yet; run the stages in order")
    return [*text, *known.commits]


def _scored(run: Run) -> list[Commit]:
    """Commits up to the scores: those of render, respond and score are facts, so every one of the folder counts."""
    facts = [commit for stage in ("render", "score", "respond") for commit in run.store.commits(stage)]
    return [*_planned(run), *facts]


def _compared(run: Run) -> list[Commit]:
    """Commits up to the pairs of pictures that look alike, where a scorer makes their hashes."""
    commits = _scored(run)
    if not run.parts.compares:
        return commits
    return [*commits, _found(run, lookalikes.unit(run, commits))]


def text_shards(root: Path) -> int:
    """Number of text shards of the run; every input file is looked at, and a bad one raises here."""
    run = open_run(root)
    shards = generate.shards(run)
    dedup.look(run)
    if run.decontaminate is not None:
        decontaminate.check(run.decontaminate)
    arrange.look(run)
    if run.extended is not None:
        require_fit(run, run.extended)
        older = bool(run.store.commits("generate"))
        if (n := take_over(run.store, run.extended)) and older:
            meter(root).note(
                f"{n:,} texts were purged in the run of {run.extended.name}; verify names the files of earlier runs"
                " here that hold one, purge with its prompt_id removes it"
            )
    meter(root).expect("generate", sum(shard.stop - shard.start for shard in shards))
    return len(shards)


def make_text(root: Path, shard: int) -> list[Tally]:
    """Generate and filter one shard."""
    run = open_run(root)
    piece = generate.shards(run)[shard]
    made, first = run.work(generate.unit(run, piece))
    meter(root).add("generate", piece.stop - piece.start)
    _, second = run.work(filter.unit(run, made))
    return [first, second]


def make_dedup(root: Path) -> Tally:
    """Duplicates over all shards."""
    run = open_run(root)
    commit, tally = run.work(dedup.unit(run, _text(run)))
    if without := commit.counts.get("without_vector"):
        meter(root).note(f"{without:,} prompts have no vector in dedup.semantic.vectors; none was compared by meaning")
    return tally


def make_decontaminate(root: Path) -> Tally:
    """Prompts of benchmarks among the kept ones; nothing where the recipe names no benchmark."""
    run = open_run(root)
    if run.decontaminate is None:
        return Tally("decontaminate")
    commit, tally = run.work(decontaminate.unit(run, _deduplicated(run)))
    for line in decontaminate.left_out(commit):
        meter(root).note(line)
    return tally


def make_arrange(root: Path) -> Tally:
    """The order in which kept prompts are taken; nothing where the recipe leaves that to the stream."""
    run = open_run(root)
    if run.order is None:
        return Tally("arrange")
    commit, tally = run.work(arrange.unit(run, _checked(run)))
    for line in (*arrange.unmoved(commit), *arrange.left_over(commit)):
        meter(root).note(line)
    return tally


def kept(root: Path) -> tuple[int, int]:
    """Input rows, and how many of them no check dropped; after make_decontaminate."""
    run = open_run(root)
    with catalog.connect(run.store, _checked(run)) as con:
        ((rows, alive),) = con.sql("SELECT (SELECT count(*) FROM prompts), (SELECT count(*) FROM kept)").fetchall()
    return rows, alive


def make_plan(root: Path, *, demanding: bool = True, out_of_time: bool = False) -> tuple[Tally, bool]:
    """The list of pictures that are wanted, or that of the next round; and whether it is the last.

    Nothing is planned while a picture of an earlier round is not drawn or measured, nor behind the last round. Not the
    last: draw, score, and call it again. `out_of_time`: no further round begins. Raises DataFault where the prompts
    fall short of the recipe's [coverage], if `demanding`.
    """
    run = open_run(root)
    text, asked = _arranged(run), _asked(run)
    known = chain.found(run, text, asked)
    if not known.commits:
        if demanding:
            check_plan(run, text)
        render.forget_unheld(run)
    elif known.closed and not (known.stopped and not out_of_time):
        render.forget_unheld(run)
        return Tally("plan", skipped=len(known.commits)), True
    else:
        undrawn, unscored = chain.outstanding(run, _scored(run))
        if undrawn or unscored:
            _expect_more(root, undrawn, unscored)
            return Tally("plan", skipped=len(known.commits)), False
    commit, tally = run.work(chain.next_unit(run, text, asked, known, stop=out_of_time and bool(known.commits)))
    if chain.is_chained(run.recipe):
        for line in told.round_lines(run, commit):
            meter(root).note(line)
        _expect_more(root, *chain.outstanding(run, _scored(run)))
        return tally, commit.counts["images"] == 0
    return tally, True


def _expect_more(root: Path, undrawn: int, unscored: int) -> None:
    """Further pictures of a run in rounds, for the view."""
    for stage, n in (("render", undrawn), ("score", unscored)):
        if n:
            meter(root).resume(stage)
        counts = meter(root).snapshot()[1].get(stage, 0)
        meter(root).expect(stage, counts + n)


def make_questions(root: Path) -> Tally:
    """The yes/no questions about each prompt's picture; nothing where no scorer asks them."""
    run = open_run(root)
    if not run.parts.asks_questions:
        return Tally("questions")
    _, tally = run.work(questions.unit(run, _arranged(run)))
    return tally


def make_render(root: Path, rank: int, world: int) -> Tally:
    """The missing pictures of one rank."""
    begun = time.monotonic()
    run = open_run(root)
    commits = [*_planned(run), *run.store.commits("render")]
    total, todo = render.missing(run, commits, rank, world)
    if not chain.is_chained(run.recipe):
        meter(root).expect("render", total)
    if not todo:
        return Tally("render", skipped=1)
    run.rest_models()
    teacher = build_teacher(run.parts.teacher, rank)
    scorers = _scorers(run, rank, run.recipe.run.score_in_render)
    measure = score.measure_in_render(run, commits, scorers) if scorers else None
    tally = render.render_rank(run, teacher, todo, lambda n: meter(root).add("render", n), measure)
    return replace(tally, ranks_s=time.monotonic() - begun)


def _scorers(run: Run, rank: int, names: Collection[str]) -> dict[str, Scorer]:
    chosen = [part for part in run.parts.scorers if part.name in names]
    return {part.name: build_scorer(part, rank, run.asker_of(part)) for part in chosen}


def make_respond(root: Path, rank: int, world: int) -> Tally:
    """The teacher's response to the prompts of one rank; nothing where the recipe does not ask for it."""
    run = open_run(root)
    if run.recipe.response is None:
        return Tally("respond")
    todo = respond.missing(run, [*_planned(run), *run.store.commits("respond")])
    meter(root).expect("respond", len(todo))
    todo = [row for row in todo if int(row["prompt_id"][:8], 16) % world == rank]
    if not todo:
        return Tally("respond", skipped=1)
    return respond.respond_rank(run, todo, rank, lambda n: meter(root).add("respond", n))


def make_score(root: Path, rank: int, world: int) -> Tally:
    """The missing scores of one rank."""
    run = open_run(root)
    commits = _scored(run)
    todo = score.missing(run, commits)
    if not chain.is_chained(run.recipe):
        meter(root).expect("score", len(todo))
    if not todo:
        return Tally("score", skipped=1)
    scorers = _scorers(run, rank, {name for row in todo for name in row["digests"]})
    return score.score_rank(run, scorers, todo, rank, world, lambda n: meter(root).add("score", n))


def make_lookalikes(root: Path) -> Tally:
    """Pairs of pictures that look alike; nothing where no scorer makes their hashes."""
    run = open_run(root)
    if not run.parts.compares:
        return Tally("lookalikes")
    _, tally = run.work(lookalikes.unit(run, _scored(run)))
    return tally


def make_select(root: Path) -> Tally:
    """Both decisions for every kept prompt."""
    run = open_run(root)
    _, tally = run.work(select.unit(run, _scored(run)))
    return tally


def make_publish(root: Path, *, demanding: bool = True) -> Tally:
    """The data set folder. Raises DataFault where prompts fall short of the recipe's [coverage], if `demanding`."""
    run = open_run(root)
    commits = [*_compared(run), _found(run, select.unit(run, _scored(run)))]
    if demanding:
        check_accepted(run, [*commits, *run.store.commits("purge")])
    _, tally = publish(run, commits)
    return tally


def make_all(root: Path, epoch: int, world: int = 1, *, demanding: bool = True) -> list[Tally]:
    """Every stage in order, in this process and thread; the scheduler's flow does the same with tasks.

    Not `demanding`: prompts may fall short of the recipe's [coverage], as after a purge, which always ends.
    """
    begun = time.monotonic()
    tallies = [tally for shard in range(text_shards(root)) for tally in make_text(root, shard)]
    tallies += [make_dedup(root), make_decontaminate(root), make_arrange(root), make_questions(root)]
    recorded, last = 0, False
    while not last:
        tally, last = make_plan(root, demanding=demanding, out_of_time=is_out_of_time(root, time.monotonic() - begun))
        tallies.append(tally)
        for make in (make_render, make_score):
            tallies += [make(root, rank, world) for rank in range(world)]
        if not last:  # what a round cost is known to the next
            record_cost(root, epoch, tallies[recorded:])
            recorded = len(tallies)
    tallies += [make_respond(root, rank, world) for rank in range(world)]
    tallies += [make_lookalikes(root), make_select(root), make_publish(root, demanding=demanding)]
    record_cost(root, epoch, tallies[recorded:])
    advance(root, epoch, "publish")
    return tallies


def is_out_of_time(root: Path, elapsed_s: float) -> bool:
    """Whether no round begins any more in a command that has been at work for so long."""
    rounds = open_run(root).recipe.rounds
    return rounds is not None and rounds.max_wall_s is not None and elapsed_s >= rounds.max_wall_s


def advance(root: Path, epoch: int, through: str) -> Head:
    """Put the commits up to a stage in force (a new head), and write tables.sql beside it.

    `through` is dedup, score, select or publish. Purges and costs always count. A folder that has published keeps
    its head until the next publish is done, so that a reader never sees a half-made state in place of a whole one.
    """
    run = open_run(root)
    latest = run.store.head()
    if through != "publish" and latest and "publish" in latest.commits:
        return latest
    if through == "dedup":
        commits = _arranged(run)
    else:
        commits = _scored(run) if through == "score" else _compared(run)
        if through in {"select", "publish"}:
            commits.append(_found(run, select.unit(run, _scored(run))))
        if through == "publish":
            commits.append(publish(run, commits)[0])
    for stage in ("ask", "embed", "label", "forecast", "purge", "cost"):
        commits += run.store.commits(stage)
    by_stage: dict[str, list[str]] = {}
    for commit in commits:
        by_stage.setdefault(commit.stage, []).append(commit.key)
    head = run.store.new_head(epoch, run.resolved, by_stage)
    catalog.write_tables_sql(run.store, run.store.in_force(head))
    return head


def record_cost(root: Path, epoch: int, tallies: Sequence[Tally]) -> None:
    """Commit the clock time of the stages that did something in this run; nothing where none did.

    In rounds it is called after each of them.
    """
    rows = [
        {"epoch": epoch, "stage": tally.stage, "n_rows": tally.rows, "seconds": tally.seconds}
        for tally in tallies
        if tally.done
    ]
    if rows:
        store = open_run(root).store
        shard = f"e{epoch:06d}"
        part = sum(commit.shard == shard for commit in store.commits("cost"))
        table = pa.Table.from_pylist(rows, schema=arrow_schema("cost"))
        drawn = sum((tally for tally in tallies if tally.stage == "render"), Tally("render"))
        name = digest_of(["cost", epoch, *([part] if part else [])])
        store.commit("cost", shard, name, {"cost": table}, spending.recorded(drawn))
