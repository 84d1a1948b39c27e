"""The verdict over up to three readings, and which lines are shapes."""

from collections.abc import Sequence

import pytest

from promptforge.protocols import TextLine
from promptforge.scorers.reading.judge import Judgement, is_complete, judge, reading_of
from promptforge.scorers.reading.specks import specks


def line(text: str, x: float = 100, y: float = 100, width: float = 200, height: float = 40) -> TextLine:
    return TextLine(text, 0.99, ((x, y), (x + width, y), (x + width, y + height), (x, y + height)))


def judged(looks: Sequence[str], wanted: str = "fresh coffee") -> Judgement:
    return judge(
        (reading_of([line(text)] if text else [], [wanted], case=False) for text in looks),
        case=False,
    )


@pytest.mark.parametrize(
    ("looks", "verdict", "n_looks"),
    [
        (["Fresh Coffee", "never looked at"], "read", 1),
        (["freshcoffee!", "never looked at"], "read", 1),
        (["fresh coffe", "fresh coffe", "never looked at"], "misread", 2),
        (["fresh coffe", "fresh coffee", "fresh coffee"], "read", 3),
        (["fresh coffe", "fresh coffee", "fresh coffe"], "misread", 3),
        (["fresh coffe", "fresh coffee", "fresh coffse"], "unreadable", 3),
        (["frosh coffe", "fresh cffee", "fresh coffse"], "unreadable", 3),
        (["fresh", "fresh", "never looked at"], "misread", 2),
        (["", "", "fresh coffee"], "unreadable", 3),
        (["", "fresh coffee", "fresh coffee"], "read", 3),
        (["", "", ""], "misread", 3),
    ],
)
def test_after_a_first_no_only_two_readings_of_one_mind_decide(looks: list[str], verdict: str, n_looks: int) -> None:
    found = judged(looks)
    assert (found.verdict, found.n_looks) == (verdict, n_looks)


def test_no_more_looks_are_taken_than_needed() -> None:
    taken = []

    def looks():  # type: ignore[no-untyped-def]
        for text in ("fresh coffee", "fresh coffe"):
            taken.append(text)
            yield reading_of([line(text)], ["fresh coffee"], case=False)

    judge(looks(), case=False)
    assert taken == ["fresh coffee"]


def test_one_wrong_string_of_two_is_a_misreading() -> None:
    looks = [reading_of([line("open"), line("daly", y=160)], ["open", "daily"], case=False)] * 2
    assert judge(iter(looks), case=False).verdict == "misread"


def test_a_reading_that_lacks_a_word_is_not_complete() -> None:
    assert not is_complete(reading_of([line("fresh")], ["fresh tea"], case=False))
    assert is_complete(reading_of([line("fresh te")], ["fresh tea"], case=False))


def test_a_ball_is_no_letter() -> None:
    lines = [line("O", x=20, y=20, width=120, height=120), line("fresh coffee", y=300)]
    assert specks(lines, ["fresh coffee"]) == {0}


def test_a_letter_beside_text_of_its_size_is_one() -> None:
    lines = [line("A", x=100, width=30), line("sign", x=140)]
    assert specks(lines, ["a sign"]) == frozenset()
    lines = [line("O", x=105, width=30), line("sign", x=140)]
    assert specks(lines, ["sign"]) == frozenset()


def test_a_lonely_letter_that_was_asked_for_is_one() -> None:
    lines = [line("X", x=20, y=20, width=120, height=120), line("marks the spot", y=300)]
    assert specks(lines, ["X marks the spot"]) == frozenset()


def test_shapes_do_not_enter_the_reading_but_are_kept_beside_it() -> None:
    reading = reading_of([line("O", x=20, y=20, width=120, height=120), line("nly", y=300)], ["only"], case=False)
    assert [each.text for each in reading.shapes] == ["O"]
    assert (reading.spans[0].read, reading.agrees) == ("nly", False)
