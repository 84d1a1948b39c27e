"""The catalog and tables.sql: the files that the records in force name, and no other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from promptforge import catalog, schema
from promptforge.errors import ConfigError, StoreFault
from promptforge.files import SPILL
from promptforge.lock import Lock
from promptforge.store import Commit, Store


def cost(seconds: float) -> pa.Table:
    row = {"epoch": 1, "stage": "render", "n_rows": 1, "seconds": seconds}
    return pa.Table.from_pylist([row], schema=schema.arrow_schema("cost"))


def made(root: Path) -> tuple[Store, list[Commit]]:
    """Two commits in force and one that no head names."""
    store = Store(root)
    commits = [store.commit("cost", f"e{n}", str(n) * 64, {"cost": cost(float(n))}) for n in (1, 2, 4)]
    with Lock(root) as lock:
        store.new_head(lock.epoch, {}, {"cost": [item.key for item in commits[:2]]})
    return store, commits


def test_every_table_and_view_is_there_over_no_commit_at_all(tmp_path: Path) -> None:
    with catalog.connect(Store(tmp_path), []) as con:
        for name in schema.names():
            assert con.sql(f'SELECT count(*) FROM "{name}"').fetchall() == [(0,)]


def test_only_what_the_newest_head_names_is_read(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "cost" / "zero.parquet").touch()  # a glob would fail here
    with catalog.open_run(tmp_path) as con:
        assert con.sql("SELECT sum(seconds) FROM cost").fetchall() == [(3.0,)]
        assert con.sql("SELECT seconds FROM cost_by_stage").fetchall() == [(3.0,)]


def test_a_query_that_needs_a_disk_takes_the_run_folder_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    root = tmp_path / "it's a run"
    root.mkdir()
    with catalog.connect(Store(root), []) as con:
        con.execute("SET threads = 1; SET memory_limit = '60MB'")
        con.execute("CREATE TEMP TABLE big AS SELECT md5(i::VARCHAR) AS a FROM range(3_000_000) r(i)")
        assert [path.name for path in root.iterdir()] == [".tmp-duckdb"]
    assert list(root.iterdir()) == list(Path().iterdir()) == []


def test_a_misread_picture_counts_only_while_its_score_is_in_force(tmp_path: Path) -> None:
    """Pictures of an earlier teacher stay in the folder with their scores."""
    prompt = {"row_id": "r", "source": "s", "source_part": "p", "source_row": 0, "stream_order": 0, "licence": "l"}
    prompt |= {"text": "t", "text_clean": "t", "prompt_id": "0" * 32, "axis": "text_rendering", "repairs": []}
    drawn = [{"prompt_id": "0" * 32, "take": 0, "seed": 1, "image_id": name * 32, "teacher": name} for name in "ab"]
    rows = {
        "prompts": [prompt],
        "images": [
            {**row, "regime": "{}", "licence": "CC0-1.0", "provenance": "{}", "sha256": "0" * 64} for row in drawn
        ],
        "measured": [{"image_id": drawn[1]["image_id"], "scorer": "text", "digest": "0" * 32}],
        "scores": [
            {
                "image_id": row["image_id"],
                "scorer": "text",
                "digest": "0" * 32,
                "metric": "verdict",
                "detail": "misread",
            }
            for row in drawn
        ],
    }
    tables = {name: pa.Table.from_pylist(found, schema=schema.arrow_schema(name)) for name, found in rows.items()}
    store = Store(tmp_path)
    with catalog.connect(store, [store.commit("all", "a", "0" * 64, tables)]) as con:
        assert con.sql("SELECT image_id FROM ocr_misreads").fetchall() == [("b" * 32,)]


def test_a_changed_file_is_refused_by_a_stage_and_pixels_only_where_they_are_read(tmp_path: Path) -> None:
    store, commits = made(tmp_path)
    path = tmp_path / commits[0].files[0].name
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreFault, match="sha256 is"):
        catalog.connect(Store(tmp_path), commits)
    catalog.connect(store, commits[1:]).close()


def test_a_folder_without_finished_work_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no finished work here"):
        catalog.open_run(tmp_path)


def test_a_table_has_its_columns_and_types_with_and_without_files(tmp_path: Path) -> None:
    store, commits = made(tmp_path)
    with catalog.connect(store, commits) as full, catalog.connect(store, []) as bare:
        shape = "SELECT column_name, column_type FROM (DESCRIBE cost)"
        assert full.sql(shape).fetchall() == bare.sql(shape).fetchall()


@pytest.mark.parametrize("folder", ["runs", "it's, a folder", "naïve ☃"])
def test_plain_duckdb_opens_tables_sql_from_another_folder(tmp_path: Path, folder: str) -> None:
    store, commits = made(tmp_path / folder)
    path = catalog.write_tables_sql(store, commits[:2])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = (
        "import duckdb, sys; con = duckdb.connect(); con.execute(open(sys.argv[1], encoding='utf-8').read());"
        "print(con.sql('SELECT sum(seconds) FROM cost').fetchall(), con.sql('FROM funnel').fetchall())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, cwd=elsewhere
    )
    assert done.stdout == "[(3.0,)] []\n"


def test_a_folder_that_looks_like_a_partition_changes_no_row(tmp_path: Path) -> None:
    """DuckDB reads seconds=99 in a path as a column of that value; the rows say 1 and 2."""
    store, commits = made(tmp_path / "seconds=99")
    plain = duckdb.connect()
    plain.execute(catalog.write_tables_sql(store, commits[:2]).read_text("utf-8"))
    with catalog.open_run(store.root) as own:
        for database in (own, plain):
            assert database.sql("SELECT seconds FROM cost ORDER BY 1").fetchall() == [(1.0,), (2.0,)]
            assert database.sql("FROM cost").columns == ["epoch", "stage", "n_rows", "seconds"]


def test_a_relative_run_folder_is_written_with_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store, commits = made(Path("here"))
    catalog.write_tables_sql(store, commits)
    monkeypatch.chdir("/")
    con = duckdb.connect()
    con.execute((tmp_path / "here" / "tables.sql").read_text("utf-8"))
    assert con.sql("SELECT count(*) FROM cost").fetchall() == [(3,)]


def test_a_quote_in_a_name_is_no_way_out_of_the_statement(tmp_path: Path) -> None:
    root = tmp_path / "x'; CREATE TABLE hacked (a INT); --"
    store, commits = made(root)
    catalog.write_tables_sql(store, commits)
    con = duckdb.connect()
    con.execute((root / "tables.sql").read_text("utf-8"))
    with catalog.open_run(root) as own:
        for database in (con, own):
            assert database.sql("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'hacked'").fetchall() == [(0,)]


def test_a_query_spills_into_the_run_folder_within_a_stated_part_of_the_memory(tmp_path: Path) -> None:
    with catalog.connect(Store(tmp_path), []) as con:
        ((folder, limit),) = con.sql(
            "SELECT current_setting('temp_directory'), current_setting('memory_limit')"
        ).fetchall()
    assert folder == str(tmp_path / SPILL)
    # DuckDB says it in MiB or GiB with one decimal
    number, unit = limit.split()
    stated = float(number) * {"MiB": 2**20, "GiB": 2**30}[unit]
    assert abs(stated - catalog.memory_limit()) <= 0.06 * 2**30
    assert 256 * 2**20 <= catalog.memory_limit() <= 4 * 2**30
