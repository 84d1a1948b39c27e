"""Several runs opened as one catalog: the same tables and views, each row with its run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptforge import catalog, schema
from promptforge.errors import ConfigError, SchemaFault
from promptforge.lock import Lock
from promptforge.records import content_id
from promptforge.store import Store


def prompts(texts: Sequence[str]) -> pa.Table:
    rows: list[dict[str, Any]] = [
        {"row_id": content_id("row", text), "source": "s", "source_part": "p", "source_row": n, "stream_order": n}
        | {"licence": "l", "text": text, "text_clean": text, "prompt_id": content_id("prompt", text), "repairs": []}
        | {"axis": "image_quality", "n_words": len(text.split())}
        for n, text in enumerate(texts)
    ]
    return pa.Table.from_pylist(rows, schema=schema.arrow_schema("prompts"))


def drops(texts: Sequence[str], reason: str) -> pa.Table:
    rows = [
        {"row_id": content_id("row", text), "prompt_id": content_id("prompt", text), "stage": "filter"}
        | {"check_name": "length", "verdict": "drop", "reason": reason}
        for text in texts
    ]
    return pa.Table.from_pylist(rows, schema=schema.arrow_schema("verdicts"))


def a_run(root: Path, texts: Sequence[str], dropped: Sequence[str] = (), reason: str = "too_short") -> Path:
    store = Store(root)
    tables = {"prompts": prompts(texts), "verdicts": drops(dropped, reason)}
    commit = store.commit("generate", "all", "1" * 64, tables)
    with Lock(root) as lock:
        store.new_head(lock.epoch, {}, {"generate": [commit.key]})
    return root


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """Both have "a lake"; v1 drops it, v2 keeps it."""
    return [
        a_run(tmp_path / "v1", ["a lake", "a red fox", "an old boat"], ["a lake"]),
        a_run(tmp_path / "v2", ["a lake", "a green frog"], ["a green frog"], "too_long"),
    ]


def test_every_table_and_view_has_the_rows_of_all_runs_and_names_theirs(two: list[Path]) -> None:
    with catalog.open_runs(two) as con:
        for name in schema.names():
            counted = dict(con.sql(f'SELECT run, count(*) FROM "{name}" GROUP BY run').fetchall())
            single = {}
            for root in two:
                with catalog.open_run(root) as alone:
                    single[root.name] = alone.sql(f'SELECT count(*) FROM "{name}"').fetchall()[0][0]
            assert counted == {run: n for run, n in single.items() if n}, name
            assert con.sql(f'FROM "{name}"').columns[0] == "run"


def test_counts_are_those_of_the_files_read_without_promptforge(two: list[Path]) -> None:
    files = [str(path) for root in two for path in root.glob("prompts/*.parquet")]
    (wanted,) = duckdb.sql(f"SELECT count(*), count(DISTINCT prompt_id) FROM read_parquet({files})").fetchall()
    assert wanted == (5, 4)  # 3 + 2 rows, "a lake" in both
    with catalog.open_runs(two) as con:
        assert con.sql("SELECT count(*), count(DISTINCT prompt_id) FROM prompts").fetchall() == [wanted]


def test_a_verdict_of_one_run_drops_no_row_of_another(two: list[Path]) -> None:
    with catalog.open_runs(two) as con:
        kept = con.sql("SELECT run, text FROM kept ORDER BY ALL").fetchall()
        assert kept == [("v1", "a red fox"), ("v1", "an old boat"), ("v2", "a lake")]
        lost = con.sql("SELECT run, reason, n_dropped FROM funnel WHERE step > 0 ORDER BY ALL").fetchall()
        assert lost == [("v1", "too_short", 1), ("v2", "too_long", 1)]


def test_a_single_run_is_there_under_its_own_name(two: list[Path]) -> None:
    with catalog.open_runs(two) as con:
        assert con.sql("SELECT text FROM v2.kept").fetchall() == [("a lake",)]
        both = "SELECT a.text FROM v1.prompts a JOIN v2.prompts b USING (prompt_id)"
        assert con.sql(both).fetchall() == [("a lake",)]


def test_plain_duckdb_opens_the_same_statements(two: list[Path]) -> None:
    plain = duckdb.connect()
    plain.execute(catalog.runs_sql(two))
    with catalog.open_runs(two) as con:
        for question in ("FROM kept ORDER BY ALL", "FROM funnel ORDER BY ALL", "FROM coverage ORDER BY ALL"):
            assert plain.sql(question).fetchall() == con.sql(question).fetchall()


def test_runs_of_one_name_are_told_apart_by_the_folder_above(tmp_path: Path) -> None:
    """DuckDB takes Mini and mini for one schema; main is its own."""
    roots = [
        a_run(tmp_path / "here" / "mini", ["a lake"]),
        a_run(tmp_path / "there" / "Mini", ["a fox", "a frog"]),
        a_run(tmp_path / "main", ["a boat"]),
        a_run(tmp_path / 'it\'s "a" run', ["a tree"]),
    ]
    with catalog.open_runs(roots) as con:
        found = dict(con.sql("SELECT run, count(*) FROM prompts GROUP BY run").fetchall())
    assert found == {"here/mini": 1, "there/Mini": 2, f"{tmp_path.name}/main": 1, 'it\'s "a" run': 1}


@pytest.mark.parametrize("name", ["memory", "system", "Temp", "pg_catalog"])
def test_a_run_may_be_called_like_a_database_of_duckdb(tmp_path: Path, name: str) -> None:
    roots = [a_run(tmp_path / name, ["a lake"]), a_run(tmp_path / "v2", ["a fox", "a frog"])]
    with catalog.open_runs(roots) as con:
        found = dict(con.sql("SELECT run, count(*) FROM kept GROUP BY run").fetchall())
        assert con.sql(f'SELECT text FROM "{tmp_path.name}/{name}".kept').fetchall() == [("a lake",)]
    assert found == {f"{tmp_path.name}/{name}": 1, "v2": 2}


def test_a_run_given_twice_is_refused_whatever_its_path(two: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(two[0].parent)
    with pytest.raises(ConfigError, match=r"^v1: given twice"):
        catalog.open_runs([two[0], two[1], Path("v1")])


def test_a_folder_without_finished_work_is_named(two: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="v3: no finished work here"):
        catalog.open_runs([*two, tmp_path / "v3"])


def rewrite(root: Path, change: Any) -> None:
    """Change the prompts file in place, as another version would have written it."""
    (path,) = root.glob("prompts/*.parquet")
    pq.write_table(change(pq.read_table(path)), path)


def test_a_column_that_an_older_run_lacks_is_null_there_and_views_still_answer(two: list[Path]) -> None:
    rewrite(two[0], lambda table: table.drop_columns(["source_aesthetic", "style"]))
    rewrite(two[1], lambda table: table.append_column("mood", pa.array(["calm", "gay"])))
    with catalog.open_runs(two) as con:
        assert con.sql(
            "SELECT run, count(*), count(style), count(mood) FROM prompts GROUP BY run ORDER BY run"
        ).fetchall() == [("v1", 3, 0, 0), ("v2", 2, 0, 2)]
        assert con.sql("SELECT run, count(*) FROM coverage GROUP BY run ORDER BY run").fetchall() == [
            ("v1", 1),
            ("v2", 1),
        ]
        assert (
            dict(con.sql("SELECT column_name, column_type FROM (DESCRIBE prompts)").fetchall())["source_aesthetic"]
            == "DOUBLE"
        )


def test_a_table_of_another_major_version_is_refused_with_its_file(two: list[Path]) -> None:
    rewrite(two[1], lambda table: table.replace_schema_metadata({schema.TABLE_KEY: b"prompts/2"}))
    with pytest.raises(SchemaFault, match=r"v2/prompts/.*: holds table prompts/2, expected prompts/1"):
        catalog.open_runs(two)
