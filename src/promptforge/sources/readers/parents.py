"""Prompts to be rewritten: every row of text or JSON-lines files, held in memory with the files' SHA-256.

100,000 prompts take some 30 MB. A row that cannot be read is a fault in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from promptforge.errors import SourceFault
from promptforge.files import sha256_file
from promptforge.sources.readers.lines import open_jsonl, open_txt
from promptforge.sources.readers.rows import Fault, Row, text_fault
from promptforge.texts import clean

_OPEN = {".txt": open_txt, ".jsonl": open_jsonl}
_FIELD = "text"


@dataclass(frozen=True, slots=True)
class Parents:
    """The prompts of all files in order, and the SHA-256 of each file."""

    texts: tuple[str | Fault, ...]
    digests: tuple[str, ...]


def read_parents(paths: Sequence[str]) -> Parents:
    """Every row of the files. Raises SourceFault for a file that cannot be used, and where there is no row at all."""
    texts: list[str | Fault] = []
    digests: list[str] = []
    for name in paths:
        path = Path(name).expanduser()
        if path.suffix.lower() not in _OPEN:
            raise SourceFault(f"{path}: parents come from {' or '.join(_OPEN)} files, with a field {_FIELD!r} in JSON")
        if not path.is_file():
            raise SourceFault(f"{path}: no such file; check parents of the source")
        try:
            digests.append(sha256_file(path))
            reader = _OPEN[path.suffix.lower()](path)
            texts += [_text(row) for row in reader.rows(0, reader.n_rows, (_FIELD,))]
        except OSError as exc:
            raise SourceFault(f"{path}: cannot be read: {exc.strerror}; check its permissions") from exc
    if not texts:
        raise SourceFault(f"{', '.join(paths)}: no row; expected at least one prompt to rewrite")
    return Parents(tuple(texts), tuple(digests))


def _text(row: Row) -> str | Fault:
    if isinstance(row, Fault):
        return row
    value = row if isinstance(row, str) else row.get(_FIELD)
    if not isinstance(value, str):
        return Fault("not_a_string", f"no field {_FIELD!r}" if value is None else f"a {type(value).__name__}")
    cleaned = clean(value).text
    if fault := text_fault(value, escapes=False):
        return fault
    return cleaned or Fault("empty", f"{len(value)} characters, none of them visible")
