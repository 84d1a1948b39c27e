"""One writer a folder: filelock on this machine, a record with epoch and heartbeat for everybody else.

The file lock is freed by the kernel when its holder dies. `_lock.json` says who holds the store and counts a beat;
it may be taken over at once where the holder's process is gone from this boot, else when the counter has stood
still for 60 s of our own monotonic clock. Every holder gets the next epoch; heads are made by the current one alone.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from promptforge.errors import LockedError
from promptforge.files import put

BEAT_S = 5.0
STILL_S = 60.0


def boot_id() -> str:
    """Identity of this boot of this machine; the host name where the kernel gives none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return socket.gethostname()


def _born(pid: int) -> str | None:
    """When a living process of this boot started, in the kernel's ticks; None where it is gone or a zombie.

    The number alone does not name a process: a container that starts again hands out the same ones. Where the kernel
    has no /proc every living process was born at "".
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except OSError:
        return _signalled(pid)
    state, start = fields[0], fields[19]  # fields 3 and 22 of proc(5)
    return None if state in "ZX" else start


def _signalled(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return ""
    return ""


def is_gone(owner: Mapping[str, Any]) -> bool:
    """Whether the process of a lock record is known to be dead; one of another boot or machine never is."""
    if owner["boot"] != boot_id():
        return False
    born = _born(owner["pid"])
    return born is None or bool(born and born != owner.get("born", born))


class Lock:
    """Context manager; `epoch` is set inside. Raises LockedError where another run holds the folder."""

    def __init__(
        self,
        root: Path,
        *,
        still_s: float = STILL_S,
        beat_s: float = BEAT_S,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.root = root
        self.epoch = 0
        self._still_s = still_s
        self._beat_s = beat_s
        self._say = say or (lambda _: None)
        self._file = FileLock(root / "_lock", timeout=0)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            self._file.acquire()
        except Timeout as exc:
            raise LockedError(self._held(self._read())) from exc
        try:
            before = self._read()
            if before.get("held"):
                self._wait_until_still(before)
            self.epoch = int(before.get("epoch", 0)) + 1
            self._write(0, held=True)
        except BaseException:
            self._file.release()
            raise
        self._thread = threading.Thread(target=self._beat, name="promptforge-lock", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()
        try:
            if self._read().get("epoch") == self.epoch:
                self._write(0, held=False)
        finally:
            self._file.release()

    def _read(self) -> dict[str, Any]:
        try:
            found: Any = json.loads((self.root / "_lock.json").read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as exc:
            raise LockedError(
                f"{self.root / '_lock.json'}: not a lock record ({exc}); where no run is at work here, remove it"
            ) from exc
        if not isinstance(found, dict) or not {"host", "pid", "epoch", "held"} <= set(found):
            raise LockedError(f"{self.root / '_lock.json'}: not a lock record; where no run is at work here, remove it")
        return found

    def _write(self, beat: int, *, held: bool) -> None:
        owner = {
            "host": socket.gethostname(),
            "boot": boot_id(),
            "pid": os.getpid(),
            "born": _born(os.getpid()),
            "epoch": self.epoch,
            "beat": beat,
            "held": held,
        }
        put(self.root / "_lock.json", json.dumps(owner, sort_keys=True).encode())

    def _beat(self) -> None:
        beat = 0
        while not self._stop.wait(self._beat_s):
            beat += 1
            if self._read().get("epoch") != self.epoch:
                return  # taken over: the next head is refused, which ends this run
            self._write(beat, held=True)

    def _wait_until_still(self, before: dict[str, Any]) -> None:
        """Return when the holder is dead; raise LockedError when its beat moves."""
        if is_gone(before):
            return
        self._say(
            f"{self.root} was left locked by process {before['pid']} on {before['host']};"
            f" watching its heartbeat for {self._still_s:.0f} s"
        )
        deadline = time.monotonic() + self._still_s
        while time.monotonic() < deadline:
            time.sleep(min(self._beat_s, self._still_s) / 5)
            if self._read() != before:
                raise LockedError(self._held(self._read()))

    def _held(self, owner: dict[str, Any]) -> str:
        who = f"process {owner['pid']} on {owner['host']} (run {owner['epoch']})" if owner else "another process"
        return f"{self.root}: held by {who}; wait until it has finished, or choose another folder with --out"
