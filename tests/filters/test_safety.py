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


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        ("a sign saying f*ck", "unsafe_profanity", "fuck"),
        ("a sign saying f**k you", "unsafe_profanity", "fuck"),
        ("a sign saying sh** and more", "unsafe_profanity", "shit"),
        ("a sign saying f*** off", "unsafe_profanity", "fuck"),
        ("a sign saying fu*c*king", "unsafe_profanity", "fucking"),
        ("a sign saying Sh1t!", "unsafe_profanity", "shit"),
        ("a sign saying B!TCH", "unsafe_profanity", "bitch"),
        ("a sign saying a F.U.C.K.", "unsafe_profanity", "fuck"),
        ("she is n a k e d", "unsafe_sexual", "naked"),
        ("huge boooobs", "unsafe_sexual", "boobs"),
        ("fu\u0441k", "unsafe_profanity", "fuck"),  # a Cyrillic c
        ("suck my c*ck", "unsafe_sexual", "cock*"),
        ("p0rn, n00des", "unsafe_sexual", "porn"),
    ],
)
def test_masked_words_are_read(text, reason, detail):
    assert findings(safety, [text]) == [Finding(0, "drop", reason, 1.0, 0.0, detail)]


@pytest.mark.parametrize(
    "text",
    [
        "a **glass** of *bass*, 5* hotel, 4k, f/1.8",
        "C4D render, 3d, trending on @artstation, $hop for $100",
        "the letters A B C D and S O S on a wall, U.S.A.",
        "www.example.com, a loooong road, brrr, xxl shirt",
        "a cock crowing beside an ass and a homo sapiens skull",
        "bowls of spices, a queer couple, a dyke by the sea, a poof of smoke",
        "a jelly donut and a cream pie beside a rusty trombone",
        "it's not a load of @*#!. *It's* fine",
        "wow!great!a cat",
    ],
)
def test_marks_and_letters_that_hide_nothing_pass(text):
    assert findings(safety, [text]) == []


def test_a_mask_saves_nobody_from_the_rule_on_minors():
    assert findings(safety, ["s3xy, t e e n", "an er0tic t*ddler"]) == [MINORS, Finding(1, "drop", MINORS.reason)]


def test_a_long_run_of_marks_is_looked_at_in_time():
    rows = ["a1" * 20_000, "*" * 20_000 + "a", "a " * 20_000, "a" * 20_000, "a*" * 20_000]
    assert findings(safety, rows) == []


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
