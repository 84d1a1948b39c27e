"""A small published data set that every format writes, with what is in it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptforge.schema import arrow_schema
from promptforge.stages.publish import publish
from promptforge.store import Store
from tests.stages.publishing.conftest import a_run, fill


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dataset/ of a run: 9 prompts to train on, 8 of them with a picture, and 2 in test_words; tests only read it."""
    root = tmp_path_factory.mktemp("export") / "run"
    run = a_run(root)
    publish(run, fill(run))
    return root / "dataset"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets.config

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def amended(dataset: Path, copy: Path, columns: dict[str, pa.Array]) -> Path:
    """A copy of the data set whose index.parquet has these columns, in the place of its own or after them."""
    shutil.copytree(dataset, copy)
    index = pq.ParquetFile(copy / "index.parquet").read()
    for name, values in columns.items():
        place = index.column_names.index(name) if name in index.column_names else None
        index = index.append_column(name, values) if place is None else index.set_column(place, name, values)
    pq.write_table(index, copy / "index.parquet")
    manifest = json.loads((copy / "manifest.json").read_text("utf-8"))
    manifest["files"]["index.parquet"]["sha256"] = hashlib.sha256((copy / "index.parquet").read_bytes()).hexdigest()
    (copy / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    return copy


def a_stored_run(root: Path, table: str, rows: list[dict[str, Any]], cuts: int = 1) -> Path:
    """A run folder that stored one table, in as many commits; what the formats that need a run read."""
    store = Store(root)
    keys = []
    for cut in range(cuts):
        data = pa.Table.from_pylist(rows[cut::cuts], schema=arrow_schema(table))
        keys.append(store.commit("render", f"b{cut:05d}", f"{cut:064x}", {table: data}).key)
    store.new_head(0, {}, {"render": keys})
    return root
