"""The shards as MosaicML's library streaming reads them, and as its format says where that library is not to be had."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from promptforge.commands.export import run_export
from tests.stages.publishing.conftest import contents, expected_pictures, prompts_of_the_test

ROWS = {row["prompt_id"]: row for row in prompts_of_the_test()[:10]}
PICTURES = {name: pixels for name, pixels in expected_pictures().items() if ROWS[name]["split"] == "train"}

# A CPU build of torch lacks two operators that torchvision looks for on import; the reader uses neither.
_STREAMING = """
import json, sys, torch
if torch.version.cuda is None:
    kept = torch.library.Library("torchvision", "DEF")
    kept.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    kept.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from streaming import StreamingDataset
rows = StreamingDataset(local=sys.argv[1], split="train", shuffle=False, batch_size=1)
seen = [{**row, "image": row["image"].hex()} for row in (rows[i] for i in range(rows.num_samples))]
print(json.dumps({"n_shards": len(rows.shards), "rows": seen, "walked": [row["prompt_id"] for row in rows]}))
"""


def _is_a_row_of_the_test(row: dict[str, object], encoded: bytes) -> bool:
    name = str(row["prompt_id"])
    with Image.open(io.BytesIO(encoded)) as image:
        same = np.array_equal(np.asarray(image.convert("RGB")), PICTURES[name])
    wanted = (ROWS[name]["text_clean"], ROWS[name]["axis"], 24, 24)
    return same and (row["caption"], row["axis"], row["width"], row["height"]) == wanted


@pytest.mark.skipif(
    "PROMPTFORGE_MDS_PYTHON" not in os.environ,
    reason="PROMPTFORGE_MDS_PYTHON names the python of an environment with mosaicml-streaming, which cannot live here",
)
def test_streaming_reads_the_shards(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_export("mds", dataset, None, out, ["rows_per_file=3"])
    command = [os.environ["PROMPTFORGE_MDS_PYTHON"], "-c", _STREAMING, str(out)]
    answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    assert answer["n_shards"] == 3  # 8 pictures
    assert [row["prompt_id"] for row in answer["rows"]] == sorted(PICTURES) == answer["walked"]
    assert all(_is_a_row_of_the_test(row, bytes.fromhex(row["image"])) for row in answer["rows"])


def test_a_shard_is_read_by_its_offsets(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_export("mds", dataset, None, out, ["rows_per_file=3"])
    index = json.loads((out / "train/index.json").read_text("utf-8"))
    assert [shard["samples"] for shard in index["shards"]] == [3, 3, 2]
    names = []
    for shard in index["shards"]:
        # As streaming/base/format/mds/reader.py does it: two neighbouring offsets, then sizes, then values.
        data = (out / "train" / shard["raw_data"]["basename"]).read_bytes()
        assert len(data) == shard["raw_data"]["bytes"]
        for number in range(shard["samples"]):
            begin, end = struct.unpack_from("<2I", data, (1 + number) * 4)
            at, row = begin, {}
            sizes = []
            for size in shard["column_sizes"]:
                sizes.append(size or struct.unpack_from("<I", data, at)[0])
                at += 0 if size else 4
            for name, kind, size in zip(shard["column_names"], shard["column_encodings"], sizes, strict=True):
                value = data[at : at + size]
                row[name] = {"str": bytes.decode, "bytes": bytes, "int": lambda v: struct.unpack("<q", v)[0]}[kind](
                    value
                )
                at += size
            assert at == end
            assert _is_a_row_of_the_test(row, row["image"])
            names.append(row["prompt_id"])
    assert names == sorted(PICTURES)


def test_two_exports_have_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    for number in "01":
        run_export("mds", dataset, None, tmp_path / number / "out", [])
    assert contents(tmp_path / "0/out") == contents(tmp_path / "1/out")
