"""What the writer says of a file is what lies on disk."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptforge.errors import StoreFault
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


def test_files_that_are_written_at_once_have_the_bytes_of_files_written_one_by_one(tmp_path: Path) -> None:
    plain = pa.schema([("text", pa.string())])
    tables = {f"{number}.parquet": pa.table({"text": [f"row {number}"] * (number + 1)}) for number in range(9)}
    todo: Any = {name: (plain, partial(list, [table])) for name, table in tables.items()}
    made = shards.write_files(tmp_path / "many", todo)
    for name, table in tables.items():
        assert made[name] == shards.write_parquet(tmp_path / "one" / name, plain, [table])
        assert (tmp_path / "many" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_the_fault_of_one_file_is_raised_and_later_files_are_not_begun(tmp_path: Path) -> None:
    plain = pa.schema([("text", pa.string())])

    def broken() -> list[pa.Table]:
        raise StoreFault("no picture")

    files = {"a.parquet": (plain, broken)}
    files |= {f"{number:03d}.parquet": (plain, lambda: [pa.table({"text": ["x"]})]) for number in range(500)}
    with pytest.raises(StoreFault, match="no picture"):
        shards.write_files(tmp_path, files)
    assert len(list(tmp_path.glob("*.parquet"))) < 500
