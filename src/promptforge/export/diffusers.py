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
from pydantic import Field

from promptforge.export.folder.captioned import write_pictures
from promptforge.export.folder.output import Output, Piece
from promptforge.export.folder.parquet import PictureFiles
from promptforge.export.folder.published import Chosen, Published

VERSION = 1
PICTURES = True
USE = (
    "accelerate launch train_text_to_image.py --dataset_name {folder} --image_column image --caption_column text\n"
    "accelerate launch train_dreambooth_lora_flux.py --dataset_name {folder} --image_column image \\\n"
    "    --caption_column prompt"
)
COLUMNS = ("prompt_id", "image_id", "axis", "category")


class Params(Chosen):
    """Which rows, and how they lie in the folder."""

    layout: Literal["parquet", "imagefolder"] = Field("parquet", description="Parquet files, or pictures and metadata")
    rows_per_file: int = Field(1024, ge=1, description="layout parquet: pictures of one file")


def write(source: Published, rows: pa.Table, params: Params, output: Output) -> None:
    """One piece a file, or every 256 pictures and one for each split's metadata."""
    if params.layout == "imagefolder":
        for split in params.splits:
            mine = rows.filter(pc.equal(rows["split"], split))
            write_pictures(output, source, mine, split)
            output.piece(f"{split}-metadata", partial(_metadata, rows=mine, split=split, suffix=source.suffix))
        return
    PictureFiles(_schema(), _described, params.rows_per_file).write(source, rows, params.splits, output)


def _schema() -> pa.Schema:
    from datasets import Features, Image, Value

    features = Features({"image": Image(), **dict.fromkeys(("text", "prompt", *COLUMNS), Value("string"))})
    return features.arrow_schema


def _described(rows: pa.Table) -> list[dict[str, Any]]:
    return [captions(row) for row in rows.select(["text", *COLUMNS]).to_pylist()]


def _metadata(piece: Piece, rows: pa.Table, split: str, suffix: str) -> None:
    lines = [
        json.dumps({"file_name": f"{row['image_id']}.{suffix}", **row}, ensure_ascii=False) for row in _described(rows)
    ]
    piece.put(f"{split}/metadata.jsonl", ("\n".join(lines) + "\n").encode())


def captions(row: dict[str, Any]) -> dict[str, Any]:
    """What stands beside a picture."""
    return {"text": row["text"], "prompt": row["text"], **{name: row[name] for name in COLUMNS}}
