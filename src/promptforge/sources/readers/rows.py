"""What every reader gives: a row is a string, a mapping from column to value, or a fault."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from promptforge.errors import SourceFault

MAX_CHARS = 8_000  #: of a prompt; T5 reads some 300 characters, so a longer text is a mistake of the file
MAX_LINE = 16 << 20  #: bytes of a line that are held in memory; a longer line is counted and skipped

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a row, or a value of it, could not be read: a snake_case code and a short description."""

    code: str
    detail: str


Row = str | Mapping[str, Any] | Fault


class Reader(Protocol):
    """An opened file: it was looked at whole or, for Parquet, its footer was."""

    n_rows: int
    columns: tuple[str, ...] | None  #: names; of JSON lines those of the first 1,000; None: rows are plain strings
    escapes: bool  #: U+DC80 to U+DCFF in a string stand for bytes that are not UTF-8

    def rows(self, start: int, stop: int, columns: Sequence[str]) -> Iterator[Row]:
        """Rows start <= row < stop in order, with these columns at least. Raises SourceFault for a broken file."""
        ...


def text_fault(text: str, *, escapes: bool, max_chars: int = MAX_CHARS) -> Fault | None:
    """What keeps a string out of a table, if anything does."""
    if not text.isascii() and (found := _SURROGATE.search(text)):
        if escapes and (bad := _ESCAPED_BYTE.search(text)):
            return Fault("invalid_utf8", f"byte 0x{ord(bad[0]) - 0xDC00:02x} at character {bad.start()}")
        return Fault("lone_surrogate", f"U+{ord(found[0]):04X} at character {found.start()}")
    if "\0" in text:
        return Fault("nul", f"U+0000 at character {text.index(chr(0))}, {text.count(chr(0))} in all")
    if len(text) > max_chars:
        return Fault("too_large", f"{len(text)} characters, at most {max_chars} are read")
    return None


def check_encoding(path: Path) -> int:
    """Length of the UTF-8 byte order mark (0 or 3). Raises SourceFault for UTF-16, UTF-32 and binary files."""
    with path.open("rb") as stream:
        head = stream.read(4096)
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        seen = "UTF-32" if b"\0\0" in head[:4] else "UTF-16"
        raise SourceFault(
            f"{path}: is {seen}, expected UTF-8; convert it: iconv -f {seen} -t UTF-8 {path.name} > utf8-{path.name}"
        )
    if head.count(0) * 4 > len(head):  # ASCII text in UTF-16 without a mark is half zeros
        raise SourceFault(
            f"{path}: {head.count(0)} of the first {len(head)} bytes are zero, so this is UTF-16 without a mark or no"
            " text at all; expected UTF-8; if it is UTF-16 convert it: iconv -f UTF-16LE -t UTF-8"
        )
    return 3 if head.startswith(b"\xef\xbb\xbf") else 0
