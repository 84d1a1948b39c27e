"""Prompts from a Hugging Face data set: one on the hub at a pinned revision, or a folder in one of the hub's layouts.

Parquet, JSON, JSON lines, CSV, TSV, text, WebDataset archives and folders of pictures with a metadata file. A data file
is a part, so that a shard reads its own rows; columns of pictures are never read. A row names what it comes from: the
label of its part is repository@revision/file, or the file's path in the folder. HF_HUB_OFFLINE=1 keeps the source off
the network; it then takes what was fetched before. Not covered: compressed files, names of class labels (they come as
numbers), data sets that are scripts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from promptforge.errors import EnvironmentFault, SourceFault
from promptforge.files import sha256_file
from promptforge.protocols import Source, SourcePart
from promptforge.records import Axis, Candidate
from promptforge.sources.readers import layout
from promptforge.sources.readers.columns import TEXT_COLUMNS, Columns, Fields, choose_fields, to_candidate
from promptforge.sources.readers.rows import Reader

VERSION = 2
PLACES = ("dataset",)

_OPEN = (".json", ".jsonl", ".ndjson", ".tar")  # a later row may have columns that the first ones lack


class Params(BaseModel):
    """Which rows of which data set, and what their columns mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str = Field(min_length=1, description="hub id, owner/name, or the path of a data set folder")
    revision: str | None = Field(None, description="of a hub id: the 40 hex digits of a commit")
    config: str | None = Field(None, description="configuration (subset); null: the only one, or the default")
    split: str = Field("train", min_length=1, description="split to read")
    name: str = Field("hub", min_length=1, max_length=64, description="name of the source in every table")
    axis: Axis | None = Field(None, description="axis of rows whose axis column says none; null: told from the text")
    licence: str | None = Field(
        None,
        min_length=1,
        description="licence of the prompts, as the card will state it; null: what its own card says",
    )
    columns: Columns = Field(
        default_factory=dict,
        description="promptforge field -> column, e.g. {text = 'TEXT', source_aesthetic = 'AESTHETIC_SCORE'}; of a"
        " WebDataset an ending (txt) or a field of a JSON member (json.caption); a field that is left out is read from"
        " the column of its own name, if there is one; '': not read at all",
    )
    limit: int | None = Field(None, ge=1, description="rows to read, from the first; null: all")

    @model_validator(mode="after")
    def _is_pinned(self) -> Self:
        layout.check(self.dataset, self.revision)
        return self


def build(params: Params, seed: int) -> Source:
    """The source; the data set is looked at when `parts()` is called. The seed plays no part."""
    return Hub(params)


@dataclass(frozen=True, slots=True)
class _Opened:
    path: Path | None
    where: str
    reader: Reader
    fields: Fields


class Hub:
    """One split of one configuration of a data set as a source."""

    def __init__(self, params: Params) -> None:
        self.name = params.name
        self.licence = params.licence or "unstated"  # `parts()` asks the card where nothing is stated here
        self._params = params
        self._parts: tuple[SourcePart, ...] | None = None
        self._opened: dict[str, _Opened] = {}  # label -> file
        self._hashed: dict[Path, tuple[tuple[int, int], str]] = {}  # path -> (size, mtime_ns), SHA-256

    def parts(self) -> Sequence[SourcePart]:
        """A part a data file, up to the one in which `limit` is reached; the first call looks at each of them."""
        if self._parts is None:
            params = self._params
            found = layout.find(params.dataset, params.revision, params.config, params.split)
            parts: list[SourcePart] = []
            left = math.inf if params.limit is None else params.limit
            for file in found.files:
                if left <= 0:
                    break
                where = f"{found.where}: {file.label.removeprefix(f'{params.dataset}@{params.revision}/')}"
                try:
                    digest = file.digest or self._digest(file.path)
                    reader = file.open()
                except OSError as exc:
                    raise SourceFault(f"{where}: cannot be read: {exc.strerror}; check its permissions") from exc
                self._opened[file.label] = _Opened(file.path, where, reader, self._fields(where, file.label, reader))
                parts.append(SourcePart(file.label, digest, int(min(reader.n_rows, left))))
                left -= parts[-1].n_rows
            n_rows = sum(part.n_rows for part in parts)
            if n_rows == 0:
                raise SourceFault(f"{found.where}: no row in split {params.split!r}; expected at least one prompt")
            if found.n_rows is not None and n_rows < min(found.n_rows, params.limit or found.n_rows):
                raise EnvironmentFault(
                    f"{found.where}: {n_rows} rows here, its card says {found.n_rows}; fetch the rest where there is a"
                    f" network with: hf download {params.dataset} --repo-type dataset --revision {params.revision}"
                )
            self.licence = params.licence or found.licence or "unstated"
            self._parts = tuple(parts)
        return self._parts

    def read(self, part: SourcePart, start: int, stop: int) -> Iterator[Candidate]:
        """Rows of one file. Raises SourceFault where a local one changed since `parts()` or turns out unreadable."""
        self.parts()
        opened = self._opened[part.label]
        self._unchanged(opened, part)
        n_read = 0
        stop = min(stop, part.n_rows)
        for number, row in enumerate(opened.reader.rows(start, stop, opened.fields.read), start):
            n_read += 1
            yield to_candidate(number, row, opened.fields, self._params.axis)
        self._unchanged(opened, part)
        if n_read != max(stop - start, 0):
            raise SourceFault(f"{opened.where}: {n_read} rows from {start} on, expected up to {stop}; fetch it again")

    def _fields(self, where: str, label: str, reader: Reader) -> Fields:
        is_open = label.lower().endswith(_OPEN)
        fields = choose_fields(
            where, reader, self._params.columns, is_open=is_open, guesses=(*TEXT_COLUMNS, "txt", "json.caption")
        )
        column = fields.columns.get("text")
        if column in getattr(reader, "not_text", ()):
            others = sorted(set(reader.columns or ()) - getattr(reader, "not_text", frozenset()))
            raise SourceFault(
                f"{where}: column {column!r} holds pictures, bytes or lists, not prompts; columns.text can be one of"
                f" {', '.join(map(repr, others)) or 'none'}"
            )
        return fields

    def _digest(self, path: Path | None) -> str:
        assert path is not None, "a file on the hub has a digest"
        state = path.stat()
        key = (state.st_size, state.st_mtime_ns)
        known = self._hashed.get(path)
        if known is None or known[0] != key:
            known = self._hashed[path] = key, sha256_file(path)
        return known[1]

    def _unchanged(self, opened: _Opened, part: SourcePart) -> None:
        if opened.path is None:
            return  # a revision is always the same bytes
        try:
            digest = self._digest(opened.path)
        except OSError as exc:
            raise SourceFault(f"{opened.where}: cannot be read any more: {exc.strerror}; put it back") from exc
        if digest != part.digest:
            raise SourceFault(
                f"{opened.where}: changed since the run began: sha256 {digest[:16]}..., expected {part.digest[:16]}...;"
                " run again to take the new file, or put the old one back"
            )
