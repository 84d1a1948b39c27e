"""Lines of a reading against wanted strings."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptforge.scorers.reading.match import match

WORD = st.sampled_from(["open", "late", "fresh", "bread", "tea", "o"])
LINES = st.lists(WORD, max_size=5)


def reads(lines: list[str], wanted: list[str]) -> list[str]:
    return [span.read for span in match(lines, wanted)]


def test_a_string_over_three_lines_is_joined_in_reading_order() -> None:
    assert reads(["Keep calm", "and carry", "on"], ["Keep calm and carry on"]) == ["Keep calm and carry on"]


def test_two_strings_find_their_lines_in_any_order() -> None:
    assert reads(["OPEN", "Fresh bread"], ["Fresh bread", "OPEN"]) == ["Fresh bread", "OPEN"]


def test_two_columns_are_told_apart() -> None:
    assert reads(["Fresh", "Open", "bread", "daily"], ["Fresh bread", "Open daily"]) == ["Fresh bread", "Open daily"]


def test_strings_that_share_a_line_are_taken_as_one() -> None:
    (span,) = match(["OPEN DAILY"], ["OPEN", "DAILY"])
    assert (span.read, span.wanted) == ("OPEN DAILY", "OPEN DAILY")


def test_lines_that_nobody_asked_for_stay_out() -> None:
    assert reads(["Main Street", "Fresh bread", "No parking"], ["Fresh bread"]) == ["Fresh bread"]


def test_a_stray_line_between_two_lines_of_a_string_is_left_out() -> None:
    assert reads(["Fresh", "xyz", "bread"], ["Fresh bread"]) == ["Fresh bread"]


def test_a_missing_word_is_not_made_up() -> None:
    assert reads(["Fresh bread"], ["Fresh bread daily"]) == ["Fresh bread"]


def test_a_misspelling_is_matched_as_it_was_read() -> None:
    assert reads(["Frehs bread"], ["Fresh bread"]) == ["Frehs bread"]


def test_nothing_read_gives_empty_spans() -> None:
    assert reads([], ["Fresh", "bread"]) == ["", ""]


def test_text_unlike_the_wanted_is_no_match() -> None:
    assert reads(["zzzz"], ["open"]) == [""]


@settings(derandomize=True, max_examples=200, deadline=None)
@given(LINES, st.lists(WORD, min_size=1, max_size=3))
def test_no_line_serves_two_strings_and_each_span_reads_its_lines(lines: list[str], wanted: list[str]) -> None:
    spans = match(lines, wanted)
    used = [line for span in spans for line in span.lines]
    assert len(used) == len(set(used))
    assert all(span.read == " ".join(lines[line] for line in span.lines) for span in spans)
    assert [span.wanted for span in spans] in (wanted, [" ".join(wanted)])


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(WORD, min_size=1, max_size=4, unique=True))
def test_a_text_matches_itself(wanted: list[str]) -> None:
    assert " ".join(reads(wanted, wanted)) == " ".join(wanted)


@pytest.mark.parametrize("breaks", [(2,), (1, 3), (1, 2, 3), ()])
def test_line_breaks_do_not_matter(breaks: tuple[int, ...]) -> None:
    words = ["the", "best", "in", "town"]
    edges = [0, *breaks, 4]
    lines = [" ".join(words[a:b]) for a, b in pairwise(edges)]
    assert reads(lines, ["the best in town"]) == ["the best in town"]
