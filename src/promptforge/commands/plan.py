"""plan: what a recipe will come to, before the bill; with --pilot measured first, with --against held to what came.

The checks are those of `run`, in the same words. Downloads are looked for on this machine; nothing is fetched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from promptforge import recipe as recipes
from promptforge.commands import doctor_models as needs
from promptforge.commands import terminal
from promptforge.commands.plan_options import PlanOptions
from promptforge.commands.prompt_options import Given
from promptforge.commands.run import extending, make_params, parse_columns, plan_line
from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.models import weights
from promptforge.records import AXES
from promptforge.stages import parts
from promptforge.stages.coverage.demands import refuse_hopeless
from promptforge.stages.extension.published import Extended
from promptforge.stages.forecast.basis import PILOT, measure
from promptforge.stages.forecast.lines import Line
from promptforge.stages.forecast.pilot import make_pilot
from promptforge.stages.forecast.saved import against, save
from promptforge.stages.forecast.whole import Forecast, basis, foresee, look
from promptforge.stages.run import Run
from promptforge.store import Store
from promptforge.view import Interrupted, clock, watch


def plan_command(
    recipe: str, given: Given, folders: Sequence[str | None], settings: Sequence[str], asked: PlanOptions
) -> int:
    """Check as `run` does, measure a pilot where that is asked, print the forecast; the exit code.

    `folders` are the run's, and the set that it adds to.
    """
    if asked.against is not None:
        return show_against(asked.against, as_json=asked.json)
    out, extends = folders
    if asked.pilot is not None and asked.earlier is not None:
        raise ConfigError("--pilot measures and --from takes what was measured: give one of the two")
    params = make_params(
        recipe=recipe,
        sources=list(given.source or ()),
        axis=given.axis,
        captions=list(given.captions or ()),
        columns=parse_columns(given.columns),
        out=out,
        settings=[*settings, *extending(extends)],
    )
    raw = params.raw()
    run, candidates = _open(raw, recipe, params)
    console = terminal.out()
    if not asked.json:
        console.print(plan_line(run.recipe, run.root), soft_wrap=True)
    if asked.pilot is not None:
        if asked.pilot < 1:
            raise ConfigError(
                f"--pilot {asked.pilot}: expected a number of prompts of each axis, from 1 up; 100 is usual"
            )
        _require_a_teacher(run)
        measured = None
        folder = run.root.with_name(run.root.name + PILOT)
        shown = terminal.err() if asked.json else console
        count = asked.pilot
        try:
            watch(folder, f"{run.recipe.name}{PILOT}", shown, lambda: make_pilot(run, raw, folder, count))
        except Interrupted:
            shown.print("stopped; what is done is kept; plan again with --pilot to go on", soft_wrap=True)
            return 130
        measured = measure(run, folder, "pilot")
    else:
        measured = basis(run, asked.earlier)
    forecast = foresee(run, candidates, measured, asked.price)
    forecast = replace(forecast, lines=(*forecast.lines, *gpu_memory(run), *downloads(run)))
    if asked.save or asked.pilot is not None:
        save(forecast, run.root)
    if asked.json:
        _print_json(console, run, forecast)
    else:
        _print(console, run, forecast, asked)
    return 0


def _open(raw: Mapping[str, Any], where: str, params: Any) -> tuple[Run, dict[str | None, int]]:
    """The run as it would be, nothing of it written, and its candidates; refused for what `run` refuses."""
    recipe = recipes.validate(raw, where)
    found = parts.resolve(recipe, where)
    refuse_hopeless(recipe, where)
    root = params.root(recipe.name)
    if recipe.publish.extends is not None:
        Extended.open(recipe.publish.extends, root)
    if recipe.render.sample > 0:
        parts.check_places({"regime": found.teacher, **{f"scorers.{part.name}": part for part in found.scorers}})
    run = Run(root, recipe, found, Store(root))
    return run, look(run)


def gpu_memory(run: Run) -> list[Line]:
    """What FLUX.1 takes of a GPU in the recipe's memory mode; nothing is known of others."""
    part = run.parts.teacher
    models = needs.models_of(part) if run.recipe.render.sample else []
    params: Any = part.params
    if not models or models[0].gib < needs.FLUX_GIB["model_offload"] or params.pipeline != "flux":
        return []
    gib = float(needs.FLUX_GIB[params.memory] * needs.GIB)
    detail = f"GPU memory for FLUX.1 at 1024 px, mode {params.memory}, worked out from the sizes of its weights"
    return [Line("memory", "gpu", None, "bytes", gib, gib, gib, "published", detail)]


