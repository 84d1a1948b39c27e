"""SHA-256 of files, remembered: 24 GB take 50 s to read, and every command that opens a run asks for them.

Of files of LARGE bytes and more also between processes: one small file for each, below ~/.cache/promptforge/digests
(or $XDG_CACHE_HOME/promptforge/digests), none beside the models. A digest counts while path, device, inode, size and
the times of the last change of bytes and of inode stay as they were, to the nanosecond. Files that changed less than
RECENT_S ago are not remembered, since they may be changing still. A damaged entry is read past.
PROMPTFORGE_DIGEST_CACHE=off leaves the folder alone.
Not covered: a disk that changes bytes by itself.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from promptforge.files import put, sha256_file
from promptforge.records import digest_of

LARGE = 64 << 20
RECENT_S = 2.0
SWITCH = "PROMPTFORGE_DIGEST_CACHE"
_HEX = re.compile(r"[0-9a-f]{64}")


def sha256_of(path: Path) -> str:
    """64 hex digits of the SHA-256 of a file's bytes: 2 s a GB, once while the file stays as it is."""
    return _once(path, _state(path))


def _state(path: Path) -> str:
    stat = path.stat()
    times = stat.st_mtime_ns, stat.st_ctime_ns
    return digest_of([os.path.realpath(path), stat.st_dev, stat.st_ino, stat.st_size, *times])


@lru_cache(maxsize=4096)
def _once(path: Path, state: str) -> str:
    stat = path.stat()
    if stat.st_size < LARGE or os.environ.get(SWITCH) == "off":
        return sha256_file(path)
    entry = _folder() / state
    known = _entry(entry)
    if known is not None:
        return known
    found = sha256_file(path)
    age_s = time.time() - max(stat.st_mtime, stat.st_ctime)
    if age_s > RECENT_S and _state(path) == state:
        with suppress(OSError):  # a home that cannot be written costs time, nothing else
            put(entry, _line(state, found).encode())
    return found


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "promptforge" / "digests"


def _entry(entry: Path) -> str | None:
    try:
        text = entry.read_text("ascii")
    except (OSError, ValueError):
        return None
    digest = text[:64]
    return digest if _HEX.fullmatch(digest) and text == _line(entry.name, digest) else None


def _line(state: str, digest: str) -> str:
    return f"{digest} {digest_of([state, digest])}\n"
