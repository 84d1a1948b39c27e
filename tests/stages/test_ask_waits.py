"""Asking while others wait, while the model is silent or lost, and when the person wants it to end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from promptforge.errors import EnvironmentFault
from promptforge.protocols import Completion, Request
from promptforge.stages import ask
from promptforge.stages.ask import Asker
from promptforge.stages.progress import Stopped, reset
from promptforge.store import Store

Given = Iterator[tuple[int, Completion] | None]


class Spelling:
    """Answers with the length of the subject, the first request first; lost after so many."""

    identity = {"name": "spelling"}  # noqa: RUF012

    def __init__(self, lost_after: int | None = None) -> None:
        self.lost_after, self.asked = lost_after, list[Request]()

    def complete(self, requests: Sequence[Request]) -> Given:
        for place, request in enumerate(requests):
            if len(self.asked) == self.lost_after:
                raise EnvironmentFault("the server is gone")
            self.asked.append(request)
            yield place, Completion(json.dumps({"size": len(request.subject)}), 7, 3)

    def sleep(self) -> None:
        """Has nothing to free."""


def requests(n: int) -> list[Request]:
    schema = {"type": "object", "properties": {"size": {"type": "integer"}}}
    return [Request("parse", "v1", "s" * (number + 1), "", "", schema) for number in range(n)]


def asker_of(root: Path, model: Spelling) -> Asker:
    return Asker(Store(root), "tiny", Spelling.identity, lambda: model)


def committed(root: Path) -> int:
    return sum(commit.counts["rows"] for commit in Store(root).commits("ask"))


def test_who_needs_only_what_is_there_does_not_wait_for_the_thread_that_asks(tmp_path: Path) -> None:
    going, free = threading.Event(), threading.Event()

    class Slow(Spelling):
        def complete(self, requests: Sequence[Request]) -> Given:
            going.set()
            assert free.wait(20)
            yield from super().complete(requests)

    asker_of(tmp_path, Spelling())(requests(3))
    asker = asker_of(tmp_path, Slow())
    thread = threading.Thread(target=asker, args=(requests(9),))
    thread.start()
    try:
        assert going.wait(20)
        assert [answer.value["size"] for answer in asker(requests(3))] == [1, 2, 3]
        assert thread.is_alive()
    finally:
        free.set()
        thread.join()


def test_a_model_that_was_lost_is_not_asked_by_the_next_thread(tmp_path: Path) -> None:
    model = Spelling(lost_after=2)
    asker = asker_of(tmp_path, model)
    for wanted in (requests(5), requests(9)):
        with pytest.raises(EnvironmentFault, match="the server is gone"):
            asker(wanted)
    assert len(model.asked) == 2
    assert [answer.value["size"] for answer in asker(requests(2))] == [1, 2]  # those that came


class Silent(Spelling):
    """Answers two, then never again, but lets the caller look around."""

    def complete(self, requests: Sequence[Request]) -> Given:
        try:
            answers = super().complete(requests)
            yield from (next(answers), next(answers))
            while True:
                time.sleep(0.01)
                yield None
        finally:
            self.is_closed = True


def test_a_stop_ends_the_wait_for_a_silent_model_and_keeps_what_came(tmp_path: Path) -> None:
    model, progress = Silent(), reset(tmp_path)
    threading.Timer(0.3, progress.stopping.set).start()
    with pytest.raises(Stopped):
        asker_of(tmp_path, model)(requests(9))
    assert model.is_closed
    assert committed(tmp_path) == 2


def test_answers_are_committed_by_the_clock_while_the_model_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask, "INCREMENT_S", 0.1)
    seen: list[int] = []

    class Watched(Silent):
        def complete(self, requests: Sequence[Request]) -> Given:
            began = time.monotonic()
            for given in super().complete(requests):
                if time.monotonic() - began > 1:
                    seen.append(committed(tmp_path))
                    raise EnvironmentFault("enough")
                yield given

    with pytest.raises(EnvironmentFault, match="enough"):
        asker_of(tmp_path, Watched())(requests(9))
    assert seen == [2]


def test_a_person_sees_how_many_answers_are_there_of_those_asked_for(tmp_path: Path) -> None:
    progress = reset(tmp_path)
    asker = asker_of(tmp_path, Spelling())
    asker(requests(4))
    asker(requests(6))  # 2 more; what is committed is not counted
    totals, counts, finished = progress.snapshot()
    assert (totals["ask"], counts["ask"]) == (6, 6)
    assert finished == set()
