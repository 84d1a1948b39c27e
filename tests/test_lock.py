"""One writer a folder: refusal, take-over, release."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from promptforge.errors import LockedError
from promptforge.files import put
from promptforge.lock import Lock, boot_id
from promptforge.store import Store

HOLD = """
import sys, time
from pathlib import Path
from promptforge.lock import Lock
with Lock(Path(sys.argv[1])) as lock:
    print(lock.epoch, flush=True)
    time.sleep(60)
"""


def holder(root: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    return process


def record(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "_lock.json").read_text())
    return found


def foreign(root: Path, **changes: Any) -> None:
    """A record as a holder on another machine leaves it."""
    owner = {"host": "elsewhere", "boot": "another boot", "pid": 1, "epoch": 4, "beat": 9, "held": True}
    put(root / "_lock.json", json.dumps(owner | changes).encode())


def test_a_second_process_is_told_who_holds_the_folder_and_a_kill_frees_it(tmp_path: Path) -> None:
    other = holder(tmp_path)
    try:
        with pytest.raises(LockedError, match=rf"held by process {other.pid} on \S+ \(run 1\); wait until it has"):
            Lock(tmp_path).__enter__()
    finally:
        other.send_signal(signal.SIGKILL)
        other.communicate()
    assert record(tmp_path)["held"]  # nobody told the record
    start = time.monotonic()
    with Lock(tmp_path) as lock:
        assert lock.epoch == 2
    assert time.monotonic() - start < 5  # its process is gone from this boot: no minute of watching


def test_a_killed_process_that_nobody_waited_for_does_not_hold_the_folder(tmp_path: Path) -> None:
    """A zombie still answers kill(pid, 0)."""
    other = holder(tmp_path)
    other.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # dead, and left as a zombie
    try:
        start = time.monotonic()
        with Lock(tmp_path, still_s=20) as lock:
            assert lock.epoch == 2
        assert time.monotonic() - start < 5
    finally:
        other.communicate()


def test_a_second_lock_of_the_same_process_is_refused_too(tmp_path: Path) -> None:
    with Lock(tmp_path), pytest.raises(LockedError):
        Lock(tmp_path).__enter__()


def test_every_holder_gets_the_next_epoch_and_leaves_it_behind(tmp_path: Path) -> None:
    assert Store(tmp_path).epoch() == 0
    for wanted in (1, 2, 3):
        with Lock(tmp_path) as lock:
            assert lock.epoch == wanted == Store(tmp_path).epoch()
            assert record(tmp_path)["held"]
        assert not record(tmp_path)["held"]
        assert Store(tmp_path).epoch() == wanted


def test_a_folder_is_released_when_the_work_raises(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no luck"), Lock(tmp_path):
        raise ValueError("no luck")
    assert not record(tmp_path)["held"]
    with Lock(tmp_path) as lock:
        assert lock.epoch == 2


def test_a_holder_elsewhere_is_taken_over_once_its_beat_has_stood_still(tmp_path: Path) -> None:
    foreign(tmp_path)
    said: list[str] = []
    start = time.monotonic()
    with Lock(tmp_path, still_s=0.6, beat_s=0.2, say=said.append) as lock:
        assert lock.epoch == 5
    assert time.monotonic() - start >= 0.6
    assert said == [f"{tmp_path} was left locked by process 1 on elsewhere; watching its heartbeat for 1 s"]


def test_a_holder_elsewhere_whose_beat_moves_is_left_alone(tmp_path: Path) -> None:
    foreign(tmp_path)
    timer = threading.Timer(0.3, foreign, (tmp_path,), {"beat": 10})
    timer.start()
    with pytest.raises(LockedError, match=r"process 1 on elsewhere \(run 4\)"):
        Lock(tmp_path, still_s=20, beat_s=0.2).__enter__()
    timer.join()
    assert record(tmp_path)["epoch"] == 4
    foreign(tmp_path, held=False)
    with Lock(tmp_path) as lock:  # and the file lock was given back on the way out
        assert lock.epoch == 5


def test_a_record_of_this_boot_whose_number_now_belongs_to_another_process_does_not_hold(tmp_path: Path) -> None:
    """A container starts again and gives the same number to another process: the start time tells them apart."""
    foreign(tmp_path, boot=boot_id(), pid=os.getpid(), born="1")
    start = time.monotonic()
    with Lock(tmp_path, still_s=20) as lock:
        assert lock.epoch == 5
    assert time.monotonic() - start < 5


def test_the_beat_is_counted_while_the_folder_is_held(tmp_path: Path) -> None:
    with Lock(tmp_path, beat_s=0.05):
        first = record(tmp_path)["beat"]
        time.sleep(0.4)
        assert record(tmp_path)["beat"] > first


def test_a_holder_that_was_taken_over_stops_its_beat_and_leaves_the_new_record(tmp_path: Path) -> None:
    with Lock(tmp_path, beat_s=0.05) as lock:
        foreign(tmp_path, epoch=lock.epoch + 1, beat=3)
        time.sleep(0.3)
        assert record(tmp_path)["beat"] == 3
    assert record(tmp_path) == {
        "host": "elsewhere",
        "boot": "another boot",
        "pid": 1,
        "epoch": 2,
        "beat": 3,
        "held": True,
    }


def test_a_lock_record_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "_lock.json").write_text("{torn")
    with pytest.raises(LockedError, match=r"_lock\.json.*not a lock record.*remove it"):
        Lock(tmp_path).__enter__()
