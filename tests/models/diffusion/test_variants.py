"""Variants of a prompt of equal length, counted in white-space words where no tokenizer is needed."""

import pytest

from promptforge.models.diffusion import variants
from promptforge.models.diffusion.response import ResponseSettings


def words(text):
    return len(text.split())


def clauses(text, most=9):
    return [text[slice(*span)] for span in variants.clauses(text, most)]


def test_clauses_end_at_punctuation_and_leave_it_out():
    assert clauses("a red fox, in the snow; at dawn.") == ["a red fox", "in the snow", "at dawn"]


def test_one_clause_is_none():
    assert clauses("a red fox in the snow") == []


def test_a_single_word_joins_its_neighbour():
    assert clauses("a red fox, 4k, very sharp") == ["a red fox, 4k", "very sharp"]
    assert clauses("fox, in deep snow, at dawn") == ["fox, in deep snow", "at dawn"]


def test_a_long_clause_is_cut_before_joining_words():
    assert clauses("a tall man in a coat and hat with two small dogs") == [
        "a tall man in a coat",
        "and hat",
        "with two small dogs",
    ]


def test_quoted_text_is_never_cut():
    assert clauses('a sign that says "STOP, now or never and ever", in the rain') == [
        "a sign",
        'that says "STOP, now or never and ever"',
        "in the rain",
    ]


def test_at_most_so_many_clauses():
    assert clauses("a cat, in a box, on a mat", most=2) == ["a cat", "in a box"]


def test_a_neutral_clause_is_as_long_and_the_rest_stays():
    text = "a red fox, in the deep snow, at dawn"
    made = variants.neutralised(text, variants.clauses(text, 9)[1], words)
    assert made == "a red fox, it is as such, at dawn"


def test_where_no_words_fit_there_is_no_variant():
    assert variants.neutralised("a red fox, at dawn", (0, 9), lambda text: 1 if text.startswith("a red") else 2) is None


def test_the_last_words_are_exchanged_until_the_length_fits():
    """Counted in letters: 'at noon' has 7; 'it is' 5 and 'it is as' 8, so the second of two must be another."""
    made = variants.neutralised("a fox, at noon", (7, 14), len)
    assert len(made) == 14
    assert made.startswith("a fox, ")


def test_shuffles_keep_the_words_and_are_never_the_prompt():
    made = variants.shuffles("a red fox in the snow", 5)
    assert len(set(made)) == 5
    for each in made:
        assert sorted(each.split()) == sorted(["a", "red", "fox", "in", "the", "snow"])
        assert each != "a red fox in the snow"
    assert variants.shuffles("a red fox in the snow", 3) == made[:3]


@pytest.mark.parametrize(("text", "n"), [("fox", 0), ("fox fox", 0), ("red fox", 1)])
def test_few_words_have_few_orders(text, n):
    assert len(variants.shuffles(text, 4)) == n


def test_a_word_is_swapped_for_one_of_its_length_and_case():
    made = variants.word_swapped('a sign that says "Good HOME"', "Good HOME", words)
    assert made is not None
    before, after = made.split('"')[1].split()
    assert {before, after} & {"Good", "HOME"}
    (new,) = {before, after} - {"Good", "HOME"}
    assert len(new) == 4
    assert new.istitle()  # the first of the longest words is Good


def test_a_swap_needs_the_string_in_the_text():
    assert variants.word_swapped("a sign", "OPEN", words) is None


def test_nonvisual_sentences_are_of_many_lengths():
    lengths = [words(sentence) for sentence in variants.nonvisual()]
    assert len(set(variants.nonvisual())) == len(lengths) >= 42
    assert min(lengths) == 2
    assert max(lengths) >= 40
    assert not any("," in sentence for sentence in variants.nonvisual())


def test_the_nearest_in_length_come_first():
    assert [words(each) for each in variants.nearest_in_length(2, 2, words)] == [2, 2]
    assert min(words(each) for each in variants.nearest_in_length(100, 3, words)) > 30


@pytest.mark.parametrize(
    ("value", "population", "wanted"),
    [
        (3.0, [1.0, 2.0, 4.0, 5.0], 50.0),  # two of four below
        (2.0, [1.0, 2.0, 2.0, 5.0], 50.0),  # one below and half of two equals: 2 of 4
        (0.0, [1.0, 2.0], 0.0),
        (9.0, [1.0, 2.0], 100.0),
        (1.0, [], None),
    ],
)
def test_percentile(value, population, wanted):
    assert variants.percentile(value, population) == wanted


def test_measured_steps_are_shares_of_the_schedule():
    assert ResponseSettings().steps_of(28) == (0, 7, 14, 21)
    assert ResponseSettings().steps_of(4) == (0, 1, 2, 3)
    assert ResponseSettings().steps_of(2) == (0, 1)  # each step once
