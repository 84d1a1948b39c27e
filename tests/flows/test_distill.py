"""The flow distill: its tables, its processes, and a deployment that is killed and run again on a real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from promptforge.distill.settings import read
from promptforge.distill.train import claim
from promptforge.errors import ConfigError
from promptforge.flows import apart
from promptforge.flows.distill import loss_table
from tests.distill.conftest import as_toml
from tests.stages.publishing.conftest import contents

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_loss_table_has_means_over_stretches_of_batches() -> None:
    # 20 batches of 2 steps in ten stretches of 2: losses 0, 1, 2, ... so the first has (0 + 1 + 2 + 3) / 4 = 1.5.
    lines = [
        {"phase": "first", "batch": number // 2, "step": number, "loss": float(number), "norm": 2.0 * number}
        for number in range(40)
    ]
    lines += [{"phase": "second", "batch": 20, "step": 40, "loss": 0.123456, "norm": 1e-6}]
    rows = loss_table(lines).splitlines()
    assert len(rows) == 2 + 10 + 1
    assert rows[2] == "| first | 1 to 2 | 1.5 | 3 |"
    assert rows[11] == "| first | 19 to 20 | 37.5 | 75 |"
    assert rows[12] == "| second | 21 to 21 | 0.1235 | 1e-06 |"


@pytest.fixture
def raw(small: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the same sums in every process
    return {**small, "phases": [{"name": "all", "batches": 24}], "checkpoint_every": 4}


def _asked(raw: dict[str, Any], folder: Path) -> Path:
    settings = read(raw, "test")
    claim(settings, folder)
    apart.ask(settings, folder)
    return folder


def _gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def _wait(until: Callable[[], object], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _at_work(folder: Path) -> psutil.Process:
    """The process that trains, from the lock that it holds."""
    return psutil.Process(json.loads((folder / "_lock.json").read_text("utf-8"))["pid"])


@pytest.mark.models
def test_a_process_that_dies_is_told_and_the_next_goes_on_where_it_was(raw: dict[str, Any], tmp_path: Path) -> None:
    folder, heard = _asked(raw, tmp_path / "run"), []

    def hear(what: str, done: int, total: int) -> None:
        heard.append((what.partition(",")[0], done, total))
        if len(heard) == 6:  # two batches after the checkpoint
            _at_work(folder).send_signal(signal.SIGKILL)

    with pytest.raises(RuntimeError, match=r"train ended with code -9; .*flow\.log says why"):
        apart.run(apart.TRAIN, folder, 1, hear)
    assert heard[:6] == [(f"all: batch {n}", n, 24) for n in range(1, 7)]
    seen = len(heard)
    assert apart.run(apart.TRAIN, folder, 1, hear) == str(folder / "student")
    assert heard[seen][1] in {5, 9}  # after the first checkpoint, or one that was written before the signal came
    assert heard[-1] == ("all: batch 24", 24, 24)


@pytest.mark.models
def test_a_fault_is_raised_as_it_was(raw: dict[str, Any], tmp_path: Path) -> None:
    folder = _asked({**raw, "batch": 1000}, tmp_path / "run")
    with pytest.raises(ConfigError, match="an epoch has 9 visits, a batch takes 1,000"):
        apart.run(apart.TRAIN, folder, 1, lambda *_: None)


@pytest.mark.models
def test_two_processes_train_and_the_first_one_speaks(
    raw: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    folder, heard = _asked({**raw, "phases": [{"name": "all", "batches": 2}]}, tmp_path / "run"), []
    assert apart.run(apart.TRAIN, folder, 2, lambda *at: heard.append(at[1:])) == str(folder / "student")
    assert heard == [(1, 2), (2, 2)]


@contextmanager
def _serving(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """`promptforge serve` in a folder like a checkout; the address of its API."""
    shutil.copy(REPOSITORY / "prefect.yaml", folder)
    (folder / "flows").symlink_to(REPOSITORY / "flows")
    command = [sys.executable, "-m", "promptforge.cli", "serve"]
    serving = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert serving.stdout is not None
        line = next(line for line in serving.stdout if line.startswith("to run:"))
        found = re.search(r"PREFECT_API_URL=(\S+)", line)
        assert found is not None
        yield found[1]
    finally:
        serving.send_signal(signal.SIGINT)
        rest, _ = serving.communicate(timeout=60)
    assert serving.returncode == 0, rest


@pytest.mark.models
def test_a_deployed_flow_that_is_killed_and_run_again_leaves_the_same_student(
    raw: dict[str, Any], tmp_path: Path
) -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment = {**plain, "PREFECT_WORKER_QUERY_SECONDS": "1"}
    (tmp_path / "small.toml").write_text(as_toml(raw))
    whole = _asked(raw, tmp_path / "whole")
    apart.run(apart.TRAIN, whole, 1, lambda *_: None)

    folder = tmp_path / "cut"
    with _serving(tmp_path, environment) as api:
        environment |= {"PREFECT_API_URL": api, "PREFECT_HOME": str(tmp_path / "home"), "DO_NOT_TRACK": "1"}

        def submit(*options: str, **params: object) -> None:
            given = {"settings": "small.toml", "out": "cut", "evaluate": False} | params
            command = [sys.executable, "-m", "prefect", "deployment", "run", "distill/flux-t5-base", *options]
            subprocess.run(
                [*command, "--param", f"params={json.dumps(given)}"],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                timeout=240,
                check=True,
            )

        submit()
        _wait(lambda: list((folder / "checkpoints").glob("[0-9]*")))
        trainer = _at_work(folder)
        flow = trainer.parent()
        assert flow is not None
        flow.kill()
        _wait(lambda: _gone(trainer), 30)
        assert not (folder / "student").exists()
        submit("--watch")
        artifacts = httpx.post(f"{api}/artifacts/filter", json={}, trust_env=False).json()

    assert contents(folder / "student") == contents(whole / "student")
    assert (folder / "losses.jsonl").read_bytes() == (whole / "losses.jsonl").read_bytes()
    told = [(artifact["key"], artifact["data"]) for artifact in artifacts]
    assert ("distill-progress", 100.0) in told
    lines = [json.loads(line) for line in (whole / "losses.jsonl").read_text("utf-8").splitlines()]
    assert ("distill-losses", loss_table(lines)) in told
