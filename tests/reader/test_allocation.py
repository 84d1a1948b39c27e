"""What a pass over pictures costs in memory, counted by the system itself."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from promptforge.stages import shards

_PASS = """
import resource, sys
from promptforge.reader import Stream

def one_pass(stream):
    held = []
    for row in stream:
        held = [*held, row["image"]] if len(held) < 8 else [row["image"]]

stream = Stream(sys.argv[1], columns=["image"], decode=False)
one_pass(stream)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
one_pass(stream)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators keep memory by rules of their own")
def test_pictures_are_read_into_memory_that_is_there_already(tmp_path: Path) -> None:
    n, size = 40, 300_000
    table = pa.Table.from_pylist([{"prompt_id": f"{number:032x}", "image_id": f"{number:032x}"} for number in range(n)])
    schema = shards.hub_schema(table.drop_columns(["image_id"]).schema, pictures=True)
    path = tmp_path / "data/train-00000-of-00001.parquet"
    shards.write_parquet(path, schema, shards.picture_groups(table, schema, [os.urandom(size)] * n, "webp"))
    stated = {"data/train-00000-of-00001.parquet": {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}}
    (tmp_path / "manifest.json").write_text(json.dumps({"digest": "0" * 64, "files": stated}))

    def faults(**more: str) -> int:
        call = [sys.executable, "-c", _PASS, str(tmp_path)]
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "LD_PRELOAD"))}
        return int(subprocess.run(call, env=plain | more, capture_output=True, text=True, check=True).stdout)

    # 40 pictures of 73.2 pages of 4 KiB are 2,930 pages. A threshold that is set by hand switches glibc's own rule off.
    assert faults() < 300
    assert faults(MALLOC_TRIM_THRESHOLD_="131072") > 2_500
