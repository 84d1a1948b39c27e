"""What the writer says of a file is what lies on disk."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from promptforge.stages import shards


def test_the_sum_and_size_of_a_file_are_those_on_disk_and_its_rows_come_back(tmp_path: Path) -> None:
    pictures = [os.urandom(1 + 90_000 * n) for n in range(12)]
    table = pa.Table.from_pylist([{"prompt_id": f"{n:032x}", "image_id": f"{n:032x}"} for n in range(12)])
    schema = shards.hub_schema(table.schema, pictures=True)
    path = tmp_path / "data/train.parquet"
    said = shards.write_parquet(path, schema, shards.picture_groups(table, schema, pictures, "webp"))
    content = path.read_bytes()
    assert (said.bytes, said.sha256, said.rows) == (len(content), hashlib.sha256(content).hexdigest(), 12)
    assert [row["image"]["bytes"] for row in pq.read_table(path).to_pylist()] == pictures
