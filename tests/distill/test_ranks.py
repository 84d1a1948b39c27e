"""Two ranks with one prompt each train as one rank with two prompts does."""

from __future__ import annotations

import json
import os
import shutil
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
train(read(json.loads(Path(sys.argv[1]).read_text()), "test"), Path(sys.argv[2]))
"""


def _losses(raw: dict[str, Any], folder: Path, ranks: int) -> list[float]:
    folder.mkdir()
    (folder / "program.py").write_text(_PROGRAM)
    (folder / "settings.in").write_text(json.dumps(raw))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)] if ranks > 1 else []
    given = [str(folder / "program.py"), str(folder / "settings.in"), str(folder / "run")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    command = [sys.executable, *launch, *given]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=400, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line)["loss"] for line in (folder / "run" / "losses.jsonl").read_text("utf-8").splitlines()]


def test_two_ranks_train_as_one_with_twice_the_batch(small: dict[str, Any], tmp_path: Path) -> None:
    still = Path(shutil.copytree(small["student"]["encoder"], tmp_path / "t5"))
    config = json.loads((still / "config.json").read_text("utf-8"))
    # Ranks draw their own dropout, so there must be none.
    (still / "config.json").write_text(json.dumps({**config, "dropout_rate": 0.0}))
    raw = {**small, "student": {"encoder": str(still), "dropout": 0}}
    one = _losses({**raw, "batch": 2}, tmp_path / "one", 1)
    two = _losses({**raw, "batch": 1}, tmp_path / "two", 2)
    assert len(one) == 6  # 3 batches x 2 steps
    assert two == pytest.approx(one, rel=1e-4)  # the mean of two losses; gradients are added up in another order
