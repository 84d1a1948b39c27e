"""Parquet files with a column of pictures, as `datasets` reads them: data/<split>-00000-of-00004.parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from promptforge.export.folder.captioned import PER_PIECE
from promptforge.export.folder.output import Output, Piece
from promptforge.export.folder.published import Published, in_files


@dataclass(frozen=True)
class PictureFiles:
    """`describe` gives what stands beside each picture of some rows, image_id included; `per_file` rows a file."""

    schema: pa.Schema
    describe: Callable[[pa.Table], Iterable[dict[str, Any]]]
    per_file: int

    def write(self, source: Published, rows: pa.Table, splits: Iterable[str], output: Output) -> None:
        """One piece a file."""
        for split, number, n_files, piece in in_files(rows, splits, self.per_file):
            name = f"data/{split}-{number:05d}-of-{n_files:05d}.parquet"
            output.piece(f"{split}-{number:05d}", partial(self._file, source=source, rows=piece, name=name))

    def _file(self, piece: Piece, source: Published, rows: pa.Table, name: str) -> None:
        pictures = source.pictures(rows)
        with pq.ParquetWriter(piece.path(name), self.schema, compression="ZSTD") as writer:
            for start in range(0, rows.num_rows, PER_PIECE):
                group = [
                    {"image": {"bytes": next(pictures), "path": f"{row['image_id']}.{source.suffix}"}, **row}
                    for row in self.describe(rows.slice(start, PER_PIECE))
                ]
                writer.write_table(pa.Table.from_pylist(group, schema=self.schema))
