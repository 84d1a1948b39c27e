"""What the reader cannot know is unreadable with a reason, never misread: real drawings, the real engine."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from promptforge.models import rapidocr
from promptforge.protocols import Picture, RenderJob
from promptforge.scorers import text
from promptforge.scorers.reading.glyphs import same_but_accents, same_drawing
from promptforge.scorers.text import Text
from promptforge.teachers import canvas

SIGNS = {
    "german": ["Straßenbahn", "frische Brötchen", "GRÜSSE", "Öffnungszeiten"],
    "french": ["crème brûlée", "pâtisserie", "THÉÂTRE", "où est la gare ?"],
    "spanish": ["mañana", "cumpleaños", "ESTACIÓN", "feliz año nuevo"],
    "italian": ["città", "caffè", "libertà", "tè al limone"],
    "portuguese": ["coração", "até amanhã", "PÃO FRESCO", "maçã"],
    "polish": ["żółty", "źródło", "książka", "wesołych świąt"],
    "czech": ["růže", "čerstvý chléb", "nádraží", "dobrou noc"],
    "turkish": ["güneş", "çıkış", "teşekkürler", "kitapçı"],
}
UNREAD = {
    "russian": ["хлеб", "добрый день", "ШКОЛА", "с Новым годом"],
    "greek": ["θάλασσα", "ΚΑΦΕΣ", "καλημέρα", "ΣΤΑΣΗ"],
    "vietnamese": ["phở bò", "lối vào", "CẢM ƠN", "nước mía"],
}


@pytest.fixture(scope="module")
def scorer() -> Text:
    return text.build(text.Params())


def verdicts(scorer: Text, signs: Sequence[str], drawn: Sequence[str] | None = None) -> list[tuple[Any, Any]]:
    """Verdict and reading of a sign for each string; `drawn` is what stands there instead."""
    teacher = canvas.build(canvas.Params(mistake_rate=0, fonts=("roboto-medium", "source-sans-semibold")))
    found = []
    for seed, (wanted, shown) in enumerate(zip(signs, drawn or signs, strict=True)):
        pixels = teacher.render(RenderJob(f'a sign that says "{shown}"', seed)).pixels
        assert pixels is not None
        scores = {s.metric: s for s in scorer.score(Picture(pixels, "", "text_rendering", (wanted,), None))}
        found.append((scores["verdict"].detail, json.loads(scores["reading"].detail or "{}")))
    return found


@pytest.mark.parametrize("language", sorted(SIGNS))
def test_signs_of_latin_languages_are_read(scorer: Text, language: str) -> None:
    assert [verdict for verdict, _ in verdicts(scorer, SIGNS[language])] == ["read"] * 4


@pytest.mark.parametrize("language", sorted(UNREAD))
def test_letters_that_the_reader_does_not_know_are_unreadable_and_named(scorer: Text, language: str) -> None:
    script = {"russian": "Cyrillic", "greek": "Greek", "vietnamese": "Latin"}[language]
    for wanted, (verdict, reading) in zip(UNREAD[language], verdicts(scorer, UNREAD[language]), strict=True):
        assert verdict == "unreadable"
        (fault,) = reading["faults"]
        named, letters = fault.split(": ")
        assert named == f"rapidocr does not know these {script} letters"
        assert set(letters.split(", ")) <= set(wanted)
        assert reading["lines"] == []


def test_a_wrong_letter_in_another_language_is_still_a_misreading(scorer: Text) -> None:
    found = verdicts(scorer, ["frische Brötchen", "pâtisserie"], ["frische Brotkuchen", "pâtissemie"])
    assert [verdict for verdict, _ in found] == ["misread", "misread"]


def test_a_reading_that_differs_in_accents_alone_blames_nobody(scorer: Text) -> None:
    found = verdicts(scorer, ["DZIĘKUJEMY", "město"], ["DZIEKUJEMY", "mésto"])
    assert [verdict for verdict, _ in found] == ["unreadable", "unreadable"]
    assert all("accents" in reading["doubt"] for _, reading in found)


def test_plain_words_drawn_with_accents_are_a_misreading(scorer: Text) -> None:
    assert [verdict for verdict, _ in verdicts(scorer, ["resume"], ["résumé"])] == ["misread"]


@pytest.mark.parametrize(
    ("read", "wanted", "same"),
    [
        ("GOLAB", "GOŁĄB", True),
        ("DENNÉ", "DENNĚ", True),
        ("št'astný", "šťastný", True),
        ("LUNEDİ", "LUNEDÌ", True),
        ("DOČDUN", "DOĞDUN", False),
        ("cafe", "cafe", False),  # no accent was asked for
        ("café", "cafe", False),
    ],
)
def test_accents_are_marks_on_equal_letters(read: str, wanted: str, same: bool) -> None:
    assert same_but_accents(read, wanted) is same


def test_a_dotless_i_looks_like_a_bar() -> None:
    assert same_drawing("kitapç1", "kitapçı")
    assert not same_drawing("kitapça", "kitapçı")


def test_the_alphabet_is_that_of_the_model_file() -> None:
    assert rapidocr.unknown(["Straße, čerstvý, İYİ ışık, 20 €"]) == ()
    assert rapidocr.unknown(["chợ đêm"]) == ("ợ",)
    assert rapidocr.unknown(["ПИР"]) == ("И", "П", "Р")
    assert rapidocr.unknown(["πλοίο", "plain"]) == ("ί", "λ", "ο", "π")
