"""An OCR engine in a process of its own, for engines that leak, hang or crash.

The child is started as a module (`python -P -m`), gets pixels and gives lines over a socket pair, and is replaced
after a number of pictures or when its memory passes a limit. A picture under which it dies, hangs or raises is tried
once more, alone, with a fresh child; then it is given up with the reason. The parent's death ends the child within
a second. Starting costs what the engine's import and loading cost (5 s for EasyOCR on a CPU).
Not covered: use from two threads at once; a child that is stopped (SIGSTOP) while its parent dies stays stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, NoReturn, Protocol

import numpy as np

from promptforge.errors import EnvironmentFault, PromptforgeError
from promptforge.protocols import Pixels, TextLine

_LENGTH = 8  # bytes that say how long a message is
_WATCH_S = 0.5
#: So many pictures given up one after another are a broken engine, not odd pictures: the run stops.
MOST_LOST = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """When a child is replaced (`n_pictures`, `memory_mib` resident) and when it counts as stuck.

    `timeout_s` is for one picture, `start_s` for loading the engine.
    """

    n_pictures: int = 500
    memory_mib: int = 8192
    timeout_s: float = 60.0
    start_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The lines of a picture; or none, and why it could not be read."""

    lines: tuple[TextLine, ...]
    fault: str | None = None


class LostReading(Exception):
    """A picture under which the engine died, hung or raised, twice. It says nothing about the picture's text."""


class Engine(Protocol):
    """What the child runs; `how` is the caller's, such as languages."""

    def read_many(self, pictures: Sequence[Pixels], how: Mapping[str, Any]) -> Sequence[Sequence[TextLine]]:
        """The lines of equal-sized pictures."""
        ...


class ReaderProcess:
    """The parent's side. The child starts here, so that a missing or refused model stops everything at once."""

    def __init__(self, module: str, settings: Mapping[str, Any], limits: Limits) -> None:
        self._module = module
        self._settings = dict(settings)
        self._limits = limits
        self._n_lost = 0
        self._child = self._start()

    @property
    def pid(self) -> int:
        """Process number of the present child."""
        return self._child.process.pid

    def read_many(self, pictures: Sequence[Pixels], how: Mapping[str, Any]) -> tuple[Outcome, ...]:
        """An outcome for each of some equal-sized pictures, in order.

        Raises EnvironmentFault where the engine does not start, or gives up MOST_LOST pictures in a row.
        """
        if not pictures:
            return ()
        found = self._attempt(pictures, how)
        if isinstance(found, str):  # which of them it was is not known
            return tuple(self._once_more(picture, how, found) for picture in pictures)
        self._n_lost = 0
        return tuple(Outcome(lines) for lines in found)

    def close(self) -> None:
        """End the child; the next read starts another."""
        self._child.end()

    def _once_more(self, picture: Pixels, how: Mapping[str, Any], before: str) -> Outcome:
        found = self._attempt([picture], how)
        if not isinstance(found, str):
            self._n_lost = 0
            return Outcome(found[0])
        self._n_lost += 1
        if self._n_lost >= MOST_LOST:
            raise EnvironmentFault(
                f"{self._module}: gave up {self._n_lost} pictures in a row, the last because {found}; expected to read"
                " them: look at the memory and the accelerator of this machine, then run again"
            )
        return Outcome((), f"{before}; alone, in a new process: {found}")

    def _attempt(self, pictures: Sequence[Pixels], how: Mapping[str, Any]) -> list[tuple[TextLine, ...]] | str:
        """The lines of each picture, or what went wrong; then the child is gone."""
        if not self._child.lives():
            self._child.end()
            self._child = self._start()
        limit = self._limits.timeout_s * len(pictures)
        stack = np.ascontiguousarray(np.stack(pictures))
        try:
            reply = self._child.ask({"how": how, "shape": stack.shape}, stack.data.cast("B"), limit)
        except TimeoutError:
            fault = f"no answer within {limit:g} s"
        except OSError:
            fault = self._child.obituary()
        else:
            if "error" not in reply:
                self._child.n_pictures += len(pictures)
                if self._child.n_pictures >= self._limits.n_pictures or reply["mib"] > self._limits.memory_mib:
                    self._child.end()
                return [tuple(_line(each) for each in lines) for lines in reply["lines"]]
            fault = str(reply["error"])
        self._child.end()
        return fault

    def _start(self) -> _Child:
        child = _Child(self._module)
        try:
            reply = child.ask({"settings": self._settings}, b"", self._limits.start_s)
        except TimeoutError:
            child.end()
            raise EnvironmentFault(f"{self._module}: not loaded within {self._limits.start_s:g} s") from None
        except OSError:
            last = f"{self._module}: {child.obituary()} while loading\n{child.last_words()}"
            child.end()
            raise EnvironmentFault(last) from None
        seen: str | None = reply.get("refused") or reply.get("error")
        if not seen and reply["mib"] > self._limits.memory_mib:
            seen = (
                f"takes {reply['mib']} MiB when loaded, over the limit of {self._limits.memory_mib}: it would be"
                " replaced after each picture; raise memory_mib"
            )
        if seen:
            child.end()
            raise EnvironmentFault(str(seen) if reply.get("refused") else f"{self._module}: {seen}")
        return child


