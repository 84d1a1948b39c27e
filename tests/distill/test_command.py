"""promptforge distill: what is told, one training a folder, Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest

from promptforge.cli import answer
from tests.distill.conftest import as_toml

pytestmark = pytest.mark.models


def _until(lines: IO[str], start: str) -> None:
    next(line for line in lines if line.startswith(start))


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(
    small: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = {**small, "phases": [{"name": "all", "batches": 60}], "checkpoint_every": 5}
    (tmp_path / "own.toml").write_text(as_toml(raw))
    given = ["distill", str(tmp_path / "own.toml"), "--out", str(tmp_path / "out")]
    command = [sys.executable, "-m", "promptforge.cli", *given]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as first:
        assert first.stderr is not None
        _until(first.stderr, "all: batch 5 of 60, loss 0.0")
        first.send_signal(signal.SIGSTOP)  # at work, and not done before the other is refused
        refused = answer(given)
        first.send_signal(signal.SIGINT)
        first.send_signal(signal.SIGCONT)
        told = first.stderr.readlines()
    assert refused == 2
    assert first.returncode == 130
    last = "stopped; batches since the last checkpoint, at most 5, are done again; run the same command to go on\n"
    assert told[-1] == last
    assert f"held by process {first.pid}" in capsys.readouterr().err

    second = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    found = re.search(r"^going on after batch (\d+)$", second.stderr, re.MULTILINE)
    assert found is not None
    assert int(found[1]) in range(5, 60, 5)
    assert "all: batch 60 of 60, loss 0.0" in second.stderr
    assert second.stdout == f"student:  {tmp_path}/out/student\nlosses:   {tmp_path}/out/losses.jsonl\n"
