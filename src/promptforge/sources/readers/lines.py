"""Text, JSON-lines, CSV and TSV files, read in pieces: any range of rows without holding the file.

Opening reads the file once to count its rows and notes the byte offset of every 4,096th, so that a range far down is
found by a seek. A row ends at LF or CR LF; a CSV cell in double quotes may hold line ends.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from promptforge.errors import SourceFault
from promptforge.sources.readers.rows import MAX_LINE, Fault, Reader, Row, check_encoding

_STEP = 4096  # rows between two noted offsets
_PEEK = 1000  # JSON lines looked at for the names of the columns


class _Lines:
    """Lines with their ends, as bytes; a line over MAX_LINE as its length. `offset` is where the next begins."""

    def __init__(self, stream: BinaryIO, offset: int) -> None:
        self._stream = stream
        self.offset = offset
        stream.seek(offset)

    def __iter__(self) -> Iterator[bytes | int]:
        return self

    def __next__(self) -> bytes | int:
        line = self._stream.readline(MAX_LINE)
        if not line:
            raise StopIteration
        self.offset += len(line)
        if len(line) == MAX_LINE and not line.endswith(b"\n"):
            return self._skip(len(line))
        return line

    def back_to(self, offset: int) -> None:
        """Go on from there."""
        self._stream.seek(offset)
        self.offset = offset

    def _skip(self, length: int) -> int:
        while piece := self._stream.readline(MAX_LINE):
            self.offset += len(piece)
            length += len(piece)
            if piece.endswith(b"\n"):
                break
        return length


class _LineFile:
    """A file whose rows follow each other in its lines."""

    def __init__(
        self,
        path: Path,
        records: Callable[[_Lines], Iterator[Row]],
        *,
        columns: tuple[str, ...] | None,
        start: int,
        escapes: bool = False,
        count: Callable[[_Lines], Iterator[Any]] = iter,
    ) -> None:
        self.columns = columns
        self.escapes = escapes
        self._path = path
        self._records = records
        self._marks = [start]
        self.n_rows = 0
        with path.open("rb") as stream:
            lines = _Lines(stream, start)
            for _ in count(lines):
                self.n_rows += 1
                if self.n_rows % _STEP == 0:
                    self._marks.append(lines.offset)

    def rows(self, start: int, stop: int, columns: Sequence[str]) -> Iterator[Row]:
        """Rows start <= row < stop, with every column."""
        mark = min(start // _STEP, len(self._marks) - 1)
        with self._path.open("rb") as stream:
            skipped = mark * _STEP
            yield from islice(self._records(_Lines(stream, self._marks[mark])), start - skipped, stop - skipped)


def open_txt(path: Path) -> Reader:
    """A line a prompt; a blank line is an empty row, the end of the last line is not.

    Raises SourceFault where the lines end with CR alone: all prompts would be one.
    """
    with path.open("rb") as stream:
        head = stream.read(1 << 16)
    if b"\r" in head.rstrip(b"\r") and b"\n" not in head:
        raise SourceFault(
            f"{path}: its lines end with CR alone, as on old Macs; expected LF or CR LF; convert it:"
            f" tr '\\r' '\\n' < {path.name} > lf-{path.name}"
        )
    return _LineFile(path, lambda lines: map(_text, lines), columns=None, start=check_encoding(path))


def _unended(line: bytes) -> bytes:
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _text(line: bytes | int) -> str | Fault:
    if isinstance(line, int):
        return Fault("too_large", f"a line of {line} bytes, at most {MAX_LINE} are read")
    try:
        return _unended(line).decode("utf-8")
    except UnicodeDecodeError as exc:
        return Fault("invalid_utf8", f"byte 0x{line[exc.start]:02x} at byte {exc.start} of the line")


def open_jsonl(path: Path) -> Reader:
    """A JSON string or object a line; what is not JSON is a faulty row."""
    start = check_encoding(path)
    with path.open("rb") as stream:
        first = [_json_row(line) for line in islice(_Lines(stream, start), _PEEK)]
    if first and all(isinstance(row, Fault) and row.code == "malformed_json" for row in first):
        raise SourceFault(
            f"{path}: none of the first {len(first)} lines is JSON; expected a string or an object a line; if this is"
            " one JSON list name it .json, if it is plain text name it .txt"
        )
    objects = [row for row in first if isinstance(row, dict)]
    columns = tuple(dict.fromkeys(str(key) for row in objects for key in row))
    return _LineFile(path, lambda lines: map(_json_row, lines), columns=columns if objects else None, start=start)


def _json_row(line: bytes | int) -> Row:
    text = _text(line)
    if isinstance(text, Fault):
        return text
    if not text.strip():
        return ""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as exc:
        return Fault("malformed_json", json_reason(exc))
    return value if isinstance(value, str | dict) else Fault("not_a_string", f"a JSON {type(value).__name__}")


def json_reason(exc: Exception) -> str:
    """Why a text is not JSON, without a word of the text."""
    if isinstance(exc, json.JSONDecodeError):
        line = f" (line {exc.lineno} column {exc.colno})" if exc.lineno > 1 else ""
        return f"{exc.msg.removesuffix(' at')} at character {exc.pos}{line}"
    return "nested too deep" if isinstance(exc, RecursionError) else "a number too long"


def open_csv(path: Path) -> Reader:
    """Comma-separated with a header line."""
    return _open_table(path, ",")


def open_tsv(path: Path) -> Reader:
    """Tab-separated with a header line.

    Where some row breaks the rules of CSV and every line has the same number of tabs, quotes are text, save around a
    whole cell: published TSV files seldom quote, and a prompt may begin with a quoted word.
    """
    start = check_encoding(path)
    with path.open("rb") as stream:
        n_cells = {
            len(cells) if isinstance(cells, list) else -1 for cells in _quoted_cells(_Lines(stream, start), "\t")
        }
        n_tabs = {line.count(b"\t") if isinstance(line, bytes) else -1 for line in _Lines(stream, start)}
    quoted = len(n_cells) == 1 and -1 not in n_cells
    return _open_table(path, "\t", plain=not quoted and len(n_tabs) == 1 and -1 not in n_tabs)


def _open_table(path: Path, separator: str, *, plain: bool = False) -> Reader:
    split = partial(_plain_cells if plain else _quoted_cells, separator=separator)
    with path.open("rb") as stream:
        lines = _Lines(stream, check_encoding(path))
        header = next(split(lines), None)
        start = lines.offset
    if not isinstance(header, list) or not any(header):
        seen = header.detail if isinstance(header, Fault) else "no header"
        raise SourceFault(f"{path}: {seen}; expected a first line with the names of the columns, in UTF-8")
    names = tuple(header)
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise SourceFault(f"{path}: the header names {', '.join(map(repr, twice))} twice; rename one of the columns")

    def records(lines: _Lines) -> Iterator[Row]:
        for cells in split(lines):
            if isinstance(cells, Fault):
                yield cells
            elif not cells:
                yield ""
            elif len(cells) != len(names):
                # An unquoted comma in a prompt: taking the first cell would cut the prompt.
                yield Fault("malformed_row", f"{len(cells)} cells, the header has {len(names)}")
            else:
                yield dict(zip(names, cells, strict=True))

    return _LineFile(path, records, columns=names, start=start, escapes=True, count=split)


def _plain_cells(lines: _Lines, separator: str) -> Iterator[list[str] | Fault]:
    for line in lines:
        assert isinstance(line, bytes)
        text = _unended(line).decode("utf-8", "surrogateescape")
        yield [_unquoted(cell) for cell in text.split(separator)] if text else []


def _unquoted(cell: str) -> str:
    inside = cell[1:-1].replace('""', "")
    if len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inside:
        return cell[1:-1].replace('""', '"')
    return cell


def _quoted_cells(lines: _Lines, separator: str) -> Iterator[list[str] | Fault]:
    """Cells of each row. A quote that is never closed, or wrongly, spoils its own line and not those that it took."""
    too_large: list[int] = []
    ends: list[int] = []  # offsets at which the lines of the row in hand end

    def decoded() -> Iterator[str]:
        for line in lines:
            ends.append(lines.offset)
            if isinstance(line, int):
                too_large.append(line)
                yield ""
            else:
                yield line.decode("utf-8", "surrogateescape")

    csv.field_size_limit(MAX_LINE)  # the module's own limit of 128 KiB would refuse a long cell
    reader = csv.reader(decoded(), delimiter=separator, strict=True)
    while True:
        ends.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as exc:
            if len(ends) > 1:
                lines.back_to(ends[0])
                too_large.clear()
                reader = csv.reader(decoded(), delimiter=separator, strict=True)
            yield Fault("malformed_row", f"{exc}")
            continue
        if too_large:
            yield Fault("too_large", f"a line of {too_large.pop()} bytes, at most {MAX_LINE} are read")
        else:
            yield cells
