"""The whole pipeline as one flow with subflows: text, render and score (once, or in rounds), compare, publish.

Tasks carry a folder and integers and give small JSON back; rows and pictures stay in the run folder, whose commit
records decide what is done. So a task may be retried, or the whole flow run again, and nothing is done twice.
A fault of the data or the recipe is not retried: it would come again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import flow, task
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.futures import PrefectFuture, wait
from prefect.runtime import flow_run

from promptforge import catalog, recipe
from promptforge.flows.params import CurateParams
from promptforge.flows.retries import TRIES
from promptforge.flows.runners import task_runner
from promptforge.lock import Lock
from promptforge.report.page import write_report
from promptforge.report.rejects import write_rejects
from promptforge.stages import parts, pipeline
from promptforge.stages.coverage.demands import refuse_hopeless
from promptforge.stages.progress import meter
from promptforge.stages.run import Run, Tally, open_run, prepare

Row = dict[str, Any]  #: a Tally as JSON

#: Share of a run's time at the end of each subflow, for the progress artifact; rendering and reading text take it all.
_REACHED = {"text": (0.0, 5.0), "render": (5.0, 45.0), "score": (45.0, 95.0), "publish": (95.0, 100.0)}
_LOOK_S = 5.0


@task(task_run_name="text shard {shard}", **TRIES)
def text_shard(root: str, shard: int) -> list[Row]:
    """Generate and filter one shard."""
    return [asdict(tally) for tally in pipeline.make_text(Path(root), shard)]


@task(task_run_name="dedup", **TRIES)
def dedup(root: str) -> Row:
    """Exact duplicates over all shards."""
    return asdict(pipeline.make_dedup(Path(root)))


@task(task_run_name="decontaminate", **TRIES)
def decontaminate(root: str) -> Row:
    """Prompts of benchmarks."""
    return asdict(pipeline.make_decontaminate(Path(root)))


@task(task_run_name="arrange", **TRIES)
def arrange(root: str) -> Row:
    """In which order kept prompts are taken."""
    return asdict(pipeline.make_arrange(Path(root)))


@task(task_run_name="questions", **TRIES)
def questions(root: str) -> Row:
    """What is to be asked about each prompt's picture."""
    return asdict(pipeline.make_questions(Path(root)))


@task(task_run_name="plan", **TRIES)
def plan(root: str, out_of_time: bool) -> tuple[Row, bool]:
    """Which pictures are wanted, or are in the next round; and whether that is the last."""
    tally, last = pipeline.make_plan(Path(root), out_of_time=out_of_time)
    return asdict(tally), last


@task(task_run_name="render rank {rank} of {world}", **TRIES)
def render_rank(root: str, rank: int, world: int) -> Row:
    """The missing pictures of one rank; the teacher is loaded once."""
    return asdict(pipeline.make_render(Path(root), rank, world))


@task(task_run_name="response rank {rank} of {world}", **TRIES)
def respond_rank(root: str, rank: int, world: int) -> Row:
    """How much the teacher's prediction depends on each prompt."""
    return asdict(pipeline.make_respond(Path(root), rank, world))


@task(task_run_name="score rank {rank} of {world}", **TRIES)
def score_rank(root: str, rank: int, world: int) -> Row:
    """The missing scores of one rank; models are loaded once."""
    return asdict(pipeline.make_score(Path(root), rank, world))


@task(task_run_name="lookalikes", **TRIES)
def lookalikes(root: str) -> Row:
    """Pairs of pictures that look alike."""
    return asdict(pipeline.make_lookalikes(Path(root)))


@task(task_run_name="select", **TRIES)
def select(root: str) -> Row:
    """Both decisions."""
    return asdict(pipeline.make_select(Path(root)))


@task(task_run_name="publish", **TRIES)
def dataset(root: str) -> Row:
    """The data set folder."""
    return asdict(pipeline.make_publish(Path(root)))


@flow(flow_run_name="text of {root}", persist_result=False)
def text(root: str, artifact: UUID) -> list[Row]:
    """Sources to clean, checked, deduplicated prompts."""
    where = Path(root)
    start = time.monotonic()
    pieces = [text_shard.submit(root, number) for number in range(pipeline.text_shards(where))]
    rows = [row for group in _follow(pieces, where, "generate", artifact) for row in group]
    made = _timed(rows, start)
    meter(where).finish("filter")
    made += _one(lambda: dedup(root), where)
    if open_run(where).decontaminate is not None:
        made += _one(lambda: decontaminate(root), where)
    before, after = pipeline.kept(where)
    if before:
        meter(where).note(f"{after:,} of {before:,} rows kept by the checks ({after / before:.0%})")
    if open_run(where).order is not None:
        made += _one(lambda: arrange(root), where)
    return made


@flow(flow_run_name="render of {root}", persist_result=False)
def render(root: str, world: int, artifact: UUID, out_of_time: bool = False) -> tuple[list[Row], bool]:
    """The pictures that the recipe wants, or its next round, and the folder lacks; and whether no round follows."""
    where = Path(root)
    parts = open_run(where).parts
    made = _one(lambda: questions(root), where) if parts.asks_questions else []
    last = False

    def planned() -> Row:
        nonlocal last
        row, last = plan(root, out_of_time)
        return row

    made += _one(planned, where)
    start = time.monotonic()
    ranks = [render_rank.submit(root, rank, world) for rank in range(world)]
    made += _timed(_follow(ranks, where, "render", artifact), start)
    return made, last


@flow(flow_run_name="score of {root}", persist_result=False)
def score(root: str, world: int, artifact: UUID) -> list[Row]:
    """The measurements that the recipe wants and the folder lacks."""
    where = Path(root)
    start = time.monotonic()
    ranks = [score_rank.submit(root, rank, world) for rank in range(world)]
    return _timed(_follow(ranks, where, "score", artifact), start)


