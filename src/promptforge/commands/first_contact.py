"""first-contact: 64 fixed prompts with the person's own weights, labels from a page or a file, measured bounds.

Bounds in recipes for real models come from papers and other people's teachers. Until they were measured on the teacher
that draws, they carry validated = false into the card.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from promptforge import catalog
from promptforge import recipe as recipes
from promptforge.commands import terminal
from promptforge.commands.label_page import LabelPage
from promptforge.commands.label_sheet import read_answers, read_labels, write_sheet
from promptforge.commands.run import make_params
from promptforge.commands.run import run as run_recipe
from promptforge.errors import ConfigError
from promptforge.files import put
from promptforge.lock import Lock
from promptforge.policy import Gate
from promptforge.records import AXES
from promptforge.stages import labels, pipeline
from promptforge.stages.judging.reference import fitted_to_sample
from promptforge.stages.labels import QUESTIONS, Bound
from promptforge.stages.run import Run, open_run
from promptforge.stages.score import PixelReader

THRESHOLDS = "thresholds.set"
PRECISION = 0.9  # share of good pictures that a bound must reach where nothing is said
KEPT = "labels-page.jsonl"  # what was said on the page; ids alone

#: The 64 prompts take the place of the recipe's; no quota, so that each is drawn once, and no demand on coverage.
_SETTINGS = (
    "select.policy=distill",
    "select.quota.image_quality=all",
    "select.quota.semantic_understanding=all",
    "select.quota.text_rendering=all",
    "render.sample=1.0",
    "render.takes=1",
    "publish.natural_test_share=0.0",
    "coverage.min={}",
)


def first_contact(
    recipe: str,
    *,
    settings: Sequence[str],
    out: Path | None,
    given: Path | None,
    page: bool,
    precision: float,
) -> int:
    """Draw, measure, label, choose bounds; the exit code."""
    if not 0.5 <= precision <= 1:
        raise ConfigError(f"--precision {precision:g}: expected a share from 0.5 to 1")
    if given is not None:
        read_answers(given)  # raises before the work, not after it
    root = out or Path("runs") / f"first-contact-{Path(recipe).stem}"
    prompts = resources.files("promptforge") / "recipes" / "first-contact.jsonl"
    with resources.as_file(prompts) as path:
        params = make_params(
            recipe=recipe,
            sources=[str(path)],
            columns={"category": "category", "axis": "axis"},
            out=str(root),
            settings=[*_SETTINGS, *settings],
        )
        gates = recipes.validate(params.raw(), recipe).select.gates
        few = _of_few(gates, path.read_bytes().count(b"\n") // len(AXES))
        params = params.model_copy(update={"settings": [*params.settings, *few]})
        code = run_recipe(params)
    if code:
        return code
    run = open_run(root)
    rows = _rows_to_label(root)
    if given is not None:
        said, rater = read_labels(given, rows), given.name
    elif page:
        said, rater = _from_page(root, rows), "page"
    else:
        again = ["first-contact", recipe, *(["--out", str(root)] if out else [])]
        again += [word for each in settings for word in ("--set", each)]
        again += [] if precision == PRECISION else ["--precision", f"{precision:g}"]
        _write_sheet(root, rows, again)
        return 0
    with Lock(root) as lock:
        if said:
            labels.save(run.store, said, rater)
        pipeline.advance(root, lock.epoch, "publish")
    _tell(run, root, recipe, precision)
    return 0


def _of_few(gates: Mapping[str, Gate], count: int) -> list[str]:
    """Settings that fit quantile gates to so few pictures an axis, of which a run would ask for more."""
    found = fitted_to_sample(gates, count)
    return [f"select.gates.{name}.least={least}" for name, least in found.items() if not set(".=") & set(name)]


def _rows_to_label(root: Path) -> list[dict[str, Any]]:
    with catalog.open_run(root) as con:
        return [{**row, "words": QUESTIONS[row["question"]]} for row in labels.to_label(con)]


def _from_page(root: Path, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    reader = PixelReader(open_run(root))
    pictures = {image: reader[image] for image in sorted({row["image_id"] for row in rows})}
    page = LabelPage(rows, pictures, root / KEPT)
    console = terminal.out()
    console.print(f"label {len(rows)} questions in a browser on this machine: {page.address}", soft_wrap=True)
    if page.n_given:
        console.print(f"{page.n_given} of them have an answer from before, kept in {root / KEPT}", soft_wrap=True)
    console.print("Ctrl-C ends it before the last one: what was said so far counts, and the same command goes on there")
    return page.collect()


def _write_sheet(root: Path, rows: Sequence[dict[str, Any]], again: Sequence[str]) -> None:
    """The sheet to fill in. `again` is the command that takes it back."""
    path = write_sheet(root, rows, PixelReader(open_run(root)))
    console = terminal.out()
    console.print(f"fill in the column label (yes, no, unsure) of {path}, then:", soft_wrap=True)
    console.print(f"  {terminal.program()} {shlex.join([*again, '--labels', str(path)])}", soft_wrap=True)


def _tell(run: Run, root: Path, recipe: str, precision: float) -> None:
    with catalog.open_run(root) as con:
        bounds = labels.measure(con, run, precision)
        n_disputed, raters = labels.disputed(con)
    console = terminal.out()
    made = terminal.table("gate", "judged by", "yes", "no", "bound", "precision", "95%", "recall", "validated")
    for bound in bounds:
        made.add_row(*_cells(bound))
    console.print(made)
    console.print("chosen and reported on the same labels, so on the bright side", style="dim")
    if n_disputed:
        console.print(
            f"{n_disputed} of the questions count for nothing: {' and '.join(raters)} answer them differently; each"
            " file name is a rater, so a corrected file keeps its name",
            soft_wrap=True,
        )
    lines = labels.settings(bounds, run)
    if not lines:
        console.print("nothing could be validated: the recipe's bounds stay as they are")
        return
    head = [f"# Bounds of {recipe}, measured on teacher {run.teacher_fingerprint}: promptforge run --set @{THRESHOLDS}"]
    put(root / THRESHOLDS, ("\n".join([*head, *lines]) + "\n").encode())
    command = [terminal.program(), "run", shlex.quote(recipe), "--set", shlex.quote(f"@{root / THRESHOLDS}")]
    console.print(f"use them: {' '.join(command)}", soft_wrap=True)


def _cells(bound: Bound) -> list[str]:
    def share(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    return [
        bound.gate,
        bound.question,
        str(bound.n_yes),
        str(bound.n_no),
        "" if bound.value is None else f"{bound.value:.4g}",
        share(bound.precision),
        "" if bound.low is None else f"{share(bound.low)} to {share(bound.high)}",
        share(bound.recall),
        "yes" if bound.validated else f"no: {bound.reason}",
    ]