def downloads(run: Run) -> list[Line]:
    """A line for each model that the recipe names: its bytes where they are known, licence, and whether it is here."""
    drawn = [run.parts.teacher] if run.recipe.render.sample else []
    lines = []
    models = {model: None for part in (*drawn, *run.parts.llms, *run.parts.scorers) for model in needs.models_of(part)}
    for model in models:
        absent = weights.missing_here(model.source, model.revision or None, model.needs)
        terms = f"licence {model.licence}" if model.licence else "licence: see its card"
        consent = ", consent on the model's page" if model.is_gated else ""
        revision = f" at {model.revision[:12]}" if model.revision else ""
        state = "to fetch" if absent else "is here"
        size = model.gib * needs.GIB if model.gib else None
        detail = f"{state}{revision}; {terms}{consent}" + ("" if size else "; size unknown offline")
        wanted = size if absent else 0.0
        lines.append(Line("download", model.source, None, "bytes", wanted or 0.0, wanted, wanted, "known", detail))
    return lines


def show_against(root: Path, *, as_json: bool) -> int:
    """Print a run's saved forecast beside what came."""
    compared = against(root)
    console = terminal.out()
    if as_json:
        rows = [{**asdict(each.line), "actual": each.actual, "error_share": each.error_share} for each in compared]
        console.print(json.dumps({"run": str(root), "lines": rows}, indent=1), soft_wrap=True)
        return 0
    made = terminal.table("part", "item", "axis", "low", "expected", "high", "actual", "error", numeric=_NUMERIC)
    for each in compared:
        line = each.line
        if line.item not in _SHOWN or (line.axis is not None and line.item in _TOTALS):
            continue
        error = "" if each.error_share is None else f"{each.error_share:+.1%}"
        shown = [_value(line.unit, value) for value in (line.low, line.expected, line.high, each.actual)]
        made.add_row(line.part, line.item, line.axis or "all", *shown, error + ("" if each.is_inside else " outside"))
    console.print(made)
    return 0


_NUMERIC = ("low", "expected", "high", "actual", "error")
_TOTALS = ("candidates", "kept", "prompts")
#: What fits a screen; --json has every line.
_SHOWN = (*_TOTALS, "pictures", "accepted", "usable", "render", "score", "respond", "pixels", "dataset/data", "all")


def _value(unit: str, value: float | None) -> str:
    if value is None:
        return "?"
    if unit == "bytes":
        return size(value)
    return f"{value:,.1f} s" if unit in ("seconds", "gpu_seconds") else f"{value:,.0f}"


