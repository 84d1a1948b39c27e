"""Files that survive a kill: written whole under a temporary name, fsynced, then given their name in one step.

Local file systems only. An object store will join as a second set of these few functions.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

TEMPORARY = ".tmp-"  # prefix of every unfinished file; a reader never looks at one
SPILL = f"{TEMPORARY}duckdb"  # folder of what a query has no memory for


def sha256_file(path: Path) -> str:
    """64 hex digits of the SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _unfinished(path: Path, data: bytes) -> Iterator[Path]:
    """A durable temporary file beside `path`; removed on the way out unless it was renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def put(path: Path, data: bytes) -> None:
    """Write a file whose name says its content, or that may be replaced; atomic and durable."""
    with _unfinished(path, data) as temporary:
        temporary.replace(path)
    fsync_folder(path.parent)


def put_new(path: Path, data: bytes) -> bool:
    """Create a file exclusively, whole and durable; False where the name is taken, which is left as it is."""
    with _unfinished(path, data) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    fsync_folder(path.parent)
    return True


def differences(
    folder: Path, sums: Mapping[str, str]
) -> Iterator[tuple[str, Literal["missing", "extra", "changed"], str]]:
    """(name, what, SHA-256 seen or "") where the files below a folder are not those of `sums` (name -> SHA-256)."""
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    for name in sorted(sums.keys() - there):
        yield name, "missing", ""
    for name in sorted(there - sums.keys()):
        yield name, "extra", ""
    for name in sorted(there & sums.keys()):
        seen = sha256_file(folder / name)
        if seen != sums[name]:
            yield name, "changed", seen
