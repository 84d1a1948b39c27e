"""The pictures of readers.py, and the forms in which loaders read them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


def picture(number: int) -> bytes:
    """Smooth colours with grain."""
    from PIL import Image

    rng = np.random.default_rng(number)
    smooth = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(
        (512, 512), Image.Resampling.BICUBIC
    )
    noisy = np.asarray(smooth, dtype=np.int16) + np.rint(rng.normal(0, 2.0, (512, 512, 1))).astype(np.int16)
    sink = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(sink, "WEBP", lossless=True, method=0)
    return sink.getvalue()


def build(folder: Path, pictures: int) -> None:
    """The published data set and the tars; written once."""
    import tarfile

    import pyarrow as pa

    from promptforge.files import sha256_file
    from promptforge.stages import shards

    if (folder / "dataset/manifest.json").exists():
        return
    rows = [
        {"prompt_id": f"{n:032x}", "text": f"a pot of tea, number {n}, on a table", "image_id": f"{n:032x}"}
        for n in range(pictures)
    ]
    table = pa.Table.from_pylist(rows)
    schema = shards.hub_schema(table.drop_columns(["image_id"]).schema, pictures=True)
    stated = {}
    per_file = -(-pictures // 4)
    for number in range(4):
        part = range(number * per_file, min(pictures, (number + 1) * per_file))
        encoded = [picture(n) for n in part]
        name = f"data/train-{number:05d}-of-00004.parquet"
        groups = shards.picture_groups(table.slice(part.start, len(part)), schema, encoded, "webp")
        shards.write_parquet(folder / "dataset" / name, schema, groups)
        stated[name] = {"sha256": sha256_file(folder / "dataset" / name)}
        (folder / "tars").mkdir(exist_ok=True)
        with tarfile.open(folder / f"tars/train-{number:05d}.tar", "w") as tar:
            for n, data in zip(part, encoded, strict=True):
                for suffix, content in (("webp", data), ("txt", rows[n]["text"].encode())):
                    member = tarfile.TarInfo(f"{n:032x}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    (folder / "dataset/manifest.json").write_text(json.dumps({"digest": "0" * 64, "files": stated}))


def rows_of(folder: Path) -> Iterator[dict[str, Any]]:
    """Every row as another form holds it."""
    import pyarrow.parquet as pq

    for path in sorted((folder / "dataset/data").glob("*.parquet")):
        for row in pq.ParquetFile(path).read().to_pylist():
            yield {"prompt_id": row["prompt_id"], "text": row["text"], "image": row["image"]["bytes"]}


def torch_for_streaming() -> None:
    """Torchvision, which MosaicML's imports, asks a CPU build of torch for operators that it may lack."""
    import torch

    if not hasattr(torch.ops.torchvision, "nms"):
        _KEPT.append(torch.library.Library("torchvision", "DEF"))
        for name in ("nms", "qnms"):
            _KEPT[-1].define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


_KEPT: list[Any] = []  # a definition lasts as long as its library


def build_mds(folder: Path) -> None:
    """MosaicML's form."""
    torch_for_streaming()
    from streaming import MDSWriter

    columns = {"prompt_id": "str", "text": "str", "image": "bytes"}
    with MDSWriter(out=str(folder / "mds"), columns=columns, hashes=["sha1"]) as out:
        for row in rows_of(folder):
            out.write(row)


def build_litdata(folder: Path) -> None:
    """Litdata's form."""
    from litdata.streaming.writer import BinaryWriter

    (folder / "litdata").mkdir()
    writer = BinaryWriter(str(folder / "litdata"), chunk_bytes="64MB")
    for number, row in enumerate(rows_of(folder)):
        writer[number] = row
    writer.done()
    writer.merge()
