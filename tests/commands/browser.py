"""A headless Chromium that presses keys and looks at a page, over its debugging protocol on loopback."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from websockets.sync.client import connect

_KEYS = {"ArrowLeft": 37, "ArrowRight": 39, "ArrowDown": 40, "Enter": 13, "Tab": 9}


class Tab:
    """One page. `look` evaluates JavaScript, `press` sends a key as a keyboard does."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._n = 0
        self.dialogs = 0  # alerts that the page raised

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._n += 1
        self._socket.send(json.dumps({"id": self._n, "method": method, "params": params}))
        while True:
            said = json.loads(self._socket.recv(timeout=20))
            if said.get("method") == "Page.javascriptDialogOpening":
                self.dialogs += 1
                self._socket.send(
                    json.dumps({"id": 0, "method": "Page.handleJavaScriptDialog", "params": {"accept": True}})
                )
            if said.get("id") == self._n:
                assert "error" not in said, said
                return said["result"]

    def look(self, script: str) -> Any:
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def text(self, name: str) -> str:
        return str(self.look(f"document.getElementById('{name}').textContent"))

    def press(self, key: str, modifiers: int = 0) -> None:
        """`modifiers`: 8 for shift."""
        more: dict[str, Any] = {"windowsVirtualKeyCode": _KEYS[key]} if key in _KEYS else {"text": key}
        if key == "Enter":
            more["text"] = "\r"
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, modifiers=modifiers, **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, **{k: v for k, v in more.items() if k != "text"})

    def wait(self, script: str, seconds: float = 10) -> Any:
        """The value of the script once it is true."""
        end = time.monotonic() + seconds
        while not (found := self.look(script)):
            assert time.monotonic() < end, f"never true: {script}; the page says {self.look('document.body.innerText')}"
            time.sleep(0.03)
        return found

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && document.getElementById('count')?.textContent !== ''")

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def chromium(program: str, profile: Path) -> Iterator[Tab]:
    """A browser with one empty tab; its own profile, no network but what the page asks for."""
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
    process = subprocess.Popen(
        [program, *flags, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        mark, end = profile / "DevToolsActivePort", time.monotonic() + 20
        while not (mark.is_file() and mark.read_text("ascii").count("\n")):
            assert time.monotonic() < end, "Chromium did not start"
            time.sleep(0.05)
        port = mark.read_text("ascii").splitlines()[0]
        with urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
            page = next(tab for tab in json.load(answer) if tab["type"] == "page")
        with connect(page["webSocketDebuggerUrl"], max_size=None) as socket:
            tab = Tab(socket)
            tab.call("Page.enable")
            yield tab
    finally:
        process.terminate()
        process.wait(20)
