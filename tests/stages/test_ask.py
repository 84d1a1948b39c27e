"""Asking a language model: each request once, whatever fails, is killed or runs beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from promptforge import catalog
from promptforge.errors import EnvironmentFault
from promptforge.protocols import Completion, Request
from promptforge.stages import ask
from promptforge.stages.answers import emptied
from promptforge.stages.ask import Asker
from promptforge.store import Store
from promptforge.texts import fold_key

SCHEMA = {
    "type": "object",
    "properties": {"word": {"type": "string", "maxLength": 20}, "size": {"type": "integer", "minimum": 0}},
    "required": ["word", "size"],
    "additionalProperties": False,
}
IDENTITY = {"kind": "table", "name": "tiny"}


class TableModel:
    """Answers from a table: subject -> the texts of its tries, the last one for ever; unknown subjects are spelled."""

    identity = IDENTITY

    def __init__(self, table: dict[str, list[str]] | None = None, *, lost_after: int | None = None) -> None:
        self.table = table or {}
        self.lost_after = lost_after
        self.asked: list[Request] = []
        self.sleeps = 0

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion]]:
        for place, request in reversed(list(enumerate(requests))):
            if self.lost_after is not None and len(self.asked) == self.lost_after:
                raise EnvironmentFault("the server is gone")
            self.asked.append(request)
            before = sum(earlier.subject == request.subject for earlier in self.asked) - 1
            said = self.table.get(
                request.subject, [json.dumps({"word": request.subject, "size": len(request.subject)})]
            )
            text = said[min(before, len(said) - 1)]
            if text == "REFUSED":
                yield place, Completion("", 7, 0, error="refused: content\nfilter")
            else:
                yield place, Completion(text, 7, 3, finish="length" if text.endswith("...") else "stop")

    def sleep(self) -> None:
        self.sleeps += 1


def request(subject: str, task: str = "parse", variant: str = "v1", **more: Any) -> Request:
    return Request(task, variant, subject, "Be brief.", f"About {subject}", SCHEMA, **more)


def requests(n: int) -> list[Request]:
    return [request(f"s{number:04d}") for number in range(n)]


def asker_of(root: Path, model: TableModel, **more: Any) -> Asker:
    return Asker(Store(root), "tiny", IDENTITY, lambda: model, **more)


def rows_of(root: Path, query: str) -> list[tuple[Any, ...]]:
    store = Store(root)
    with catalog.connect(store, store.commits("ask")) as con:
        return list(con.sql(query).fetchall())


def test_answers_come_in_the_order_of_the_requests(tmp_path: Path) -> None:
    asker = asker_of(tmp_path, TableModel())
    answers = asker([request("bb"), request("a"), request("ccc"), request("a")])
    assert [answer.value for answer in answers] == [
        {"word": "bb", "size": 2},
        {"word": "a", "size": 1},
        {"word": "ccc", "size": 3},
        {"word": "a", "size": 1},
    ]


def test_a_request_is_asked_once_in_the_life_of_a_folder(tmp_path: Path) -> None:
    first, second = TableModel(), TableModel()
    before = asker_of(tmp_path, first)(requests(10))
    later = asker_of(tmp_path, second)
    assert later(requests(10)) == before
    assert later([*requests(12)])[:10] == before
    assert [item.subject for item in second.asked] == ["s0011", "s0010"]
    assert len(first.asked) == 10


def test_the_model_is_built_only_where_something_is_missing(tmp_path: Path) -> None:
    built: list[TableModel] = []

    def build() -> TableModel:
        built.append(TableModel())
        return built[-1]

    for _ in range(2):
        asker = Asker(Store(tmp_path), "tiny", IDENTITY, build)
        asker.sleep()
        asker(requests(3))
        asker(requests(3))
        asker.sleep()
    assert len(built) == 1
    assert built[0].sleeps == 1


def test_model_task_variant_and_subject_name_a_request_and_the_message_does_not(tmp_path: Path) -> None:
    model = TableModel()
    asker = asker_of(tmp_path, model)
    base = request("a")
    others = [request("a", task="judge"), request("a", variant="v2"), request("b")]
    longer = Request("parse", "v1", "a", "Be brief.", "About a, and b is there already", SCHEMA)
    assert len({asker.request_id(item) for item in (base, *others)}) == 4
    assert asker.request_id(longer) == asker.request_id(base)
    assert Asker(Store(tmp_path), "tiny", {"kind": "other"}, TableModel).request_id(base) != asker.request_id(base)
    asker([base, longer, *others])
    assert len(model.asked) == 4


MALFORMED = {
    "no json": ("It is a dog.", "malformed_json: Expecting value at character 0"),
    "control": ('{"word": "a\nb", "size": 1}', "malformed_json: Invalid control character at at character 11"),
    "twice": ('{"word": "a", "word": "b", "size": 1}', "malformed_json: a key given twice"),
    "nan": ('{"word": "a", "size": NaN}', "malformed_json: NaN is no JSON number"),
    "huge": ('{"word": "a", "size": 1e999}', "malformed_json: a number too large"),
    "surrogate": ('{"word": "\\ud800", "size": 1}', "malformed_json: a lone surrogate"),
    "deep": ("[" * 100_000, "malformed_json: nested too deep"),
    "behind": ('{"word": "a", "size": 1} Done.', "malformed_json: Extra data at character 25"),
    "cut": ('{"word": "a ...', "too_long: cut off after 3 tokens"),
    "type": ('{"word": "a", "size": "1"}', "wrong_schema: $.size breaks type"),
    "lacking": ('{"word": "a"}', "wrong_schema: $ breaks required"),
    "more": ('{"word": "a", "size": 1, "secret": "x"}', "wrong_schema: $ breaks additionalProperties"),
    "long": (json.dumps({"word": "secret" * 9, "size": 1}), "wrong_schema: $.word breaks maxLength"),
}


@pytest.mark.parametrize("kind", sorted(MALFORMED))
def test_a_malformed_answer_is_tried_thrice_and_becomes_a_row_with_its_error(tmp_path: Path, kind: str) -> None:
    text, error = MALFORMED[kind]
    model = TableModel({"a": [text]})
    (answer,) = asker_of(tmp_path, model)([request("a")])
    assert (answer.value, answer.error) == (None, error)
    assert len(model.asked) == 3
    assert len({item.seed for item in model.asked}) == 3
    assert [item.temperature for item in model.asked] == [0.0, ask.RETRY_TEMPERATURE, ask.RETRY_TEMPERATURE]
    # 3 tries of 7 tokens in and 3 out
    assert rows_of(tmp_path, "SELECT answer, error, n_tries, n_tokens_in, n_tokens_out FROM responses") == [
        (None, error, 3, 21, 9)
    ]
    again = TableModel()
    assert asker_of(tmp_path, again)([request("a")]) == [answer]
    assert again.asked == []


def test_a_third_try_that_is_fine_counts(tmp_path: Path) -> None:
    model = TableModel({"b": ["", '{"word": 1}', '{"word": "ok", "size": 2}']})
    answers = asker_of(tmp_path, model)([request("a"), request("b"), request("c")])
    assert [answer.value["word"] for answer in answers] == ["a", "ok", "c"]
    assert rows_of(tmp_path, "SELECT subject, n_tries FROM responses ORDER BY 1") == [("a", 1), ("b", 3), ("c", 1)]


def test_a_refusal_is_not_tried_again(tmp_path: Path) -> None:
    model = TableModel({"a": ["REFUSED"]})
    (answer,) = asker_of(tmp_path, model)([request("a")])
    assert answer.error == "refused: content filter"
    assert len(model.asked) == 1


def test_seeds_follow_from_the_request_and_are_31_bits(tmp_path: Path) -> None:
    one, two = TableModel(), TableModel()
    asker_of(tmp_path / "1", one)(requests(50))
    asker_of(tmp_path / "2", two)(requests(50)[::-1])
    seeds = {item.subject: item.seed for item in one.asked}
    assert seeds == {item.subject: item.seed for item in two.asked}
    assert len(set(seeds.values())) == 50
    assert all(0 <= seed < 2**31 for seed in seeds.values())


def test_a_lost_model_leaves_what_came(tmp_path: Path) -> None:
    model = TableModel(lost_after=70)
    with pytest.raises(EnvironmentFault, match="the server is gone"):
        asker_of(tmp_path, model)(requests(100))
    assert rows_of(tmp_path, "SELECT count(*) FROM responses") == [(70,)]
    again = TableModel()
    asker_of(tmp_path, again)(requests(100))
    assert len(again.asked) == 30


class Tired(TableModel):
    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion]]:
        yield next(iter(super().complete(requests)))


def test_a_model_that_stops_in_the_middle_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="tiny: 1 of 3 requests answered"):
        asker_of(tmp_path, Tired())(requests(3))
    assert rows_of(tmp_path, "SELECT count(*) FROM responses") == [(1,)]


def test_rows_are_committed_in_increments_with_what_they_cost(tmp_path: Path) -> None:
    asker = asker_of(tmp_path, TableModel(), increment=4, price=(2.0, 10.0))
    asker([*requests(9), request("j", task="judge")])
    commits = Store(tmp_path).commits("ask")
    assert sorted(commit.counts["rows"] for commit in commits) == [2, 4, 4]
    # 9 requests of 7 tokens in and 3 out: (63 * 2 + 27 * 10) / 1e6
    assert rows_of(
        tmp_path, "SELECT task, model, n_requests, n_tokens_in, n_tokens_out, round(price, 9) FROM llm_cost ORDER BY 1"
    ) == [("judge", "tiny", 1, 7, 3, 0.000044), ("parse", "tiny", 9, 63, 27, 0.000396)]
    ((seconds, rate),) = rows_of(tmp_path, "SELECT seconds, tokens_per_s FROM llm_cost WHERE task = 'parse'")
    assert seconds > 0
    assert rate == pytest.approx(27 / seconds)


def test_without_a_price_there_is_none(tmp_path: Path) -> None:
    asker_of(tmp_path, TableModel())(requests(1))
    assert rows_of(tmp_path, "SELECT price FROM llm_usage") == [(None,)]


def test_slow_answers_are_committed_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "INCREMENT_S", 0.0)
    asker_of(tmp_path, TableModel())(requests(3))
    assert [commit.counts["rows"] for commit in Store(tmp_path).commits("ask")] == [1, 1, 1]


def test_many_requests_go_to_the_model_in_bounded_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "BATCH", 8)
    sizes: list[int] = []

    class Counting(TableModel):
        def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion]]:
            sizes.append(len(requests))
            yield from super().complete(requests)

    model = Counting({"s0001": ["no"]})
    answers = asker_of(tmp_path, model)(requests(20))
    assert sum(answer.error is not None for answer in answers) == 1
    # the second try of s0001 joins the last of the 20; the third comes alone
    assert sizes == [8, 8, 5, 1]


def test_threads_that_want_the_same_ask_once(tmp_path: Path) -> None:
    model = TableModel()
    asker = asker_of(tmp_path, model, increment=16)
    found: dict[int, Any] = {}

    def work(number: int) -> None:
        found[number] = asker(requests(120)[number * 20 : number * 20 + 60])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(model.asked) == len({item.subject for item in model.asked}) == 120
    for number in range(4):
        wanted = [f"s{at:04d}" for at in range(number * 20, number * 20 + 60)]
        assert [answer.value["word"] for answer in found[number]] == wanted


def test_two_models_of_one_folder_see_each_others_records(tmp_path: Path) -> None:
    """The second asker reads records that the first makes after it has looked."""
    one, two = TableModel(), TableModel()
    first, second = asker_of(tmp_path, one), asker_of(tmp_path, two)
    first(requests(5))
    second(requests(6))
    first(requests(8))
    second(requests(8))
    assert (len(one.asked), len(two.asked)) == (5 + 2, 1)


def test_a_rewritten_record_is_taken_up(tmp_path: Path) -> None:
    store = Store(tmp_path)
    model = TableModel({"0" * 32: ['{"word": "fine", "size": 1}']})
    asker = asker_of(tmp_path, model)
    asker([request("a quiet lake", task="invent"), request("0" * 32, task="judge")])
    (commit,) = store.commits("ask")
    tables = {item.table: store.read(item) for item in commit.files}
    tables["responses"] = emptied(tables["responses"], {fold_key("A quiet LAKE!"): "takedown"}, {"0" * 32})
    store.rewrite(commit, tables)
    (answer,) = asker([request("a quiet lake", task="invent")])
    assert answer.value == {"purged": "takedown"}
    assert rows_of(tmp_path, "SELECT task FROM responses") == [("invent",)]
    assert len(model.asked) == 2


DRIVER = """
import json, sys, time
from pathlib import Path
from promptforge.protocols import Completion, Request
from promptforge.stages.ask import Asker
from promptforge.store import Store

