"""A language model's server that dies, moves or never was: one clear line, and no answer asked for twice."""

import socket

import pytest

from promptforge.errors import EnvironmentFault
from promptforge.recipe import override
from promptforge.stages.verify import verify
from promptforge.store import Store

from .runs import IN_FLIGHT, Writer, command, dataset, drive, facts, small

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def reference(tmp_path_factory, models, writer):
    """A run that nothing disturbed: its root, recipe and requests."""
    root, raw = tmp_path_factory.mktemp("reference") / "run", small(models, writer)
    drive(root, raw)
    return root, raw, writer.asked()


def moved(raw, writer):
    return override(raw, [f"llm.writer.base_url='{writer.base_url}'"])


def n_answers(root):
    return sum(item.rows for commit in Store(root).commits("ask") if (item := commit.file("responses")))


def test_a_server_killed_in_the_middle_of_scoring_ends_the_run_with_a_line_and_the_next_goes_on(tmp_path, reference):
    root, raw, asked = tmp_path / "run", reference[1], reference[2]
    total = sum(asked.values())
    n_before = total - asked["answer"] + 5  # five pictures were answered for
    first = Writer()
    first.die_after(n_before)
    try:
        done = command(root, moved(raw, first))
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
        tallies = drive(root, moved(raw, second))
        assert sum(second.asked().values()) == total - committed
        assert set(second.asked()) == {"answer"}
    finally:
        second.close()
    assert tallies["generate"].done == tallies["filter"].done == tallies["render"].done == 0
    assert dataset(root) == dataset(reference[0])
    assert facts(root) == facts(reference[0])
    assert verify(root) == []


def test_a_server_that_dies_again_and_again_is_asked_for_what_is_missing_alone(tmp_path, reference):
    root, raw, asked = tmp_path / "run", reference[1], reference[2]
    n_asked = 0
    for n_answered in (1, 3, 9, 20, 12):  # while inventing, inventing, judging, judging, parsing or looking
        dying = Writer()
        dying.die_after(n_answered)
        try:
            with pytest.raises(EnvironmentFault, match="then run again: what was answered is not asked again"):
                drive(root, moved(raw, dying))
        finally:
            dying.close()
        assert n_answers(root) <= n_asked + n_answered
        n_asked = n_answers(root)
    last = Writer()
    try:
        drive(root, moved(raw, last))
        assert sum(last.asked().values()) == sum(asked.values()) - n_asked
    finally:
        last.close()
    assert dataset(root) == dataset(reference[0])
    assert facts(root) == facts(reference[0])


def test_a_server_that_was_never_started_is_told_with_its_address(tmp_path, reference):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    raw = override(reference[1], [f"llm.writer.base_url='http://127.0.0.1:{port}/v1'"])
    with pytest.raises(EnvironmentFault) as fault:
        drive(tmp_path / "run", raw)
    assert fault.value.exit_code == 2
    said = str(fault.value)
    assert said.startswith(f"http://127.0.0.1:{port}/v1, model 'tiny': 2 tries failed, the last with: connection: ")
    assert "look at the server's log, start it again" in said
    assert "\n" not in said
    assert n_answers(tmp_path / "run") == 0


def test_an_unreachable_server_stops_nothing_that_is_answered_already(reference):
    root, raw, _ = reference
    before = dataset(root)
    tallies = drive(root, override(raw, ["llm.writer.base_url='http://127.0.0.1:9/v1'", "llm.writer.concurrency=1"]))
    assert {stage for stage, tally in tallies.items() if tally.done} == set()
    assert dataset(root) == before
