"""Rows that fit neither side of the split."""

import hashlib
import json

import pyarrow as pa
import pytest

from promptforge.errors import EnvironmentFault
from promptforge.filters import split
from promptforge.protocols import Finding


def test_a_row_with_reserved_and_open_words_is_dropped():
    table = pa.table({"split": pa.array(["train", "mixed", None, "test_words"], pa.string())})
    assert split.build(split.Params())(table) == [Finding(1, "drop", "split_straddle")]


def kept(tmp_path, name, data):
    path = tmp_path / name
    path.write_text(data, "utf-8")
    return split.build(split.Params(test_prompts=str(path)))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("test.json", json.dumps(["A sheep with a banner that says 'Harbour'.", "A board that says 'act fast'"])),
        ("test.txt", "harbour\nact fast\n"),
    ],
)
def test_a_word_of_a_test_set_is_not_trained_on(tmp_path, name, data):
    check = kept(tmp_path, name, data)
    strings = {
        "harbour": True,
        "HARBOURS!": True,
        "harbour's": True,
        "old harbour inn": True,
        "harboured": True,
        "harb": False,
        "please act fast": True,
        "act": False,  # of a longer string the words alone stay free
        "fast act": False,
    }
    rows = pa.table({"split": ["train"] * len(strings), "expected_text": [[each] for each in strings]})
    found = check(rows)
    assert [item.row for item in found] == [row for row, dropped in enumerate(strings.values()) if dropped]
    assert {item.reason for item in found} == {"test_word"}
    assert found[0].detail == "harbour"


def test_rows_of_a_test_split_and_rows_without_text_stay(tmp_path):
    check = kept(tmp_path, "test.txt", "harbour\n")
    rows = pa.table(
        {
            "split": pa.array(["test_words", "train", "mixed", None], pa.string()),
            "expected_text": pa.array([["harbour"], [], ["harbour"], None], pa.list_(pa.string())),
        }
    )
    assert check(rows) == [Finding(2, "drop", "split_straddle")]


@pytest.mark.parametrize("data", ["", "[1]", "{broken"])
def test_a_test_set_that_cannot_be_read_is_named(tmp_path, data):
    with pytest.raises(EnvironmentFault, match=r"test\.json"):
        kept(tmp_path, "test.json", data)


def test_a_test_set_is_named_by_its_content_and_one_that_is_missing_by_its_path(tmp_path):
    (tmp_path / "a.txt").write_text("harbour\n")
    (tmp_path / "b.txt").write_text("harbour\n")
    names = [split.identity(split.Params(test_prompts=str(tmp_path / name))) for name in ("a.txt", "b.txt")]
    assert names[0] == names[1] == {"test_prompts": hashlib.sha256(b"harbour\n").hexdigest()}
    assert split.identity(split.Params()) == {}
    with pytest.raises(EnvironmentFault, match=r"gone\.txt: no such file; check filters\.split\.test_prompts"):
        split.identity(split.Params(test_prompts=str(tmp_path / "gone.txt")))
