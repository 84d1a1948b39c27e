"""The expected-text contract."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ('a sign that says "Open', 1),
        ("a sign that says “Open and “Closed", 2),
        ("a sign that says 「開く", 1),
        ('a sign that says "Open"', 0),
        ("a sign that says „Offen“ and «Ouvert»", 0),
        ("grandma's sign that says 'Open'", 0),
        ('a 5" x 7" board that says "Open"', 0),
    ],
)
def test_a_quote_that_never_closes_is_counted_where_asked(text, n):
    assert check((text, "text_rendering", ["Open"], "quoted")) == []
    expected = [Finding(0, "drop", "unbalanced_quotes", float(n), 0.0)] if n else []
    assert check((text, "text_rendering", ["Open"], "quoted"), balanced_quotes=True) == expected


def test_scripts_outside_the_named_ones_drop_a_row():
    rows = [
        ("a sign: 'Café 24'", "text_rendering", ["Café 24"], "quoted"),
        ("a sign: 'Кафе'", "text_rendering", ["Кафе"], "quoted"),
        ("a sign: 'ラーメン屋'", "text_rendering", ["ラーメン屋"], "quoted"),
        ("a sign: '★ 100'", "text_rendering", ["★ 100"], "quoted"),
    ]
    assert check(*rows) == []
    assert check(*rows, scripts=("latin",)) == [
        Finding(1, "drop", "other_script", 1.0, 0.0, "cyrillic"),
        Finding(2, "drop", "other_script", 2.0, 0.0, "han, kana"),
    ]
    assert check(*rows, scripts=("latin", "cyrillic", "han", "kana")) == []


@pytest.mark.parametrize("string", ["★★★", "xqzwvk", "a8f3Kd92b1", "x" * 26])
def test_strings_that_nobody_could_read_drop_a_row_where_asked(string):
    row = (f"a sign: '{string}'", "text_rendering", [string], "quoted")
    assert check(row) == []
    assert check(row, readable=True) == [Finding(0, "drop", "unreadable_text", 1.0, 0.0, string)]


@pytest.mark.parametrize(
    "string", ["OPEN", "BBC NWS", "rhythm", "B2B 24/7", "café", "50% off!", "猫", "Route66", "shh"]
)
def test_what_people_write_on_signs_can_be_read(string):
    assert check((f"a sign: '{string}'", "text_rendering", [string], "quoted"), readable=True) == []


def test_a_row_has_one_finding():
    row = ('a sign that says "xqzwvk', "text_rendering", ["xqzwvk"], "quoted")
    assert [item.reason for item in check(row, readable=True, balanced_quotes=True)] == ["unbalanced_quotes"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(
            st.one_of(
                st.text(max_size=30),
                st.text(alphabet="bcdfgkxzAE1290 é!", max_size=40),
                st.sampled_from(["a\x1cb c", "x1y2z3w4", "rhythms", "١٢٣a٤٥b"]),
            ),
            min_size=1,
            max_size=3,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_the_screen_of_a_column_leaves_out_no_row_that_a_bound_drops(rows):
    rows = [[string.encode("utf-8", "replace").decode("utf-8") or "x" for string in row] for row in rows]
    params = {"max_words": 3, "max_chars": 20, "readable": True, "scripts": ("latin", "han")}
    found = check(*((" ".join(row), "text_rendering", row, "quoted") for row in rows), **params)
    slow = expected_text.build(expected_text.Params(**params))
    one_by_one = [slow._look(place, " ".join(row), row, "quoted") for place, row in enumerate(rows)]
    assert found == [finding for finding in one_by_one if finding is not None]
