"""Prompts from files: .txt (a line a prompt), .json, .jsonl, .csv, .tsv, .parquet; UTF-8.

A column that has the name of a promptforge field is read as that field, unless `columns` says otherwise.

`parts()` opens, counts and hashes every file before any work, so what cannot be read at all stops the run by name. A
single bad row becomes a Candidate with a fault. Before a file's rows are used its SHA-256 is compared with the part's.
Not covered: compressed files, sub-folders, other encodings.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from promptforge.errors import SourceFault
from promptforge.protocols import Source, SourcePart
from promptforge.records import Axis, Candidate
from promptforge.sources.readers.columns import Columns, Fields, choose_fields, to_candidate
from promptforge.sources.readers.lines import open_csv, open_jsonl, open_tsv, open_txt
from promptforge.sources.readers.rows import Reader
from promptforge.sources.readers.whole import open_json, open_parquet

VERSION = 3

FORMATS = {
    ".txt": open_txt,
    ".json": open_json,
    ".jsonl": open_jsonl,
    ".csv": open_csv,
    ".tsv": open_tsv,
    ".parquet": open_parquet,
}


class Params(BaseModel):
    """Which files, and what their columns mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paths: tuple[str, ...] = Field(
        min_length=1,
        description="files, folders or patterns (*train*.txt), in stream order; of a folder the files of a known kind",
    )
    name: str = Field("files", min_length=1, max_length=64, description="name of the source in every table")
    axis: Axis | None = Field(None, description="axis of rows whose axis column says none; null: told from the text")
    licence: str = Field("unstated", min_length=1, description="licence of the prompts, as the card will state it")
    columns: Columns = Field(
        default_factory=dict,
        description="promptforge field -> column of the files, e.g. {text = 'prompt'}; a field that is left out is read"
        " from the column of its own name, if there is one; '': not read at all",
    )
    limit: int | None = Field(None, ge=1, description="rows to read of all files together, from the first; null: all")


def build(params: Params, seed: int) -> Source:
    """The source; files are looked at when `parts()` is called. The seed plays no part."""
    return Files(params)


@dataclass(frozen=True, slots=True)
class _Opened:
    path: Path
    reader: Reader
    fields: Fields


class Files:
    """A list of files as one source."""

    def __init__(self, params: Params) -> None:
        self.name = params.name
        self.licence = params.licence
        self._params = params
        self._parts: tuple[SourcePart, ...] | None = None
        self._opened: dict[str, _Opened] = {}  # label -> file
        self._hashed: dict[Path, tuple[tuple[int, int], str]] = {}  # path -> (size, mtime_ns), SHA-256

    def parts(self) -> Sequence[SourcePart]:
        """A part a file; the first call reads every file. Raises SourceFault for one that cannot be used."""
        if self._parts is None:
            opened: dict[str, _Opened] = {}
            parts: list[SourcePart] = []
            left = math.inf if self._params.limit is None else self._params.limit
            for path in _files(self._params.paths):
                label = _label(path, opened)
                try:
                    digest = self._digest(path)
                    reader = FORMATS[path.suffix.lower()](path)
                except OSError as exc:
                    raise SourceFault(f"{path}: cannot be read: {exc.strerror}; check its permissions") from exc
                # The columns of JSON lines are those of the first 1,000, and a field may come later.
                is_open = path.suffix.lower() == ".jsonl"
                opened[label] = _Opened(
                    path, reader, choose_fields(path, reader, self._params.columns, is_open=is_open)
                )
                parts.append(SourcePart(label, digest, int(min(reader.n_rows, left))))
                left -= parts[-1].n_rows
            if not any(part.n_rows for part in parts):
                counted = f"{len(parts)} file" if len(parts) == 1 else f"{len(parts)} files"
                raise SourceFault(f"{', '.join(self._params.paths)}: no row in {counted}; expected at least one prompt")
            self._opened, self._parts = opened, tuple(parts)
        return self._parts

    def read(self, part: SourcePart, start: int, stop: int) -> Iterator[Candidate]:
        """Rows of one file. Raises SourceFault where it changed since `parts()` or turns out unreadable."""
        self.parts()
        opened = self._opened[part.label]
        self._unchanged(opened.path, part)
        rows = opened.reader.rows(start, min(stop, part.n_rows), opened.fields.read)
        n_read = 0
        for number, row in enumerate(rows, start):
            n_read += 1
            yield to_candidate(number, row, opened.fields, self._params.axis)
        self._unchanged(opened.path, part)  # a file that is written to while it is read gives rows of two versions
        if n_read != max(min(stop, part.n_rows) - start, 0):
            raise SourceFault(f"{opened.path}: {n_read} rows from {start} on, expected up to {stop}; fetch it again")

    def _digest(self, path: Path) -> str:
        state = path.stat()
        key = (state.st_size, state.st_mtime_ns)
        known = self._hashed.get(path)
        if known is None or known[0] != key:
            with path.open("rb") as stream:
                known = key, hashlib.file_digest(stream, "sha256").hexdigest()
            self._hashed[path] = known
        return known[1]

    def _unchanged(self, path: Path, part: SourcePart) -> None:
        try:
            digest = self._digest(path)
        except OSError as exc:
            raise SourceFault(f"{path}: cannot be read any more: {exc.strerror}; put it back and run again") from exc
        if digest != part.digest:
            raise SourceFault(
                f"{path}: changed since the run began: sha256 {digest[:16]}..., expected {part.digest[:16]}...; run"
                " again to take the new file, or put the old one back"
            )


def _files(paths: Sequence[str]) -> Iterator[Path]:
    known = ", ".join(FORMATS)
    for text in paths:
        path = Path(text).expanduser()
        if path.is_dir():
            inside = sorted(
                item
                for item in path.iterdir()
                if item.is_file() and item.suffix.lower() in FORMATS and not item.name.startswith(".")
            )
            if not inside:
                raise SourceFault(f"{path}: a folder without any file of a known kind; expected {known}")
            yield from inside
        elif not path.exists() and any(mark in path.name for mark in "*?["):
            matching = sorted(item for item in path.parent.glob(path.name) if item.is_file())
            if not matching:
                raise SourceFault(f"{path}: no file there has such a name; check paths of the source")
            yield from _files([str(item) for item in matching])
        elif not path.exists():
            whence = "" if path.is_absolute() else f" in {Path.cwd()}, where relative paths start"
            raise SourceFault(f"{path}: no such file or folder{whence}; check paths of the source")
        elif not path.is_file():
            raise SourceFault(f"{path}: neither a file nor a folder; expected {known}")
        elif path.suffix.lower() not in FORMATS:
            raise SourceFault(
                f"{path}: unknown kind {path.suffix or '(no ending)'!r}; expected {known}; unpack or rename it"
            )
        else:
            yield path


def _label(path: Path, taken: Mapping[str, Any]) -> str:
    name = os.fsencode(path.name).decode("utf-8", "backslashreplace")
    label, number = name, 1
    while label in taken:
        number += 1
        label = f"{name} ({number})"
    return label
