"""calibrate: what labels say of each gate, and the bounds that they support, as settings for a run."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

import duckdb

from promptforge import catalog
from promptforge.commands import terminal
from promptforge.commands.label import chosen_gates, tell_raters
from promptforge.errors import ConfigError
from promptforge.files import put
from promptforge.stages.calibration import measure
from promptforge.stages.calibration.frame import Frame, frame_of
from promptforge.stages.calibration.measure import MARGIN, Calibration, Line, Parts, Share
from promptforge.stages.run import Run, open_run

THRESHOLDS = "thresholds.set"
CANVAS = "canvas only"


def calibrate(root: Path, gates: Sequence[str], precision: float, out: Path | None, *, truth: bool) -> None:
    """Measure, print, write what is supported."""
    if not 0.5 <= precision < 1:
        raise ConfigError(f"--precision {precision:g}: expected a share from 0.5 to less than 1")
    run = open_run(root)
    asked = chosen_gates(run, gates)
    path = out or root / THRESHOLDS
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError(f"--out {path}: expected a file in a folder that is there")
    console = terminal.out()
    found = []
    with catalog.open_run(root) as con:
        for name, default in asked.items():
            frame = frame_of(con, run, name)
            question, parts = _answers(con, frame, default, truth=truth)
            made = Calibration(name, question, 0, 0, reason="no label yet")
            found.append(made if parts is None else measure.calibrate(frame, question, parts, precision))
            if found[-1].n_yes + found[-1].n_no:
                _show(frame, found[-1], precision, CANVAS if truth else "")
        if not truth:
            tell_raters(con)
    if bare := ", ".join(each.gate for each in found if not each.n_yes + each.n_no):
        console.print(f"no label yet, so nothing is said of {bare}; promptforge label draws a sample", soft_wrap=True)
    console.print(
        "intervals at 95%; cost: renders for each picture that passes and is good, 1 / (yield * precision)"
        f"{'; ' + CANVAS + ': what the embedded teacher knows that it drew' if truth else ''}",
        style="dim",
        soft_wrap=True,
    )
    _write(run, found, path, precision, truth=truth)


def _answers(con: duckdb.DuckDBPyConnection, frame: Frame, question: str, *, truth: bool) -> tuple[str, Parts | None]:
    if not truth:
        return measure.labelled(con, frame) or (question, None)
    parts = measure.by_truth(frame, question)
    if parts is None and frame.images:
        raise ConfigError("--truth: the teacher of this run does not know what it drew; that is for canvas alone")
    return question, parts


def _show(frame: Frame, found: Calibration, precision: float, kind: str) -> None:
    console = terminal.out()
    about = f"{found.n_yes} yes, {found.n_no} no to {found.question}; {len(frame.images)} pictures have the metric"
    console.print(terminal.safe(f"{found.gate}{f' ({kind})' if kind else ''}: {about}"), style="bold", soft_wrap=True)
    if found.lines:
        made = terminal.table(
            found.side if found.lines[0].threshold is not None else "", "precision", "recall", "yield", "cost", ""
        )
        for line in found.lines:
            made.add_row(*_cells(line))
        console.print(made)
    for said in _verdict(found, precision):
        console.print(f"  {said}", soft_wrap=True)
    console.print()


def _cells(line: Line) -> list[str]:
    threshold = "" if line.threshold is None else f"{line.threshold:.4g}"
    shares = [_share(share) for share in (line.precision, line.recall, line.yields)]
    return [threshold, *shares, _cost(line.cost), line.mark]


def _share(share: Share) -> str:
    return "" if math.isnan(share.value) else f"{share.value:.3f} ({share.low:.3f} to {share.high:.3f})"


def _cost(share: Share) -> str:
    if math.isnan(share.value):
        return ""
    return f"{share.value:.2f} ({share.low:.2f} to {share.high:.2f})"


def _verdict(found: Calibration, precision: float) -> list[str]:
    lines = []
    if found.crossing is not None:
        low, high = (f"{end:.4g}" if math.isfinite(end) else "" for end in found.crossing)
        ends = f"between {low} and {high}" if low and high else f"above {low}" if low else f"below {high}"
        lines.append(
            f"at which threshold precision becomes {precision:g}, the labels do not say"
            if not (low or high)
            else f"precision becomes {precision:g} at a threshold {ends} (95%)"
        )
    if found.reported is not None:
        named = (
            "the gate as it stands"
            if found.threshold is None
            else (f"{found.side} {found.threshold:.4g}, chosen on one half of the prompts; on the other half")
        )
        lines.append(f"{named}: precision {_share(found.reported.precision)}, recall {_share(found.reported.recall)}")
    if found.reason is not None:
        more = "" if found.n_more is None else f"; some {found.n_more} more labels might do"
        lines.append(f"not supported: {found.reason}{more}")
    return lines


def _write(run: Run, found: list[Calibration], path: Path, precision: float, *, truth: bool) -> None:
    console = terminal.out()
    lines = measure.settings(found, run)
    if not lines:
        left = f"; {path} is from an earlier call" if path.is_file() else ""
        said = f"nothing is supported: the recipe's bounds stay as they are, and no file is written{left}"
        console.print(said, soft_wrap=True)
        return
    head = [
        f"# {CANVAS + ': by what the teacher knows that it drew. ' if truth else ''}Bounds for a precision of"
        f" {precision:g}, on teacher {run.teacher_fingerprint}.",
        f"# Their intervals reach it and end at most {MARGIN:g} under; of a bound on the half that did not choose it.",
    ]
    put(path, ("\n".join([*head, *lines]) + "\n").encode())
    n = sum(each.supported for each in found)
    console.print(f"{n} of {len(found)} gates are supported{f' ({CANVAS})' if truth else ''}: {path}", soft_wrap=True)
    command = f"{terminal.program()} select --set {shlex.quote(f'@{path}')} --run {shlex.quote(str(run.root))}"
    console.print(f"what that changes: {command}", soft_wrap=True)
