"""TensorBoard's log: the curve of losses.jsonl, each step once, whether the training was killed or not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.models

_PROGRAM = """
import json, sys
from pathlib import Path
from promptforge.distill.settings import read
from promptforge.distill.train import train
train(read(json.loads(sys.argv[1]), "test"), Path(sys.argv[2]), lambda report: print(report.batch, flush=True))
"""


def test_a_killed_training_leaves_each_step_once_on_tensorboard(small: dict[str, Any], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    phases = [{"name": "first", "batches": 3}, {"name": "second", "batches": 3}]
    raw = {**small, "phases": phases, "checkpoint_every": 2}
    command = [sys.executable, "-c", _PROGRAM, json.dumps(raw), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "3":  # one batch after the checkpoint
                os.kill(process.pid, signal.SIGKILL)
                break
    subprocess.run(command, check=True, capture_output=True, env=environment)

    assert len(list((tmp_path / "tensorboard").iterdir())) == 2  # the log that was cut off, and the rest
    board = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    lines = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text("utf-8").splitlines()]
    assert len(lines) == 12  # 6 batches x 2 steps
    for name in ("loss", "norm"):
        found = [
            (point.step, phase["name"], pytest.approx(point.value, rel=1e-6))  # the log keeps 32 bits of a number
            for phase in phases
            for point in board.Scalars(f"{phase['name']}/{name}")
        ]
        assert [(line["step"], line["phase"], line[name]) for line in lines] == found