root, n = Path(sys.argv[1]), int(sys.argv[2])

class Logging:
    identity = {"kind": "log"}
    def complete(self, requests):
        for place, request in enumerate(requests):
            with open(root / "asked.log", "a") as log:
                log.write(request.subject + "\\n")
            time.sleep(0.002)
            yield place, Completion(json.dumps({"word": request.subject, "size": 1}), 1, 1)
    def sleep(self):
        pass

schema = {"type": "object", "properties": {"word": {"type": "string"}, "size": {"type": "integer"}}}
requests = [Request("parse", "v", f"s{i:04d}", "", "", schema) for i in range(n)]
answers = Asker(Store(root), "log", Logging.identity, Logging, increment=16)(requests)
print(json.dumps([answer.value["word"] for answer in answers]))
"""


def test_killed_anywhere_it_asks_at_most_an_increment_again(tmp_path: Path) -> None:
    n, log = 400, tmp_path / "asked.log"
    command = [sys.executable, "-c", DRIVER, str(tmp_path), str(n)]
    for kill_at in (70, 150, 290):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and (len(log.read_text().splitlines()) if log.exists() else 0) < kill_at:
                time.sleep(0.005)
            os.kill(process.pid, signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == [f"s{i:04d}" for i in range(n)]
    asked = Counter(log.read_text().splitlines())
    assert len(asked) == n
    assert 0 < sum(asked.values()) - n <= 3 * 16
    assert rows_of(tmp_path, "SELECT count(*), count(DISTINCT request_id) FROM responses") == [(n, n)]
