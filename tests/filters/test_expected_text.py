"""The expected-text contract."""

import pyarrow as pa
import pytest

from promptforge.filters import expected_text
from promptforge.protocols import Finding


def check(*rows, **params):
    table = pa.table(
        {
            "text_clean": pa.array([row[0] for row in rows], pa.string()),
            "axis": pa.array([row[1] for row in rows], pa.string()),
            "expected_text": pa.array([row[2] for row in rows], pa.list_(pa.string())),
            "expected_origin": pa.array([row[3] for row in rows], pa.string()),
        }
    )
    return expected_text.build(expected_text.Params(**params))(table)


def test_a_text_prompt_without_a_string_is_dropped_and_others_need_none():
    found = check(
        ("a sign", "text_rendering", [], None),
        ("a mug that says 'tea'", "text_rendering", ["tea"], "quoted"),
        ("a sign", "image_quality", [], None),
        ("a sign", "text_rendering", None, None),
    )
    assert found == [Finding(row, "drop", "no_expected_text", 0.0, 1.0) for row in (0, 3)]


@pytest.mark.parametrize(
    ("text", "strings"),
    [
        ("a mug that says 'Green  Tea!'", ["green tea"]),  # case, spacing and punctuation fold
        ("a mug that says “café”", ["cafe\u0301"]),
        ("写着“你好世界”的牌子", ["你好"]),  # no blanks in Chinese
        ("a sign that says !!!", ["!!!"]),
    ],
)
def test_a_given_string_that_occurs_passes(text, strings):
    assert check((text, "text_rendering", strings, "source")) == []


@pytest.mark.parametrize(
    ("text", "strings", "absent"),
    [
        ("a mug that says 'milk'", ["tea"], "tea"),
        ("a steam train", ["tea"], "tea"),  # inside another word
        ("a mug that says 'tea'", ["tea", "milk"], "milk"),
        ("a sign", ["!!!"], "!!!"),
    ],
)
def test_a_given_string_that_does_not_occur_drops_the_row_on_any_axis(text, strings, absent):
    for axis in ("text_rendering", "image_quality"):
        (finding,) = check((text, axis, strings, "source"))
        assert (finding.reason, finding.value, finding.detail) == ("expected_text_not_in_prompt", 1.0, absent)


def test_parsed_strings_are_not_looked_for_again():
    assert check(("a mug", "text_rendering", ["tea"], "said")) == []


def test_bounds_on_words_and_characters_hold_where_they_are_set():
    row = ("a sign: 'one two' 'three'", "text_rendering", ["one two", "three"], "quoted")
    assert check(row) == []
    assert check(row, max_words=2) == [Finding(0, "drop", "too_many_words", 3.0, 2.0)]
    assert check(row, max_chars=6) == [Finding(0, "drop", "too_long_target", 7.0, 6.0)]
    assert check(row, max_words=3, max_chars=7) == []
