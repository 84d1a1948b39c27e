"""The process around an OCR engine: replaced, restarted, never waited for in vain. The engine obeys the first pixel."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from promptforge.errors import EnvironmentFault
from promptforge.models.reader_process import MOST_LOST, Limits, ReaderProcess
from promptforge.protocols import Pixels

ENGINES = Path(__file__).parent / "engines"
PLAIN, CRASH, HANG, RAISE, GROW = range(5)


@pytest.fixture(autouse=True)
def _path_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ENGINES))


@pytest.fixture
def started() -> Iterator[Any]:
    """Starts reader processes and ends them."""
    made: list[ReaderProcess] = []

    def start(settings: dict[str, Any] | None = None, **limits: Any) -> ReaderProcess:
        made.append(ReaderProcess("marked_engine", settings or {}, Limits(**limits)))
        return made[-1]

    yield start
    for each in made:
        each.close()


def marked(mark: int, size: int = 8) -> Pixels:
    picture = np.zeros((size, size, 3), dtype=np.uint8)
    picture[0, 0, 0] = mark
    return picture


def said(process: ReaderProcess, *marks: int) -> list[str | None]:
    """The pid that read each picture, or its fault."""
    found = process.read_many([marked(mark) for mark in marks], {})
    assert all((each.fault is None) == (len(each.lines) == 1) for each in found)
    return [each.fault or each.lines[0].text for each in found]


def test_pixels_settings_and_lines_cross_whole(started: Any) -> None:
    process = started()
    picture = np.arange(700 * 900 * 3, dtype=np.uint32).astype(np.uint8).reshape(700, 900, 3)
    picture[0, 0, 0] = PLAIN
    (found,) = process.read_many([picture], {"say": " naïve"})
    (line,) = found.lines
    assert (line.text, line.confidence) == (f"{process.pid} naïve", 0.5)
    assert line.box[1] == (float(picture.sum()), 0.0)


def test_a_child_killed_between_reads_is_replaced_without_a_fault(started: Any) -> None:
    process = started()
    first = process.pid
    os.kill(first, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(first)] if psutil.pid_exists(first) else [], timeout=5)
    (text,) = said(process, PLAIN)
    assert text == str(process.pid) != str(first)


def test_a_child_killed_during_a_read_is_replaced_and_the_read_repeated(started: Any) -> None:
    process = started(timeout_s=20)
    first = process.pid
    os.kill(first, signal.SIGSTOP)  # so that the kill comes while the parent waits for an answer
    killer = threading.Timer(0.5, os.kill, (first, signal.SIGKILL))
    killer.start()
    (text,) = said(process, PLAIN)
    killer.join()
    assert text == str(process.pid) != str(first)


def test_a_stopped_child_is_killed_after_the_timeout_and_the_read_repeated(started: Any) -> None:
    process = started(timeout_s=1)
    first = psutil.Process(process.pid)
    first.suspend()
    start = time.monotonic()
    big = np.zeros((2000, 2000, 3), dtype=np.uint8)  # 12 MB: more than the socket holds, so that sending blocks too
    (found,) = process.read_many([big], {})
    assert found.lines[0].text == str(process.pid) != str(first.pid)
    assert 1 <= time.monotonic() - start < 15
    assert not first.is_running()


@pytest.mark.parametrize(
    ("mark", "once"),
    [
        (CRASH, "the process was ended by signal 6"),
        (HANG, "no answer within 0.5 s"),
        (RAISE, "RuntimeError: odd picture"),
    ],
)
def test_a_picture_that_breaks_the_engine_twice_is_given_up_with_the_reason(started: Any, mark: int, once: str) -> None:
    process = started(timeout_s=0.5)
    assert said(process, mark) == [f"{once}; alone, in a new process: {once}"]
    assert said(process, PLAIN) == [str(process.pid)]


def test_one_bad_picture_costs_its_neighbours_nothing(started: Any) -> None:
    process = started()
    first, bad, last = said(process, PLAIN, CRASH, PLAIN)
    assert bad is not None
    assert "signal 6" in bad
    assert first is not None
    assert first.isdigit()
    assert last == str(process.pid)


def test_pictures_given_up_in_a_row_stop_the_run(started: Any) -> None:
    process = started()
    for _ in range(MOST_LOST - 1):
        said(process, RAISE)
    with pytest.raises(EnvironmentFault, match=f"gave up {MOST_LOST} pictures in a row.*odd picture"):
        said(process, RAISE)


def test_a_read_picture_ends_the_row(started: Any) -> None:
    process = started()
    for _ in range(MOST_LOST + 1):
        (fault,) = said(process, RAISE)
        assert fault is not None
        said(process, PLAIN)


def test_a_child_is_replaced_after_a_number_of_pictures(started: Any) -> None:
    process = started(n_pictures=3)
    pids = [said(process, PLAIN)[0] for _ in range(7)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]


def test_a_child_that_grew_over_its_limit_is_replaced(started: Any) -> None:
    process = started(memory_mib=250)  # 40 when loaded; a mark GROW adds 300
    before = said(process, PLAIN, PLAIN)
    grown = said(process, GROW)
    after = said(process, PLAIN)
    assert before == [grown[0]] * 2
    assert after != grown


def test_a_child_that_is_over_its_limit_from_the_start_is_refused(started: Any) -> None:
    with pytest.raises(EnvironmentFault, match=r"takes \d+ MiB when loaded, over the limit of 5"):
        started(memory_mib=5)


def test_an_engine_that_does_not_load_says_why(started: Any) -> None:
    with pytest.raises(EnvironmentFault, match=r"^no such model$"):
        started({"refuse": "no such model"})
    with pytest.raises(EnvironmentFault, match="ValueError: no luck"):
        started({"break": "no luck"})
    with pytest.raises(EnvironmentFault, match=r"(?s)ended by signal 6 while loading.*last words"):
        started({"die": True})
    with pytest.raises(EnvironmentFault, match="not loaded within"):
        started({"load_s": 60}, start_s=1)


def test_closing_ends_the_child_and_a_later_read_starts_another(started: Any) -> None:
    process = started()
    first = process.pid
    process.close()
    assert not psutil.pid_exists(first)
    assert said(process, PLAIN) == [str(process.pid)]


@pytest.mark.parametrize("mark", [PLAIN, HANG])
def test_the_death_of_the_parent_ends_the_child(mark: int) -> None:
    code = f"""
        import numpy as np
        from promptforge.models.reader_process import Limits, ReaderProcess
        process = ReaderProcess("marked_engine", {{}}, Limits())
        print(process.pid, flush=True)
        process.read_many([np.full((4, 4, 3), {mark}, dtype=np.uint8)], {{}})
        input()
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        time.sleep(0.5)
        assert child.is_running()
        parent.kill()
        parent.wait()
        _, alive = psutil.wait_procs([child], timeout=10)
    assert alive == []


def test_a_module_in_the_working_directory_shadows_nothing(
    started: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    process = started()
    assert said(process, PLAIN) == [str(process.pid)]
