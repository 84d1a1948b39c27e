"""Training and evaluation of a student as one flow of two tasks, each in processes of its own (apart.py).

Tasks carry a folder and integers; student, losses and checkpoints stay in the folder. So a task that failed is tried
again, or the whole flow run again, and goes on from the last checkpoint with the same losses.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.runtime import flow_run

from promptforge.distill.train import claim, losses
from promptforge.flows import apart
from promptforge.flows.distill_params import DistillParams
from promptforge.flows.retries import TRIES

_TOLD_S = 5.0
_STRETCHES = 10  # lines of the table of losses for each phase


@task(task_run_name="train with {processes} processes", **TRIES)
def train(root: str, processes: int, artifact: UUID, end: float) -> str:
    """The student; `end` is the share of the flow, in percent, that is done then."""
    return apart.run(apart.TRAIN, Path(root), processes, _teller(artifact, 0.0, end))


@task(task_run_name="evaluate", **TRIES)
def evaluate(root: str, artifact: UUID, begin: float) -> str:
    """The folder with the evaluation's table and numbers."""
    return apart.run(apart.EVALUATE, Path(root), 1, _teller(artifact, begin, 100.0))


def _run_name() -> str:
    params = flow_run.parameters.get("params")
    chosen = params if isinstance(params, DistillParams) else DistillParams.model_validate(params or {})
    return f"{Path(chosen.settings).stem} to {chosen.out or 'runs/distill'}"


@flow(flow_run_name=_run_name, persist_result=False)
def distill(params: DistillParams) -> dict[str, Any]:
    """A published data set in, a student out: train a small text encoder behind the frozen teacher, and measure it.

    Run again in the same folder it goes on from the last checkpoint. Gives the folders of student and evaluation and
    the number of optimiser steps.
    """
    settings = params.read()
    root = params.root(settings.name)
    claim(settings, root)
    apart.ask(settings, root)
    where, trained = str(root), 80.0 if params.evaluate else 100.0
    artifact = create_progress_artifact(0.0, key="distill-progress", description=f"{settings.name}: {where}")
    assert isinstance(artifact, UUID)
    student = train(where, params.processes, artifact, trained)
    lines = losses(root)
    create_markdown_artifact(loss_table(lines), key="distill-losses", description=f"{settings.name}: {student}")
    found = None
    if params.evaluate:
        found = evaluate(where, artifact, trained)
        table = (Path(found) / "table.md").read_text("utf-8")
        create_markdown_artifact(table, key="distill-evaluation", description=f"{settings.name}: {found}")
    update_progress_artifact(artifact, 100.0, f"{settings.name}: {student}")
    return {"root": where, "student": student, "evaluation": found, "steps": len(lines)}


def _teller(artifact: UUID, begin: float, end: float) -> apart.Hear:
    """Moves the progress artifact from `begin` to `end` percent, every few seconds at most, and never back.

    An evaluation counts each of its measures from 0, so there the percentage is the furthest of them.
    """
    told, reached = time.monotonic() - _TOLD_S, begin

    def hear(what: str, done: int, total: int) -> None:
        nonlocal told, reached
        if time.monotonic() - told >= _TOLD_S:
            told = time.monotonic()
            reached = max(reached, begin + (end - begin) * done / max(total, 1))
            update_progress_artifact(artifact, reached, f"{what} (of {total:,})")

    return hear


def loss_table(lines: Sequence[Mapping[str, Any]]) -> str:
    """The lines of losses.jsonl as a Markdown table: means over stretches of batches, ten for each phase at most."""
    rows = ["| phase | batches | loss | gradient norm |", "|---|---:|---:|---:|"]
    for phase, group in groupby(lines, key=lambda line: line["phase"]):
        for part in _stretches(list(group)):
            first, last = part[0]["batch"] + 1, part[-1]["batch"] + 1
            loss, norm = (sum(line[name] for line in part) / len(part) for name in ("loss", "norm"))
            rows.append(f"| {phase} | {first:,} to {last:,} | {loss:.4g} | {norm:.4g} |")
    return "\n".join(rows)


def _stretches(lines: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
    batches = [list(group) for _, group in groupby(lines, key=lambda line: line["batch"])]
    n = min(_STRETCHES, len(batches))
    for k in range(n):
        chosen = batches[k * len(batches) // n : (k + 1) * len(batches) // n]
        yield [line for batch in chosen for line in batch]
