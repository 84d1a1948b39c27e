"""A pilot: the real stages on a part of the pictures, in a folder of its own beside the run's.

The text is worked through whole (3,500 rows/s a core), so that duplicates, which grow with the rows, are counted and
not extrapolated; only where there are more than WHOLE_TEXT candidates, or a language model writes them, is less of it
written. Of the prompts that the run would draw some `count` of each axis are drawn: a fixed draw by hash, as
render.sample takes it, so they lie evenly over the order in which prompts are taken. Where an axis has fewer, the first
of each are. All takes are drawn. What is done is kept: the same call goes on where it was stopped.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from promptforge import catalog
from promptforge.errors import DataFault
from promptforge.lock import Lock
from promptforge.records import AXES
from promptforge.stages import pipeline
from promptforge.stages.forecast.basis import planned_text
from promptforge.stages.goals import ELIGIBLE
from promptforge.stages.judging.reference import fitted_to_sample, reference_prompts
from promptforge.stages.progress import meter
from promptforge.stages.run import Run, Tally, open_run, prepare

WHOLE_TEXT = 200_000
Raw = dict[str, Any]


def make_pilot(run: Run, raw: Mapping[str, Any], root: Path, count: int) -> dict[str, Any]:
    """Make or finish the pilot of a run in `root`; the tallies of its stages. The lock of `root` is taken."""
    where = str(root)
    text = _shorter(run, raw, count)
    with Lock(root, say=meter(root).note) as lock:
        prepare(root, text, where).store.sweep()
        tallies = _make_text(root)
        pipeline.record_cost(root, lock.epoch, tallies)
        prepare(root, _drawing(root, text, count), where)
        for tally in _make_pictures(root):  # costs are recorded at once: a stopped pilot still knows what it took
            pipeline.record_cost(root, lock.epoch, [tally])
            tallies.append(tally)
        pipeline.advance(root, lock.epoch, "publish")
    return {"root": where, "stages": tallies}


def _shorter(run: Run, raw: Mapping[str, Any], count: int) -> Raw:
    """The recipe with sources that write fewer rows, where the whole text would cost too much."""
    found: Raw = copy.deepcopy(dict(raw))
    rows = [sum(part.n_rows for part in run.source(place).parts()) for place in range(len(run.parts.sources))]
    share = min(1.0, WHOLE_TEXT / max(1, sum(rows)))
    for source, n, part in zip(found["sources"], rows, run.parts.sources, strict=True):
        least = min(n, 2 * count)
        if part.asks is not None and source.get("n"):
            source["n"] = least
        elif share < 1 and source.get("n"):
            source["n"] = max(least, int(n * share))
    return found


def _make_text(root: Path) -> list[Tally]:
    tallies = [tally for shard in range(pipeline.text_shards(root)) for tally in pipeline.make_text(root, shard)]
    for stage in ("generate", "filter"):
        meter(root).finish(stage)
    for make in (pipeline.make_dedup, pipeline.make_decontaminate, pipeline.make_arrange):
        tallies.append(make(root))
        meter(root).finish(tallies[-1].stage)
    return tallies


def _drawing(root: Path, text: Raw, count: int) -> Raw:
    """The recipe that draws the pilot's pictures: quotas and a sample that leave some `count` prompts of each axis."""
    run = open_run(root)
    found: Raw = copy.deepcopy(text)
    for table in ("rounds", "coverage"):
        found.pop(table, None)
    found.get("publish", {}).pop("extends", None)
    select = found.setdefault("select", {})
    select.pop("cells", None)
    if run.recipe.render.sample == 0:
        return found
    planned = _planned(run)
    enough = [n for n in planned.values() if n]
    if not enough:
        raise DataFault(
            f"{root}: the checks leave no prompt to draw, so there is nothing to measure; see rejects there"
        )
    most = max(count, min(enough))
    whole = min(enough) < count
    select["quota"] = {axis: min(n, count if whole else most) for axis, n in planned.items()}
    select["oversample"] = 1.0
    for name, least in fitted_to_sample(run.recipe.select.gates, count).items():
        select["gates"][name].update(reference=max(select["quota"].values()), least=least)
    found.setdefault("render", {}).update(sample=1.0 if whole else count / most, until_pass=False)
    return found


def _planned(run: Run) -> dict[str, int]:
    """Axis -> prompts that the run would draw from, before its sample; all that may be taken where rounds draw."""
    commits = planned_text(run)
    assert commits is not None  # made just now
    with catalog.connect(run.store, commits) as con:
        counts = dict(
            con.sql(
                f"SELECT axis, count(*) FROM ({ELIGIBLE}) WHERE NOT left_over GROUP BY axis ORDER BY axis"
            ).fetchall()
        )
    quota = run.recipe.select.quota.model_dump()
    factor = run.recipe.select.oversample if run.recipe.select.policy == "images" else 1.0
    reference = reference_prompts(run.recipe)
    found = {}
    for axis in AXES:
        most, n = quota[axis], int(counts.get(axis, 0))
        bounded = most == "all" or (most and run.recipe.rounds is not None)
        found[axis] = n if bounded else min(n, max(math.ceil(most * factor - 1e-9), reference[axis]))
    return found


def _make_pictures(root: Path) -> Iterator[Tally]:
    world = open_run(root).recipe.run.workers
    yield pipeline.make_questions(root)
    yield pipeline.make_plan(root, demanding=False)[0]
    meter(root).finish("plan")
    for stage, make in (
        ("render", pipeline.make_render),
        ("score", pipeline.make_score),
        ("respond", pipeline.make_respond),
    ):
        yield _on_ranks(root, stage, make, world)
        meter(root).finish(stage)
    yield pipeline.make_lookalikes(root)
    yield pipeline.make_select(root)
    meter(root).finish("select")
    yield pipeline.make_publish(root, demanding=False)
    meter(root).finish("publish")


def _on_ranks(root: Path, stage: str, make: Callable[[Path, int, int], Tally], world: int) -> Tally:
    """Every rank at once, as a run has them; the seconds are those of the clock, loading included."""
    begun = time.monotonic()
    with ThreadPoolExecutor(world, thread_name_prefix="rank") as pool:
        found = list(pool.map(lambda rank: make(root, rank, world), range(world)))
    total = sum(found, Tally(stage))
    return replace(total, seconds=time.monotonic() - begun)
