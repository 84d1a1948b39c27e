"""A headless Chromium, driven over the DevTools protocol: what it asks for, says and shows."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from websockets.sync.client import ClientConnection, connect

_KEYS = {
    "Enter": 13,
    "Escape": 27,
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
    "Tab": 9,
    "/": 191,
}


class Browser:
    """One page. `requests`, `said` and `dialogs` are what it did since it was opened."""

    def __init__(self, link: ClientConnection) -> None:
        self._link = link
        self._number = 0
        self.requests: list[str] = []
        self.said: list[str] = []
        self.dialogs: list[str] = []
        self._events: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Mapping[str, Any]:
        """The answer to one command; events on the way are noted."""
        self._number += 1
        self._link.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            said = json.loads(self._link.recv(timeout=60))
            if said.get("id") == self._number:
                assert "error" not in said, said
                return said["result"]
            self._note(said)

    def _note(self, said: Mapping[str, Any]) -> None:
        method, params = said["method"], said.get("params", {})
        self._events.append(method)
        if method == "Network.requestWillBeSent" and not params["request"]["url"].startswith("data:"):
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.consoleAPICalled":
            self.said.append(f"{params['type']}: {params['args']}")
        elif method == "Runtime.exceptionThrown":
            self.said.append(str(params["exceptionDetails"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("warning", "error"):
            self.said.append(params["entry"]["text"])
        elif method == "Page.javascriptDialogOpening":
            self.dialogs.append(params["message"])
            self._link.send(json.dumps({"id": 0, "method": "Page.handleJavaScriptDialog", "params": {"accept": True}}))

    def open(self, page: Path | str, *, scripts: bool = True) -> None:
        """Load a file, or an address, and wait until all of it is there."""
        self.requests, self.said, self.dialogs = [], [], []
        self._events.clear()
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.call("Page.navigate", url=page if isinstance(page, str) else page.resolve().as_uri())
        deadline = time.monotonic() + 60
        while "Page.loadEventFired" not in self._events:
            assert time.monotonic() < deadline, "the page did not load"
            try:
                self._note(json.loads(self._link.recv(timeout=1)))
            except TimeoutError:
                continue

    def look(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """The size of the window, and the colours that the person likes."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression; its fault is raised."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def text(self, name: str) -> str:
        """What the element with this id says."""
        return str(self.ask(f"document.getElementById('{name}').textContent"))

    def wait(self, expression: str, seconds: float = 10) -> Any:
        """The value of the expression once it is true."""
        end = time.monotonic() + seconds
        while not (found := self.ask(expression)):
            said = self.ask("document.body.innerText")
            assert time.monotonic() < end, f"never true: {expression}; the page says {said}"
            time.sleep(0.03)
        return found

    def press(self, key: str, modifiers: int = 0) -> None:
        """One key, down and up; `modifiers`: 8 for shift."""
        about: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": _KEYS.get(key, 0), "code": key}
        if key == "Enter":
            about["text"] = "\r"
        elif len(key) == 1:
            about["text"] = key
        self.call("Input.dispatchKeyEvent", type="keyDown", modifiers=modifiers, **about)
        self.call(
            "Input.dispatchKeyEvent",
            type="keyUp",
            modifiers=modifiers,
            **{k: v for k, v in about.items() if k != "text"},
        )

    def type(self, text: str) -> None:
        """Text into what has the focus."""
        self.call("Input.insertText", text=text)

    def shoot(self, path: Path, *, whole: bool = True) -> None:
        """A screenshot, of the whole page or of the window."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def browser(program: str, folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own in `folder`; it and its children end on the way out."""
    flags = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--mute-audio",
    )
    quiet = ("--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-sync")
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                *flags,
                *quiet,
                "--remote-debugging-port=0",
                f"--user-data-dir={folder / 'profile'}",
                "about:blank",
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        port = _port(folder / "profile" / "DevToolsActivePort", process)
        with urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
            target = next(each for each in json.load(answer) if each["type"] == "page")
        with connect(target["webSocketDebuggerUrl"], max_size=None, proxy=None) as link:
            yield Browser(link)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def _port(path: Path, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if path.is_file() and (lines := path.read_text().splitlines()):
            return int(lines[0])
        time.sleep(0.05)
    raise AssertionError(f"Chromium did not start (exit {process.poll()})")
