"""A data set with pictures, written by the code that publishes, and the run beside it."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from promptforge.stages import shards

AXES = ("image_quality", "semantic_understanding", "text_rendering")
N = 46  # in two files, of row groups of 8


def pixels(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (16, 24, 3), dtype=np.uint8)


def encoded(number: int) -> bytes:
    """Odd ones as PNG."""
    sink = io.BytesIO()
    if number % 2:
        Image.fromarray(pixels(number)).save(sink, "PNG")
    else:
        Image.fromarray(pixels(number)).save(sink, "WEBP", lossless=True)
    return sink.getvalue()


def row(number: int) -> dict[str, Any]:
    return {
        "prompt_id": f"{number:032x}",
        "text": f"a pot, number {number}",
        "axis": AXES[number % 3],
        "expected_text": ["pot", "pan"][: number % 3],
        "image_id": f"{number:031x}i",
        "teacher": "canvas",
    }


def seal(root: Path) -> None:
    files = {
        path.relative_to(root).as_posix(): {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(root.glob("*/*.parquet"))
    }
    (root / "manifest.json").write_text(json.dumps({"digest": "0" * 64, "files": files}))


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """46 prompts, each with its picture, of 16 x 24 pixels."""
    monkeypatch.setattr(shards, "ROW_GROUP_ROWS", 8)
    root = tmp_path / "run" / "dataset"
    table = pa.Table.from_pylist([row(n) for n in range(N)])
    schema = shards.hub_schema(table.schema, pictures=True)
    for number, (start, stop) in enumerate(((0, 30), (30, N))):
        groups = shards.picture_groups(
            table.slice(start, stop - start), schema, (encoded(n) for n in range(start, stop)), "webp"
        )
        shards.write_parquet(root / f"data/train-{number:05d}-of-00002.parquet", schema, groups)
    plain = table.drop_columns(["image_id", "teacher"])
    schema = shards.hub_schema(plain.schema, pictures=False)
    shards.write_parquet(root / "prompts/train-00000-of-00001.parquet", schema, shards.text_groups(plain, schema))
    seal(root)
    return root
