"""The training run: phases, optimiser steps, checkpoints, logs; killed anywhere, it goes on with the same losses.

    <folder>/settings.json     what is trained; another run may not take the folder
    <folder>/losses.jsonl      a line for each optimiser step: phase, batch, step, timestep number, loss, gradient norm
    <folder>/checkpoints/      see checkpoints.py
    <folder>/student/          the student at the end (its average, where there is one)
    <folder>/tensorboard/      the same as losses.jsonl, where tensorboard is installed

Dropout is seeded by the batch's number, so nothing random outlives a batch. Several GPUs by `accelerate launch`: each
rank draws its own part of a batch, gradients are averaged. The same bits come back on the same machine and number of
ranks; a GPU's kernels may differ in last bits from run to run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptforge import records
from promptforge.distill import checkpoints, following, student
from promptforge.distill.checkpoints import Progress
from promptforge.distill.data import Batch, Batches
from promptforge.distill.settings import DistillSettings, Phase
from promptforge.distill.teacher import Teacher
from promptforge.errors import ConfigError
from promptforge.files import put
from promptforge.models.diffusion.loading import quiet
from promptforge.models.torch_setup import load_torch

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """What the caller hears after each batch."""

    phase: str
    batch: int  # done in all, over all phases
    n_batches: int
    loss: float  # mean over the batch's steps


def train(settings: DistillSettings, folder: Path, tell: Callable[[Report], None] = lambda _: None) -> Path:
    """Train to the end, or go on from the last checkpoint; the folder of the student.

    Raises ConfigError where the folder holds another training, before any weights are loaded.
    """
    claim(settings, folder)
    load_torch()
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    quiet()
    AcceleratorState._reset_state()  # of an earlier training in this process, which may have had another precision
    accelerator = Accelerator(mixed_precision="bf16" if settings.precision == "bf16" else "no")
    batches = Batches(settings, accelerator.num_processes)
    teacher = Teacher.load(settings.teacher, accelerator.process_index)
    run = _Run(settings, folder, accelerator, teacher)
    n_batches = sum(phase.batches for phase in settings.phases)
    for done, (phase, number) in enumerate(_schedule(settings)):
        if done < run.progress.batches:
            continue
        batch = batches.batch(phase, number, accelerator.process_index)
        lines = [{"phase": phase.name, "batch": done, **line} for line in run.batch(phase, batch, done)]
        run.note(lines)
        if (done + 1) % settings.checkpoint_every == 0 or done + 1 == n_batches:
            run.checkpoint()
        tell(Report(phase.name, done + 1, n_batches, sum(line["loss"] for line in lines) / len(lines)))
    return run.finish()


def claim(settings: DistillSettings, folder: Path) -> None:
    """Write settings.json, or see that it is there and the same."""
    text = records.canonical_json(settings.model_dump(mode="json", exclude={"evaluation"}))
    stated = folder / "settings.json"
    if stated.is_file() and stated.read_text("utf-8") != text:
        raise ConfigError(f"{folder}: holds a training with other settings (settings.json); choose another --out")
    if not stated.is_file():
        put(stated, text.encode())


def _schedule(settings: DistillSettings) -> Iterator[tuple[Phase, int]]:
    for phase in settings.phases:
        for number in range(phase.batches):
            yield phase, number


class _Run:
    """Student, optimiser and average, as they are after `progress.batches` batches."""

    def __init__(self, settings: DistillSettings, folder: Path, accelerator: Any, teacher: Teacher) -> None:
        self._settings, self._folder, self._teacher = settings, folder, teacher
        self._accelerator = accelerator
        saved = checkpoints.found(folder / "checkpoints")
        if saved:
            model, self._average, optimizer, self.progress = checkpoints.read(saved[-1], self._optimizer)
        else:
            told = settings.student
            seed = int(records.content_id("student", settings.seed)[:15], 16)
            model = student.make(told.encoder, told.revision, teacher.width, seed, told.dropout)
            self._average, self.progress, optimizer = None, Progress(), self._optimizer(model)
            if settings.ema is not None:
                self._average = {name: each.detach().clone() for name, each in model.named_parameters()}
        model.train()
        model, self._optimizer_in_use = accelerator.prepare(model, optimizer)
        self._student = model
        if self._average is not None:
            self._average = {name: each.to(accelerator.device) for name, each in self._average.items()}
        self._log = _Log(folder, self.progress) if accelerator.is_main_process else None

    def _optimizer(self, model: Any) -> Any:
        torch = load_torch()
        settings = self._settings
        return torch.optim.AdamW(
            model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=False
        )

    def batch(self, phase: Phase, batch: Batch, done: int) -> Iterator[Line]:
        """The optimiser steps of one batch: one for each step of the teacher, or one in all."""
        torch = load_torch()
        settings, accelerator = self._settings, self._accelerator
        torch.manual_seed(int(records.content_id("dropout", settings.seed, done, accelerator.process_index)[:15], 16))
        for number, loss in enumerate(self._losses(phase, batch)):
            accelerator.backward(loss)
            norm = accelerator.clip_grad_norm_(self._student.parameters(), settings.clip_norm)
            self._optimizer_in_use.step()
            self._optimizer_in_use.zero_grad()
            self._follow_average()
            self.progress = Progress(self.progress.batches, self.progress.steps + 1, self.progress.lines + 1)
            mean = accelerator.reduce(loss.detach(), reduction="mean")
            yield {"step": self.progress.steps - 1, "t": number, "loss": float(mean), "norm": float(norm)}
        self.progress = Progress(self.progress.batches + 1, self.progress.steps, self.progress.lines)

    def _losses(self, phase: Phase, batch: Batch) -> Iterator[Any]:
        if self._settings.objective == "embedding":
            yield following.imitate(self._student, self._teacher, batch.texts)
            return
        size = phase.size or self._settings.teacher.size
        yield from following.follow(self._student, self._teacher, batch.texts, batch.seeds, batch.guidance, size)

    def _follow_average(self) -> None:
        torch, keep = load_torch(), self._settings.ema
        if self._average is None or keep is None:
            return
        with torch.no_grad():
            for name, each in self._accelerator.unwrap_model(self._student).named_parameters():
                self._average[name].lerp_(each, 1 - keep)

    def note(self, lines: list[Line]) -> None:
        """Write the lines of a batch."""
        if self._log is not None:
            self._log.write(lines)

    def checkpoint(self) -> None:
        """Write a checkpoint on the main process; the others wait."""
        if self._log is not None:
            self._log.flush()
            model = self._accelerator.unwrap_model(self._student)
            checkpoints.write(
                self._folder / "checkpoints", model, self._average, self._optimizer_in_use.optimizer, self.progress
            )
        self._accelerator.wait_for_everyone()

    def finish(self) -> Path:
        """Write the student; its average where there is one."""
        final = self._folder / "student"
        if self._log is not None:
            model = self._accelerator.unwrap_model(self._student)
            if self._average is not None:
                model.load_state_dict(self._average, strict=False)
            student.save(model, final)
            self._log.close()
        self._accelerator.wait_for_everyone()
        return final


class _Log:
    """losses.jsonl, cut back to where the checkpoint stood; tensorboard beside it where it is installed."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self._path = folder / "losses.jsonl"
        kept = self._path.read_bytes().splitlines(keepends=True)[: progress.lines] if self._path.is_file() else []
        put(self._path, b"".join(kept))
        self._stream = self._path.open("ab")
        self._board = _board(folder / "tensorboard", progress.steps)

    def write(self, lines: list[Line]) -> None:
        for line in lines:
            self._stream.write(records.canonical_json(line).encode() + b"\n")
            if self._board is not None:
                for name in ("loss", "norm"):
                    self._board.add_scalar(f"{line['phase']}/{name}", line[name], line["step"])

    def flush(self) -> None:
        """To the disk, before a checkpoint says that these lines are there."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        if self._board is not None:
            self._board.flush()

    def close(self) -> None:
        self.flush()
        self._stream.close()
        if self._board is not None:
            self._board.close()


def _board(folder: Path, steps: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=steps)


def losses(folder: Path) -> list[Mapping[str, Any]]:
    """The lines of losses.jsonl."""
    return [json.loads(line) for line in (folder / "losses.jsonl").read_text("utf-8").splitlines()]
