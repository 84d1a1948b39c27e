"""The whole forecast of a recipe: what it rests on, every line, and what a person should know before the bill.

Nothing is rendered and nothing written; every input file is looked at and counted, as a run does before its work.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from promptforge.errors import ConfigError
from promptforge.records import AXES
from promptforge.stages import arrange, decontaminate, dedup, generate
from promptforge.stages.extension.fitness import require_fit
from promptforge.stages.forecast import disk, rows, spending
from promptforge.stages.forecast.amounts import Amount, Sampler, total
from promptforge.stages.forecast.basis import PILOT, Measured, measure
from promptforge.stages.forecast.lines import Line
from promptforge.stages.forecast.rows import ITEMS, Axis, Limits
from promptforge.stages.run import Run
from promptforge.store import Store


@dataclass(frozen=True)
class Forecast:
    """Lines, what they rest on in a sentence, and remarks: what is short, and by how much."""

    lines: tuple[Line, ...]
    rests_on: str
    remarks: tuple[str, ...]
    axes: dict[str, Axis]

    def line(self, part: str, item: str, axis: str | None = None, unit: str | None = None) -> Line | None:
        """The line of this name, if there is one."""
        wanted = (part, item, axis)
        found = (each for each in self.lines if (each.part, each.item, each.axis) == wanted)
        return next((each for each in found if unit in (None, each.unit)), None)


def look(run: Run) -> dict[str | None, int]:
    """Axis -> candidates; None: told by the text alone. Every file that a run would read is looked at, as it would."""
    shards = generate.shards(run)
    dedup.look(run)
    if run.decontaminate is not None:
        decontaminate.check(run.decontaminate)
    arrange.look(run)
    if run.extended is not None:
        require_fit(run, run.extended)
    found: dict[str | None, int] = {}
    for shard in shards:
        axis = run.recipe.sources[shard.source].params.get("axis")
        key = None if axis is None else str(axis)
        found[key] = found.get(key, 0) + shard.stop - shard.start
    return found


def basis(run: Run, given: Path | None) -> Measured | None:
    """The folder that a plan rests on: the one given, else the run's pilot, else the run itself; None: neither is."""
    if given is not None:
        if not (given / "_run.json").is_file():
            raise ConfigError(f"--from {given}: no run here (no _run.json); give a folder that promptforge run made")
        return measure(run, given, "pilot" if given.name.endswith(PILOT) else "earlier_run")
    pilot = run.root.with_name(run.root.name + PILOT)
    for root, kind in ((pilot, "pilot"), (run.root, "earlier_run")):
        head = Store(root).head()
        if head is not None and "publish" in head.commits:
            return measure(run, root, kind)
    return None


def foresee(run: Run, candidates: dict[str | None, int], measured: Measured | None, price: float | None) -> Forecast:
    """Every line but those of downloads. `price` is of an hour of one rank; None: [rounds] may name one."""
    recipe = run.recipe
    sampler = Sampler(np.random.default_rng(recipe.seed), measured.basis if measured else "recipe")
    params: Any = run.parts.teacher.params
    a_picture = spending.second_per_picture(recipe, params, measured, sampler)
    limits = spending.spend_limits(recipe, a_picture)
    axes = rows.forecast_rows(recipe, candidates, measured, sampler, limits)
    lines = []
    for item in ITEMS:
        unit = "pictures" if item in ("pictures", "usable") else "rows"
        each = {axis: axes[axis].item(item) for axis in AXES}
        lines += [
            Line.of(("rows", item, axis, unit), amount, _row_detail(item, measured)) for axis, amount in each.items()
        ]
        whole = total(list(each.values()))
        if item in ("prompts", "pictures", "usable"):  # of bounds each axis may take the whole budget, not all of them
            whole = whole.at_most(limits.pictures)
        if measured is None and candidates.get(None):  # a row that may be of any axis is of one
            n = sum(candidates.values())
            whole = Amount.exactly(n) if item == "candidates" else whole
            whole = whole.at_most(n * (recipe.render.takes if item == "pictures" else 1))
        lines.append(Line.of(("rows", item, None, unit), whole, "sum of the axes"))
    times, ranks = spending.time_lines(recipe, axes, measured, a_picture, sampler)
    if price is None and recipe.rounds is not None:
        price = recipe.rounds.price_per_gpu_hour
    lines += [*times, *spending.money_lines(times, ranks, price)]
    space, peak, data = disk.disk_lines(recipe, params, axes, measured, sampler)
    free = free_bytes(run.root)
    lines += [*space, Line("disk", "free", None, "bytes", free, free, free, "known", "free where the run folder lies")]
    lines += [*disk.memory_lines(recipe, axes), *disk.trainer_lines(params, axes, measured, data)]
    remarks = [*(measured.notes if measured else ()), *_shortages(run, axes, limits, measured)]
    if peak is not None and peak.high > free:
        remarks.append(f"disk: {peak.high / 1e9:,.1f} GB may be needed at the peak, {free / 1e9:,.1f} GB are free")
    return Forecast(tuple(lines), _rests_on(run, measured), tuple(remarks), axes)


