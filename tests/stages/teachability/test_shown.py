"""What a person is told at the end of a run and on the card."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptforge import catalog, schema
from promptforge.stages.teachability import shown
from promptforge.stages.verify import verify
from promptforge.store import Store

Recipe = Callable[[], dict[str, Any]]
NAMES = ["teachability", "teachability_low", "teachability_high"]


def a_catalog(rows: list[tuple[bool, int, int | None]]) -> duckdb.DuckDBPyConnection:
    """Prompts as fixed, number of takes, first take that passed."""
    con = duckdb.connect()
    for text in schema.ddl().values():
        con.execute(text)
    con.execute(schema.views_sql())
    for n, (fixed, n_takes, first) in enumerate(rows):
        con.execute(
            "INSERT INTO take_outcomes VALUES (?, 'image_quality', NULL, ?, ?, ?, ?, ?)",
            [f"{n:032x}", fixed, n_takes, n_takes, int(first is not None), first],
        )
    return con


def test_each_take_is_told_by_what_it_brought() -> None:
    rows = [*[(True, 3, 0)] * 10, *[(True, 3, 1)] * 2, *[(True, 3, None)] * 3, *[(False, 1, 0)] * 4, (False, 2, 1)]
    assert shown.told(a_catalog(rows)) == [
        "every take of 15 prompts: take 2 brought 2 of 5 a first pass: 2.5 renders each; take 3 brought 0 of 3 a first"
        " pass; 80.0% passed in all",
        "takes of 5 prompts up to the first pass: take 2 brought 1 of 1 a first pass: 1.0 renders each; 100.0% passed"
        " in all",
    ]


def test_nothing_is_told_where_nobody_was_given_a_second_take() -> None:
    assert shown.told(a_catalog([])) == []
    assert shown.told(a_catalog([(True, 1, 0), (True, 1, None)])) == []


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory, tiny: Recipe, drive: Callable[..., Any]) -> Path:
    """A run with three takes of each prompt, of which half go wrong."""
    raw = tiny()
    raw["render"] = {"takes": 3}
    raw["regime"]["mistake_rate"] = 0.5
    root = tmp_path_factory.mktemp("takes") / "run"
    drive(root, raw)
    return root


def test_the_published_columns_are_the_table_s_and_the_card_tells_of_them(taken: Path) -> None:
    with catalog.open_run(taken) as con:
        want = {p: ends for p, *ends in con.sql("SELECT prompt_id, estimate, low, high FROM teachability").fetchall()}
        ((n, mean),) = con.sql(
            "SELECT count(*), avg(estimate) FROM teachability WHERE axis = 'text_rendering'"
        ).fetchall()
    assert len(want) == 17  # the quotas; no render failed
    for pattern in ("index.parquet", "prompts/*.parquet", "data/*.parquet"):
        files = sorted((taken / "dataset").glob(pattern))
        assert files
        for file in files:
            for row in pq.read_table(file, columns=["prompt_id", *NAMES]).to_pylist():
                assert [row[name] for name in NAMES] == want[row["prompt_id"]]
    card = (taken / "dataset/README.md").read_text("utf-8")
    line = next(line for line in card.split("## Teachability")[1].splitlines() if line.startswith("| text_rendering"))
    assert line.startswith(f"| text_rendering | {n} | {n} | {mean:.2f} | ")
    for name in NAMES:
        assert f"| {name} |" in card.split("## Columns")[1]


def test_a_teachability_that_is_not_of_the_takes_is_told(taken: Path, tmp_path: Path) -> None:
    assert verify(taken) == []
    root = Path(shutil.copytree(taken, tmp_path / "copy"))
    store = Store(root)
    commit = next(each for each in store.commits("select") if each.file("teachability"))
    tables = {each.table: store.read(each) for each in commit.files}
    outcomes = tables["take_outcomes"]
    stopped = pa.array([n > 0 for n in range(outcomes.num_rows)])  # the first prompt's takes stopped at a pass
    place = outcomes.column_names.index("fixed")
    tables["take_outcomes"] = outcomes.set_column(place, outcomes.schema.field(place), stopped)
    store.rewrite(commit, tables)
    name = outcomes["prompt_id"][0].as_py()
    assert any(f"the teachability of prompt {name} is not that of its takes" in each.fault for each in verify(root))


def test_with_one_take_the_columns_are_null_and_the_card_is_silent(finished: Path) -> None:
    rows = pq.read_table(finished / "dataset/index.parquet", columns=NAMES)
    assert [rows[name].null_count for name in NAMES] == [rows.num_rows] * 3
    assert "## Teachability" not in (finished / "dataset/README.md").read_text("utf-8")


def test_a_set_that_is_added_to_keeps_its_teachability_and_a_new_row_has_none(
    taken: Path, tmp_path: Path, drive: Callable[..., Any], tiny: Recipe
) -> None:
    raw = tiny()
    path = tmp_path / "more.jsonl"
    path.write_text('{"text": "nine kites over an empty beach"}\n', "utf-8")
    raw["sources"] = [{"kind": "files", "paths": [str(path)], "name": "more", "axis": "image_quality"}]
    raw["publish"] = {"extends": str(taken), "other_teacher": True}
    drive(tmp_path / "v2", raw)
    older = {row["prompt_id"]: row for row in pq.read_table(taken / "dataset/index.parquet").to_pylist()}
    rows = pq.read_table(tmp_path / "v2/dataset/index.parquet").to_pylist()
    assert len(rows) == len(older) + 1
    for row in rows:
        old = older.get(row["prompt_id"], dict.fromkeys(NAMES))
        assert [row[name] for name in NAMES] == [old[name] for name in NAMES]
    assert "| image_quality | 6 | 5 |" in (tmp_path / "v2/dataset/README.md").read_text("utf-8")


def test_a_set_of_before_there_was_teachability_can_still_be_added_to(
    finished: Path, tmp_path: Path, drive: Callable[..., Any], tiny: Recipe
) -> None:
    old = Path(shutil.copytree(finished / "dataset", tmp_path / "old"))
    manifest = json.loads((old / "manifest.json").read_text("utf-8"))
    table = pq.read_table(old / "index.parquet").drop_columns(NAMES)
    pq.write_table(table, old / "index.parquet")
    size = (old / "index.parquet").read_bytes()
    manifest["files"]["index.parquet"] |= {"sha256": hashlib.sha256(size).hexdigest(), "bytes": len(size)}
    for name in NAMES:
        del manifest["columns"]["index"][name]
    (old / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    raw = tiny()
    path = tmp_path / "more.jsonl"
    path.write_text('{"text": "nine kites over an empty beach"}\n', "utf-8")
    raw["sources"] = [{"kind": "files", "paths": [str(path)], "name": "more", "axis": "image_quality"}]
    raw["publish"] = {"extends": str(old)}
    drive(tmp_path / "v2", raw)
    rows = pq.read_table(tmp_path / "v2/dataset/index.parquet")
    assert rows.num_rows == table.num_rows + 1
    assert rows["teachability"].null_count == rows.num_rows
