"""Which columns of a file are read: by mapping, by name, or not at all."""

import json
import os
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from promptforge.errors import SourceFault
from promptforge.sources import files

DATA = Path(os.environ.get("PROMPTFORGE_EVAL_DATA") or Path(__file__).parents[3] / "shared" / "data")

NAMED = {
    "axis": "text_rendering",
    "category": "mug",
    "expected_text": ["tea"],
    "pair_id": "p1",
    "parent_id": "f1",
    "style": "photo",
    "source_aesthetic": 6.5,
}
UNSAID = dict.fromkeys(NAMED)


def source(*paths, **params):
    return files.build(files.Params(paths=tuple(str(path) for path in paths), **params), seed=0)


def read(*paths, **params):
    made = source(*paths, **params)
    return [item for part in made.parts() for item in made.read(part, 0, part.n_rows)]


def lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def csv(path, row):
    cells = {key: json.dumps(value) if isinstance(value, list) else str(value) for key, value in row.items()}
    quoted = ",".join('"' + cell.replace('"', '""') + '"' for cell in cells.values())
    path.write_text(",".join(cells) + "\n" + quoted + "\n")
    return path


def said(item):
    values = {field: getattr(item, field) for field in NAMED}
    return values | {"expected_text": item.expected_text and list(item.expected_text)}


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_columns_named_like_fields_are_read_unasked(tmp_path, kind):
    row = {"text": "a mug that says 'tea'", **NAMED, "id": 3}
    path = tmp_path / f"a.{kind}"
    if kind == "jsonl":
        lines(path, row)
    elif kind == "json":
        path.write_text(json.dumps([row]))
    elif kind == "csv":
        csv(path, row)
    else:
        pq.write_table(pa.Table.from_pylist([row]), path)
    (found,) = read(path)
    assert (found.fault, said(found)) == (None, NAMED)


def test_a_field_that_first_comes_late_in_json_lines_is_read(tmp_path):
    rows = [{"text": f"a cat {n}"} for n in range(1500)]
    path = lines(tmp_path / "a.jsonl", *rows, {"text": "a mug", **NAMED})
    found = read(path)
    assert said(found[0]) == UNSAID
    assert said(found[-1]) == NAMED


def test_a_field_mapped_to_another_column_is_read_from_there_alone(tmp_path):
    path = lines(
        tmp_path / "a.jsonl", {"text": "a mug", "category": "old", "kind": "new"}, {"text": "b", "category": "x"}
    )
    assert [item.category for item in read(path, columns={"category": "kind"})] == ["new", None]


def test_a_column_mapped_to_one_field_is_not_another_field(tmp_path):
    path = lines(tmp_path / "a.jsonl", {"text": "a mug", "category": "photo"})
    (found,) = read(path, columns={"style": "category"})
    assert (found.style, found.category) == ("photo", None)


@pytest.mark.parametrize("field", sorted(NAMED))
def test_a_field_mapped_to_nothing_is_not_read(tmp_path, field):
    path = lines(tmp_path / "a.jsonl", {"text": "a mug", **NAMED})
    (found,) = read(path, columns={field: ""})
    assert said(found) == {**NAMED, field: None}


def test_a_prompt_cannot_be_mapped_to_nothing():
    with pytest.raises(ValidationError, match="a prompt must come from a column"):
        files.Params(paths=("a.csv",), columns={"text": ""})


@pytest.mark.parametrize("empty", ["", " ", None])
def test_an_empty_cell_says_nothing(tmp_path, empty):
    path = lines(tmp_path / "a.jsonl", {"text": "a mug", **dict.fromkeys(NAMED, empty)})
    for columns in ({}, {field: field for field in NAMED}):
        (found,) = read(path, columns=columns)
        assert (found.fault, said(found)) == (None, UNSAID)