def size(n: float) -> str:
    """Bytes in decimal units, three digits."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if n < 999.5 or unit == "TB":
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.3g} {unit}"
        n /= 1000
    raise AssertionError("unreachable")


def _print_json(console: Console, run: Run, forecast: Forecast) -> None:
    rows = [asdict(line) for line in forecast.lines]
    found = {
        "recipe": run.recipe.name,
        "run": str(run.root),
        "rests_on": forecast.rests_on,
        "remarks": list(forecast.remarks),
        "lines": rows,
    }
    console.print(json.dumps(found, indent=1), soft_wrap=True)


def _print(console: Console, run: Run, forecast: Forecast, asked: PlanOptions) -> None:
    """Some forty lines: what is left out stands in --json."""
    console.print(terminal.safe(f"rests on {forecast.rests_on}"), soft_wrap=True)
    console.print(_rows_table(forecast))
    for text in (
        *_time(forecast, run),
        *_disk(forecast),
        *_trainer(forecast),
        *_memory(forecast),
        *_downloads(forecast, run),
    ):
        console.print(terminal.safe(text), soft_wrap=True)
    for remark in forecast.remarks:
        console.print(terminal.safe(f"note:     {remark}"), soft_wrap=True)
    if asked.save or asked.pilot is not None:
        console.print(terminal.safe(f"saved in {run.root}; after the run: plan --against {run.root}"), soft_wrap=True)
    elif not any(line.basis in ("pilot", "earlier_run") for line in forecast.lines):
        console.print("next:     the same with --pilot 100 measures what is unknown", soft_wrap=True)


def _require_a_teacher(run: Run) -> None:
    """Raise EnvironmentFault where a pilot would work through the text and then find that it cannot draw."""
    recipe = run.recipe
    if recipe.render.sample and recipe.regime.teacher == "diffusers" and find_spec("torch") is None:
        raise EnvironmentFault(
            "--pilot draws on this machine, and torch is not installed: run it where pictures are to be drawn, after"
            " make setup-models; without --pilot, plan tells rows, disk and downloads here"
        )


_COLUMNS = ("candidates", "kept", "prompts", "pictures", "accepted", "usable")


def _rows_table(forecast: Forecast) -> Any:
    made = terminal.table("axis", *_COLUMNS, numeric=_COLUMNS)
    for axis in (*AXES, None):
        cells = [_span(forecast.line("rows", name, axis), lambda value: f"{value:,.0f}") for name in _COLUMNS]
        if axis is None or any(cell != "0" for cell in cells):
            made.add_row(axis or "all", *cells)
    return made


def _span(line: Line | None, shown: Any) -> str:
    """'380 (371 to 388)', '0 to 400' where nothing is expected, one number where it is certain."""
    if line is None:
        return "-"
    low, high = shown(line.low), "?" if line.high is None else shown(line.high)
    if line.expected is None:
        return "unknown" if line.high is None else low if low == high else f"{low} to {high}"
    expected = shown(line.expected)
    return expected if low == high == expected else f"{expected} ({low} to {high})"


def _hours(seconds: float) -> str:
    """Hours, or m:ss below one."""
    return f"{seconds / 3600:,.3g} h" if seconds >= 3600 else clock(seconds)


def _time(forecast: Forecast, run: Run) -> list[str]:
    stages = [line for line in forecast.lines if line.part == "time" and line.unit == "seconds" and line.item != "all"]
    whole = forecast.line("time", "all", None, "seconds")
    long = [line for line in stages if line.expected and line.expected >= 1]
    each = ", ".join(f"{line.item} {_span(line, _hours)}" for line in long)
    unknown = ", ".join(line.item for line in stages if line.expected is None)
    found = [f"clock:    {_span(whole, _hours) if whole else 'unknown'}" + (f"; {each}" if each else "")]
    if unknown and any(line.expected is None for line in stages if line.item in ("render", "score")):
        found.append(f"          unknown: {unknown}")
    ranks = [line for line in forecast.lines if line.unit == "gpu_seconds"]
    if ranks:
        what = "GPU" if run.recipe.regime.teacher == "diffusers" else "ranks"
        said = ", ".join(f"{line.item} {_span(line, _hours)}" for line in ranks)
        found.append(f"{what + ':':<10}{said}" + (f" ({ranks[0].detail})" if ranks[0].detail else ""))
    money = forecast.line("money", "all")
    if money is not None:
        found.append(f"money:    {_span(money, lambda value: f'{value:,.2f}')}; {money.detail}")
    return found


def _disk(forecast: Forecast) -> list[str]:
    pixels = [forecast.line("disk", "pixels", axis) for axis in (*AXES, None)]
    by_axis = ", ".join(f"{line.axis} {_span(line, size)}" for line in pixels[:3] if line and line.high)
    found = [f"disk:     pixels {_span(pixels[3], size)}" + (f": {by_axis}" if by_axis else "")]
    data, whole, peak = (forecast.line("disk", item) for item in ("dataset/data", "all", "peak"))
    free = forecast.line("disk", "free")
    rest = f"run folder {_span(whole, size)}, peak {_span(peak, size)} (old and new dataset side by side)"
    found.append(f"          dataset/data {_span(data, size)}; {rest}; {_span(free, size)} free here")
    return found


def _trainer(forecast: Forecast) -> list[str]:
    lines = [line for line in forecast.lines if line.part == "trainer"]
    found = [f"trainer:  {', '.join(f'{line.item} {_span(line, size)}' for line in lines)}"]
    return found + [f"          {line.item}: {line.detail}" for line in lines if line.item in ("latents", "embeddings")]


def _memory(forecast: Forecast) -> list[str]:
    lines = [line for line in forecast.lines if line.part == "memory"]
    said = ", ".join(f"{line.item} {size(line.expected or 0)}" for line in lines)
    return [f"memory:   {said} (by rows, from peaks measured elsewhere: benchmarks/README.md; gpu: at least)"]


def _downloads(forecast: Forecast, run: Run) -> list[str]:
    lines = [line for line in forecast.lines if line.part == "download"]
    if not lines:
        return ["models:   none to fetch"]
    heads = ["models:   ", *[" " * 10] * (len(lines) - 1)]
    found = [
        f"{head}{line.item}, {'' if not line.expected else size(line.expected) + ', '}{line.detail}"
        for head, line in zip(heads, lines, strict=True)
    ]
    terms = run.parts.licence
    if run.recipe.render.sample:
        consent = ", accepted by name" if terms.needs_consent else ""
        found.append(f"licence:  pictures come under {terms.name}{consent}")
    return found
