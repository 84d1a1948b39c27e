"""One student: one arm under one seed, trained by promptforge's own loop and measured by its own evaluation.

    runs/<arm>-s<seed>/dataset      the prompts as a published data set has them
    runs/<arm>-s<seed>/train        settings, losses, checkpoints, student
    runs/<arm>-s<seed>/measured     the evaluation's pieces
    done/<arm>-s<seed>.json         its numbers; what is there is not done again

The seed decides pool, draw, initial weights, order, noise and dropout, and is shared by all arms.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gates import choice, draws
from gates.outcome import outcome
from gates.plan import STEPS, Arm, Experiment
from gates.pools import Row
from promptforge import records, texts
from promptforge.distill import student
from promptforge.distill.evaluation.held_out import Case
from promptforge.distill.evaluation.pieces import as_parquet
from promptforge.distill.evaluation.settings import Evaluation
from promptforge.distill.evaluation.velocity import velocity_errors
from promptforge.distill.miniature import parts
from promptforge.distill.named import settings_of
from promptforge.distill.settings import DistillSettings
from promptforge.distill.teacher import Teacher
from promptforge.distill.train import Report, losses, train
from promptforge.files import put
from promptforge.models import weights
from promptforge.models.torch_setup import load_torch
from promptforge.stages.arrangement.gaps import Gaps, merged

LAYERS = 2  #: of a student's encoder


def done_file(experiment: Experiment, arm: Arm, seed: int) -> Path:
    """Where the numbers of a student are, once it is done."""
    return experiment.out / "done" / f"{arm.slug}-s{seed}.json"


def run(experiment: Experiment, arm: Arm, seed: int, n_more: int = 0) -> None:
    """Train and measure, or go on; `n_more` batches on top of the scale's."""
    final = done_file(experiment, arm, seed)
    if final.is_file():
        return
    prepared = draws.prepare(experiment, seed)
    folder = experiment.out / "runs" / f"{arm.slug}-s{seed}"
    settings = _settings(experiment, arm, seed, folder, n_more)
    rows, clock = prepared["draws"][arm.name]["rows"], _Clock()
    if arm.refill:
        rows = _refilled(experiment, seed, prepared, settings, folder, clock)
    else:
        publish(rows, folder / "dataset")
    trained = train(settings, folder / "train", clock)
    start = time.process_time()
    found = outcome(experiment, settings, trained, folder / "measured")
    lines = losses(folder / "train")
    found |= {
        "arm": arm.name,
        "seed": seed,
        "n_prompts": len(rows),
        "n_filled": prepared["draws"][arm.name]["n_filled"],
        "n_eligible": prepared["draws"][arm.name]["n_eligible"],
        "optimiser_steps": len(lines),
        "more_batches": n_more,
        "last_loss": float(np.mean([line["loss"] for line in lines[-STEPS:]])),
        "seconds_a_batch": clock.seconds_a_batch,
        "measured_s": time.process_time() - start,
        "weights": sum(each.numel() for each in student.load(trained).parameters()),
    }
    put(final, (json.dumps(found, indent=1, sort_keys=True) + "\n").encode())
    shutil.rmtree(folder / "train" / "checkpoints", ignore_errors=True)
    shutil.rmtree(folder / "train" / "tensorboard", ignore_errors=True)


class _Clock:
    """Processor time of a batch, which a busy machine does not stretch; the first of a call waits for the teacher."""

    def __init__(self) -> None:
        self._times: list[float] = []

    def __call__(self, _: Report) -> None:
        self._times.append(time.process_time())

    @property
    def seconds_a_batch(self) -> float | None:
        """Median; None where fewer than two batches were done here."""
        return float(np.median(np.diff(self._times))) if len(self._times) > 1 else None


def publish(rows: Sequence[Row], folder: Path) -> None:
    """The prompts as promptforge.reader reads a published data set; replaces what is there."""
    told = [{"prompt_id": row.prompt_id, "text": row.text, "axis": row.axis, "category": row.category} for row in rows]
    data = as_parquet(pa.Table.from_pylist(sorted(told, key=lambda each: each["prompt_id"])))
    name = "prompts/train-00000-of-00001.parquet"
    put(folder / name, data)
    files = {name: {"sha256": hashlib.sha256(data).hexdigest(), "rows": len(rows)}}
    put(folder / "manifest.json", json.dumps({"files": files}).encode())


