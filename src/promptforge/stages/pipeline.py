"""The stages in order, as functions of a run folder and integers: what a scheduler's tasks call.

Every function looks up what is in force by asking each stage for its units of work, so it may be called again at any
time, by any process, and does only what is missing. The caller holds the folder's lock.

    text_shards -> make_text (each shard) -> make_dedup -> make_decontaminate -> make_arrange -> make_questions
    -> make_plan -> make_render (each rank) -> make_score (each rank) -> make_respond (each rank) -> make_lookalikes
    -> make_select -> make_publish; advance puts finished stages in force
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
    """Commits up to the questions about each prompt, where a scorer wants them; these read nothing of the order."""
    text = _arranged(run)
    if not run.parts.asks_questions:
        return text
    return [*text, _found(run, questions.unit(run, _checked(run)))]


def _planned(run: Run) -> list[Commit]:
    """Commits up to the plan, which reads nothing of the questions."""
    return [*_asked(run), _found(run, render.plan_unit(run, _arranged(run)))]


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


def make_plan(root: Path, *, demanding: bool = True) -> Tally:
    """The list of pictures that are wanted; room for those that are to be tried again.

    Raises DataFault where the prompts fall short of the recipe's [coverage], if `demanding`.
    """
    run = open_run(root)
    if demanding:
        check_plan(run, _arranged(run))
    render.forget_unheld(run)
    _, tally = run.work(render.plan_unit(run, _arranged(run)))
    return tally


def make_questions(root: Path) -> Tally:
    """The yes/no questions about each prompt's picture; nothing where no scorer asks them."""
    run = open_run(root)
    if not run.parts.asks_questions:
        return Tally("questions")
    _, tally = run.work(questions.unit(run, _checked(run)))
    return tally


def make_render(root: Path, rank: int, world: int) -> Tally:
    """The missing pictures of one rank."""
    run = open_run(root)
    commits = [*_planned(run), *run.store.commits("render")]
    total, todo = render.missing(run, commits, rank, world)
    meter(root).expect("render", total)
    if not todo:
        return Tally("render", skipped=1)
    run.rest_models()
    teacher = build_teacher(run.parts.teacher, rank)
    scorers = _scorers(run, rank, run.recipe.run.score_in_render)
    measure = score.measure_in_render(run, commits, scorers) if scorers else None
    return render.render_rank(run, teacher, todo, lambda n: meter(root).add("render", n), measure)


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
    tallies = [tally for shard in range(text_shards(root)) for tally in make_text(root, shard)]
    tallies += [make_dedup(root), make_decontaminate(root), make_arrange(root)]
    tallies += [make_questions(root), make_plan(root, demanding=demanding)]
    for make in (make_render, make_score, make_respond):
        tallies += [make(root, rank, world) for rank in range(world)]
    tallies += [make_lookalikes(root), make_select(root), make_publish(root, demanding=demanding)]
    record_cost(root, epoch, tallies)
    advance(root, epoch, "publish")
    return tallies


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
    for stage in ("ask", "embed", "label", "purge", "cost"):
        commits += run.store.commits(stage)
    by_stage: dict[str, list[str]] = {}
    for commit in commits:
        by_stage.setdefault(commit.stage, []).append(commit.key)
    head = run.store.new_head(epoch, run.resolved, by_stage)
    catalog.write_tables_sql(run.store, run.store.in_force(head))
    return head


def record_cost(root: Path, epoch: int, tallies: Sequence[Tally]) -> None:
    """Commit the clock time of the stages that did something in this run; nothing where none did."""
    rows = [
        {"epoch": epoch, "stage": tally.stage, "n_rows": tally.rows, "seconds": tally.seconds}
        for tally in tallies
        if tally.done
    ]
    if rows:
        store = open_run(root).store
        table = pa.Table.from_pylist(rows, schema=arrow_schema("cost"))
        store.commit("cost", f"e{epoch:06d}", digest_of(["cost", epoch]), {"cost": table})
