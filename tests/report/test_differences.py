"""Letters that differ between what was to be written and what was read."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptforge.report.differences import MOST, compare


@pytest.mark.parametrize(
    ("wanted", "read", "left", "right"),
    [
        ("OPEN", "OPAN", ["OP", "*E", "N"], ["OP", "*A", "N"]),
        ("OPEN", "open", ["OPEN"], ["open"]),  # case is not minded
        ("TEA", "TEAS", ["TEA"], ["TEA", "*S"]),
        ("Slow Down", "Slw Down", ["Sl", "*o", "w Down"], ["Slw Down"]),
        ("TEA", "", ["*TEA"], []),
    ],
)
def test_only_letters_that_differ_are_marked(wanted: str, read: str, left: list[str], right: list[str]) -> None:
    found = compare(wanted, read)
    marked = [["*" * differs + letters for letters, differs in side] for side in (found.wanted, found.read)]
    # Neighbouring pieces of one kind may come apart where the other side has something in between.
    assert [_joined(side) for side in marked] == [left, right]


def _joined(pieces: list[str]) -> list[str]:
    made: list[str] = []
    for piece in pieces:
        if made and piece.startswith("*") == made[-1].startswith("*"):
            made[-1] += piece.removeprefix("*")
        else:
            made.append(piece)
    return made


@settings(derandomize=True, max_examples=200)
@given(st.text(max_size=40), st.text(max_size=40))
def test_pieces_join_to_the_texts_and_what_is_unmarked_is_common(wanted: str, read: str) -> None:
    found = compare(wanted, read)
    assert "".join(letters for letters, _ in found.wanted) == wanted
    assert "".join(letters for letters, _ in found.read) == read
    common = ["".join(letters for letters, differs in side if not differs) for side in (found.wanted, found.read)]
    assert common[0].lower() == common[1].lower()
    assert found.same == (wanted == read or (wanted.lower() == read.lower() and found.same))


def test_endless_readings_are_cut() -> None:
    assert len(compare("x" * 10_000, "y" * 10_000).read[0][0]) == MOST
