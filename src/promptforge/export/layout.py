"""Pictures with boxes around what is in them, as the training code of LayoutSAM and CreatiLayout reads them.

    data/<split>-00000-of-00004.parquet   image, file_name, width, height, global_caption, and as strings that
                                          ast.literal_eval and json.loads read alike: region_captions,
                                          detail_region_captions, bbox_list (x0, y0, x1, y1 in pixels of the picture);
                                          boxes_from, prompt_id, image_id, axis

Boxes come from where they are known, the surest first (boxes_from says which, things/text):
    truth      what the embedded teacher drew, mistakes included: every copy of a thing, with its colour, and the text;
               read from the run, since no data set carries it
    detector   what the scorer `detector` found (at least min_confidence), with the attributes that the prompt asks for,
               where it asks for one kind of that thing alone: they are the prompt's word, and were not seen
    reading    lines of text that OCR read, where its verdict is that the prompt's text was read
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from promptforge.export.folder import regions
from promptforge.export.folder.output import Output
from promptforge.export.folder.parquet import PictureFiles
from promptforge.export.folder.published import Published
from promptforge.export.folder.stored import WithRun, parts_of, run_of

VERSION = 1
PICTURES = True
LEFT_OUT = "nobody knows a box in their pictures (no truth, detector or text read)"
USE = """python - <<'END'
import ast, datasets
row = datasets.load_dataset("{folder}", split="train")[0]
print(row["global_caption"], ast.literal_eval(row["bbox_list"]))
END"""
_LISTS = ("region_captions", "detail_region_captions", "bbox_list")
_WORDS = ("file_name", "global_caption", *_LISTS, "boxes_from", "prompt_id", "image_id", "axis")


class Params(WithRun):
    """Which rows, and which boxes."""

    boxes: tuple[Literal["truth", "detector", "reading"], ...] = Field(
        ("truth", "detector", "reading"), min_length=1, description="where boxes may come from; the surest is taken"
    )
    min_confidence: float = Field(0.0, ge=0, le=1, description="of a box of the detector or a line that was read")
    rows_per_file: int = Field(1024, ge=1, description="pictures of one file")


def fitting(source: Published, rows: pa.Table, params: Params) -> pa.Table:
    """Rows with a box at least, and their regions as JSON."""
    truths = _truths(source, rows, params) if "truth" in params.boxes else {}
    columns = ["image_id", "scene", "width", "height", "detector_boxes", "text_reading", "text_verdict"]
    known = rows.select([name for name in columns if name in rows.column_names]).to_pylist()
    found: list[str | None] = []
    for row in known:
        evidence = regions.Evidence(truths.get(row["image_id"]), row, params.boxes, params.min_confidence)
        seen, origin = evidence.regions()
        found.append(json.dumps({"regions": seen, "from": origin}, ensure_ascii=False) if seen else None)
    rows = rows.append_column("regions", pa.array(found, pa.string()))
    return rows.filter(pc.is_valid(rows["regions"]))


def _truths(source: Published, rows: pa.Table, params: Params) -> dict[str, Mapping[str, Any]]:
    """What the teacher knows of its pictures, by image_id; nothing where it tells nothing or there is no run."""
    found = {}
    for _, part in parts_of(run_of(source, params), "images", ["image_id", "truth"]):
        here = pc.and_(pc.is_in(part["image_id"], value_set=rows["image_id"]), pc.is_valid(part["truth"]))
        for row in part.filter(here).to_pylist():
            found[row["image_id"]] = json.loads(row["truth"])
    return found


def write(source: Published, rows: pa.Table, params: Params, output: Output) -> None:
    """One piece a file."""

    def described(some: pa.Table) -> list[dict[str, Any]]:
        return [{"file_name": f"{row['image_id']}.{source.suffix}", **_described(row)} for row in some.to_pylist()]

    PictureFiles(_schema(), described, params.rows_per_file).write(source, rows, params.splits, output)


def _schema() -> pa.Schema:
    from datasets import Features, Image, Value

    sizes = dict.fromkeys(("width", "height"), Value("int32"))
    return Features({"image": Image(), **sizes, **dict.fromkeys(_WORDS, Value("string"))}).arrow_schema


def _described(row: Mapping[str, Any]) -> dict[str, Any]:
    known = json.loads(row["regions"])
    columns = zip(*known["regions"], strict=True)
    return {
        "global_caption": row["text"],
        # Lists of strings and numbers: the same text is a Python literal and JSON.
        **{name: json.dumps(column, ensure_ascii=False) for name, column in zip(_LISTS, columns, strict=True)},
        "boxes_from": known["from"],
        **{name: row[name] for name in ("width", "height", "prompt_id", "image_id", "axis")},
    }
