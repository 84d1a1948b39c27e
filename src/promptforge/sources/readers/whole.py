"""JSON lists, held whole in memory, and Parquet files, streamed by row group."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from promptforge.errors import SourceFault
from promptforge.sources.readers.lines import json_reason
from promptforge.sources.readers.rows import Fault, Reader, Row, check_encoding

_JSON_NAMES: dict[type, str] = {dict: "object", str: "string", bool: "true or false", type(None): "null"}
_BATCH = 8192  # rows decoded at a time, so that a row group of a million rows is never in memory whole
_MAGIC = b"PAR1"
_MAGIC_ENCRYPTED = b"PARE"


class _JsonList:
    """A JSON list of strings or of objects. 100,000 captions take some 30 MB; above a few million use JSON lines."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()[check_encoding(path) :]
        try:
            text, self.escapes = data.decode("utf-8"), False
        except UnicodeDecodeError:
            text, self.escapes = data.decode("utf-8", "surrogateescape"), True
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise SourceFault(
                f'{path}: expected a JSON list of strings or objects, ["...", "..."], but it is not JSON:'
                f" {json_reason(exc)}; if it holds a JSON value a line name it .jsonl"
            ) from exc
        if not isinstance(values, list):
            raise SourceFault(
                f'{path}: expected a JSON list of strings or objects, ["...", "..."], but it is one JSON'
                f" {_JSON_NAMES.get(type(values), 'number')}; put the prompts into a list"
            )
        self._values = values
        self.n_rows = len(values)
        objects = [value for value in values if isinstance(value, dict)]
        self.columns = tuple(dict.fromkeys(str(key) for item in objects for key in item)) if objects else None

    def rows(self, start: int, stop: int, columns: Sequence[str]) -> Iterator[Row]:
        """Items start <= row < stop."""
        for value in self._values[start:stop]:
            if isinstance(value, str | dict):
                yield value
            else:
                yield Fault("not_a_string", "null" if value is None else f"a JSON {type(value).__name__}")


def open_json(path: Path) -> Reader:
    """A list of strings, or of objects with a text column."""
    return _JsonList(path)


class _Parquet:
    """A Parquet file; opening reads its footer."""

    escapes = False

    def __init__(self, path: Path | str, opened: Callable[[], BinaryIO]) -> None:
        self._path = path
        self._opened = opened
        with self._open() as file:
            self._groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
            self.columns: tuple[str, ...] | None = tuple(file.schema_arrow.names)
            self.not_text = frozenset(each.name for each in file.schema_arrow if _is_not_text(each.type))
        self.n_rows = sum(self._groups)

    @contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        with self._opened() as stream:
            n_bytes = stream.seek(0, 2)
            stream.seek(max(n_bytes - len(_MAGIC), 0))
            if stream.read(len(_MAGIC)) not in (_MAGIC, _MAGIC_ENCRYPTED):
                raise SourceFault(
                    f"{self._path}: not a Parquet file (no magic bytes at its end), or cut off after {n_bytes} bytes;"
                    " fetch or write it again"
                )
            try:
                # No thread but this one reads: one that waits for Python at exit would never end (apache/arrow#45214).
                file = pq.ParquetFile(stream, page_checksum_verification=True, pre_buffer=False)
            except (pa.ArrowException, OSError) as exc:
                raise SourceFault(
                    f"{self._path}: a Parquet file of {n_bytes} bytes that cannot be read: {_first_line(exc)}; fetch or"
                    " write it again"
                ) from exc
            yield file

    def rows(self, start: int, stop: int, columns: Sequence[str]) -> Iterator[Row]:
        """Rows start <= row < stop; only these columns and the row groups that hold some of the rows are read."""
        first = 0
        with self._open() as file:
            for number, n_rows in enumerate(self._groups):
                low, high = max(start - first, 0), min(stop - first, n_rows)
                if low < high:
                    yield from self._group(file, number, (low, high), columns)
                first += n_rows

    def _group(self, file: pq.ParquetFile, number: int, span: tuple[int, int], columns: Sequence[str]) -> Iterator[Row]:
        at, (low, high) = 0, span
        try:
            for batch in file.iter_batches(_BATCH, row_groups=[number], columns=list(columns), use_threads=False):
                begin = max(low - at, 0)
                piece = batch.slice(begin, max(min(high - at, batch.num_rows) - begin, 0))
                values = [_values(column) for column in piece.columns]
                yield from (dict(zip(piece.schema.names, row, strict=True)) for row in zip(*values, strict=True))
                at += batch.num_rows
                if at >= high:
                    return
        except (pa.ArrowException, OSError) as exc:
            raise SourceFault(
                f"{self._path}: row group {number} cannot be read: {_first_line(exc)}; fetch or write the file again"
            ) from exc


def _values(column: pa.Array) -> list[Any]:
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError:  # Arrow does not check what a writer calls a string
        return [_value(item) for item in column]


def _value(item: pa.Scalar) -> Any:
    try:
        return item.as_py()
    except UnicodeDecodeError as exc:
        return Fault("invalid_utf8", f"byte 0x{exc.object[exc.start]:02x} at byte {exc.start}")


def _first_line(exc: BaseException) -> str:
    return str(exc).strip().partition("\n")[0]


def _is_not_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def open_parquet(path: Path) -> Reader:
    """A Parquet file with a text column."""
    return _Parquet(path, lambda: path.open("rb"))


def open_parquet_at(where: str, opened: Callable[[], BinaryIO]) -> Reader:
    """A Parquet file that is read by ranges of its bytes; `where` names it in messages."""
    return _Parquet(where, opened)