@dataclass
class _Child:
    """One process and the socket to it."""

    module: str
    n_pictures: int = 0
    process: subprocess.Popen[bytes] = field(init=False)
    _socket: socket.socket = field(init=False)
    _stderr: IO[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        # -P: a folder called torch in the working directory is not torch. No warning is for anybody to see.
        command = [sys.executable, "-P", "-W", "ignore", "-m", self.module, str(theirs.fileno()), str(os.getpid())]
        with theirs:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._stderr,
                stderr=self._stderr,
                pass_fds=[theirs.fileno()],
            )
        self._finalize = weakref.finalize(self, _end, self.process, self._socket, self._stderr, os.getpid())

    def lives(self) -> bool:
        return self._finalize.alive and self.process.poll() is None

    def ask(self, message: Mapping[str, Any], pixels: bytes | memoryview, limit_s: float) -> dict[str, Any]:
        """The reply. Raises TimeoutError, or another OSError where the child is gone."""
        deadline = time.monotonic() + limit_s
        _send(self._socket, message, pixels, deadline)
        return _receive(self._socket, deadline)

    def obituary(self) -> str:
        """How the process ended, without anything that differs from run to run."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        status = self.process.returncode
        if status is None:
            return "the process closed its end"
        return f"the process was ended by signal {-status}" if status < 0 else f"the process ended with status {status}"

    def last_words(self) -> str:
        """The end of what it printed."""
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - 2000))
        return self._stderr.read().decode("utf-8", "replace").strip()

    def end(self) -> None:
        self._finalize()


def _end(process: subprocess.Popen[bytes], ours: socket.socket, stderr: IO[bytes], owner: int) -> None:
    """Kill and bury it; a fork of the owner leaves it alone. One stuck in the kernel is not waited for."""
    if os.getpid() == owner:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
    ours.close()
    stderr.close()


def _line(found: Sequence[Any]) -> TextLine:
    text, confidence, box = found
    return TextLine(text, confidence, tuple((x, y) for x, y in box))


def _send(to: socket.socket, message: Mapping[str, Any], pixels: bytes | memoryview, deadline: float | None) -> None:
    data = json.dumps(message).encode()
    _wait(to, deadline)
    to.sendall(len(data).to_bytes(_LENGTH, "big") + data)
    if len(pixels):
        _wait(to, deadline)
        to.sendall(pixels)


def _receive(whence: socket.socket, deadline: float | None) -> dict[str, Any]:
    length = int.from_bytes(_take(whence, _LENGTH, deadline), "big")
    message: dict[str, Any] = json.loads(_take(whence, length, deadline))
    return message


def _take(whence: socket.socket, n_bytes: int, deadline: float | None) -> bytearray:
    data = bytearray(n_bytes)
    left = memoryview(data)
    while left:
        _wait(whence, deadline)
        n = whence.recv_into(left)
        if n == 0:
            raise ConnectionResetError("the other end is closed")
        left = left[n:]
    return data


def _wait(on: socket.socket, deadline: float | None) -> None:
    """Let the next call on the socket last until the deadline."""
    if deadline is None:
        on.settimeout(None)
        return
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    on.settimeout(left)


def serve(load: Callable[[Mapping[str, Any]], Engine], arguments: Sequence[str]) -> NoReturn:
    """The child's side: load the engine, then read what comes, until the parent is gone. Ends the process."""
    number, parent = (int(each) for each in arguments)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    with socket.socket(fileno=number) as whence, contextlib.suppress(ConnectionError):
        settings = _receive(whence, None)["settings"]
        try:
            engine = load(settings)
        except PromptforgeError as exc:
            _send(whence, {"refused": str(exc)}, b"", None)
            sys.exit(1)
        except Exception as exc:
            _send(whence, {"error": _told(exc)}, b"", None)
            raise
        _send(whence, {"mib": _resident_mib()}, b"", None)
        while True:
            _send(whence, _answer(engine, whence), b"", None)
    sys.exit(0)


def _answer(engine: Engine, whence: socket.socket) -> dict[str, Any]:
    asked = _receive(whence, None)
    n, height, width, channels = asked["shape"]
    data = _take(whence, n * height * width * channels, None)
    pictures = np.frombuffer(data, dtype=np.uint8).reshape(n, height, width, channels)
    try:
        found = engine.read_many(list(pictures), asked["how"])
    except Exception as exc:
        return {"error": _told(exc)}
    lines = [[(line.text, line.confidence, line.box) for line in each] for each in found]
    return {"lines": lines, "mib": _resident_mib()}


def _told(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}"[:500]


def _resident_mib() -> int:
    """Resident memory of this process; where the kernel does not tell, the most that it ever was."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - no file of ours
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
    except OSError:
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most >> (20 if sys.platform == "darwin" else 10)


def _watch(parent: int) -> None:
    """End this process when its parent is no longer its parent; a read that hangs does not hold this thread up."""
    while os.getppid() == parent:
        time.sleep(_WATCH_S)
    os._exit(0)