def _settings(experiment: Experiment, arm: Arm, seed: int, folder: Path, n_more: int) -> DistillSettings:
    """The recipe miniature, changed as the arm says."""
    scale, teacher = experiment.scale, experiment.settings
    # naive distillation takes one optimiser step a batch, so it needs as many batches as the others have steps
    each = STEPS if arm.objective == "embedding" else 1
    half = scale.batches // 2
    evaluation = {
        "prompts": scale.held_out,
        "pictures": scale.held_out,
        "batch": scale.batch,
        "cost": False,
        "shared": str(experiment.out / "teacher"),
        "scorers": {"miniature": {"judge": experiment.evaluate}},
    }
    changes = {
        "name": "experiment",
        "seed": seed,
        "dataset": str(folder / "dataset"),
        "batch": scale.batch,
        "teacher": {key: value for key, value in teacher.model_dump(mode="json").items() if value is not None},
        "student": {"encoder": str(encoder(experiment, arm.width, seed))},
        "objective": arm.objective,
        "checkpoint_every": half if half % 10 else 10,
    }
    phases = [{"name": "first", "batches": half}, {"name": "second", "batches": scale.batches - half}]
    if not arm.refill:
        phases = [{"name": "all", "batches": (scale.batches + n_more) * each}]
    given = settings_of("miniature", [])
    told = given.model_dump(mode="json") | changes | {"phases": phases, "evaluation": evaluation}
    return DistillSettings.model_validate(told)


def encoder(experiment: Experiment, width: int, seed: int) -> Path:
    """The untrained T5 encoder of a seed, saved as transformers does; made once."""
    folder = experiment.out / f"seed-{seed}" / f"encoder-{width}"
    if (folder / "config.json").is_file():
        return folder
    torch = load_torch()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        weights.path_of(experiment.teacher) / "tokenizer_2", local_files_only=True
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(records.content_id("experiment", "encoder", seed, width)[:15], 16))
        module = parts.text_encoder(len(tokenizer), width, LAYERS)
    fresh = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    module.save_pretrained(fresh, safe_serialization=True)
    try:
        fresh.rename(folder)
    except OSError:  # the other worker was first, with the same bytes
        shutil.rmtree(fresh)
    return folder


def _refilled(
    experiment: Experiment, seed: int, prepared: dict[str, Any], settings: DistillSettings, folder: Path, clock: _Clock
) -> list[Row]:
    """Half of the training on half of the prompts, then the rest by the half-trained student's gaps; all of them."""
    scale, gap = experiment.scale, folder / "student_gap.parquet"
    first: list[Row] = []
    tokens = draws.tokens_of(weights.path_of(experiment.teacher))
    for axis, counts in prepared["strata"].items():
        wanted = choice.scaled({int(stratum): n for stratum, n in counts.items()}, scale.prompts // 2)
        first += choice.choose([row for row in prepared["prompt"] if row.axis == axis], wanted, tokens, seed).rows
    known = {row.text for row in first}
    rest = choice.drawn([row for row in prepared["prompt"] if row.text not in known], len(prepared["prompt"]), seed)
    if not gap.is_file():
        publish(first, folder / "dataset")
        half = train(settings.model_copy(update={"phases": settings.phases[:1]}), folder / "train", clock)
        model = student.load(half).eval()
        cases = [case for axis in prepared["strata"] for case in _measured_on(rest, axis, scale.gap_prompts)]
        found = velocity_errors(model, Teacher.load(settings.teacher), cases, Evaluation(batch=scale.batch))
        put(gap, as_parquet(found))
    # the same training goes on from its checkpoint, with its second phase and other prompts
    (folder / "train" / "settings.json").unlink(missing_ok=True)
    second = by_gap(rest, gap, scale.prompts - scale.prompts // 2)
    publish(second, folder / "dataset")
    return [*first, *second]


def _measured_on(rows: Sequence[Row], axis: str, n: int) -> list[Case]:
    """Candidates that the student has not seen; the held-out prompts take no part in any choice."""
    some = [row for row in rows if row.axis == axis][:n]
    return [Case(row.prompt_id, row.text, row.axis, "train", category=row.category) for row in some]


def by_gap(rows: Sequence[Row], gap: Path, n: int) -> list[Row]:
    """The first n rows of each axis in the planner's order for this table student_gap."""
    gaps = Gaps([str(gap)], 1.0)
    found: list[Row] = []
    for axis, measured in sorted(gaps.axes.items()):
        some = [row for row in rows if row.axis == axis]
        names = [f"{row.category} {texts.length_band(texts.n_words(row.text))}" for row in some]
        cells = sorted(set(names))
        number = np.array([cells.index(name) for name in names], np.int64)
        worth = np.array([measured.worth(cell, gaps.power) for cell in cells], np.int64)
        order = merged(number, np.ones(len(some), np.int64), worth)
        found += [some[at] for at in order[:n].tolist()]
    return found
