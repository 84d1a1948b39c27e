"""A folder for the training scripts of diffusers, read with `datasets.load_dataset`.

    layout = "parquet"       data/<split>-00000-of-00004.parquet with image, text, prompt (the same string twice, since
                             text_to_image scripts ask for `text`, DreamBooth's for `prompt`), axis and the ids
    layout = "imagefolder"   <split>/<image_id>.webp and <split>/metadata.jsonl with file_name, text, prompt, ...

Pictures are copied as they were published, without another encoding.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from promptforge.export.folder.output import Output, Piece
from promptforge.export.folder.published import Chosen, Published

VERSION = 1
PICTURES = True
USE = (
    "accelerate launch train_text_to_image.py --dataset_name {folder} --image_column image --caption_column text\n"
    "accelerate launch train_dreambooth_lora_flux.py --dataset_name {folder} --image_column image \\\n"
    "    --caption_column prompt"
)
COLUMNS = ("prompt_id", "image_id", "axis", "category")
PER_PIECE = 256  # pictures in memory at once, and a row group


class Params(Chosen):
    """Which rows, and how they lie in the folder."""

    layout: Literal["parquet", "imagefolder"] = Field("parquet", description="Parquet files, or pictures and metadata")
    rows_per_file: int = Field(1024, ge=1, description="layout parquet: pictures of one file")


def write(source: Published, rows: pa.Table, params: Params, output: Output) -> None:
    """One piece a file, or every 256 pictures and one for each split's metadata."""
    for split in params.splits:
        mine = rows.filter(pc.equal(rows["split"], split))
        if params.layout == "imagefolder":
            for start in range(0, mine.num_rows, PER_PIECE):
                piece = mine.slice(start, PER_PIECE)
                output.piece(f"{split}-{start:09d}", partial(_pictures, source=source, rows=piece, split=split))
            output.piece(f"{split}-metadata", partial(_metadata, rows=mine, split=split, suffix=source.suffix))
            continue
        n_files = -(-mine.num_rows // params.rows_per_file)
        for number in range(n_files):
            piece = mine.slice(number * params.rows_per_file, params.rows_per_file)
            name = f"data/{split}-{number:05d}-of-{n_files:05d}.parquet"
            output.piece(f"{split}-{number:05d}", partial(_parquet, source=source, rows=piece, name=name))


def _pictures(piece: Piece, source: Published, rows: pa.Table, split: str) -> None:
    for image_id, encoded in zip(rows["image_id"].to_pylist(), source.pictures(rows), strict=True):
        piece.put(f"{split}/{image_id}.{source.suffix}", encoded)


def _metadata(piece: Piece, rows: pa.Table, split: str, suffix: str) -> None:
    lines = [
        json.dumps({"file_name": f"{row['image_id']}.{suffix}", **captions(row)}, ensure_ascii=False)
        for row in rows.select(["text", *COLUMNS]).to_pylist()
    ]
    piece.put(f"{split}/metadata.jsonl", ("\n".join(lines) + "\n").encode())


def captions(row: dict[str, Any]) -> dict[str, Any]:
    """What stands beside a picture."""
    return {"text": row["text"], "prompt": row["text"], **{name: row[name] for name in COLUMNS}}


def _parquet(piece: Piece, source: Published, rows: pa.Table, name: str) -> None:
    from datasets import Features, Image, Value

    features = Features({"image": Image(), **dict.fromkeys(("text", "prompt", *COLUMNS), Value("string"))})
    schema = features.arrow_schema
    pictures = source.pictures(rows)
    with pq.ParquetWriter(piece.path(name), schema, compression="ZSTD") as writer:
        for start in range(0, rows.num_rows, PER_PIECE):
            group = []
            for row in rows.slice(start, PER_PIECE).select(["text", *COLUMNS]).to_pylist():
                path = f"{row['image_id']}.{source.suffix}"
                group.append({"image": {"bytes": next(pictures), "path": path}, **captions(row)})
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
