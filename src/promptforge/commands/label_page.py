"""A page on loopback that shows pictures one by one and takes y, n or u for each; ends when all have one, or on Ctrl-C.

Only this machine reaches it, and only with the token in its address: another page in the same browser can neither
read it nor answer. Prompts are put in as text, never as HTML. Each answer is kept on disk before the next is asked, so
a page loaded anew, or a program started anew, goes on where the person was.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import threading
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any

from promptforge.errors import EnvironmentFault, PromptforgeError
from promptforge.files import put
from promptforge.texts import show

Row = dict[str, Any]
LABELS = ("yes", "no", "unsure")
_MOST_BYTES = 4096  # of an answer
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    page: LabelPage

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that hangs up is nothing for the person's screen."""


class LabelPage:
    """Serves `todo` (image_id, question, text, expected_text, words of the question) until each has a label.

    `kept` is the file of answers, one a line; those of it that fit `todo` count as given, and `given` where it says
    nothing. Those that do not fit stay in it: they are of another sample, whose page was killed. Raises
    EnvironmentFault where the port is taken.
    """

    def __init__(
        self,
        todo: Sequence[Row],
        pictures: Mapping[str, bytes],
        kept: Path,
        port: int = 0,
        given: Mapping[tuple[str, str], str] | None = None,
    ) -> None:
        self._todo = list(todo)
        self.pictures = pictures
        self._kept = kept
        wanted = {(row["image_id"], row["question"]) for row in todo}
        read = _read(kept)
        self._others = {key: label for key, label in read.items() if key not in wanted}
        self._given = {key: label for key, label in {**(given or {}), **read}.items() if key in wanted}
        self._guard = threading.Lock()
        self._done = threading.Event()
        self.token = secrets.token_urlsafe(16)
        try:
            self._server = _Server(("127.0.0.1", port), _Handler)
        except OSError as exc:
            raise EnvironmentFault(f"port {port} on 127.0.0.1: {exc.strerror}; another --port, or none") from exc
        self._server.page = self

    @property
    def address(self) -> str:
        """What the person opens."""
        return f"http://127.0.0.1:{self._server.server_port}/{self.token}/"

    @property
    def n_given(self) -> int:
        """Questions that have an answer."""
        return len(self._given)

    def collect(self) -> list[Row]:
        """Labels (image_id, question, label), once the person is done or presses Ctrl-C."""
        lines = [*_rows(self._others), *self._labels()]
        put(self._kept, "".join(map(_line, lines)).encode())  # without a last line that a kill cut
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            while not self._done.wait(0.2):
                pass
        except KeyboardInterrupt:
            pass  # what was given so far counts
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()
        return self._labels()

    def forget(self) -> None:
        """Take the answers to this sample out of the file, once they are kept elsewhere."""
        if self._others:
            put(self._kept, "".join(map(_line, _rows(self._others))).encode())
        else:
            self._kept.unlink(missing_ok=True)

    def _labels(self) -> list[Row]:
        with self._guard:
            return _rows(self._given)

    def todo(self) -> list[Row]:
        """Every question with its label, or None; in texts, what cannot be seen or turns the direction is escaped."""
        with self._guard:
            return [
                {
                    **row,
                    "text": show(row["text"]),
                    "expected_text": [show(text) for text in row["expected_text"] or ()],
                    "label": self._given.get((row["image_id"], row["question"])),
                }
                for row in self._todo
            ]

    def answer(self, raw: bytes) -> bool:
        """Take one answer as JSON (place in `todo`, label); whether it was one. A second answer replaces the first."""
        try:
            said = json.loads(raw)
            place, label = said["place"], said["label"]
            row = self._todo[place] if type(place) is int and 0 <= place < len(self._todo) else None
        except (ValueError, KeyError, TypeError, RecursionError):
            return False
        if row is None or label not in LABELS:
            return False
        with self._guard:
            self._given[row["image_id"], row["question"]] = label
            with self._kept.open("a", encoding="utf-8") as stream:
                stream.write(_line({"image_id": row["image_id"], "question": row["question"], "label": label}))
                stream.flush()
                os.fsync(stream.fileno())
        return True

    @property
    def is_complete(self) -> bool:
        """Whether every question has an answer."""
        return len(self._given) == len(self._todo)

    def finish(self) -> None:
        """The person is done."""
        self._done.set()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 30  # seconds for what a browser has to say

    def do_GET(self) -> None:
        """The page, what is to be asked, or a picture."""
        name, pictures = self._name(), self.server.page.pictures
        if name == "":
            self._send(HTTPStatus.OK, _page(), "text/html; charset=utf-8")
        elif name == "todo.json":
            self._send(HTTPStatus.OK, json.dumps(self.server.page.todo()).encode(), "application/json")
        elif name is not None and name in pictures:
            self._picture(pictures, name)
        elif self.path == "/favicon.ico":  # browsers ask for it by themselves, and complain of what is not there
            self._send(HTTPStatus.NO_CONTENT, b"", "image/x-icon")
        else:
            self._send(HTTPStatus.NOT_FOUND, b"", "text/plain")

    def _picture(self, pictures: Mapping[str, bytes], name: str) -> None:
        try:
            content = pictures[name]
        except (PromptforgeError, KeyError, OSError):  # purged since the page was opened, say
            self._send(HTTPStatus.GONE, b"", "text/plain")
        else:
            self._send(HTTPStatus.OK, content, "image/webp")

    def do_POST(self) -> None:
        """An answer, or that the person is done."""
        page, name = self.server.page, self._name()
        length = self.headers.get("Content-Length", "")
        size = int(length) if re.fullmatch(r"[0-9]{1,4}", length) else _MOST_BYTES + 1
        raw = self.rfile.read(size) if size <= _MOST_BYTES else b""
        good = page.answer(raw) if name == "label" else name == "done" and page.is_complete
        self._send(HTTPStatus.NO_CONTENT if good else HTTPStatus.BAD_REQUEST, b"", "text/plain")
        if good and name == "done":
            page.finish()

    def _name(self) -> str | None:
        """What is asked for behind the token; None for anybody without it, or under another host's name."""
        head, _, name = self.path.lstrip("/").partition("/")
        host = self.headers.get("Host", "").rpartition(":")[0]
        known = secrets.compare_digest(head.encode("utf-8", "replace"), self.server.page.token.encode())
        return name if known and host == "127.0.0.1" else None

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        for key, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing of it belongs on the person's screen."""


def _read(kept: Path) -> dict[tuple[str, str], str]:
    """The last answer to each question; a line that is none is passed over."""
    found: dict[tuple[str, str], str] = {}
    lines = kept.read_text("utf-8", "replace").splitlines() if kept.is_file() else []
    for line in lines:
        try:
            row = json.loads(line)
            image, question, label = (row[name] for name in ("image_id", "question", "label"))
        except (ValueError, KeyError, TypeError):
            continue
        if isinstance(image, str) and isinstance(question, str) and label in LABELS:
            found[image, question] = label
    return found


def _rows(given: Mapping[tuple[str, str], str]) -> list[Row]:
    return [
        {"image_id": image, "question": question, "label": label} for (image, question), label in sorted(given.items())
    ]


def _line(row: Row) -> str:
    return json.dumps(row) + "\n"


def _page() -> bytes:
    return (resources.files("promptforge.commands") / "label_page.html").read_bytes()
