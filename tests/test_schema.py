"""The tables as their definitions state them, and what a table is refused for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from promptforge import schema
from promptforge.errors import ConfigError, SchemaFault

ID = "0" * 32
SCORE = {"image_id": ID, "scorer": "text", "digest": ID, "metric": "cer", "value": 0.5, "detail": None}


def scores(**changes: Any) -> pa.Table:
    row = SCORE | changes
    return pa.Table.from_pylist([row], schema=schema.arrow_schema("scores"))


@pytest.mark.parametrize("name", schema.names())
def test_every_table_view_and_column_is_explained(name: str) -> None:
    doc = schema.describe(name)
    assert doc.comment.endswith(".") or doc.comment.endswith("published"), doc.comment
    assert doc.columns
    if doc.version:  # a view's columns are those of its tables
        assert [column.name for column in doc.columns if not column.comment] == []


@pytest.mark.parametrize("name", schema.view_names())
def test_every_view_binds_and_is_empty_over_empty_tables(name: str) -> None:
    con = duckdb.connect()
    for text in schema.ddl().values():
        con.execute(text)
    con.execute(schema.views_sql())
    assert con.execute(f'SELECT * FROM "{name}"').fetchall() == []


@pytest.mark.parametrize("name", list(schema.ddl()))
def test_an_empty_table_of_the_schema_conforms_and_says_what_it_is(name: str) -> None:
    table = schema.conform(name, schema.arrow_schema(name).empty_table())
    assert table.schema.metadata[schema.TABLE_KEY] == f"{name}/{schema.version(name)}".encode()
    schema.require_version(name, table.schema.metadata, "here")


def test_not_null_becomes_the_arrow_schema() -> None:
    fields = {field.name: field for field in schema.arrow_schema("prompts")}
    assert not fields["row_id"].nullable
    assert fields["text"].nullable
    assert fields["expected_text"].type.value_type == pa.string()
    assert fields["stream_order"].type == pa.int64()
    assert fields["n_words"].type == pa.int32()


def test_columns_in_another_order_are_put_in_order() -> None:
    shuffled = scores().select(["detail", "value", "metric", "digest", "scorer", "image_id"])
    assert schema.conform("scores", shuffled).equals(scores())


def test_narrow_integers_are_widened_and_wide_ones_refused() -> None:
    rows = pa.table(
        {"epoch": pa.array([1], "int16"), "stage": ["a"], "n_rows": pa.array([1], "int8"), "seconds": [0.0]}
    )
    assert schema.conform("cost", rows).schema.field("n_rows").type == pa.int64()
    wide = rows.set_column(0, "epoch", pa.array([1], "int64"))
    with pytest.raises(SchemaFault, match=r"column cost\.epoch is int64, schemas/cost\.sql says int32"):
        schema.conform("cost", wide)


def test_missing_and_extra_columns_are_named() -> None:
    table = scores().drop_columns(["value"]).append_column("vlaue", pa.array([0.5]))
    with pytest.raises(SchemaFault, match=r"b00001: table scores lacks \['value'\] and has \['vlaue'\] too many"):
        schema.conform("scores", table, "b00001")


@pytest.mark.parametrize(
    ("table", "where"),
    [
        (scores().set_column(4, "value", pa.array(["0.5"])), "column scores.value is string"),
        (scores().set_column(4, "value", pa.array([1])), "column scores.value is int64"),
        (scores().set_column(5, "detail", pa.array([b"x"])), "column scores.detail is binary"),
        (scores().set_column(1, "scorer", pa.array([None], pa.string())), "scorer"),
        (scores(image_id="short"), "CHECK"),
        (scores(digest=ID + "0"), "CHECK"),
    ],
)
def test_a_wrong_type_a_null_and_a_broken_check_are_refused(table: pa.Table, where: str) -> None:
    with pytest.raises(SchemaFault, match=where.replace(".", r"\.")):
        schema.conform("scores", table)


def test_rows_that_were_checked_are_not_kept_and_threads_do_not_meet() -> None:
    def check(number: int) -> bool:
        image = "0" * 32 if number % 2 else "short"
        try:
            schema.conform("scores", scores(image_id=image))
        except SchemaFault:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(check, range(64))) == [bool(number % 2) for number in range(64)]
    with schema._database().cursor() as con:
        assert con.sql("SELECT count(*) FROM scores").fetchall() == [(0,)]


def test_a_column_of_nothing_but_nulls_may_come_without_a_type() -> None:
    table = scores().set_column(5, "detail", pa.nulls(1))
    assert schema.conform("scores", table).schema.field("detail").type == pa.string()


PROMPT = {
    "row_id": "r",
    "source": "s",
    "source_part": "p",
    "source_row": 0,
    "stream_order": 0,
    "licence": "unstated",
    "repairs": [],
}
READ = {"text": "A cup", "text_clean": "A cup", "prompt_id": ID, "fold_key": ID, "axis": "image_quality"}


@pytest.mark.parametrize("row", [PROMPT, PROMPT | READ, PROMPT | {"axis": "text_rendering", "axis_origin": "source"}])
def test_a_read_an_unreadable_and_a_purged_prompt_conform(row: dict[str, Any]) -> None:
    schema.conform("prompts", pa.Table.from_pylist([row], schema=schema.arrow_schema("prompts")))


@pytest.mark.parametrize(
    "changes",
    [
        {"axis": "beauty"},
        {"axis": None},
        {"text": None},
        {"prompt_id": None},
        {"text_clean": None},
        {"split": "validation"},
        {"expected_origin": "guessed"},
        {"n_words": -1},
        {"source_row": -1},
        {"licence": None},
        {"repairs": None},
    ],
)
def test_a_prompt_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    row = PROMPT | READ | changes
    with pytest.raises(SchemaFault, match="prompts"):
        schema.conform("prompts", pa.Table.from_pylist([row], schema=schema.arrow_schema("prompts")))


def test_a_failed_render_has_no_sum_and_a_picture_has_one() -> None:
    row = {"image_id": ID, "prompt_id": ID, "take": 0, "seed": 1, "teacher": "t", "regime": "{}"}
    row |= {"licence": "CC0-1.0", "provenance": "{}"}
    for fields, fits in (
        ({"error": "no glyph"}, True),
        ({"sha256": "0" * 64}, True),
        ({}, False),
        ({"error": "no glyph", "sha256": "0" * 64}, False),
    ):
        table = pa.Table.from_pylist([row | fields], schema=schema.arrow_schema("images"))
        if fits:
            schema.conform("images", table)
        else:
            with pytest.raises(SchemaFault):
                schema.conform("images", table)


@pytest.mark.parametrize("metadata", [None, {}, {schema.TABLE_KEY: b"images/1"}, {schema.TABLE_KEY: b"scores/2"}])
def test_a_file_of_another_table_or_version_is_refused(metadata: dict[bytes, bytes] | None) -> None:
    with pytest.raises(SchemaFault, match="expected scores/1; use the promptforge that wrote it"):
        schema.require_version("scores", metadata, "x.parquet")


def test_an_unknown_table_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="no table 'promts'; there are arrangement, contamination, cost, "):
        schema.arrow_schema("promts")
    with pytest.raises(ConfigError, match=r"no table or view 'promts'; there are arrangement,.*teachers"):
        schema.describe("promts")


def test_a_view_has_no_version_and_a_table_shows_its_checks() -> None:
    assert schema.describe("funnel").version == 0
    assert "CHECK((epoch >= 0))" in schema.describe("cost").checks