def free_bytes(root: Path) -> float:
    """Free space of the disk where the folder is or would be made."""
    there = root.absolute()
    while not there.exists():
        there = there.parent
    return float(shutil.disk_usage(there).free)


def _row_detail(item: str, measured: Measured | None) -> str:
    if item == "candidates":
        return "counted in the sources"
    if measured is None:
        return "bounds: nothing is measured"
    if item in ("kept", "accepted", "published") and measured.whole_text:
        return f"the whole text went through the checks in {measured.root}"
    return f"shares of {measured.root}, Jeffreys' interval"


def _rests_on(run: Run, measured: Measured | None) -> str:
    if measured is None:
        return "nothing measured: bounds alone"
    judged = (measured.judged or {}).values()
    what = {"pilot": "a pilot", "earlier_run": "an earlier run"}[measured.basis]
    text = "its text is this run's, whole" if measured.whole_text else "its text is another's: shares are taken"
    drawn, prompts = sum(each.pictures for each in judged), sum(each.prompts for each in judged)
    if not run.recipe.render.sample:
        return f"{what}, {measured.root}: {text}; prompts only"
    pictures = f"{drawn:,} pictures of {prompts:,} prompts judged" if drawn else "no picture of it counts"
    return f"{what}, {measured.root}: {text}; {pictures}"


def _shortages(run: Run, axes: dict[str, Axis], limits: Limits, measured: Measured | None) -> list[str]:
    """Quotas that will not or may not be reached, and budgets that end before them."""
    found = []
    quota = run.recipe.select.quota.model_dump()
    for name, axis in axes.items():
        most = quota[name]
        if most == "all" or axis.accepted.low >= most:
            continue
        if axis.candidates.high < most:
            found.append(f"{name}: {axis.candidates.high:,.0f} candidates at most, {most:,} wanted")
        elif axis.accepted.expected is not None:
            chance = float((axis.accepted.draws >= most).mean())
            found.append(
                f"{name}: {axis.accepted.expected:,.0f} of {most:,} wanted are expected ({axis.accepted.low:,.0f} to"
                f" {axis.accepted.high:,.0f}); the chance of all is {chance:.0%}"
            )
    needed = [axis.needed for axis in axes.values() if axis.needed is not None]
    if needed and limits.pictures is not None and measured is not None:
        whole = total([axis.needed.at_most(axis.eligible) for axis in axes.values() if axis.needed is not None])
        takes = _mean_takes(axes)
        asked: Amount = whole * takes
        if asked.is_known and limits.pictures.is_known:
            chance = float((asked.draws <= limits.pictures.draws).mean())
            found.append(
                f"rounds: some {asked.expected:,.0f} pictures ({asked.low:,.0f} to {asked.high:,.0f}) reach the quotas,"
                f" {limits.by} allows {limits.pictures.expected:,.0f}; the chance that it suffices is {chance:.0%}"
            )
    return found


def _mean_takes(axes: dict[str, Axis]) -> Amount:
    return total([axis.pictures for axis in axes.values()]) / total([axis.prompts for axis in axes.values()])
