"""Shards for MosaicML's library streaming, one folder a split.

    <split>/shard.00000.mds ...   rows_per_file samples each
    <split>/index.json

Columns: image, the encoded picture (encoding bytes: open it with Pillow); width and height (int); caption, prompt_id,
image_id and axis (str).

The library wants an older NumPy than this project, so the shards are written here, as its source lays version 2 of its
format out (streaming/base/format/mds/writer.py): uint32 number of samples, uint32 offsets of each and of the end, JSON
of the columns, samples; a sample is the uint32 sizes of its columns without a fixed size, then the values, by name.
Not covered: its compression and hashes (export.json has the SHA-256 of every file).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa
from pydantic import Field

from promptforge.errors import ConfigError
from promptforge.export.folder.output import Output, Piece
from promptforge.export.folder.published import Chosen, Published, in_files

VERSION = 1
PICTURES = True
USE = """python - <<'END'
from streaming import StreamingDataset
print(StreamingDataset(local="{folder}", split="train", shuffle=False, batch_size=1)[0]["caption"])
END"""

#: Name -> encoding and its bytes where fixed, by name as the format has them.
_COLUMNS: dict[str, tuple[str, int | None]] = {
    "axis": ("str", None),
    "caption": ("str", None),
    "height": ("int", 8),
    "image": ("bytes", None),
    "image_id": ("str", None),
    "prompt_id": ("str", None),
    "width": ("int", 8),
}


class Params(Chosen):
    """Which rows, and how many in a shard."""

    rows_per_file: int = Field(
        64, ge=1, description="samples of one shard: 64 pictures of 1024 px are some 75 MB, near the library's default"
    )


def write(source: Published, rows: pa.Table, params: Params, output: Output) -> None:
    """One piece a shard, then one for each split's index."""
    counts: dict[str, list[int]] = {}
    for split, number, _, piece in in_files(rows, params.splits, params.rows_per_file):
        name = f"{split}/{_basename(number)}"
        output.piece(f"{split}-{number:05d}", partial(_shard, source=source, rows=piece, name=name))
        counts.setdefault(split, []).append(piece.num_rows)
    for split, of_split in counts.items():
        output.piece(f"{split}-index", partial(_index, split=split, counts=of_split))


def _basename(number: int) -> str:
    return f"shard.{number:05d}.mds"


def _layout() -> dict[str, Any]:
    """What is said of the columns in each shard and in the index."""
    return {
        "column_encodings": [encoding for encoding, _ in _COLUMNS.values()],
        "column_names": list(_COLUMNS),
        "column_sizes": [size for _, size in _COLUMNS.values()],
        "compression": None,
        "format": "mds",
        "hashes": [],
        "size_limit": None,
        "version": 2,
    }


def _index(piece: Piece, split: str, counts: Sequence[int]) -> None:
    shards = [
        {
            **_layout(),
            "raw_data": {
                "basename": _basename(number),
                "bytes": piece.size(f"{split}/{_basename(number)}"),
                "hashes": {},
            },
            "samples": count,
            "zip_data": None,
        }
        for number, count in enumerate(counts)
    ]
    piece.put(f"{split}/index.json", json.dumps({"version": 2, "shards": shards}, sort_keys=True).encode())


def _shard(piece: Piece, source: Published, rows: pa.Table, name: str) -> None:
    columns = ["axis", "text", "height", "image_id", "prompt_id", "width"]
    samples = [
        _sample({**row, "caption": row["text"], "image": encoded})
        for row, encoded in zip(rows.select(columns).to_pylist(), source.pictures(rows), strict=True)
    ]
    said = json.dumps(_layout(), sort_keys=True).encode()
    offsets = [4 * (1 + len(samples) + 1) + len(said)]
    for sample in samples:
        offsets.append(offsets[-1] + len(sample))
    if offsets[-1] >= 2**32:
        raise ConfigError(
            f"rows_per_file: {len(samples)} samples of {name} are {offsets[-1]:,} bytes, and a shard holds less than"
            " 4 GiB; choose fewer"
        )
    head = struct.pack(f"<I{len(offsets)}I", len(samples), *offsets)
    with piece.path(name).open("wb") as file:
        file.writelines([head, said, *samples])


def _sample(row: dict[str, Any]) -> bytes:
    sizes, values = [], []
    for name, (encoding, fixed) in _COLUMNS.items():
        value = row[name]
        data: bytes = struct.pack("<q", value) if encoding == "int" else value.encode() if encoding == "str" else value
        if fixed is None:
            sizes.append(len(data))
        values.append(data)
    return b"".join([struct.pack(f"<{len(sizes)}I", *sizes), *values])
