"""The folder that an export writes: piece by piece, each recorded when it is durable, renamed to its name at the end.

    OUT.part-<digest>/          while it grows
        _pieces/<name>.json     files of a finished piece: bytes and SHA-256
    OUT/                        when every piece is there
        export.json             what it is made of, and every file's SHA-256

A kill costs the piece in hand. The same export again finds OUT and compares every file with export.json.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from promptforge.errors import ConfigError, StoreFault
from promptforge.files import differences, fsync_folder, put, sha256_file

STATEMENT = "export.json"
_PIECES = "_pieces"

Files = dict[str, dict[str, Any]]


class Piece:
    """The files of one piece, by the paths that it hands out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.names: list[str] = []

    def path(self, name: str) -> Path:
        """Where to write a file; its folder is there."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.names.append(name)
        return path

    def size(self, name: str) -> int:
        """Bytes of a file that an earlier piece wrote."""
        return (self._folder / name).stat().st_size

    def put(self, name: str, data: bytes) -> None:
        """Write a small file whole."""
        self.path(name).write_bytes(data)


class Output:
    """An export on its way. `digest` is that of everything that decides its bytes.

    Raises ConfigError where `folder` is there and is another export, or none.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        self.folder, self.digest = folder, digest
        self._part = folder.with_name(f"{folder.name}.part-{digest[:16]}")
        self.n_made = self.n_found = 0
        if folder.exists() and not self.is_whole:
            raise ConfigError(
                f"{folder}: is there already, and not this export (another data set, format or other settings); choose"
                " another folder or remove it"
            )

    @property
    def is_whole(self) -> bool:
        """Whether the folder holds this very export."""
        try:
            stated = json.loads((self.folder / STATEMENT).read_text("utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(stated, dict) and stated.get("digest") == self.digest

    def piece(self, name: str, write: Callable[[Piece], None]) -> None:
        """See to it that the files of a piece are there; `write` is called only where they are not."""
        record = self._part / _PIECES / f"{name}.json"
        if _recorded(record, self._part) is not None:
            self.n_found += 1
            return
        piece = Piece(self._part)
        write(piece)
        files: Files = {}
        for item in piece.names:
            path = self._part / item
            files[item] = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        os.sync()  # once for the piece: an fsync for each of 100,000 small files takes minutes
        put(record, json.dumps(files, sort_keys=True).encode())
        self.n_made += 1

    def finish(self, statement: Mapping[str, Any], card: str) -> int:
        """Write card and statement and give the folder its name; how many files it has."""
        records = sorted((self._part / _PIECES).glob("*.json"))
        files: Files = {}
        for record in records:
            files.update(_recorded(record, self._part) or {})
        put(self._part / "README.md", card.encode())
        files["README.md"] = {
            "bytes": (self._part / "README.md").stat().st_size,
            "sha256": sha256_file(self._part / "README.md"),
        }
        whole = {**statement, "digest": self.digest, "files": files}
        put(self._part / STATEMENT, (json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())
        shutil.rmtree(self._part / _PIECES)
        self._part.rename(self.folder)
        fsync_folder(self.folder.parent)
        return len(files)


def _recorded(record: Path, folder: Path) -> Files | None:
    """Files of a finished piece, all of them there with their sizes; else None."""
    try:
        files: Files = json.loads(record.read_text("utf-8"))
        same = all((folder / name).stat().st_size == item["bytes"] for name, item in files.items())
    except (OSError, ValueError):
        return None
    return files if same else None


def check(folder: Path) -> int:
    """Compare every file with export.json; how many there are.

    Raises StoreFault with a line for each that is missing, changed or not named.
    """
    try:
        files: Files = json.loads((folder / STATEMENT).read_text("utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise StoreFault(f"{folder}: no readable {STATEMENT}, so no finished export ({exc})") from exc
    sums = {name: item["sha256"] for name, item in files.items()}
    faults = []
    for name, what, seen in differences(folder, sums):
        said = {"missing": "missing", "extra": "not part of the export"}.get(what)
        said = said or f"sha256 is {seen[:16]}..., {STATEMENT} says {sums[name][:16]}..."
        if name != STATEMENT:
            faults.append(f"{folder / name}: {said}")
    if faults:
        raise StoreFault("\n".join([*faults, f"{folder}: remove it and export again"]))
    return len(files)