@pytest.mark.parametrize(
    ("row", "field", "expected"),
    [
        ({"category": 3}, "category", "3"),
        ({"category": 2.5}, "category", "2.5"),
        ({"category": ["mug", "cup"]}, "category", '["mug", "cup"]'),
        ({"pair_id": 7}, "pair_id", "7"),
        ({"expected_text": '["tea", "milk"]'}, "expected_text", ("tea", "milk")),
        ({"expected_text": "tea"}, "expected_text", ("tea",)),
        ({"expected_text": []}, "expected_text", ()),
        ({"source_aesthetic": "6.5"}, "source_aesthetic", 6.5),
        ({"source_aesthetic": "high"}, "source_aesthetic", None),
        ({"source_aesthetic": [6, 7]}, "source_aesthetic", None),
        ({"source_aesthetic": "nan"}, "source_aesthetic", None),
    ],
)
def test_another_type_under_a_fields_name_is_taken_where_it_makes_sense(tmp_path, row, field, expected):
    (found,) = read(lines(tmp_path / "a.jsonl", {"text": "a mug", **row}))
    assert (found.fault, getattr(found, field)) == (None, expected)


@pytest.mark.parametrize(
    ("row", "columns", "fault"),
    [
        ({"axis": "fun"}, {}, "bad_axis"),
        ({"axis": 3}, {}, "bad_axis"),
        ({"expected_text": [7]}, {}, "bad_expected_text"),
        ({"expected_text": {"a": "tea"}}, {}, "bad_expected_text"),
        ({"category": "a\0b"}, {}, "nul"),
        ({"source_aesthetic": "high"}, {"source_aesthetic": "source_aesthetic"}, "bad_number"),
    ],
)
def test_a_value_that_no_field_can_hold_is_the_rows_fault(tmp_path, row, columns, fault):
    (found,) = read(lines(tmp_path / "a.jsonl", {"text": "a mug", **row}), columns=columns)
    (column,) = row
    assert (found.text, found.fault) == (None, fault)
    assert f"column {column!r}" in found.fault_detail


@pytest.mark.parametrize(("name", "content"), [("a.txt", "a cat\n"), ("a.json", '["a cat"]'), ("a.jsonl", '"a cat"\n')])
def test_columns_of_a_file_of_plain_strings_are_refused(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(SourceFault) as caught:
        source(tmp_path / name, columns={"text": "prompt", "axis": "kind"}).parts()
    said = str(caught.value)
    assert f"{name}: its rows are plain strings without columns" in said
    assert "ask for axis = 'kind', text = 'prompt'" in said and "\n" not in said
    assert read(tmp_path / name, columns={"category": ""})[0].text == "a cat"  # nothing is asked for


def test_a_bad_json_file_is_told_with_the_place(tmp_path):
    (tmp_path / "a.json").write_text('["a cat",\n "a dog"\n "a cow"]')
    with pytest.raises(SourceFault, match=r"'?,' delimiter at character 20 \(line 3 column 2\); if it holds"):
        source(tmp_path / "a.json").parts()


def sets():
    return sorted(path for path in DATA.glob("*") if path.suffix in (".jsonl", ".parquet")) or [None]


@pytest.mark.parametrize("path", sets(), ids=lambda path: path.name if path else "none")
def test_the_categories_and_texts_of_a_real_set_are_read_by_name(path):
    if path is None:
        pytest.skip(f"no prompt sets under {DATA}; set PROMPTFORGE_EVAL_DATA")
    reader = "read_parquet(?)" if path.suffix == ".parquet" else "read_json(?, format = 'newline_delimited')"
    # DuckDB's own readers give the columns independently.
    result = duckdb.execute(f"SELECT * FROM {reader}", [str(path)])
    names = [column[0] for column in result.description]
    wanted = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    unread = dict.fromkeys(NAMED, "")
    found, without = read(path), read(path, columns=unread)
    assert [item.fault for item in found] == [item.fault for item in without]
    for item, row in zip(found, wanted, strict=True):
        if item.fault is None:
            assert item.category == (row["category"] or None)
            expected = row.get("expected_text")
            assert item.expected_text == (None if expected is None else tuple(expected))
