"""Prompts from files: .txt (a line a prompt), .json, .jsonl, .csv, .tsv, .parquet; UTF-8.

A column that has the name of a promptforge field is read as that field, unless `columns` says otherwise.

`parts()` opens, counts and hashes every file before any work, so what cannot be read at all stops the run by name. A
single bad row becomes a Candidate with a fault. Before a file's rows are used its SHA-256 is compared with the part's.
Not covered: compressed files, sub-folders, other encodings.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from promptforge.errors import SourceFault
from promptforge.protocols import Source, SourcePart
from promptforge.records import AXES, Axis, Candidate
from promptforge.sources.readers.lines import open_csv, open_jsonl, open_tsv, open_txt
from promptforge.sources.readers.rows import Fault, Reader, text_fault
from promptforge.sources.readers.whole import open_json, open_parquet
from promptforge.texts import clean, show

VERSION = 2

FORMATS = {
    ".txt": open_txt,
    ".json": open_json,
    ".jsonl": open_jsonl,
    ".csv": open_csv,
    ".tsv": open_tsv,
    ".parquet": open_parquet,
}
TEXT_COLUMNS = ("text", "prompt", "caption")  #: looked for in this order, in any case, where none is mapped

MappedField = Literal["text", "axis", "category", "expected_text", "pair_id", "parent_id", "style", "source_aesthetic"]


class Params(BaseModel):
    """Which files, and what their columns mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paths: tuple[str, ...] = Field(
        min_length=1, description="files or folders, in stream order; of a folder the files of a known kind, by name"
    )
    name: str = Field("files", min_length=1, max_length=64, description="name of the source in every table")
    axis: Axis | None = Field(None, description="axis of rows whose axis column says none; null: told from the text")
    licence: str = Field("unstated", min_length=1, description="licence of the prompts, as the card will state it")
    columns: dict[MappedField, str] = Field(
        default_factory=dict,
        description="promptforge field -> column of the files, e.g. {text = 'prompt'}; a field that is left out is read"
        " from the column of its own name, if there is one; '': not read at all",
    )
    limit: int | None = Field(None, ge=1, description="rows to read of all files together, from the first; null: all")

    @field_validator("columns")
    @classmethod
    def _a_prompt_has_a_column(cls, columns: dict[MappedField, str]) -> dict[MappedField, str]:
        if columns.get("text") == "":
            raise ValueError("text is '', but a prompt must come from a column; name one, or leave text out")
        return columns


def build(params: Params, seed: int) -> Source:
    """The source; files are looked at when `parts()` is called. The seed plays no part."""
    return Files(params)


@dataclass(frozen=True, slots=True)
class _Opened:
    path: Path
    reader: Reader
    fields: Mapping[str, str]  # promptforge field -> column
    mapped: frozenset[str]  # those of them that the recipe asks for; the others have a column of their own name


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
                opened[label] = _Opened(path, reader, *_fields(path, reader, self._params.columns))
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
        rows = opened.reader.rows(start, min(stop, part.n_rows), tuple(sorted(set(opened.fields.values()))))
        n_read = 0
        for number, row in enumerate(rows, start):
            n_read += 1
            yield self._candidate(number, row, opened)
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

    def _candidate(self, number: int, row: Any, opened: _Opened) -> Candidate:
        fields, escapes = opened.fields, opened.reader.escapes
        fault, text = _text(row, fields, escapes)
        if fault is not None or isinstance(row, str | Fault):
            return _row(number, text, self._params.axis, fault)
        values: dict[str, Any] = {}
        for field, column in sorted(fields.items()):
            if field == "text":
                continue
            value = _FIELDS.get(field, _string)(row.get(column), escapes)
            if isinstance(value, Fault) and field == "source_aesthetic" and field not in opened.mapped:
                continue  # nobody said that this column is a score, and a row can do without one
            if isinstance(value, Fault):
                axis = None if value.code == "bad_axis" else self._params.axis
                return _row(number, None, axis, Fault(value.code, f"column {column!r}: {value.detail}"))
            values[field] = value
        axis = values.pop("axis", None) or self._params.axis
        return Candidate(row=number, text=text, axis=axis, **values)


