"""Distances of readings, held against hand arithmetic and a textbook edit distance."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptforge.scorers.reading import metrics
from promptforge.scorers.reading.glyphs import essence, same_drawing

TEXT = st.text(alphabet="abcAB éßﬁ 1!-\t", max_size=12)
WANTED = TEXT.filter(lambda text: bool(metrics.folded(text)))


def wagner_fischer(one: str, other: str) -> int:
    """Wagner and Fischer 1974, the full table."""
    table = [[i + j if 0 in (i, j) else 0 for j in range(len(other) + 1)] for i in range(len(one) + 1)]
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            swap = table[i - 1][j - 1] + (one[i - 1] != other[j - 1])
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, swap)
    return table[-1][-1]


@settings(derandomize=True, max_examples=300, deadline=None)
@given(TEXT, TEXT)
def test_the_edit_distance_is_that_of_the_textbook(one: str, other: str) -> None:
    assert metrics.edit_distance(one, other) == wagner_fischer(metrics.folded(one), metrics.folded(other))


@settings(derandomize=True, max_examples=200, deadline=None)
@given(TEXT, WANTED)
def test_an_error_rate_is_not_negative_and_zero_only_for_equal_folded_text(read: str, wanted: str) -> None:
    rate = metrics.character_error_rate(read, wanted)
    assert rate >= 0
    assert (rate == 0) == (metrics.folded(read) == metrics.folded(wanted))
    assert metrics.character_error_rate(wanted, wanted) == 0


@settings(derandomize=True, max_examples=200, deadline=None)
@given(TEXT, TEXT)
def test_likeness_is_symmetric_within_0_and_1_and_1_for_the_same(one: str, other: str) -> None:
    likeness = metrics.normalized_edit_similarity(one, other)
    assert 0 <= likeness <= 1
    assert likeness == metrics.normalized_edit_similarity(other, one)
    assert metrics.normalized_edit_similarity(one, one) == 1


@settings(derandomize=True, max_examples=200, deadline=None)
@given(TEXT, TEXT)
def test_word_recall_one_way_is_word_precision_the_other_way(one: str, other: str) -> None:
    assert 0 <= metrics.word_recall(one, other) <= 1
    assert metrics.word_recall(one, other) == metrics.word_precision(other, one)
    assert metrics.word_recall(one, one) == metrics.word_precision(one, one) == 1


@settings(derandomize=True, max_examples=200, deadline=None)
@given(TEXT, TEXT)
def test_an_exact_match_is_a_folded_match_with_no_error(one: str, other: str) -> None:
    if metrics.exact_match(one, other):
        assert metrics.folded_match(one, other)
    assert metrics.folded_match(one, other) == (metrics.edit_distance(one, other) == 0)
    assert metrics.exact_match(one, one)


@pytest.mark.parametrize(
    ("read", "wanted", "rate", "likeness"),
    [
        ("kitten", "sitting", 3 / 7, 1 - 3 / 7),  # k>s, e>i, +g
        ("COFFEE", "coffee", 0.0, 1.0),
        ("coffe", "coffee", 1 / 6, 1 - 1 / 6),
        ("", "open", 1.0, 0.0),
        ("wide  open", "wide\nopen", 0.0, 1.0),
        ("ﬁre", "fire", 0.0, 1.0),  # the ligature is two letters under NFKC
        ("open open", "open", 5 / 4, 1 - 5 / 9),  # a blank and four letters too many
    ],
)
def test_worked_examples_of_error_rate_and_likeness(read: str, wanted: str, rate: float, likeness: float) -> None:
    assert metrics.character_error_rate(read, wanted) == pytest.approx(rate)
    assert metrics.normalized_edit_similarity(read, wanted) == pytest.approx(likeness)


def test_an_error_rate_against_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        metrics.character_error_rate("something", " \t")


def test_words_are_counted_with_repetitions_and_without_their_punctuation() -> None:
    assert metrics.words("The cat, the CAT & 'dog'!") == Counter({"the": 2, "cat": 2, "&": 1, "dog": 1})
    # wanted the:2 cat:1 sat:1; read the:1 cat:1 mat:1 -> two of four wanted, two of three read
    assert metrics.word_recall("the cat mat", "the cat the sat") == 2 / 4
    assert metrics.word_precision("the cat mat", "the cat the sat") == 2 / 3


def test_stray_text_lowers_precision_and_not_recall() -> None:
    assert metrics.word_recall("open today no parking", "open today") == 1
    assert metrics.word_precision("open today no parking", "open today") == 0.5


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.text(max_size=8), st.text(max_size=8), st.booleans())
def test_sameness_of_drawings_is_reflexive_and_symmetric(one: str, other: str, case: bool) -> None:
    assert same_drawing(one, one, case=case)
    assert same_drawing(one, other, case=case) == same_drawing(other, one, case=case)


@pytest.mark.parametrize(
    ("read", "wanted"),
    [
        ("No.7", "No. 7"),
        ("its here", "It's here!"),
        ("0PEN", "OPEN"),
        ("l0", "IO"),
        ("wow", "WOW"),
        ("“hello”", '"hello"'),
        ("co-op", "coop"),
        ("Bicγcle", "Bicycle"),
        ("40%ff", "40% off"),
        ("salt pepper", "salt + pepper"),
        ("salt 十 pepper", "salt + pepper"),
    ],
)
def test_what_an_engine_may_answer_to_a_right_drawing_is_the_same_drawing(read: str, wanted: str) -> None:
    assert same_drawing(read, wanted)


@pytest.mark.parametrize(
    ("read", "wanted"),
    [
        ("cot", "cat"),
        ("coffe", "coffee"),
        ("cofffee", "coffee"),
        ("form", "from"),
        ("50", "50%"),
        ("18", "18+"),
        ("salt pepper", "salt & pepper"),
        ("fire", "flre"),  # i and l differ by the dot; only I, l, 1 and | are alike
        ("cafe", "café"),
        ("", "a"),
        ("", "?!"),
        ("il", "11"),  # likeness is not chained: l and 1 are alike, i and 1 are not
    ],
)
def test_one_wrong_letter_is_another_drawing(read: str, wanted: str) -> None:
    assert not same_drawing(read, wanted)


def test_with_case_only_letters_of_one_shape_are_alike() -> None:
    assert same_drawing("WOOX", "woox", case=True)
    assert not same_drawing("Bread", "bread", case=True)
    assert same_drawing("Bread", "bread")


def test_the_essence_keeps_what_a_mark_means() -> None:
    assert essence("50% off, today only!") == "50%offtodayonly"
    assert essence("$5 & up – “fresh”") == "$5&upfresh"
