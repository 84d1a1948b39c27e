"""Each kind of fault, planted in a copy of a published data set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptforge.records import prompt_id
from promptforge.stages.dataset_faults import verify_dataset


@pytest.fixture
def folder(copied: Path) -> Path:
    return copied / "dataset"


def kinds(folder: Path) -> list[tuple[str, str]]:
    return [(fault.kind, fault.file) for fault in verify_dataset(folder)]


def rewritten(folder: Path, name: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change a file and let the manifest agree, as somebody would who means it."""
    metadata = pq.read_schema(folder / name).metadata
    changed = change(pq.read_table(folder / name))
    pq.write_table(changed.replace_schema_metadata(metadata), folder / name)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    content = (folder / name).read_bytes()
    manifest["files"][name]["sha256"] = hashlib.sha256(content).hexdigest()
    manifest["files"][name]["bytes"] = len(content)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def replaced(table: pa.Table, column: str, row: int, value: object) -> pa.Table:
    values = table[column].to_pylist()
    values[row] = value
    place = table.schema.get_field_index(column)
    return table.set_column(place, column, pa.array(values, table.schema.field(column).type))


def test_a_data_set_as_it_was_published_has_no_fault(folder: Path) -> None:
    assert verify_dataset(folder) == []


def test_a_lost_a_foreign_and_a_changed_file_are_named(folder: Path) -> None:
    (folder / "prompts/train-00000-of-00001.parquet").unlink()
    (folder / "data/notes.txt").write_text("mine")
    (folder / "README.md").write_text("mine")
    assert kinds(folder) == [
        ("sha256", "README.md"),
        ("extra", "data/notes.txt"),
        ("missing", "prompts/train-00000-of-00001.parquet"),
    ]


def test_a_folder_without_or_with_a_broken_manifest_is_a_fault(folder: Path) -> None:
    (folder / "manifest.json").write_text("[]")
    assert kinds(folder) == [("schema", "manifest.json")]
    (folder / "manifest.json").unlink()
    assert kinds(folder) == [("missing", "manifest.json")]


TRAIN, PROMPTS = "data/train-00000-of-00003.parquet", "prompts/train-00000-of-00001.parquet"


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        (TRAIN, lambda t: t.slice(1), ("rows", TRAIN)),
        (
            TRAIN,
            lambda t: t.rename_columns([n.upper() if n == "axis" else n for n in t.column_names]),
            ("schema", TRAIN),
        ),
        (TRAIN, lambda t: replaced(t, "image", 1, {"bytes": b"RIFF", "path": "x.webp"}), ("image", TRAIN)),
        (TRAIN, lambda t: replaced(t, "width", 2, 25), ("image", TRAIN)),
        (TRAIN, lambda t: replaced(t, "prompt_id", 1, t["prompt_id"][0].as_py()), ("duplicate", TRAIN)),
        (TRAIN, lambda t: t.take([1, 0, 2]), ("index", "index.parquet")),
        (PROMPTS, lambda t: replaced(t, "prompt_id", 1, t["prompt_id"][0].as_py()), ("duplicate", PROMPTS)),
        (PROMPTS, lambda t: replaced(t, "prompt_id", 1, "0" * 32), ("index", "index.parquet")),
        (
            PROMPTS,
            lambda t: replaced(t, "split_group", 0, prompt_id('a board that says "paddle"')),
            ("split", "prompts/test_words-00000-of-00001.parquet"),
        ),
        ("index.parquet", lambda t: replaced(t, "expected_text", 8, ["Paddles"]), ("reserved", "index.parquet")),
    ],
)
def test_each_kind_of_fault_is_found(
    folder: Path, name: str, change: Callable[[pa.Table], pa.Table], fault: tuple[str, str]
) -> None:
    rewritten(folder, name, change)
    assert fault in kinds(folder)
