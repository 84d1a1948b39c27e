"""Characters that no prompt means."""

import pyarrow as pa
import pytest

from promptforge import texts
from promptforge.filters import characters
from promptforge.protocols import Finding


def check(prompts, repairs=None, **params):
    repairs = repairs or [[]] * len(prompts)
    table = pa.table(
        {"text_clean": pa.array(prompts, pa.string()), "repairs": pa.array(repairs, pa.list_(pa.string()))}
    )
    return characters.build(characters.Params(**params))(table)


@pytest.mark.parametrize(
    ("text", "reason", "count", "detail"),
    [
        ("a\x1b[31m red\x1b[0m car", "control_character", 2, "U+001B"),
        ("a bell\x07", "control_character", 1, "U+0007"),
        ("a \x7f car", "control_character", 1, "U+007F"),
        ("a \x9b car", "control_character", 1, "U+009B"),
        ("a \u202ered\u202c car", "bidi_override", 2, "U+202E"),
        ("a \u2066car", "bidi_override", 1, "U+2066"),
        ("a caf\ufffd", "replacement_character", 1, "U+FFFD"),
        ("a \ue000 car", "private_use", 1, "U+E000"),
        ("a \U000f0123 car", "private_use", 1, "U+F0123"),
        ("a \uffff car", "noncharacter", 1, "U+FFFF"),
    ],
)
def test_a_row_is_dropped_with_reason_count_and_code_point(text, reason, count, detail):
    assert check(["a red car", text]) == [Finding(1, "drop", reason, count, 0.0, detail)]


@pytest.mark.parametrize(
    "text",
    [
        "a red car",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 at the beach",
        "شجرة بجانب نهر",
        "می\u200cخواهم",
        "一只红色的猫",
        "a café, naïve, 100 % – “quoted”",
    ],
)
def test_what_people_write_passes(text):
    assert check([text]) == []


def test_a_row_has_one_finding_the_worst_first():
    assert [item.reason for item in check(["\ufffd \x1b \u202e"])] == ["control_character"]


def test_a_repaired_mojibake_is_a_near_miss():
    cleaned = texts.clean("a cafÃ© in the rain")
    assert check([cleaned.text], [list(cleaned.repairs)]) == [Finding(0, "near_miss", "repaired_mojibake")]


def test_another_repair_is_none():
    assert check(["a cat"], [["white_space", "html_entity"]]) == []


def test_a_dropped_row_is_no_near_miss_too():
    assert [item.verdict for item in check(["a \x07"], [["mojibake"]])] == ["drop"]


def test_private_use_characters_can_be_let_through():
    assert check(["a \ue000 car"], allow_private_use=True) == []


def test_an_empty_table_and_a_table_in_chunks_are_checked():
    assert check([]) == []
    repairs = pa.chunked_array([[["mojibake"]], [[], ["mojibake"]]])
    table = pa.table({"text_clean": pa.chunked_array([["a"], ["b\x07", "c"]]), "repairs": repairs})
    found = characters.build(characters.Params())(table)
    assert [(item.row, item.verdict) for item in found] == [(0, "near_miss"), (1, "drop"), (2, "near_miss")]
