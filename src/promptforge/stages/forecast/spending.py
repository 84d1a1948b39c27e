"""Clock time by stage, time of ranks, and money.

Seconds a row come from the table cost of a pilot or an earlier run, as they were there: the same machine, the same
number of ranks at once. Nobody measured how they vary from day to day, so low and high are a quarter below and above,
which is a stated margin and no interval. Time of ranks is clock time x ranks, as drawing keeps each until its end.
Not covered: starting the scheduler (some 10 s), loading models, a machine that is shared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptforge.recipe import Recipe
from promptforge.stages.forecast.amounts import Amount, Sampler, total
from promptforge.stages.forecast.basis import Measured
from promptforge.stages.forecast.lines import Line
from promptforge.stages.forecast.rows import Axis, Limits

MARGIN = 0.25

#: Stages by what their time grows with; those of RANKS keep the ranks.
_DRIVEN = {
    **dict.fromkeys(("ask", "embed", "generate", "filter", "dedup", "decontaminate"), "candidates"),
    **dict.fromkeys(("arrange", "questions", "plan", "select"), "kept"),
    **dict.fromkeys(("render", "score", "lookalikes"), "pictures"),
    "respond": "prompts",
    "publish": "usable",
}
RANKS = ("render", "score", "respond")

#: Published seconds a picture: (model, size, steps) -> seconds on one H100, and where that is said.
_PUBLISHED = {
    ("black-forest-labs/flux.1-dev", 1024, 28): (6.46, "published for diffusers on an H100, not measured here"),
}

UNKNOWN = "unknown; --pilot 100 measures it"


def second_per_picture(recipe: Recipe, params: Any, measured: Measured | None, sampler: Sampler) -> Amount | None:
    """Seconds of one rank for one picture; None where nothing says."""
    if measured is not None and measured.a_picture_s is not None:
        return sampler.about(measured.a_picture_s, MARGIN)
    published = _published(params)
    return sampler.about(published[0], MARGIN, "published") if published else None


def spend_limits(recipe: Recipe, a_picture: Amount | None) -> Limits:
    """What [rounds] may spend, in pictures; bounds in seconds and money need to know what a picture takes."""
    rounds = recipe.rounds
    if rounds is None:
        return Limits()
    bounds: list[tuple[str, Amount]] = []
    if rounds.max_renders is not None:
        bounds.append(("max_renders", Amount.exactly(rounds.max_renders)))
    seconds = {"max_gpu_s": rounds.max_gpu_s}
    if rounds.max_money is not None and rounds.price_per_gpu_hour:
        seconds["max_money"] = rounds.max_money / rounds.price_per_gpu_hour * 3600
    if rounds.max_wall_s is not None:
        seconds["max_wall_s"] = rounds.max_wall_s * recipe.run.workers
    for name, most in seconds.items():
        if most is not None and a_picture is not None:
            bounds.append((name, Amount.exactly(most) / a_picture))
    if not bounds:
        return Limits()
    tightest = min(bounds, key=lambda bound: float(bound[1].draws.mean()))
    pictures = tightest[1]
    for _, bound in bounds:
        pictures = pictures.at_most(bound)
    return Limits(pictures, tightest[0])


def time_lines(
    recipe: Recipe, axes: Mapping[str, Axis], measured: Measured | None, a_picture: Amount | None, sampler: Sampler
) -> tuple[list[Line], Amount | None]:
    """Lines by stage, and the seconds of all ranks; None where they are unknown."""
    lines: list[Line] = []
    clocks: list[Amount] = []
    ranks: list[Amount] = []
    for stage in _stages(recipe, measured):
        seconds = _clock(recipe, stage, axes, measured, a_picture, sampler)
        if seconds is None:
            lines.append(Line.unknown(("time", stage, None, "seconds"), UNKNOWN))
            continue
        clock, detail = seconds
        lines.append(Line.of(("time", stage, None, "seconds"), clock, detail))
        clocks.append(clock)
        if stage in RANKS:
            busy = clock * recipe.run.workers
            ranks.append(busy)
            said = f"clock time x {recipe.run.workers} ranks; {detail}"
            lines.append(Line.of(("time", stage, None, "gpu_seconds"), busy, said))
    if len(clocks) == len(_stages(recipe, measured)) and clocks:
        lines.append(Line.of(("time", "all", None, "seconds"), total(clocks), "sum of the stages, one after another"))
    if not ranks:
        return lines, (Amount.exactly(0) if recipe.render.sample == 0 else None)
    return lines, total(ranks)


def money_lines(lines: list[Line], ranks: Amount | None, price: float | None) -> list[Line]:
    """What the ranks' time costs; nothing where no price is said."""
    if price is None:
        return []
    if ranks is None:
        return [Line.unknown(("money", "all", None, "currency"), f"seconds a picture are {UNKNOWN}")]
    known = [line for line in lines if line.unit == "gpu_seconds"]
    found = [
        Line(
            "money",
            line.item,
            None,
            "currency",
            line.low / 3600 * price,
            _scaled(line.expected, price),
            *_rest(line, price),
        )
        for line in known
    ]
    said = f"time of ranks x {price:g} an hour"
    return [*found, Line.of(("money", "all", None, "currency"), ranks * (price / 3600), said)]


