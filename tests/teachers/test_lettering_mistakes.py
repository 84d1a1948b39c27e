"""Slips in strings of other alphabets, and drawings of several lines and tall accents."""

import unicodedata

import numpy as np
import pytest

from promptforge.protocols import RenderJob
from promptforge.teachers import canvas
from promptforge.teachers.drawing import mistakes
from promptforge.teachers.drawing.faces import Face


def bare(text: str) -> str:
    plain = text.casefold().translate(str.maketrans("łøđı", "lodi"))
    return "".join(c for c in unicodedata.normalize("NFD", plain) if not unicodedata.combining(c))


@pytest.mark.parametrize("word", ["růže", "gołąb", "çıkış", "хлеб", "θάλασσα", "coração"])
def test_a_slip_is_more_than_a_lost_accent_and_stays_in_its_alphabet(word: str) -> None:
    script = unicodedata.name(word[0]).split()[0]
    for seed in range(200):
        spoilt = mistakes.spoil("misspelling", [word], np.random.default_rng(seed))
        assert spoilt is not None
        assert bare(spoilt[0]) != bare(word)
        assert {unicodedata.name(c).split()[0] for c in spoilt[0]} == {script}


def test_several_strings_stand_on_lines_of_their_own() -> None:
    teacher = canvas.build(canvas.Params(mistake_rate=0))
    drawn = teacher.render(RenderJob('a board that reads "SOUP $5", "TEA $2" and "open daily"', 3))
    assert drawn.truth is not None
    assert drawn.truth["lines"] == ["SOUP $5", "TEA $2", "open daily"]
    assert drawn.truth["drawn_text"] == ["SOUP $5", "TEA $2", "open daily"]


@pytest.mark.parametrize("name", ["roboto-black", "source-sans", "source-serif-bold"])
def test_two_accents_on_a_capital_fit_between_two_lines(name: str) -> None:
    """Ink of a line ends below the base line of the line above it, at the pitch that lines are set at."""
    face = Face(name)
    font = face.at(100)
    highest = -font.getbbox("ẤẪỔẾ", anchor="ls")[1]
    lowest = font.getbbox("ỰỌẠ", anchor="ls")[3]
    assert highest <= 122  # the pitch is 1.22 em: an accent never reaches the base line above
    assert highest + lowest <= 125  # and meets a dot or tail of it by 0.03 em at most
