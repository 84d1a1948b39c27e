"""The page of labels: what a browser on this machine may do, and nobody else."""

import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from promptforge.commands.label_page import LabelPage

TODO = [
    {"image_id": "a" * 32, "question": "quality", "text": "<b>a cup</b>", "expected_text": [], "words": "Clean?"},
    {"image_id": "a" * 32, "question": "text", "text": "<b>a cup</b>", "expected_text": ["<i>"], "words": "Text?"},
]


@pytest.fixture
def page() -> Iterator[tuple[LabelPage, list[Any]]]:
    made = LabelPage(TODO, {"a" * 32: b"RIFF picture"})
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(made.collect()), daemon=True)
    thread.start()
    yield made, found
    if thread.is_alive():
        for place in range(len(TODO)):
            made.answer(json.dumps({"place": place, "label": "unsure"}).encode())
    thread.join(10)
    assert not thread.is_alive()


def ask(page: LabelPage, path: str, body: object = None, host: str | None = None) -> tuple[int, bytes]:
    where = urlsplit(page.address)
    link = http.client.HTTPConnection("127.0.0.1", where.port, timeout=10)
    headers = {} if host is None else {"Host": host}
    link.request("POST" if body is not None else "GET", path, None if body is None else json.dumps(body), headers)
    answer = link.getresponse()
    result = (answer.status, answer.read())
    link.close()
    return result


def test_every_answer_is_handed_over_when_the_last_is_given(page: tuple[LabelPage, list[Any]]) -> None:
    served, found = page
    root = urlsplit(served.address).path
    assert b"promptforge: labels" in ask(served, root)[1]
    assert json.loads(ask(served, f"{root}todo.json")[1]) == TODO
    assert ask(served, root + "a" * 32) == (200, b"RIFF picture")
    assert ask(served, f"{root}label", {"place": 0, "label": "no"})[0] == 204
    assert ask(served, f"{root}label", {"place": 0, "label": "yes"})[0] == 204  # the person went back
    assert ask(served, f"{root}label", {"place": 1, "label": "no"})[0] == 204
    for _ in range(100):
        if found:
            break
        threading.Event().wait(0.1)
    assert found == [
        [
            {"image_id": "a" * 32, "question": "quality", "label": "yes"},
            {"image_id": "a" * 32, "question": "text", "label": "no"},
        ]
    ]


@pytest.mark.parametrize(
    "body", [{"place": 2, "label": "yes"}, {"place": -1, "label": "yes"}, {"place": 0, "label": "maybe"}, ["x"], "yes"]
)
def test_what_is_no_answer_is_refused(page: tuple[LabelPage, list[Any]], body: object) -> None:
    served, _ = page
    assert ask(served, f"{urlsplit(served.address).path}label", body)[0] == 400


def test_without_the_token_or_under_another_name_there_is_nothing(page: tuple[LabelPage, list[Any]]) -> None:
    served, _ = page
    root = urlsplit(served.address).path
    for path in ("/", "/todo.json", "/x/todo.json", f"/{'a' * 32}", f"{root}../../etc/passwd", f"{root}{'b' * 32}"):
        assert ask(served, path)[0] == 404
    assert ask(served, f"{root}todo.json", host="evil.example:80")[0] == 404  # a name that was pointed at loopback
    assert ask(served, "/x/label", {"place": 0, "label": "yes"})[0] == 400