@flow(flow_run_name="comparison of {root}", persist_result=False)
def compare(root: str, world: int, artifact: UUID) -> list[Row]:
    """What is measured once every picture is there: the teacher's response, pictures that look alike."""
    where = Path(root)
    made: list[Row] = []
    if open_run(where).recipe.response is not None:  # after score: a word swap is measured where a reader found text
        start = time.monotonic()
        ranks = [respond_rank.submit(root, rank, world) for rank in range(world)]
        made += _timed(_follow(ranks, where, "respond", artifact), start)
    if open_run(where).parts.compares:
        made += _one(lambda: lookalikes(root), where)
    return made


@flow(flow_run_name="publish of {root}", persist_result=False)
def publish(root: str) -> list[Row]:
    """The decisions, and the data set that follows from them."""
    return _one(lambda: select(root), Path(root)) + _one(lambda: dataset(root), Path(root))


def _run_name() -> str:
    params = flow_run.parameters.get("params")
    chosen = params if isinstance(params, CurateParams) else CurateParams.model_validate(params or {})
    return f"{Path(chosen.recipe).stem} to {chosen.out or f'runs/{Path(chosen.recipe).stem}'}"


@flow(flow_run_name=_run_name, persist_result=False)
def curate(params: CurateParams) -> Row:
    """Prompts in, shards out: every stage of a recipe, doing only what is missing in the run folder.

    Gives the number of the head that is in force, and what each stage did: units done, units found done, rows and
    seconds from the stage's start to its end.
    """
    raw = params.raw()
    checked = recipe.validate(raw, params.recipe)
    parts.resolve(checked, params.recipe)  # every fault of the recipe is told before a folder is made
    refuse_hopeless(checked, params.recipe)
    root = params.root(checked.name)
    with Lock(root, say=meter(root).note) as lock:
        run = prepare(root, raw, params.recipe)
        run.store.sweep()
        rows, head = _stages(run, lock.epoch)
    return {"root": str(root), "head": head, "stages": rows}


def _stages(run: Run, epoch: int) -> tuple[list[Row], int]:
    where, world = str(run.root), run.recipe.run.workers
    runner = task_runner(run.recipe.run)
    artifact = create_progress_artifact(0.0, key="curate-progress", description=f"{run.recipe.name}: {where}")
    assert isinstance(artifact, UUID)
    begun = time.monotonic()
    rows = text.with_options(task_runner=runner)(where, artifact)
    pipeline.advance(run.root, epoch, "dedup")
    recorded, last = 0, False
    while not last:
        late = pipeline.is_out_of_time(run.root, time.monotonic() - begun)
        made, last = render.with_options(task_runner=runner)(where, world, artifact, late)
        rows += made
        rows += score.with_options(task_runner=runner)(where, world, artifact)
        if not last:  # what a round cost is known to the next
            pipeline.record_cost(run.root, epoch, [Tally(**row) for row in rows[recorded:]])
            recorded = len(rows)
            meter(run.root).resume("plan")
    if run.recipe.response is not None or run.parts.compares:
        rows += compare.with_options(task_runner=runner)(where, world, artifact)
    rows += publish(where)
    pipeline.record_cost(run.root, epoch, [Tally(**row) for row in rows[recorded:]])
    head = pipeline.advance(run.root, epoch, "publish")
    update_progress_artifact(artifact, 100.0)
    with catalog.open_run(run.root) as con:
        write_rejects(run.root, con)
        write_report(run.root, con)
        funnel = con.sql("SELECT axis, stage, check_name, reason, n_in, n_dropped FROM funnel").to_arrow_table()
    create_table_artifact(funnel.to_pylist(), key="funnel", description=f"head {head.number} of {where}")
    return _by_stage(rows), head.number


def _by_stage(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One row a stage, however many rounds it had."""
    total: dict[str, Tally] = {}
    for row in rows:
        tally = Tally(**row)
        total[tally.stage] = total.get(tally.stage, Tally(tally.stage)) + tally
    return [asdict(tally) for tally in total.values()]


def _follow(futures: Sequence[PrefectFuture[Any]], root: Path, stage: str, artifact: UUID) -> list[Any]:
    """Results of a stage's tasks; meanwhile the progress artifact moves. The first fault is raised."""
    begin, end = _REACHED[{"generate": "text", "respond": "score"}.get(stage, stage)]
    pending: Sequence[PrefectFuture[Any]] = futures
    while pending:
        pending = list(wait(list(pending), timeout=_LOOK_S).not_done)
        totals, counts, _ = meter(root).snapshot()
        share = min(1.0, counts.get(stage, 0) / totals[stage]) if totals.get(stage) else 0.0
        update_progress_artifact(artifact, begin + (end - begin) * (share if pending else 1.0))
    results = [future.result() for future in futures]
    meter(root).finish(stage)
    return results


def _one(work: Callable[[], Row], root: Path) -> list[Row]:
    """The row of a stage of one task, timed."""
    start = time.monotonic()
    row = work()
    meter(root).finish(row["stage"])
    return _timed([row], start)


def _timed(rows: Sequence[Mapping[str, Any]], start: float) -> list[Row]:
    """The rows added up by stage; the clock time since `start` is shared out by how busy each stage was."""
    total = [Tally(**row) for row in _by_stage(rows)]
    busy = sum(tally.seconds for tally in total)
    passed = time.monotonic() - start
    return [
        asdict(replace(tally, seconds=round(passed * (tally.seconds / busy if busy else 1 / len(total)), 3)))
        for tally in total
    ]
