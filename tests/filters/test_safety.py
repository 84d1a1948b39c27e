"""Word lists: whole words, harmless phrases, and the combination that is never shown."""

import pytest

from promptforge.filters import safety
from promptforge.filters.words.lists import load
from promptforge.protocols import Finding
from tests.filters.columns import findings

MINORS = Finding(0, "drop", "unsafe_sexual_minors")


@pytest.mark.parametrize(
    "text",
    [
        "a grass field under a glass skyscraper",  # ass, ass, scrap
        "a cockatoo and a great tit on a pussy willow",
        "the Essex coast seen with the naked eye",
        "a classic Scunthorpe shopfront, blood orange on the counter",
        "Moby Dick, the white whale",
        "a child in a red coat beside a dog",
        "two young girls flying a kite",
    ],
)
def test_harmless_words_pass(text):
    assert findings(safety, [text]) == []


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        ("a nude statue", "unsafe_sexual", "nude"),
        ("two NUDES, oil on canvas", "unsafe_sexual", "nudes"),
        ("ｎｕｄｅ model", "unsafe_sexual", "nude"),  # full-width letters
        ("a gory battlefield", "unsafe_violent", "gory"),
        ("a severed-head trophy", "unsafe_violent", "severed-head"),
        ("what the fuck", "unsafe_profanity", "fuck"),
        ("a heil hitler banner", "unsafe_hateful", "heil hitler"),
    ],
)
def test_each_kind_has_its_reason_and_names_the_word(text, reason, detail):
    assert findings(safety, [text]) == [Finding(0, "drop", reason, 1.0, 0.0, detail)]


def test_kinds_can_be_left_out_and_a_number_allowed():
    assert findings(safety, ["a nude statue"], kinds=("violent",)) == []
    assert findings(safety, ["a nude statue"], max_words=1) == []
    assert findings(safety, ["nude, nude"], max_words=1) == [Finding(0, "drop", "unsafe_sexual", 2.0, 1.0, "nude")]


@pytest.mark.parametrize(
    "text",
    ["sexy, teen", "a sensual 17 year old", "lingerie, aged 16", "seductive, fifteen-year-old", "erotic, toddler"],
)
def test_minors_beside_sexual_words_are_dropped_without_a_word_about_it(text):
    assert findings(safety, [text]) == [MINORS]
    assert findings(safety, [text], kinds=(), max_words=100) == [MINORS]


def test_adults_and_other_numbers_are_no_minors():
    assert findings(safety, ["lingerie, 21 years old", "a seductive voice, 16 mm film"]) == []


def test_lists_are_sorted_lower_case_and_without_doubles():
    for name in ("sexual", "violent", "hateful", "profanity", "suggestive", "minors", "minors_always", "harmless"):
        words = load(name)
        assert words
        assert list(words) == sorted(set(words))
        assert all(word == word.lower().strip() for word in words)
