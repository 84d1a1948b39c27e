"""Pictures that were rendered elsewhere, as if a teacher drew them now: scored, selected and published like any other.

A prompt's pictures are found by its prompt_id (the cleaned text), take by take; teachers/importing/sets.py says what
an import may look like. A picture that is missing or cannot be read is an error row. The fingerprint covers the name,
the licence and the pictures themselves, so a changed import is another teacher, and its pictures are taken anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import PIL
from pydantic import BaseModel, ConfigDict, Field

from promptforge import records
from promptforge.protocols import Licence, Rendering, RenderJob
from promptforge.records import canonical_json, content_id
from promptforge.teachers.importing.pixels import Unreadable, decode, refuse_bombs
from promptforge.teachers.importing.sets import ImportSet, read_set

VERSION = 1
LOOK_AHEAD = 128  # pictures whose bytes are held; a row group of Parquet is read once for all of them that are in it


class Params(BaseModel):
    """Where the pictures are and under which terms."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(min_length=1, description="folder of pictures, or Parquet file or folder of them")
    licence: str = Field(
        min_length=1, max_length=200, description="terms of the pictures; goes into every row and the card"
    )
    name: str = Field("imported", min_length=1, max_length=200, description="what drew them, as the card will state it")
    prompts: str | None = Field(None, description="column with the prompt or prompt_id; null: the usual names")
    pictures: str | None = Field(None, description="column with the picture or its file name; null: the usual names")
    max_pixels: int = Field(1 << 26, ge=1, le=1 << 26, description="pixels of a picture, at most; more is an error row")
    restricted: bool = Field(
        False, description="the licence restricts the pictures' use, so that the recipe must accept it by name"
    )


def build(params: Params, rank: int = 0) -> Imported:
    """The teacher; every picture was or is read once for the fingerprint. Raises SourceFault."""
    del rank
    return Imported(params, _read(params))


def describe(params: Params) -> Mapping[str, Any]:
    """What decides a picture besides text and take. Raises SourceFault."""
    return _described(params, _read(params))


def licence(params: Params) -> Licence:
    """The terms that the person states."""
    return Licence(params.licence, needs_consent=params.restricted)


def _read(params: Params) -> ImportSet:
    return read_set(params.path, params.prompts, params.pictures)


def _described(params: Params, found: ImportSet) -> dict[str, Any]:
    return {
        "teacher": "imported",
        "version": VERSION,
        "name": params.name,
        "licence": params.licence,
        "max_pixels": params.max_pixels,
        "pictures": found.digest,
    }


class Imported:
    """Finds pictures instead of drawing them."""

    def __init__(self, params: Params, found: ImportSet) -> None:
        self.description: Mapping[str, Any] = _described(params, found)
        self.fingerprint = content_id(canonical_json(self.description))
        self.provenance: Mapping[str, Any] = {"pillow": PIL.__version__}
        self._found = found
        self._max_pixels = params.max_pixels
        refuse_bombs()

    def render_all(self, jobs: Iterable[RenderJob]) -> Iterator[Rendering]:
        """The picture of each job, in order; reads LOOK_AHEAD of them at a time, in the order of the files."""
        waiting = iter(jobs)
        while window := list(islice(waiting, LOOK_AHEAD)):
            items = [self._found.by_take.get((records.prompt_id(job.text), job.take)) for job in window]
            data: dict[int, bytes] = {}
            there = [(item.place, number) for number, item in enumerate(items) if item and item.place and item.sha256]
            for _, number in sorted(there, key=lambda pair: (str(pair[0].path), pair[0].row or 0)):
                item = items[number]
                assert item is not None
                data[number] = self._found.data(item)
            for number, (job, item) in enumerate(zip(window, items, strict=True)):
                if item is None:
                    more = (records.prompt_id(job.text), 0) in self._found.by_take
                    yield Rendering(None, "the import has no further take" if more else "not in the import")
                elif number not in data:
                    yield Rendering(None, "the import names a picture that is not there")
                else:
                    yield self._decoded(data.pop(number))

    def _decoded(self, data: bytes) -> Rendering:
        try:
            pixels, notes = decode(data, self._max_pixels)
        except Unreadable as exc:
            return Rendering(None, str(exc))
        return Rendering(pixels, notes=notes)
