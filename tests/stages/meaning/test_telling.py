"""What must be the same in two prompts that mean the same."""

from __future__ import annotations

import pytest

from promptforge.stages.meaning.telling import contradict, sets

SAME = [
    ("a dog and a cat", "a cat and a dog"),
    ("a red car", "a car that is red"),
    ("a dog sitting on the beach", "on the beach, a dog sitting"),
    ("2 dogs", "two dogs"),
    ("a capybara enjoying the sun", "a capybara basking in the sun"),
]
OTHER = [
    ("a red car", "a blue car"),
    ("two dogs", "three dogs"),
    ("a dog with a ball", "a dog without a ball"),
    ("a lamp left of a chair", "a lamp right of a chair"),
    ("an old man", "a young man"),
    ("a dog", "a dog and a cat"),
]
SWAPPED = [
    ("a cat on a dog", "a dog on a cat"),
    ("a red cup and a blue plate", "a blue cup and a red plate"),
    ("a quokka behind a zarf", "a zarf behind a quokka"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_other_words_for_the_same_are_let_through(one: str, other: str) -> None:
    first, second = sets([one, other]).tolist()
    assert first == second
    assert not contradict(one, other)


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_another_thing_number_colour_or_place_is_held_apart(one: str, other: str) -> None:
    first, second = sets([one, other]).tolist()
    assert first != second


@pytest.mark.parametrize(("one", "other"), SWAPPED)
def test_the_same_words_bound_otherwise_are_held_apart(one: str, other: str) -> None:
    first, second = sets([one, other]).tolist()
    assert first == second
    assert contradict(one, other)
    assert contradict(other, one)


def test_a_prompt_without_telling_words_has_none() -> None:
    assert sets(["serenity", "", "..."]).tolist() == [0, 0, 0]
