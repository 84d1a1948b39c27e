"""A folder for SimpleTuner, with the multidatabackend.json that names it.

    layout = "huggingface"   data/<split>-00000-of-00004.parquet: image, caption, width, height, quality_assessment
                             {aesthetic_score, clip_score, resolution}, axis and the ids; read with load_dataset
    layout = "parquet"       <split>/<image_id>.webp, and <split>.parquet with filename in the place of image

resolution is in megapixels. aesthetic_score and clip_score are the columns that Params name (about 1 to 10, and a
cosine of some 0.3), null where the data set has no such scorer: a quality_threshold on a null stops SimpleTuner.
The configuration names the first split. Weights by axis have no place in it: export each axis apart, with
`probability` or `repeats` for each.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from promptforge.export.folder.captioned import Placed, first_split, shorter_side, write_pictures
from promptforge.export.folder.output import Output, Piece
from promptforge.export.folder.parquet import PictureFiles
from promptforge.export.folder.published import Published

VERSION = 1
PICTURES = True
USE = (
    "simpletuner train --data_backend_config=multidatabackend.json"
    "    # started inside {folder}; from elsewhere: export with --set place=FOLDER"
)
CONFIG = "multidatabackend.json"
COLUMNS = ("prompt_id", "image_id", "axis", "category")


class Params(Placed):
    """Which rows, how they lie in the folder, and which scores are the quality."""

    layout: Literal["huggingface", "parquet"] = Field("huggingface", description="which of its backends reads it")
    rows_per_file: int = Field(1024, ge=1, description="layout huggingface: pictures of one file")
    aesthetic_column: str = Field("render_aesthetic", description="column of index.parquet for aesthetic_score")
    clip_column: str = Field("alignment_cosine", description="column of index.parquet for clip_score")


def write(source: Published, rows: pa.Table, params: Params, output: Output) -> None:
    """One piece a file, or every 256 pictures and one for each split's table; the configuration last."""
    if params.layout == "huggingface":
        described = partial(_described, params=params)
        PictureFiles(_schema("image"), described, params.rows_per_file).write(source, rows, params.splits, output)
    else:
        for split in params.splits:
            mine = rows.filter(pc.equal(rows["split"], split))
            if mine.num_rows:
                write_pictures(output, source, mine, split)
                table = partial(_table, source=source, rows=mine, params=params, name=f"{split}.parquet")
                output.piece(f"{split}-table", table)
    config = json.dumps(_config(source, rows, params), indent=2, ensure_ascii=False) + "\n"
    output.piece("config", lambda piece: piece.put(CONFIG, config.encode()))


def _config(source: Published, rows: pa.Table, params: Params) -> list[dict[str, Any]]:
    name, split = f"promptforge-{source.digest[:16]}", first_split(rows, params)
    backend: dict[str, Any] = {
        "id": name,
        "type": "huggingface" if params.layout == "huggingface" else "local",
        "dataset_type": "image",
        "caption_strategy": params.layout,
        "metadata_backend": params.layout,
        "resolution": shorter_side(rows),
        "resolution_type": "pixel",
        "crop": False,
        "cache_dir_vae": f"cache/vae/{name}",
    }
    sizes = {"caption_column": "caption", "width_column": "width", "height_column": "height"}
    if params.layout == "huggingface":
        backend |= {"dataset_name": params.place, "split": split, "image_column": "image", "caption_column": "caption"}
        backend["huggingface"] = {**sizes, "quality_column": "quality_assessment"}
    else:
        backend["instance_data_dir"] = f"{params.place}/{split}"
        backend["parquet"] = {
            "path": f"{params.place}/{split}.parquet",
            "filename_column": "filename",
            **sizes,
            "identifier_includes_extension": True,
        }
    texts = {
        "id": "text-embeds",
        "type": "local",
        "dataset_type": "text_embeds",
        "default": True,
        "cache_dir": f"cache/text/{name}",
    }
    return [backend, texts]


def _described(rows: pa.Table, params: Params) -> list[dict[str, Any]]:
    """What stands beside each picture."""
    scores = {"aesthetic_score": params.aesthetic_column, "clip_score": params.clip_column}
    there = {name: column for name, column in scores.items() if column in rows.column_names}
    return [
        {
            "caption": row["text"],
            "width": row["width"],
            "height": row["height"],
            "quality_assessment": {
                **{name: row[there[name]] if name in there else None for name in scores},
                "resolution": row["width"] * row["height"] / 1e6,
            },
            **{name: row[name] for name in COLUMNS},
        }
        for row in rows.to_pylist()
    ]


def _schema(first: str) -> pa.Schema:
    from datasets import Features, Image, Value

    quality = dict.fromkeys(("aesthetic_score", "clip_score", "resolution"), Value("float64"))
    words, sizes = (
        dict.fromkeys(names, Value(kind)) for names, kind in ((COLUMNS, "string"), (("width", "height"), "int32"))
    )
    picture = {"image": Image()} if first == "image" else {first: Value("string")}
    features = {**picture, "caption": Value("string"), **sizes, "quality_assessment": quality, **words}
    return Features(features).arrow_schema


def _table(piece: Piece, source: Published, rows: pa.Table, params: Params, name: str) -> None:
    # Without the metadata of `datasets`: pandas reads it, and a column `image` is not in it.
    schema = _schema("filename").remove_metadata()
    described = [{"filename": f"{row['image_id']}.{source.suffix}", **row} for row in _described(rows, params)]
    pq.write_table(pa.Table.from_pylist(described, schema=schema), piece.path(name), compression="ZSTD")
