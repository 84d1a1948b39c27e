"""Folders of pictures with a caption file of the same name beside each, which most trainers of adapters read.

    <split>/<axis>/<image_id>.webp, <image_id>.txt

A caption is one line without a line end: some readers take the first line, others make a comma of every line end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from promptforge.export.folder.output import Output, Piece
from promptforge.export.folder.published import Chosen, Published
from promptforge.records import Axis

PER_PIECE = 256  # pictures in memory at once


class Placed(Chosen):
    """Which rows, and where the trainer sees the export."""

    place: str = Field(
        ".",
        min_length=1,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="path of the export as the trainer's configuration names it; . is for a trainer started inside it",
    )


class Repeated(Placed):
    """The same, and how often a picture of each axis is seen in an epoch."""

    weights: Mapping[Axis, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict, description="times that a picture of an axis is seen in an epoch; 1 where not named"
    )

    def repeats(self, axis: str) -> int:
        """Times that a picture of the axis is seen in an epoch."""
        return self.weights.get(Axis(axis), 1)


@dataclass(frozen=True)
class Folder:
    """One axis of one split."""

    split: str
    axis: str
    rows: pa.Table

    @property
    def name(self) -> str:
        """Its path inside the export."""
        return f"{self.split}/{self.axis}"


def folders(rows: pa.Table, params: Chosen) -> Iterator[Folder]:
    """Every split and axis that has pictures, in the order of the parameters."""
    for split in params.splits:
        for axis in params.axes:
            mine = rows.filter(pc.and_(pc.equal(rows["split"], split), pc.equal(rows["axis"], str(axis))))
            if mine.num_rows:
                yield Folder(split, str(axis), mine)


def write_folders(source: Published, rows: pa.Table, params: Chosen, output: Output) -> None:
    """A piece for every 256 pictures."""
    for folder in folders(rows, params):
        for start in range(0, folder.rows.num_rows, PER_PIECE):
            piece = folder.rows.slice(start, PER_PIECE)
            name = f"{folder.split}-{folder.axis}-{start:09d}"
            output.piece(name, partial(_captioned, source=source, rows=piece, folder=folder.name))


def write_configured(
    source: Published, rows: pa.Table, params: Chosen, output: Output, config: tuple[str, str]
) -> None:
    """The folders, then the trainer's configuration: its name and text."""
    write_folders(source, rows, params, output)
    name, text = config
    output.piece("config", lambda piece: piece.put(name, text.encode()))


def _captioned(piece: Piece, source: Published, rows: pa.Table, folder: str) -> None:
    columns = rows.select(["image_id", "text"]).to_pylist()
    for row, encoded in zip(columns, source.pictures(rows), strict=True):
        piece.put(f"{folder}/{row['image_id']}.{source.suffix}", encoded)
        piece.put(f"{folder}/{row['image_id']}.txt", row["text"].encode())


def write_pictures(output: Output, source: Published, rows: pa.Table, folder: str) -> None:
    """The pictures alone, as <folder>/<image_id>.webp: a piece for every 256."""
    for start in range(0, rows.num_rows, PER_PIECE):
        piece = rows.slice(start, PER_PIECE)
        output.piece(f"{folder}-{start:09d}", partial(_alone, source=source, rows=piece, folder=folder))


def _alone(piece: Piece, source: Published, rows: pa.Table, folder: str) -> None:
    for image_id, encoded in zip(rows["image_id"].to_pylist(), source.pictures(rows), strict=True):
        piece.put(f"{folder}/{image_id}.{source.suffix}", encoded)


def first_split(rows: pa.Table, params: Chosen) -> str:
    """The first split that has rows: the one that a configuration names to train on."""
    there = set(pc.unique(rows["split"]).to_pylist())
    return next(split for split in params.splits if split in there)


def shorter_side(rows: pa.Table) -> int:
    """Pixels of the shortest side of any picture: the resolution that needs no enlarging."""
    sides: Any = pc.min(pc.min_element_wise(rows["width"], rows["height"]))
    return int(sides.as_py())
