"""A training run: the same losses whether killed or not, the student at its end, several ranks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from promptforge.distill.settings import DistillSettings, read
from promptforge.errors import ConfigError, StoreFault
from tests.stages.publishing.conftest import contents

pytestmark = pytest.mark.models

_PROGRAM = """
import json, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from promptforge.distill.settings import read
from promptforge.distill.train import train
train(read(json.loads(sys.argv[1]), "test"), Path(sys.argv[2]), lambda report: print(report.batch, flush=True))
"""


@pytest.fixture(scope="module")
def raw(small: dict[str, Any]) -> dict[str, Any]:
    phases = [
        {"name": "semantics", "batches": 3, "weights": {"image_quality": 0, "text_rendering": 0}},
        {"name": "all", "batches": 3, "size": 128, "weights": {"semantic_understanding": 10}},
    ]
    return {**small, "phases": phases, "checkpoint_every": 2, "ema": 0.9}


def _start(raw: dict[str, Any], folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _PROGRAM, json.dumps(raw), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def _trained(raw: dict[str, Any], folder: Path) -> Path:
    process = _start(raw, folder)
    process.communicate(timeout=300)
    assert process.returncode == 0
    return folder


def test_killed_and_started_again_it_has_the_same_losses_and_the_same_student(
    raw: dict[str, Any], tmp_path: Path
) -> None:
    whole = _trained(raw, tmp_path / "whole")
    process = _start(raw, tmp_path / "cut")
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "3":  # one batch after the checkpoint
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()
    cut = _trained(raw, tmp_path / "cut")
    first, second = ((folder / "losses.jsonl").read_bytes() for folder in (whole, cut))
    assert first == second
    lines = [json.loads(line) for line in first.splitlines()]
    assert [line["step"] for line in lines] == list(range(12))  # 6 batches x 2 steps
    assert [line["phase"] for line in lines] == ["semantics"] * 6 + ["all"] * 6
    assert contents(whole / "student") == contents(cut / "student")


def test_the_student_that_is_left_is_the_average(raw: dict[str, Any], tmp_path: Path) -> None:
    import torch

    from promptforge.distill.student import load, make
    from promptforge.distill.train import train

    one = {**raw, "phases": [{"name": "all", "batches": 1}], "teacher": {**raw["teacher"], "steps": 1}}
    start = dict(make(raw["student"]["encoder"], None, 32, _seed(one)).named_parameters())
    found = {}
    for name, ema in (("plain", None), ("average", 0.9)):
        found[name] = dict(load(train(read({**one, "ema": ema}, "test"), tmp_path / name)).named_parameters())
    for name, before in start.items():  # one step: a tenth of the way from the start to the student
        wanted = 0.9 * before + 0.1 * found["plain"][name]
        assert torch.allclose(found["average"][name], wanted, atol=1e-7)
    assert any(not torch.equal(before, found["plain"][name]) for name, before in start.items())


def _seed(raw: dict[str, Any]) -> int:
    from promptforge.records import content_id

    return int(content_id("student", raw.get("seed", 0))[:15], 16)


def test_training_makes_the_loss_smaller(raw: dict[str, Any], tmp_path: Path) -> None:
    from promptforge.distill.train import losses, train

    long = {**raw, "phases": [{"name": "all", "batches": 30}], "learning_rate": 0.003, "ema": None}
    train(read({**long, "checkpoint_every": 100}, "test"), tmp_path / "run")
    found = [line["loss"] for line in losses(tmp_path / "run")]
    assert sum(found[-20:]) < 0.7 * sum(found[:20])


def test_trainings_of_both_precisions_follow_each_other_in_one_process(raw: dict[str, Any], tmp_path: Path) -> None:
    from promptforge.distill.train import losses, train

    found = {}
    for precision in ("fp32", "bf16", "fp32"):
        folder = tmp_path / f"{precision}-{len(found)}"
        train(read({**raw, "precision": precision}, "test"), folder)
        found[folder.name] = [line["loss"] for line in losses(folder)]
    assert found["fp32-0"] == found["fp32-2"] != found["bf16-1"]
    assert found["bf16-1"] == pytest.approx(found["fp32-0"], rel=0.05)


def test_another_training_may_not_take_the_folder(raw: dict[str, Any], tmp_path: Path) -> None:
    from promptforge.distill.train import claim

    settings: DistillSettings = read(raw, "test")
    claim(settings, tmp_path)
    claim(settings, tmp_path)
    with pytest.raises(ConfigError, match="holds a training with other settings"):
        claim(read({**raw, "seed": 5}, "test"), tmp_path)


def test_a_damaged_checkpoint_is_named(raw: dict[str, Any], tmp_path: Path) -> None:
    from promptforge.distill import checkpoints
    from promptforge.distill.train import train

    short = {**raw, "phases": [{"name": "all", "batches": 2}]}
    train(read(short, "test"), tmp_path)
    (last,) = checkpoints.found(tmp_path / "checkpoints")
    (last / "optimizer.pt").write_bytes(b"no state")
    with pytest.raises(StoreFault, match=r"not a whole checkpoint .*; remove it to go on from the one before"):
        train(read(short, "test"), tmp_path)


def test_a_checkpoint_is_read_without_running_anything_in_it(raw: dict[str, Any], tmp_path: Path) -> None:
    import torch

    from promptforge.distill import checkpoints
    from promptforge.distill.train import train

    class Runs:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    short = {**raw, "phases": [{"name": "all", "batches": 2}]}
    train(read(short, "test"), tmp_path / "run")
    (last,) = checkpoints.found(tmp_path / "run" / "checkpoints")
    torch.save(Runs(), last / "optimizer.pt")
    with pytest.raises(StoreFault):
        train(read(short, "test"), tmp_path / "run")
    assert not (tmp_path / "ran").exists()
