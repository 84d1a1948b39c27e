"""Length in words and characters."""

import pyarrow as pa
import pytest
from pydantic import ValidationError

from promptforge import texts
from promptforge.filters import length
from promptforge.protocols import Finding


def check(prompts, **params):
    table = pa.table(
        {
            "text_clean": pa.array(prompts, pa.string()),
            "n_words": pa.array([texts.n_words(text) for text in prompts], pa.int32()),
            "n_chars": pa.array([len(text) for text in prompts], pa.int32()),
        }
    )
    return length.build(length.Params(**params))(table)


def words(n):
    return " ".join(["word"] * n)


def test_texts_outside_the_bounds_are_dropped_and_those_at_them_pass():
    found = check([words(2), words(3), words(20), words(21)], min_words=3, max_words=20, near_share=0)
    assert found == [
        Finding(0, "drop", "too_short", 2.0, 3.0, "words"),
        Finding(3, "drop", "too_long", 21.0, 20.0, "words"),
    ]


def test_a_pass_close_to_a_bound_is_a_near_miss():
    # 20 * (1 - 0.1) = 18: 19 and 20 words are within the band, 18 is not.
    found = check([words(18), words(19), words(20)], max_words=20, near_share=0.1)
    assert found == [
        Finding(1, "near_miss", "too_long", 19.0, 20.0, "words"),
        Finding(2, "near_miss", "too_long", 20.0, 20.0, "words"),
    ]


def test_one_endless_word_is_too_long_in_characters():
    assert check(["a " + "x" * 900], near_share=0) == [Finding(0, "drop", "too_long", 902.0, 800.0, "characters")]


def test_a_text_without_blanks_between_words_is_counted_in_characters():
    assert check(["一只红色的猫坐在垫子上", "赤い猫", "แมวสีแดง"], near_share=0) == []
    # 401 characters, each counted twice: 802 > 800
    assert check(["猫" * 401], near_share=0) == [Finding(0, "drop", "too_long", 802.0, 800.0, "characters")]


def test_one_foreign_word_does_not_lift_the_word_limits():
    found = check([words(121) + " 猫"], near_share=0)
    assert [(item.reason, item.detail) for item in found] == [("too_long", "words")]


def test_a_single_short_word_is_too_short():
    assert [item.reason for item in check(["cat"])] == ["too_short"]


@pytest.mark.parametrize("params", [{"min_words": 9, "max_words": 3}, {"near_share": 1.0}, {"maximum": 3}])
def test_impossible_bounds_are_refused(params):
    with pytest.raises(ValidationError):
        length.Params(**params)
