"""query and schema: exact in files, harmless on the screen, read-only, every fault a line."""

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

Ask = Callable[..., tuple[int, str, str]]


def test_csv_json_and_parquet_hold_the_prompts_exactly(made: Any, here: Path, ask: Ask, tmp_path: Path) -> None:
    sql = "select text from prompts where axis = 'image_quality' order by stream_order"
    wanted = made.quality
    code, out, _ = ask("query", sql, "--format", "csv")
    assert code == 0
    assert [row[0] for row in csv.reader(io.StringIO(out))][1:] == wanted
    assert [row["text"] for row in json.loads(ask("query", sql, "--format", "json")[1])] == wanted
    path = tmp_path / "answer.parquet"
    assert ask("query", sql, "--format", "parquet", "--output", path) == (0, "", "")
    assert [row[0] for row in duckdb.sql(f"select text from '{path}'").fetchall()] == wanted


def test_a_table_on_the_screen_shows_control_characters_as_escapes(here: Path, ask: Ask) -> None:
    _, out, _ = ask("query", "select text from prompts")
    assert "\x1b" not in out
    assert "a lake \\x1b[31mred" in out
    assert "<script>alert(1)</script>" in out


def test_a_query_can_come_from_a_file(here: Path, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "q.sql").write_text("-- how many\nselect count(*) as n from accepted;\n")
    assert ask("query", "--file", tmp_path / "q.sql", "--format", "csv") == (0, "n\n12\n", "")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["selec 1"], "syntax error"),
        (["drop table prompts"], "only reads"),
        (["copy prompts to 'stolen.csv'"], "only reads"),
        (["create table t as select 1"], "only reads"),
        (["select 1; select 2"], "one statement"),
        (["set enable_external_access = true"], "only reads"),
        (["select * from nowhere"], "nowhere"),
        (["select 1", "--format", "parquet"], "--output"),
        (["select 1", "--format", "xml"], "xml"),
        ([], "SQL in quotes"),
        (["select 1", "--run", "elsewhere"], "no run here"),
    ],
)
def test_a_query_that_cannot_be_answered_is_one_line_and_code_2(
    here: Path, ask: Ask, given: list[str], said: str
) -> None:
    code, out, err = ask("query", *given)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


def test_several_runs_answer_as_one_with_a_column_run(copy: Path, ask: Ask) -> None:
    other = shutil.copytree(copy, copy.parent / "other")
    sql = "select run, count(*) as n from accepted group by run order by run"
    code, out, err = ask("query", sql, "--run", copy, "--run", other, "--format", "csv")
    assert (code, out, err) == (0, "run,n\nother,12\nown,12\n", "")


def test_a_run_given_twice_or_missing_is_one_line_and_code_2(here: Path, ask: Ask) -> None:
    for second, said in ((here, "given twice"), (here / "nowhere", "nowhere: no run here")):
        code, out, err = ask("query", "select 1", "--run", here, "--run", second)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert said in err


def test_schema_lists_tables_and_views_and_explains_one(ask: Ask) -> None:
    listed = ask("schema")[1]
    for name in ("prompts", "scores", "accepted", "funnel"):
        assert re.search(rf"^{name} ", listed, re.MULTILINE)
    explained = ask("schema", "published")[1]
    assert "published (table, version 1)" in explained
    assert re.search(r"keep_image +BOOLEAN +yes +whether its picture is in data/", explained)
    assert "check: " in explained
