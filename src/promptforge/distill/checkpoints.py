"""Checkpoints of a training run: whole or not there, the last two kept.

<folder>/00000050/
student/            as transformers writes it
average.safetensors the moving average of the weights, where there is one
optimizer.pt        AdamW's state; read back as tensors alone (weights_only)
progress.json       batches done, optimiser steps done, lines of losses.jsonl
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from promptforge.distill.student import load, save
from promptforge.errors import StoreFault
from promptforge.files import TEMPORARY, fsync_folder, put
from promptforge.models.torch_setup import load_torch

KEPT = 2


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    batches: int = 0
    steps: int = 0
    lines: int = 0


def write(folder: Path, student: Any, average: Mapping[str, Any] | None, optimizer: Any, progress: Progress) -> None:
    """Write a checkpoint and remove all but the last two."""
    torch = load_torch()
    from safetensors.torch import save_file

    name = f"{progress.batches:08d}"
    fresh = folder / f"{TEMPORARY}{name}"
    shutil.rmtree(fresh, ignore_errors=True)
    save(student, fresh / "student")
    if average is not None:
        save_file(dict(average), fresh / "average.safetensors")
    torch.save(optimizer.state_dict(), fresh / "optimizer.pt")
    put(fresh / "progress.json", json.dumps(asdict(progress), sort_keys=True).encode())
    final = folder / name
    if final.exists():
        shutil.rmtree(final)
    fresh.rename(final)
    fsync_folder(folder)
    for old in found(folder)[:-KEPT]:
        shutil.rmtree(old)


def found(folder: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    return sorted(path for path in folder.glob("[0-9]" * 8) if (path / "progress.json").is_file())


def read(path: Path, optimizer_of: Any) -> tuple[Any, dict[str, Any] | None, Any, Progress]:
    """Student, average, optimiser and progress of a checkpoint; `optimizer_of(student)` makes the empty optimiser.

    Raises StoreFault where a file is missing or no checkpoint's.
    """
    torch = load_torch()
    from safetensors.torch import load_file

    try:
        progress = Progress(**json.loads((path / "progress.json").read_text("utf-8")))
        student = load(path / "student")
        optimizer = optimizer_of(student)
        optimizer.load_state_dict(torch.load(path / "optimizer.pt", weights_only=True))
        average_file = path / "average.safetensors"
        average = load_file(average_file) if average_file.is_file() else None
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, UnpicklingError) as exc:
        raise StoreFault(
            f"{path}: not a whole checkpoint ({type(exc).__name__}); remove it to go on from the one before"
        ) from exc
    return student, average, optimizer, progress
