"""A language model's server that dies, moves or never was: one clear line, and no answer asked for twice."""

import shutil
import socket

import pytest

from promptforge.errors import EnvironmentFault
from promptforge.recipe import override
from promptforge.stages.verify import verify
from promptforge.store import Store

from .runs import IN_FLIGHT, Writer, command, dataset, drive, facts, small

pytestmark = pytest.mark.models


def reach(raw, port):
    return override(raw, [f"llm.writer.base_url='http://127.0.0.1:{port}/v1'"])


def n_answers(root):
    return sum(item.rows for commit in Store(root).commits("ask") if (item := commit.file("responses")))


def test_a_server_killed_in_the_middle_of_scoring_ends_the_run_with_a_line_and_the_next_goes_on(
    tmp_path, models, reference
):
    root, asked = tmp_path / "run", reference.asked
    total = sum(asked.values())
    n_before = total - asked["answer"] + 5  # five pictures were answered for
    first = Writer()
    first.die_after(n_before)
    try:
        done = command(root, small(models, first))
    finally:
        first.close()
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"promptforge: {first.base_url}, model 'tiny': ")
    assert line.endswith("run again: what was answered is not asked again")
    assert "Traceback" not in done.stdout
    committed = n_answers(root)
    assert n_before - IN_FLIGHT <= committed <= n_before
    second = Writer()
    try:
        assert second.base_url != first.base_url
        tallies = drive(root, small(models, second))
        assert sum(second.asked().values()) == total - committed
        assert set(second.asked()) == {"answer"}
    finally:
        second.close()
    assert tallies["generate"].done == tallies["filter"].done == tallies["render"].done == 0
    assert dataset(root) == dataset(reference.root)
    assert facts(root) == facts(reference.root)
    assert verify(root) == []


def test_a_server_that_dies_again_and_again_is_asked_for_what_is_missing_alone(tmp_path, models, reference):
    root, asked = tmp_path / "run", reference.asked
    n_asked = 0
    for n_answered in (1, 3, 9, 20, 12):  # while inventing, inventing, judging, judging, parsing or looking
        dying = Writer()
        dying.die_after(n_answered)
        try:
            with pytest.raises(EnvironmentFault, match="then run again: what was answered is not asked again"):
                drive(root, small(models, dying))
        finally:
            dying.close()
        assert n_answers(root) <= n_asked + n_answered
        n_asked = n_answers(root)
    last = Writer()
    try:
        drive(root, small(models, last))
        assert sum(last.asked().values()) == sum(asked.values()) - n_asked
    finally:
        last.close()
    assert dataset(root) == dataset(reference.root)
    assert facts(root) == facts(reference.root)


def test_a_server_that_was_never_started_is_told_with_its_address(tmp_path, models, writer):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(EnvironmentFault) as fault:
        drive(tmp_path / "run", reach(small(models, writer), port))
    assert fault.value.exit_code == 2
    said = str(fault.value)
    assert said.startswith(f"http://127.0.0.1:{port}/v1, model 'tiny': 2 tries failed, the last with: connection: ")
    assert "look at the server's log, start it again" in said
    assert "\n" not in said
    assert n_answers(tmp_path / "run") == 0


def test_an_unreachable_server_stops_nothing_that_is_answered_already(tmp_path, models, writer, reference):
    root = shutil.copytree(reference.root, tmp_path / "run")
    raw = override(reach(small(models, writer), 9), ["llm.writer.concurrency=1", "llm.writer.price_in=7.0"])
    assert {stage for stage, tally in drive(root, raw).items() if tally.done} == set()
    assert dataset(root) == dataset(reference.root)
