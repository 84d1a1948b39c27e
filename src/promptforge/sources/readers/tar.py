"""WebDataset archives: members that share a name up to its first point are one row, each ending a column.

Only text is read (ENDINGS); pictures are passed over by a seek. Of a JSON object each field is a column too, so that
`json.caption` names what cat.json says under "caption". Opening reads every header once and notes the offset of every
256th row. Not covered: compressed archives.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from promptforge.errors import SourceFault
from promptforge.sources.readers.lines import json_reason
from promptforge.sources.readers.rows import MAX_LINE, Fault, Reader, Row

JSON_ENDINGS = ("json", "jsn")
ENDINGS = ("txt", "text", "transcript", "caption", "cls", "id", *JSON_ENDINGS)

_STEP = 256  # rows between two noted offsets
_PEEK = 100  # rows looked at for the names of the columns
_NAME = re.compile(r"\A((?:.*/)?[^./][^./]*)[.]([^/]*)\Z", re.DOTALL)


@dataclass(slots=True)
class _Sample:
    key: str
    offset: int
    members: list[tuple[str, tarfile.TarInfo]] = field(default_factory=list)  # of text alone


class _Tar:
    escapes = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._marks: list[int] = []
        self.n_rows = 0
        names: dict[str, None] = {}
        with path.open("rb") as stream:
            for number, sample in enumerate(self._samples(stream, 0)):
                if number % _STEP == 0:
                    self._marks.append(sample.offset)
                if number < _PEEK:
                    row = _row(stream, sample, None)
                    names.update(dict.fromkeys(row if isinstance(row, dict) else ()))
                self.n_rows += 1
        self.columns: tuple[str, ...] | None = tuple(names)

    def rows(self, start: int, stop: int, columns: Sequence[str]) -> Iterator[Row]:
        """Rows start <= row < stop; of each only the members that the columns name are read."""
        if start >= min(stop, self.n_rows):
            return
        mark = start // _STEP
        with self._path.open("rb") as stream:
            samples = self._samples(stream, self._marks[mark])
            for sample in islice(samples, start - mark * _STEP, stop - mark * _STEP):
                yield _row(stream, sample, columns)

    def _samples(self, stream: BinaryIO, offset: int) -> Iterator[_Sample]:
        stream.seek(offset)
        sample: _Sample | None = None
        for info in self._members(stream):
            named = _NAME.match(info.name)
            if named is None:
                continue
            key, ending = named[1], named[2].lower()
            if sample is None or sample.key != key:
                if sample is not None:
                    yield sample
                sample = _Sample(key, info.offset)
            if ending.rpartition(".")[2] in ENDINGS:
                sample.members.append((ending, info))
        if sample is not None:
            yield sample

    def _members(self, stream: BinaryIO) -> Iterator[tarfile.TarInfo]:
        try:
            archive = tarfile.open(fileobj=stream, mode="r:")  # noqa: SIM115  # it is the stream that has to be closed
            while (info := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header that it has seen
                if info.isreg():
                    yield info
        except tarfile.TarError as exc:
            raise SourceFault(f"{self._path}: not a whole tar archive: {exc}; fetch or write it again") from exc
        # tarfile takes a broken header past the first for the end; the true end is a block of zeros.
        stream.seek(archive.offset)
        block = stream.read(tarfile.BLOCKSIZE)
        if len(block) < tarfile.BLOCKSIZE or any(block):
            seen = "no end mark" if not block else "no header"
            raise SourceFault(
                f"{self._path}: {seen} at byte {archive.offset}: cut off or damaged; fetch it again, or unpack what is"
                " left and pack it anew"
            )


def _row(stream: BinaryIO, sample: _Sample, columns: Sequence[str] | None) -> Row:
    """The columns that are asked for, None: all; in archive order."""
    row: dict[str, Any] = {}
    for ending, info in sample.members:
        if columns is not None and not any(name == ending or name.startswith(f"{ending}.") for name in columns):
            continue
        if ending in row:
            return Fault("malformed_row", f"two members called {ending!r}")
        value = _text(stream, info)
        if ending.rpartition(".")[2] in JSON_ENDINGS and isinstance(value, str):
            value = _json(value)
            if isinstance(value, dict):
                row.update({f"{ending}.{name}": item for name, item in value.items()})
            elif isinstance(value, Fault) and columns is not None:
                row.update({name: value for name in columns if name.startswith(f"{ending}.")})
        row[ending] = value
    return row


def _text(stream: BinaryIO, info: tarfile.TarInfo) -> str | Fault:
    if info.size > MAX_LINE:
        return Fault("too_large", f"a member of {info.size} bytes, at most {MAX_LINE} are read")
    stream.seek(info.offset_data)
    data = stream.read(info.size)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        return Fault("invalid_utf8", f"byte 0x{exc.object[exc.start]:02x} at byte {exc.start}")


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        return Fault("malformed_json", json_reason(exc))


def open_tar(path: Path) -> Reader:
    """A WebDataset archive with text members."""
    return _Tar(path)
