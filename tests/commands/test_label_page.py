"""The page of labels: what a browser on this machine may do, and nobody else."""

import http.client
import json
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from promptforge.commands.label_page import LabelPage
from promptforge.errors import StoreFault

TODO = [
    {"image_id": "a" * 32, "question": "quality", "text": "<b>a cup</b>", "expected_text": [], "words": "Clean?"},
    {"image_id": "a" * 32, "question": "text", "text": "<b>a cup</b>", "expected_text": ["<i>"], "words": "Text?"},
]


@pytest.fixture
def page(tmp_path: Path) -> Iterator[tuple[LabelPage, list[Any]]]:
    made = LabelPage(TODO, {"a" * 32: b"RIFF picture"}, tmp_path / "kept.jsonl")
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(made.collect()), daemon=True)
    thread.start()
    yield made, found
    if thread.is_alive():
        for place in range(len(TODO)):
            made.answer(json.dumps({"place": place, "label": "unsure"}).encode())
        ask(made, f"{urlsplit(made.address).path}done", {})
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
    assert json.loads(ask(served, f"{root}todo.json")[1]) == [{**row, "label": None} for row in TODO]
    assert ask(served, root + "a" * 32) == (200, b"RIFF picture")
    assert ask(served, f"{root}label", {"place": 0, "label": "no"})[0] == 204
    assert ask(served, f"{root}label", {"place": 0, "label": "yes"})[0] == 204  # the person went back
    assert ask(served, f"{root}done", {})[0] == 400  # one has none yet
    assert ask(served, f"{root}label", {"place": 1, "label": "no"})[0] == 204
    assert [row["label"] for row in json.loads(ask(served, f"{root}todo.json")[1])] == ["yes", "no"]  # loaded anew
    assert ask(served, f"{root}label", {"place": 1, "label": "unsure"})[0] == 204  # back after the last
    assert not found
    assert ask(served, f"{root}done", {})[0] == 204
    for _ in range(100):
        if found:
            break
        threading.Event().wait(0.1)
    assert found == [
        [
            {"image_id": "a" * 32, "question": "quality", "label": "yes"},
            {"image_id": "a" * 32, "question": "text", "label": "unsure"},
        ]
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"place": 2, "label": "yes"},
        {"place": -1, "label": "yes"},
        {"place": 0, "label": "maybe"},
        {"place": True, "label": "yes"},
        {"place": 0, "label": ["yes"]},
        ["x"],
        "yes",
    ],
)
def test_what_is_no_answer_is_refused(page: tuple[LabelPage, list[Any]], body: object) -> None:
    served, _ = page
    assert ask(served, f"{urlsplit(served.address).path}label", body)[0] == 400


def test_without_the_token_or_under_another_name_there_is_nothing(page: tuple[LabelPage, list[Any]]) -> None:
    served, _ = page
    root = urlsplit(served.address).path
    for path in (
        "/",
        "/todo.json",
        "/%C3%BC/",
        "/x/todo.json",
        f"/{'a' * 32}",
        f"{root}../../etc/passwd",
        f"{root}{'b' * 32}",
    ):
        assert ask(served, path)[0] == 404
    assert ask(served, f"{root}todo.json", host="evil.example:80")[0] == 404  # a name that was pointed at loopback
    assert ask(served, "/x/label", {"place": 0, "label": "yes"})[0] == 400


def test_no_other_page_can_frame_read_or_sniff_it(page: tuple[LabelPage, list[Any]]) -> None:
    served, _ = page
    where = urlsplit(served.address)
    link = http.client.HTTPConnection("127.0.0.1", where.port, timeout=10)
    link.request("GET", where.path)
    headers = link.getresponse().headers
    link.close()
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Access-Control-Allow-Origin"] is None


def test_a_browser_that_hangs_up_or_says_nonsense_leaves_the_screen_alone(
    page: tuple[LabelPage, list[Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    served, _ = page
    where = urlsplit(served.address)
    for said in (
        b"GET " + where.path.encode() + b"todo.json HTTP/1.0\r\nHost: 127.0.0.1:1\r\n\r\n",
        b"GET /\xfc/ HTTP/1.0\r\nHost: 127.0.0.1:1\r\n\r\n",
        b"\xff\x00\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", where.port), timeout=10) as link:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets
            link.sendall(said)
    assert ask(served, f"{where.path}todo.json")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_answers_are_on_disk_before_the_next_question_and_a_new_page_goes_on_there(
    page: tuple[LabelPage, list[Any]], tmp_path: Path
) -> None:
    served, _ = page
    assert ask(served, f"{urlsplit(served.address).path}label", {"place": 1, "label": "no"})[0] == 204
    kept = tmp_path / "kept.jsonl"
    with kept.open("a") as stream:
        stream.write('{"image_id": "b", "question": "text", "label": "yes"}\n{"image_id": "aaaa')  # another's; cut
    after = LabelPage(TODO, {}, kept)
    after._server.server_close()
    assert after.n_given == 1
    assert [row["label"] for row in after.todo()] == [None, "no"]


def test_answers_to_another_sample_whose_page_was_killed_stay_in_the_file(tmp_path: Path) -> None:
    """The first page never hands over; a second one over other pictures does, and the first goes on where it was."""
    kept = tmp_path / "kept.jsonl"

    def page(todo: list[dict[str, Any]], *answers: bytes) -> tuple[LabelPage, list[Any]]:
        made = LabelPage(todo, {}, kept)
        assert all(map(made.answer, answers))
        made.finish()
        return made, made.collect()

    page(TODO, b'{"place": 1, "label": "no"}')
    other, said = page([{**TODO[0], "image_id": "b" * 32}], b'{"place": 0, "label": "yes"}')
    assert [row["image_id"][0] for row in said] == ["b"]
    other.forget()
    again, _ = page(TODO)
    assert [row["label"] for row in again.todo()] == [None, "no"]
    again.forget()
    assert not kept.exists()


class _Purged(dict[str, bytes]):
    def __getitem__(self, name: str) -> bytes:
        raise StoreFault(f"no committed picture {name}")


def test_a_picture_that_was_purged_is_gone_and_the_page_goes_on(tmp_path: Path) -> None:
    page = LabelPage(TODO, _Purged({"a" * 32: b""}), tmp_path / "kept.jsonl")
    thread = threading.Thread(target=page.collect, daemon=True)
    thread.start()
    root = urlsplit(page.address).path
    assert ask(page, root + "a" * 32) == (410, b"")
    assert ask(page, f"{root}todo.json")[0] == 200
    page.finish()
    thread.join(10)
