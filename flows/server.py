"""A temporary Prefect server for one run, on loopback, that cannot outlive its parent.

Prefect starts one by itself where no API is set. This one is started earlier (while the recipe is being checked and
prefect imported: about 3 s won of 9), writes to a log file instead of the screen, does not get the terminal's
Ctrl-C, and stops when its standard input closes, so a SIGKILLed run leaves no server behind. The listening socket is
made by the parent: no port can be lost between choosing and using it.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from promptforge.errors import EnvironmentFault

START_S = 120.0  # 6 s on two idle cores with a database that exists, 10 s with a new one, 30 s and more under load


class TemporaryServer:
    """Context manager; the server is starting inside, and ready when `wait` has returned."""

    def __init__(self, home: Path) -> None:
        self.url = ""
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What the server says."""
        return self._home / "server.log"

    def __enter__(self) -> Self:
        self._home.mkdir(parents=True, exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as listener, self.log.open("wb") as log:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
            self._process = subprocess.Popen(
                [sys.executable, "-m", "promptforge.flows.server", str(listener.fileno())],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(listener.fileno(),),
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()  # open event streams keep it; nothing of ours is in its database
            self._process.wait()

    def wait(self, stopping: Callable[[], bool] = lambda: False, timeout_s: float = START_S) -> None:
        """Return when the server answers. Raises EnvironmentFault where it dies or takes too long."""
        assert self._process is not None
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + timeout_s
        while not stopping():
            if self._process.poll() is not None:
                raise EnvironmentFault(
                    f"the temporary Prefect server ended with code {self._process.returncode}; {self.log} says why"
                )
            if time.monotonic() > deadline:
                raise EnvironmentFault(
                    f"the temporary Prefect server did not answer within {timeout_s:.0f} s; see {self.log},"
                    " or start one with `promptforge serve` and set PREFECT_API_URL"
                )
            try:
                with direct.open(f"{self.url}/health", timeout=0.5) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)


def main() -> None:
    """Serve on the inherited socket until standard input closes."""
    import uvicorn
    from prefect.server.api.server import create_app

    listener = socket.socket(fileno=int(sys.argv[1]))
    server = uvicorn.Server(uvicorn.Config(create_app(ephemeral=True, final=True), log_level="error", lifespan="on"))

    def leave_with_the_parent() -> None:
        sys.stdin.buffer.read()
        server.should_exit = True

    threading.Thread(target=leave_with_the_parent, daemon=True).start()
    server.run(sockets=[listener])


if __name__ == "__main__":
    main()
