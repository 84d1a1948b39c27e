"""Saying the same again."""

import pytest

from promptforge.filters import repetition
from promptforge.protocols import Finding
from tests.filters.columns import findings

DIFFERENT = "one two three four five six seven eight nine ten eleven twelve"


@pytest.mark.parametrize(
    ("text", "reason", "value", "threshold", "detail"),
    [
        ("a cat" + "!" * 10, "repeated_character", 10.0, 9.0, "!"),
        ("very very Very VERY old tree", "repeated_word", 4.0, 3.0, "very"),
        # 4 different words of 12
        ("red cat blue dog " * 3, "few_different_words", 0.3333, 0.35, "red"),
        # 9 of 17 words are the phrase
        (
            "an old oak an old oak in fog, an old oak by one two three four five",
            *("repeated_phrase", 0.5294, 0.5, "an old oak"),
        ),
    ],
)
def test_each_way_of_repeating_has_its_reason(text, reason, value, threshold, detail):
    assert findings(repetition, ["a cat", text]) == [Finding(1, "drop", reason, value, threshold, detail)]


@pytest.mark.parametrize(
    "text",
    [
        "a cat" + "!" * 9,
        "very very very old tree",
        DIFFERENT,
        "a red cat and a red dog and a red cup",  # 11 words: under min_words
        "猫" * 3 + "と犬" * 6,
        "don't don't don't stop",
    ],
)
def test_texts_at_a_bound_pass(text):
    assert findings(repetition, [text]) == []


def test_bounds_can_be_moved():
    assert findings(repetition, ["very very old"], max_in_a_row=1)[0].reason == "repeated_word"
    assert findings(repetition, [DIFFERENT + " one two three"], min_distinct_share=0.9)[0].value == 0.8  # 12 of 15


def test_a_text_does_not_go_on_in_the_next_row():
    assert findings(repetition, ["very very", "very very", "aaaaa", "aaaaa"]) == []
