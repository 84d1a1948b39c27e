"""A page on loopback that shows pictures one by one and takes y, n or u for each; it ends with the last or on Ctrl-C.

Only this machine reaches it, and only with the token in its address: another page in the same browser can neither
read it nor answer. Prompts are put in as text, never as HTML. What was answered is handed over when the page ends.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

Row = dict[str, Any]
LABELS = ("yes", "no", "unsure")
_MOST_BYTES = 4096  # of an answer


class LabelPage:
    """Serves `todo` (image_id, question, text, expected_text, words of the question) until each has a label."""

    def __init__(self, todo: Sequence[Row], pictures: Mapping[str, bytes], port: int = 0) -> None:
        self._todo = list(todo)
        self._pictures = pictures
        self._given: dict[tuple[str, str], str] = {}
        self._done = threading.Event()
        self._token = secrets.token_urlsafe(16)
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True

    @property
    def address(self) -> str:
        """What the person opens."""
        return f"http://127.0.0.1:{self._server.server_port}/{self._token}/"

    def collect(self) -> list[Row]:
        """Labels (image_id, question, label), once all are given or the person presses Ctrl-C."""
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
        return [
            {"image_id": image, "question": question, "label": label}
            for (image, question), label in sorted(self._given.items())
        ]

    def answer(self, raw: bytes) -> bool:
        """Take one answer as JSON (place in `todo`, label); whether it was one. A second answer replaces the first."""
        try:
            said = json.loads(raw)
            place, label = said["place"], said["label"]
            row = self._todo[place] if isinstance(place, int) and 0 <= place < len(self._todo) else None
        except (ValueError, KeyError, TypeError):
            return False
        if row is None or label not in LABELS:
            return False
        self._given[row["image_id"], row["question"]] = label
        if len(self._given) == len(self._todo):
            self._done.set()
        return True

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self._name()
                if name == "":
                    self._send(HTTPStatus.OK, _page(), "text/html; charset=utf-8")
                elif name == "todo.json":
                    self._send(HTTPStatus.OK, json.dumps(page._todo).encode(), "application/json")
                elif name is not None and name in page._pictures:
                    self._send(HTTPStatus.OK, page._pictures[name], "image/webp")
                else:
                    self._send(HTTPStatus.NOT_FOUND, b"", "text/plain")

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length", "")
                size = int(length) if length.isdecimal() else _MOST_BYTES + 1
                good = self._name() == "label" and size <= _MOST_BYTES and page.answer(self.rfile.read(size))
                self._send(HTTPStatus.NO_CONTENT if good else HTTPStatus.BAD_REQUEST, b"", "text/plain")

            def _name(self) -> str | None:
                """What is asked for behind the token; None for anybody without it, or under another host's name."""
                head, _, name = self.path.lstrip("/").partition("/")
                host = self.headers.get("Host", "").rpartition(":")[0]
                return name if secrets.compare_digest(head, page._token) and host == "127.0.0.1" else None

            def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.send_header("Referrer-Policy", "no-referrer")
                self.send_header("Content-Security-Policy", "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'")  # fmt: skip # noqa: E501
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing of it belongs on the person's screen."""

        return Handler


def _page() -> bytes:
    return (resources.files("promptforge.commands") / "label_page.html").read_bytes()
