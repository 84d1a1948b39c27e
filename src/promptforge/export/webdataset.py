"""Tars for the library webdataset: a sample is <prompt_id>.webp (or .png), .txt and .json, in this order.

    <split>-000000.tar ...    rows_per_file samples each, the last one fewer; plain POSIX tar, no compression
    .txt                      the prompt
    .json                     prompt, axis, category, expected_text, image_id, seed, width, height, scores

The same rows give the same bytes: no times, no owners. Files of equal length are for the trainer to choose: take
rows_per_file so that the number of files is a multiple of ranks x workers. A score that does not apply is null: the
library takes that as it is, `datasets`' own reader of tars does not (for it there is the format diffusers).
"""

from __future__ import annotations

import io
import json
import tarfile
from functools import partial

import pyarrow as pa
from pydantic import Field

from promptforge.export.folder.output import Output, Piece
from promptforge.export.folder.published import Chosen, Published, in_files

VERSION = 1
PICTURES = True
USE = """python - <<'END'
import webdataset
print(next(iter(webdataset.WebDataset("{folder}/train-000000.tar", shardshuffle=False).decode("pil"))))
END"""

#: Columns of index.parquet that say where the row lies in the published files, and nothing about the sample.
_PLACES = ("file", "file_row", "keep_image", "image_reason", "sha256", "split", "scene")


class Params(Chosen):
    """Which rows, and how many in a tar."""

    rows_per_file: int = Field(1000, ge=1, description="samples of one tar; 1,000 pictures of 1024 px are about 1.2 GB")


def write(source: Published, rows: pa.Table, params: Params, output: Output) -> None:
    """One piece a tar."""
    for split, number, _, piece in in_files(rows, params.splits, params.rows_per_file):
        name = f"{split}-{number:06d}"
        output.piece(name, partial(_tar, source=source, rows=piece, name=f"{name}.tar"))


def _tar(piece: Piece, source: Published, rows: pa.Table, name: str) -> None:
    plain = rows.drop_columns([column for column in _PLACES if column in rows.column_names])
    with tarfile.open(piece.path(name), "w", format=tarfile.USTAR_FORMAT) as tar:
        for row, encoded in zip(plain.to_pylist(), source.pictures(rows), strict=True):
            text = str(row["text"])
            known = {"prompt": text, **{key: value for key, value in row.items() if key != "text"}}
            for suffix, data in (
                (source.suffix, encoded),
                ("txt", text.encode()),
                ("json", json.dumps(known, ensure_ascii=False, sort_keys=True).encode()),
            ):
                member = tarfile.TarInfo(f"{row['prompt_id']}.{suffix}")  # time 0, no owner
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
