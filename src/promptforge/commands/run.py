"""run: a recipe through Prefect, watched."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from promptforge import recipe as recipes
from promptforge.commands import closing, terminal
from promptforge.commands.prompt_options import Given
from promptforge.errors import ConfigError
from promptforge.faults import explain
from promptforge.flows.local import curate_here
from promptforge.flows.params import CurateParams
from promptforge.recipe import Recipe
from promptforge.stages import parts
from promptforge.stages.coverage.demands import refuse_hopeless
from promptforge.stages.extension.published import Extended
from promptforge.view import Interrupted, watch


def parse_columns(text: str | None) -> dict[str, str]:
    """'text=prompt,axis=kind' as a map of promptforge's field to the files' column; 'axis=' reads none for it."""
    found: dict[str, str] = {}
    for piece in (text or "").split(","):
        field, separator, column = piece.partition("=")
        if not piece.strip():
            continue
        if not separator or not field.strip():
            raise ConfigError(f"--columns {text!r}: expected field=column,..., for example text=prompt,axis=kind")
        found[field.strip()] = column.strip()
    return found


def extending(given: str | None) -> list[str]:
    """The setting that --extends stands for; `given` is a folder, or the name of a run under runs/."""
    if given is None:
        return []
    named = Path("runs") / given
    path = named if not Path(given).exists() and named.is_dir() else Path(given)
    return [f"publish.extends={json.dumps(str(path), ensure_ascii=False)}"]


def make_params(**values: Any) -> CurateParams:
    """The flow's parameters, or a ConfigError that names the wrong one."""
    try:
        return CurateParams(**values)
    except ValidationError as exc:
        raise ConfigError(explain(exc, CurateParams, "run")) from exc


def plan_line(recipe: Recipe, root: Any) -> str:
    """What is going to be done, in a line."""

    def counted(n: int, noun: str) -> str:
        return f"{n} {noun}" if n == 1 else f"{n} {noun}s"

    takes = "" if recipe.render.takes == 1 else f", {recipe.render.takes} takes"
    pictures = "prompts only" if recipe.render.sample == 0 else f"teacher {recipe.regime.teacher}{takes}"
    if 0 < recipe.render.sample < 1:
        pictures += f" for {recipe.render.sample:.0%} of them"
    if recipe.render.sample > 0:
        pictures += f", {counted(len(recipe.scorers), 'scorer')}"
    return (
        f"{recipe.name}: {_goal(recipe)} from {counted(len(recipe.sources), 'source')},"
        f" {counted(len(recipe.filters), 'check')}, {pictures}, policy {recipe.select.policy}{_in_rounds(recipe)};"
        f" into {root}"
    )


def _in_rounds(recipe: Recipe) -> str:
    """That it goes in rounds, and what may be spent."""
    rounds = recipe.rounds
    if rounds is None:
        return ""
    limits = [
        *([] if rounds.max_renders is None else [f"{rounds.max_renders:,} renders"]),
        *([] if rounds.max_gpu_s is None else [f"{rounds.max_gpu_s:,.0f} s of drawing"]),
        *([] if rounds.max_money is None else [f"{rounds.max_money:,.2f} of money"]),
        *([] if rounds.max_wall_s is None else [f"no round begun after {rounds.max_wall_s:,.0f} s"]),
    ]
    of = "" if rounds.round_renders is None else f" of {rounds.round_renders:,} renders"
    n = len(recipe.select.cells)
    cells = f" towards {n:,} {'cell' if n == 1 else 'cells'} and the rest" if n else ""
    return f", in rounds{of}{cells} within {', '.join(limits)}" if limits else f", in rounds{of}{cells} without a limit"


def _goal(recipe: Recipe) -> str:
    """How many prompts. Of files nothing is known yet, nor which axes they have: there the quota is only a limit."""
    quota = recipe.select.quota.model_dump()
    limits = {axis: most for axis, most in quota.items() if most != "all"}
    if all(source.kind == "grammar" for source in recipe.sources):
        candidates = sum(source.params["n"] for source in recipe.sources)
        axes = {source.params["axis"] for source in recipe.sources}
        goal = "every prompt"
        if axes <= set(limits):
            goal = f"{sum(limits[axis] for axis in axes):,} prompts"
        elif some := [f"{limits[axis]:,} of {axis}" for axis in limits if axis in axes]:
            goal += f" (at most {', '.join(some)})"
        return f"{goal} wanted out of {candidates:,} candidates"
    if not limits:
        return "every prompt"
    if len(limits) == len(quota) and len(set(limits.values())) == 1:
        return f"at most {min(limits.values()):,} prompts of each axis"
    return f"every prompt (at most {', '.join(f'{most:,} of {axis}' for axis, most in limits.items())})"


def run(params: CurateParams) -> int:
    """Check, run, tell; the exit code."""
    begun = time.monotonic()
    raw = params.raw()
    recipe = recipes.validate(raw, params.recipe)
    parts.resolve(recipe, params.recipe)
    refuse_hopeless(recipe, params.recipe)
    root = params.root(recipe.name)
    if recipe.publish.extends is not None:
        Extended.open(recipe.publish.extends, root)  # a set that is not there is told before anything starts
    console = terminal.out()
    console.print(plan_line(recipe, root), soft_wrap=True)
    try:
        result = watch(root, recipe.name, console, lambda: curate_here(params, root, debug=terminal.DEBUG.get()))
    except Interrupted:
        lost = f"at most {recipe.run.increment} pictures a worker are done again"
        console.print(f"stopped; finished batches are kept ({lost}); run the same command to go on", soft_wrap=True)
        return 130
    closing.tell(console, root, recipe, result, time.monotonic() - begun)
    return 0


def run_command(recipe: str, given: Given, out: str | None, settings: Sequence[str]) -> int:
    """What the command line asks for."""
    return run(
        make_params(
            recipe=recipe,
            sources=list(given.source or ()),
            axis=given.axis,
            captions=list(given.captions or ()),
            columns=parse_columns(given.columns),
            out=out,
            settings=list(settings),
        )
    )
