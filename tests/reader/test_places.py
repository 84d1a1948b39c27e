"""Places of values, against what pyarrow reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptforge.errors import StoreFault
from promptforge.reader.places import value_places

VALUES = [bytes([n % 251]) * (n * 37 % 700) for n in range(900)]  # some are empty


def write(path: Path, **settings: Any) -> list[bytes]:
    """VALUES in row groups of 400, in pages of some 4 kB."""
    image = pa.array([{"bytes": value, "path": "x"} for value in VALUES])
    defaults = {"compression": "NONE", "use_dictionary": False, "row_group_size": 400, "data_page_size": 4096}
    pq.write_table(pa.table({"n": range(len(VALUES)), "image": image}), path, **defaults | settings)
    return VALUES


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"data_page_version": "2.0"},
        {"write_statistics": True, "write_page_checksum": True, "write_page_index": True},
        {"use_content_defined_chunking": {"min_chunk_size": 8192, "max_chunk_size": 32768, "norm_level": 0}},
        {"compression": {"n": "ZSTD", "image.bytes": "NONE", "image.path": "SNAPPY"}},
    ],
)
def test_every_value_lies_where_it_is_said_to_lie(tmp_path: Path, settings: dict[str, Any]) -> None:
    wanted = write(tmp_path / "a.parquet", **settings)
    content = (tmp_path / "a.parquet").read_bytes()
    offsets, sizes = value_places(tmp_path / "a.parquet", "image.bytes")
    assert [content[at : at + size] for at, size in zip(offsets, sizes, strict=True)] == wanted


def test_a_column_that_is_never_null_has_no_levels_to_skip(tmp_path: Path) -> None:
    schema = pa.schema([pa.field("data", pa.binary(), nullable=False)])
    pq.write_table(
        pa.table({"data": VALUES}, schema=schema), tmp_path / "a.parquet", compression="NONE", use_dictionary=False
    )
    content = (tmp_path / "a.parquet").read_bytes()
    offsets, sizes = value_places(tmp_path / "a.parquet", "data")
    assert [content[at : at + size] for at, size in zip(offsets, sizes, strict=True)] == VALUES


@pytest.mark.parametrize(
    "settings",
    [
        {"compression": "ZSTD"},
        {"use_dictionary": True},
        {"column_encoding": {"image.bytes": "DELTA_LENGTH_BYTE_ARRAY"}},
        {"column_encoding": {"image.bytes": "DELTA_BYTE_ARRAY"}, "data_page_version": "2.0"},
    ],
)
def test_a_column_that_is_not_plain_is_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    write(tmp_path / "a.parquet", **settings)
    with pytest.raises(StoreFault, match=r"image\.bytes is not stored plainly"):
        value_places(tmp_path / "a.parquet", "image.bytes")


def test_a_column_with_a_null_is_refused(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"data": [b"a", None, b"b"]}), tmp_path / "a.parquet", compression="NONE", use_dictionary=False
    )
    with pytest.raises(StoreFault, match="without nulls"):
        value_places(tmp_path / "a.parquet", "data")


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet")
    with pytest.raises(StoreFault, match="no column data"):
        value_places(tmp_path / "a.parquet", "data")