def _row(number: int, text: str | None, axis: str | None, fault: Fault | None) -> Candidate:
    if fault is None:
        return Candidate(row=number, text=text, axis=axis)
    return Candidate(row=number, text=None, axis=axis, fault=fault.code, fault_detail=fault.detail)


def _text(row: Any, fields: Mapping[str, str], escapes: bool) -> tuple[Fault | None, str | None]:
    if isinstance(row, Fault):
        return row, None
    value = row
    if not isinstance(row, str):
        column = fields.get("text")
        if column is None or column not in row:
            return Fault("not_a_string", f"no column {column or 'text'!r}"), None
        value = row[column]
    if isinstance(value, Fault):
        return value, None
    if not isinstance(value, str):
        return Fault("not_a_string", "null" if value is None else f"a {type(value).__name__}"), None
    fault = text_fault(value, escapes=escapes)
    # 32: long enough for a cell of blanks, entities and zero-width characters, short enough to cost nothing
    if fault is None and (not value.strip() or (len(value) < 32 and not clean(value).text)):
        fault = Fault("empty", f"{len(value)} characters, none of them visible")
    return (fault, None) if fault else (None, value)


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _string(value: Any, escapes: bool) -> str | Fault | None:
    if _absent(value):
        return None
    if isinstance(value, Fault):
        return value
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return text_fault(text, escapes=escapes) or text


def _axis(value: Any, escapes: bool) -> str | Fault | None:
    text = _string(value, escapes)
    if isinstance(text, str) and text not in AXES:
        return Fault("bad_axis", f"{show(text[:80])!r} is none of {', '.join(AXES)}")
    return text


def _number(value: Any, escapes: bool) -> float | Fault | None:
    text = _string(value, escapes)
    if text is None or isinstance(text, Fault):
        return text
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    return number if math.isfinite(number) else Fault("bad_number", f"{show(text[:80])!r} is no finite number")


def _strings(value: Any, escapes: bool) -> tuple[str, ...] | Fault | None:
    """A list of strings, a JSON list of strings, or one string; an empty list means that no text is wanted."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = [value]  # a string that begins with a bracket
    if _absent(value):
        return None
    if isinstance(value, Fault):
        return value
    items = value if isinstance(value, list) else [value]
    for item in items:
        if isinstance(item, Fault):
            return item
        if not isinstance(item, str) or not item.strip():
            return Fault("bad_expected_text", f"holds {show(repr(item)[:80])}, expected strings")
        if fault := text_fault(item, escapes=escapes):
            return fault
    return tuple(items)


_FIELDS = {"axis": _axis, "expected_text": _strings, "source_aesthetic": _number}


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


def _fields(path: Path, reader: Reader, columns: Mapping[MappedField, str]) -> tuple[Mapping[str, str], frozenset[str]]:
    """Field -> column, and the fields that are mapped; {} where rows are plain strings.

    The text column is guessed where it is not mapped. A column that is mapped to one field is not read as another.
    """
    mapped: dict[str, str] = {str(field): column for field, column in columns.items() if column}
    if reader.columns is None:
        if mapped and reader.n_rows:
            asked = ", ".join(f"{field} = {column!r}" for field, column in sorted(mapped.items()))
            raise SourceFault(
                f"{path}: its rows are plain strings without columns, but the source's columns ask for {asked}; leave"
                " columns out, or make the file a source of its own"
            )
        return {}, frozenset()
    seen = f"{path}: has the columns {', '.join(map(repr, reader.columns))}"
    for field, column in mapped.items():
        if column not in reader.columns:
            raise SourceFault(f"{seen}; columns.{field} of the source asks for {column!r}")
    # The columns of JSON lines are those of the first 1,000, and a field may come later.
    is_open = path.suffix.lower() == ".jsonl"
    fields = dict(mapped)
    for field in get_args(MappedField):
        is_there = is_open or field in reader.columns
        if is_there and field != "text" and field not in columns and field not in mapped.values():
            fields[field] = field
    if "text" not in fields:
        lower = {column.lower(): column for column in reversed(reader.columns)}
        found = next((lower[name] for name in TEXT_COLUMNS if name in lower), None)
        if found is None:
            raise SourceFault(
                f"{seen}, none of them {', '.join(TEXT_COLUMNS)}; say which holds the prompt:"
                f" columns = {{text = {reader.columns[0]!r}}}"
            )
        fields["text"] = found
    return fields, frozenset(mapped)
