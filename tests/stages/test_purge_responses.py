"""purge where a language model wrote: the text leaves its answers too, and nothing is asked again because of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptforge import catalog, recipe, records
from promptforge.protocols import Completion, Request
from promptforge.stages import parts
from promptforge.stages.answers import emptied
from promptforge.stages.ask import Asker
from promptforge.stages.purge import purge
from promptforge.stages.verify import verify
from promptforge.store import Store
from promptforge.texts import fold_key

COLOURS = ("red", "blue", "green", "white", "black", "yellow")
RECIPE: dict[str, Any] = {
    "name": "written",
    "seed": 1,
    "sources": [
        {
            "kind": "llm",
            "llm": "writer",
            "axis": "semantic_understanding",
            "categories": ["color"],
            "lengths": [[3, 9]],
            "n": 12,
            "per_request": 3,
        },
        {
            "kind": "llm",
            "llm": "writer",
            "axis": "text_rendering",
            "categories": ["word"],
            "lengths": [[3, 9]],
            "styles": ["none"],
            "n": 4,
            "per_request": 2,
        },
    ],
    "filters": {"judge": {"llm": "writer"}},
    "llm": {"writer": {"kind": "server", "base_url": "http://127.0.0.1:9/v1", "model": "none"}},
    "regime": {"teacher": "canvas", "size": 128},
    "scorers": {"technical": {}},
}


class Writer:
    """Writes a new colour pair for each place it is asked for, signs for the text axis, and finds everything fine."""

    identity: ClassVar[dict[str, Any]] = {"kind": "writer"}

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion]]:
        for place, request in enumerate(requests):
            self.asked.append(request)
            yield place, Completion(json.dumps(self.answer(request)), 5, 5)

    def answer(self, request: Request) -> Any:
        if request.task == "judge":
            return {"visual": 9, "axis": "image_quality", "safety": "ok"}
        block = int(request.subject.rpartition("#")[2])
        if request.subject.startswith("text"):
            words = [f"Word{block}{place}" for place in "ab"]
            return {"prompts": [{"prompt": f'a wooden sign that says "{word}"', "strings": [word]} for word in words]}
        pairs = [(COLOURS[block], COLOURS[(block + place) % 6]) for place in (1, 2, 3)]
        return {"prompts": [f"a {one} cup and a {other} chair" for one, other in pairs]}

    def sleep(self) -> None:
        """It holds no memory."""


def rows(root: Path, query: str) -> list[tuple[Any, ...]]:
    store = Store(root)
    commits = [*store.commits("ask"), *store.commits("purge")]
    head = store.head()
    assert head is not None
    commits += [commit for commit in store.in_force(head) if commit.stage not in ("ask", "purge")]
    with catalog.connect(store, commits) as con:
        return list(con.sql(query).fetchall())


def holding(root: Path, needle: str) -> set[str]:
    """Folders whose files hold this, as they lie on disk or as a value of a table."""
    found = set()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        contents = [path.read_bytes().decode("utf-8", "replace")]
        if path.suffix == ".parquet":
            contents += map(str, pq.ParquetFile(path).read().to_pylist())
        if any(needle in content for content in contents):
            found.add(path.relative_to(root).parts[0])
    return found


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> Writer:
    model = Writer()
    monkeypatch.setattr(parts, "build_language_model", lambda part: model)
    return model


@pytest.mark.parametrize("text", ["a blue cup and a white chair", 'a wooden sign that says "Word1b"'])
def test_a_purged_text_leaves_the_answers_and_is_never_asked_for_again(
    tmp_path: Path, writer: Writer, drive: Callable[..., Any], text: str
) -> None:
    root = tmp_path / "run"
    drive(root, RECIPE)
    prompt = records.prompt_id(text)
    n_asked = len(writer.asked)
    # 4 blocks of 3 and 2 blocks of 2, and each of the 16 prompts judged
    assert n_asked == 4 + 2 + 16
    secret = "Word1b" if "Word1b" in text else text
    assert {"prompts", "responses", "dataset"} <= holding(root, secret)
    ((before,),) = rows(root, "SELECT count(*) FROM responses")

    done = purge(root, [prompt], "takedown")

    assert done.prompts == (prompt,)
    assert holding(root, secret) == set()
    assert holding(root, prompt) == {"tombstones"}
    assert verify(root) == []
    assert rows(root, "SELECT count(*) FROM responses") == [(before - 1,)]  # what was said about it
    ((answer,),) = rows(root, "SELECT answer FROM responses WHERE answer LIKE '%purged%'")
    items = json.loads(answer)["prompts"]
    assert items.count({"purged": "takedown"}) == 1
    assert len(items) == (2 if "Word1b" in text else 3)
    assert rows(root, "SELECT sum(n_requests) FROM llm_usage") == [(n_asked,)]

    again = purge(root, [prompt], "takedown")
    assert (again.prompts, again.rewritten) == ((), 0)

    # cut otherwise, generate is made anew: the row stays, without a text
    drive(root, recipe.override(RECIPE, ["run.shard_rows=5"]))
    assert holding(root, secret) == set()
    assert rows(root, "SELECT count(*), count(text) FROM prompts") == [(16, 15)]
    assert verify(root) == []
    assert len(writer.asked) == n_asked


def answered(root: Path, *requests: Request) -> pa.Table:
    """The table of responses to these."""
    store = Store(root)
    Asker(store, "writer", Writer.identity, Writer)(requests)
    (commit,) = store.commits("ask")
    return store.read(next(item for item in commit.files if item.table == "responses"))


def request(task: str, subject: str) -> Request:
    return Request(task, "v", subject, "", "", {"type": "object"})


def test_every_spelling_of_a_purged_text_leaves_an_answer(tmp_path: Path) -> None:
    table = answered(tmp_path, request("invent", "color#0"))
    gone = emptied(table, {fold_key("A RED cup, and a blue chair!"): "personal_data"}, set())
    (answer,) = gone["answer"].to_pylist()
    assert json.loads(answer) == {
        "prompts": [{"purged": "personal_data"}, "a red cup and a green chair", "a red cup and a white chair"]
    }
    assert emptied(gone, {fold_key("a red cup and a blue chair"): "takedown"}, set()) is gone


def test_what_was_said_about_a_purged_prompt_goes_and_the_words_of_an_answer_are_no_texts(tmp_path: Path) -> None:
    table = answered(tmp_path, request("judge", "0" * 32), request("judge", "1" * 32))
    assert emptied(table, {fold_key("ok"): "takedown", fold_key("image_quality"): "takedown"}, set()) is table
    assert emptied(table, {}, {"1" * 32})["subject"].to_pylist() == ["0" * 32]
