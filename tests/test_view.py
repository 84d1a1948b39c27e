"""What a person sees of a run: rates and times by hand, stages in order, faults and Ctrl-C handed over."""

import io
import threading
from pathlib import Path

import pytest
from rich.console import Console

from promptforge.stages.progress import Meter, Stopped, meter
from promptforge.view import Board, Pace, StageState, clock, line, picture, watch


def written(width: int = 100) -> tuple[Console, io.StringIO]:
    sink = io.StringIO()
    return Console(file=sink, width=width, force_terminal=False), sink


def test_the_rate_is_over_the_last_ten_seconds() -> None:
    pace = Pace()
    assert pace.see(0.0, 0) is None
    assert pace.see(0.5, 40) is None  # under a second says nothing
    assert pace.see(2.0, 60) == 30.0  # 60 rows in 2 s
    assert pace.see(14.0, 180) == 10.0  # the samples at 0 and 0.5 are too old: (180 - 60) / (14 - 2)


def test_a_stage_that_stands_still_has_no_rate() -> None:
    pace = Pace()
    pace.see(0.0, 7)
    assert pace.see(5.0, 7) is None


def test_the_time_left_is_what_is_missing_by_the_rate() -> None:
    assert StageState("render", "running", 25, 100, 5.0).eta_s == 15.0  # 75 left at 5 a second
    assert StageState("render", "running", 25, None, 5.0).eta_s is None
    assert StageState("render", "running", 100, 100, None).eta_s is None


@pytest.mark.parametrize(("seconds", "said"), [(0, "0:00"), (59.6, "1:00"), (75, "1:15"), (3661, "1:01:01")])
def test_a_duration_reads_as_a_clock(seconds: float, said: str) -> None:
    assert clock(seconds) == said


def test_the_stage_after_the_last_finished_one_is_running() -> None:
    progress = Meter()
    board = Board(progress)
    assert {state.state for state in board.look(0.0)} == {"waiting"}
    progress.expect("generate", 10)
    progress.add("generate", 10)
    progress.finish("generate")
    states = {state.name: state.state for state in board.look(1.0)}
    assert states["generate"] == "done"
    assert states["filter"] == "running"
    assert states["dedup"] == "waiting"


def test_asking_is_shown_beside_the_stage_that_waits_for_it_and_never_as_done() -> None:
    progress = Meter()
    board = Board(progress)
    assert "ask" not in {state.name for state in board.look(0.0)}
    progress.expect("generate", 500)
    progress.expect_more("ask", 22)
    progress.add("ask", 10)
    states = board.look(1.0)
    assert [state.name for state in states if state.state == "running"] == ["ask", "generate"]
    assert line(states) == "ask: 10 of 22 answers"
    progress.add("ask", 12)
    assert {state.name: state.state for state in board.look(2.0)}["ask"] == "waiting"
    progress.expect_more("ask", 44)  # the next wave
    assert line(board.look(3.0)) == "ask: 22 of 66 answers (6.0 answers/s, 0:07 left)"  # 12 in 2 s; 44 / 6


def test_encoding_is_shown_beside_the_search_for_duplicates() -> None:
    progress = Meter()
    board = Board(progress)
    assert "embed" not in {state.name for state in board.look(0.0)}
    progress.finish("generate")
    progress.finish("filter")
    progress.expect("embed", 9)
    progress.add("embed", 4)
    states = board.look(1.0)
    assert [state.name for state in states if state.state == "running"] == ["embed", "dedup"]
    assert line(states) == "embed: 4 of 9 rows"


def test_a_note_is_told_once() -> None:
    progress = Meter()
    board = Board(progress)
    progress.note("first")
    assert board.new_notes() == ["first"]
    progress.note("second")
    assert board.new_notes() == ["second"]
    assert board.new_notes() == []


def test_a_line_says_how_far_the_running_stage_is() -> None:
    states = [StageState("plan", "done", None, None, None), StageState("render", "running", 50, 200, 10.0)]
    assert line(states) == "render: 50 of 200 rows (10.0 rows/s, 0:15 left)"
    assert line([StageState("dedup", "running", None, None, None)]) == "dedup ..."
    assert line([StageState("dedup", "waiting", None, None, None)]) is None


def test_the_live_picture_shows_stages_rates_and_notes() -> None:
    console, sink = written()
    states = [StageState("render", "running", 1500, 3000, 100.0), StageState("score", "waiting", None, None, None)]
    console.print(picture("mini", states, ["92% kept"], 61.0))
    shown = sink.getvalue()
    for part in ("mini  1:01", "1,500 / 3,000", "100 rows/s", "0:15 left", "92% kept"):
        assert part in shown


def test_the_result_of_the_work_comes_back_and_its_stages_are_lines(tmp_path: Path) -> None:
    console, sink = written()

    def work() -> int:
        progress = meter(tmp_path)
        progress.expect("generate", 3)
        progress.add("generate", 3)
        progress.finish("generate")
        progress.note("all kept")
        threading.Event().wait(0.6)  # two looks of the view
        return 7

    assert watch(tmp_path, "mini", console, work) == 7
    assert "generate done 3 rows" in sink.getvalue()
    assert "all kept" in sink.getvalue()


def test_the_fault_of_the_work_comes_back_as_it_was(tmp_path: Path) -> None:
    def work() -> None:
        raise LookupError("this one")

    with pytest.raises(LookupError, match="this one"):
        watch(tmp_path, "mini", written()[0], work)


def test_counting_ends_a_run_that_is_to_stop() -> None:
    progress = Meter()
    progress.add("render")
    progress.stopping.set()
    with pytest.raises(Stopped):
        progress.add("render")
    assert progress.snapshot()[1] == {"render": 1}