def _scaled(value: float | None, price: float) -> float | None:
    return None if value is None else value / 3600 * price


def _rest(line: Line, price: float) -> tuple[float | None, str, str]:
    return _scaled(line.high, price), line.basis, f"time of ranks x {price:g} an hour"


def _stages(recipe: Recipe, measured: Measured | None) -> list[str]:
    wanted = ["generate", "filter", "dedup"]
    wanted += ["decontaminate"] * (recipe.decontaminate is not None) + ["arrange"] * (recipe.order is not None)
    wanted.append("plan")
    if recipe.render.sample:
        wanted += ["render", *(["score"] if recipe.scorers else [])]
        wanted += ["respond"] if recipe.response is not None else []
    wanted += ["select", "publish"]
    others = [stage for stage in measured.seconds if stage in _DRIVEN and stage not in wanted] if measured else []
    return [*others, *wanted]


def _rate(measured: Measured | None, stage: str) -> float | None:
    """Clock seconds a row of the stage's own kind."""
    if measured is None or stage not in measured.seconds or (stage in RANKS and measured.other_teacher):
        return None
    seconds, rows = measured.seconds[stage]
    if stage in RANKS:
        return seconds / rows if rows else None
    judged = (measured.judged or {}).values()
    count = {
        "candidates": sum(text.rows for text in measured.text.values()),
        "kept": sum(text.kept for text in measured.text.values()),
        "pictures": sum(each.pictures for each in judged),
        "usable": sum(measured.published),
    }[_DRIVEN[stage]]
    return seconds / count if count else None


def _clock(
    recipe: Recipe,
    stage: str,
    axes: Mapping[str, Axis],
    measured: Measured | None,
    a_picture: Amount | None,
    sampler: Sampler,
) -> tuple[Amount, str] | None:
    amount = _rows(stage, axes)
    if stage == "render" and a_picture is not None:
        detail = "seconds a picture"
        if a_picture.basis == "published":
            detail = "6.46 s a picture, published for diffusers on an H100, not measured"
        elif measured is not None:
            detail = f"{measured.a_picture_s or 0:.3g} s of a rank a picture in {measured.root}"
        return amount * a_picture * (1 / recipe.run.workers), detail
    rate = _rate(measured, stage)
    if rate is None or measured is None:
        return None
    if stage in RANKS:
        rate = rate * measured.workers / recipe.run.workers
    detail = f"{rate:.3g} s a row in {measured.root}, a quarter more or less"
    return amount * sampler.about(rate, MARGIN), detail


def _rows(stage: str, axes: Mapping[str, Axis]) -> Amount:
    driver = _DRIVEN[stage]
    if driver == "usable":  # publishing writes prompts and pictures
        return total([axis.usable + axis.accepted for axis in axes.values()])
    return total([getattr(axis, driver) for axis in axes.values()])


def _published(params: Any) -> tuple[float, str] | None:
    key = (str(getattr(params, "model", "")).lower(), getattr(params, "size", 0), getattr(params, "steps", 0))
    return _PUBLISHED.get(key)
