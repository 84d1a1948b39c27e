"""Two readers of one picture: by hand-made readers that always see the same, and by a real one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from promptforge.models.rapidocr import RapidOcrReader
from promptforge.models.reader_process import LostReading
from promptforge.protocols import Picture, Pixels, RenderJob, TextLine, TextReader
from promptforge.scorers import text
from promptforge.scorers.reading.accord import settle, slips
from promptforge.scorers.reading.judge import Judgement, Verdict, reading_of
from promptforge.scorers.reading.readers import EasyOcr
from promptforge.teachers import canvas


class Sees:
    """Reads these lines in every picture; several sets of lines are what it sees look by look."""

    identity = "by hand"

    def __init__(self, *looks: str) -> None:
        self._looks = list(looks)
        self._n = 0

    def read(self, pixels: Pixels) -> tuple[TextLine, ...]:
        del pixels
        seen = self._looks[min(self._n, len(self._looks) - 1)]
        self._n += 1
        lines = [each for each in seen.split("|") if each]
        return tuple(
            TextLine(each, 0.9, ((10.0, 30.0 * n), (200.0, 30.0 * n), (200.0, 30.0 * n + 20), (10.0, 30.0 * n + 20)))
            for n, each in enumerate(lines, 1)
        )


class Crashes:
    identity = "crashes"

    def read(self, pixels: Pixels) -> tuple[TextLine, ...]:
        raise LostReading("no answer within 60 s")


WAVERS = ("lakern", "lantarn", "iantem")


def board() -> Pixels:
    """Sharp black bars on white: a frame in which letters could be told."""
    pixels = np.full((256, 256, 3), 240, dtype=np.uint8)
    pixels[60:180:8, 40:216] = 20
    return pixels


def scored(first: TextReader, second: TextReader | None, *wanted: str, **how: Any) -> dict[str, Any]:
    found = text.Text(first, second, **how).score(Picture(board(), "", "text_rendering", wanted, None))
    assert {score.metric for score in found} == set(text.METRICS)
    return {score.metric: score.detail if score.value is None else score.value for score in found}


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        (["lantern"], ["lantern"], "read"),
        (["lantern"], ["LANTERN"], "read"),
        # One is right; the other is blind, or sees something else each time.
        (["lantern"], [""], "read"),
        ([""], ["lantern"], "read"),
        (["lantern"], WAVERS, "read"),
        # One is right and the other firmly sees another string: what a mended misspelling looks like.
        (["lantern"], ["lantren"], "unreadable"),
        (["lantren"], ["lantern"], "unreadable"),
        # Both wrong in the same way, one of them with an error of its own on top.
        (["lantren"], ["lantren"], "misread"),
        (["lantrn"], ["lantrn!"], "misread"),
        (["the lamtern is lit"], ["the lamtern is lil"], "misread"),
        # Both wrong, in different ways.
        (["lantarn"], ["lontern"], "unreadable"),
        (["castle"], ["bridge"], "unreadable"),
        (["lantren"], [""], "unreadable"),
        # One firm, the other wavering about the same slip, or about others.
        (["lantarn"], ["lantarm", "lantarx", "iantarnn"], "misread"),
        (["lontern"], WAVERS, "unreadable"),
        # Text that shares no letter with the wanted is something else in the picture.
        (["lantern"], ["fog"], "read"),
        (["fog"], ["mud"], "misread"),
        (["lantren"], ["fog"], "unreadable"),
        # Neither firm.
        (WAVERS, WAVERS, "unreadable"),
        # The text is not there.
        ([""], [""], "misread"),
    ],
)
def test_the_verdict_of_two(first: list[str], second: list[str], verdict: str) -> None:
    wanted = "the lantern is lit" if "the" in first[0] else "lantern"
    assert scored(Sees(*first), Sees(*second), wanted)["verdict"] == verdict


def test_strings_may_stand_in_any_order_and_over_several_lines() -> None:
    found = scored(Sees("OPEN|until late"), Sees("until|late|OPEN"), "until late", "OPEN")
    assert (found["verdict"], found["agreement"]) == ("read", 1)


def test_values_are_those_of_the_reader_that_the_verdict_rests_on() -> None:
    found = scored(Sees(*WAVERS), Sees("lantern"), "lantern")
    reading = json.loads(found["reading"])
    assert (found["verdict"], found["exact"], found["cer"], reading["reader"]) == ("read", 1, 0, "second")
    assert [line["text"] for line in reading["lines"]] == ["lantern"]
    assert reading["other"]["verdict"] == "unreadable"
    assert reading["other"]["n_looks"] == 3
    blind = scored(Sees(""), Sees("lantren"), "lantern")
    assert (blind["verdict"], json.loads(blind["reading"])["reader"]) == ("unreadable", "second")


def test_agreement_is_the_likeness_of_the_two_readings() -> None:
    # tea against tee: one of three letters differs.
    assert scored(Sees("tea"), Sees("tee"), "tea")["agreement"] == pytest.approx(2 / 3)
    assert scored(Sees(""), Sees(""), "tea")["agreement"] == 1
    assert scored(Sees("tea"), Sees(""), "tea")["agreement"] == 0
    assert scored(Sees("tea"), None, "tea")["agreement"] is None


def test_case_counts_for_both_where_it_counts() -> None:
    assert scored(Sees("Lantern"), Sees("LANTERN"), "Lantern", case=True)["verdict"] == "unreadable"
    assert scored(Sees("LANTERN"), Sees("LANTERN"), "Lantern", case=True)["verdict"] == "misread"


def test_a_reader_that_crashes_says_nothing_and_the_fault_is_recorded() -> None:
    alone = scored(Crashes(), None, "lantern")
    assert (alone["verdict"], alone["exact"], alone["cer"], alone["word_precision"]) == ("unreadable", None, None, None)
    assert json.loads(alone["reading"])["faults"] == ["no answer within 60 s"]
    other = scored(Crashes(), Sees("lantern"), "lantern")
    assert (other["verdict"], other["exact"], other["agreement"]) == ("read", 1, None)
    assert json.loads(other["reading"])["faults"] == ["no answer within 60 s", None]
    assert scored(Sees("lantren"), Crashes(), "lantern")["verdict"] == "unreadable"
    assert scored(Crashes(), Crashes(), "lantern")["exact"] is None
    assert scored(Sees(""), Crashes(), "lantern")["verdict"] == "unreadable"


def test_one_reader_says_what_it_said_before() -> None:
    found = scored(Sees("lantren"), None, "lantern")
    assert found["verdict"] == "misread"
    assert sorted(json.loads(found["reading"])) == ["lines", "n_looks", "shapes"]


def test_slips_are_places_and_letters() -> None:
    def of(read: str, wanted: str) -> frozenset[tuple[str, int, str]]:
        box = ((0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 9.0))
        return slips(Judgement("misread", reading_of([TextLine(read, 1, box)], [wanted], case=False), 1))

    assert of("cot", "cat") == {("replace", 1, "o")}
    assert of("Coffe", "coffee") <= {("delete", 4, ""), ("delete", 5, "")}
    assert of("red tea", "red mint tea") == {("delete", place, "") for place in (3, 4, 5, 6)}
    assert of("bil1", "bill") == frozenset()


STRINGS = st.sampled_from(["lantern", "lantren", "lantarn", "", "bridge", "l"])
VERDICTS: st.SearchStrategy[Verdict] = st.sampled_from(["misread", "unreadable"])


@given(STRINGS, STRINGS, VERDICTS, VERDICTS)
def test_the_verdict_does_not_depend_on_who_is_first(one: str, other: str, said: Verdict, told: Verdict) -> None:
    box = ((0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 9.0))

    def judged(read: str, verdict: Verdict) -> Judgement:
        reading = reading_of([TextLine(read, 1, box)] if read else [], ["lantern"], case=False)
        return Judgement("read" if reading.agrees else verdict, reading, 1)

    ahead, back = settle(judged(one, said), judged(other, told)), settle(judged(other, told), judged(one, said))
    assert (ahead.verdict, ahead.agreement) == (back.verdict, back.agreement)
    assert 0 <= ahead.agreement <= 1
    if one == other:
        assert ahead.agreement == 1


@pytest.fixture(scope="module")
def rapid() -> RapidOcrReader:
    return RapidOcrReader()


class SeenFromAfar:
    """The same engine on the picture at 0.8 of its size: a second opinion that is wrong on its own at times."""

    identity = "rapidocr from afar"

    def __init__(self, reader: RapidOcrReader) -> None:
        self._reader = reader

    def read(self, pixels: Pixels) -> tuple[TextLine, ...]:
        image = Image.fromarray(pixels)
        return self._reader.read(np.asarray(image.resize((image.width * 4 // 5, image.height * 4 // 5))))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("rate", "verdict"), [(0.0, "read"), (1.0, "misread")])
def test_planted_misspellings_are_found_by_two(rapid: RapidOcrReader, rate: float, verdict: str, seed: int) -> None:
    teacher = canvas.build(canvas.Params(mistake_rate=rate, weights={"misspelling": 1.0}, fonts=("roboto-bold",)))
    drawing = teacher.render(RenderJob('a sign that says "Lantern Festival"', seed))
    assert drawing.pixels is not None
    picture = Picture(drawing.pixels, "", "text_rendering", ("Lantern Festival",), None)
    found = {score.metric: score for score in text.Text(rapid, SeenFromAfar(rapid)).score(picture)}
    assert found["verdict"].detail == verdict, drawing.truth
    # A slip of one letter of 16 costs a swap two edits at most: 2 / 16.
    assert found["cer"].value == 0 if verdict == "read" else 0 < (found["cer"].value or 0) <= 2 / 16
    assert (found["agreement"].value or 0) > 0.9


@pytest.mark.parametrize("two", [False, True])
def test_on_generated_pictures_the_wrong_is_accused_and_the_right_never(
    rapid: RapidOcrReader, eval_data: Path, two: bool
) -> None:
    """Eight pictures of other teachers; five are as asked. In one of the rest a word stands twice: not a misreading."""
    listing = eval_data / "ocr" / "transcripts.jsonl"
    if not listing.is_file():
        pytest.skip(f"no {listing}: the OCR pictures are not among the evaluation sets")
    rows = [json.loads(line) for line in listing.read_text(encoding="utf-8").splitlines()]
    scorer = text.Text(rapid, SeenFromAfar(rapid) if two else None)
    verdicts: dict[bool, list[str | None]] = {True: [], False: []}
    for row in (row for row in rows if row["kind"] == "t2i"):
        pixels = np.asarray(Image.open(eval_data / "ocr" / row["file"]).convert("RGB"))
        found = scorer.score(Picture(pixels, "", "text_rendering", tuple(row["asked_text"]), None))
        verdicts[row["rendered_as_asked"]] += [score.detail for score in found if score.metric == "verdict"]
    assert [len(verdicts[as_asked]) for as_asked in (True, False)] == [5, 3]
    assert "misread" not in verdicts[True]
    assert verdicts[True].count("read") >= 3
    assert verdicts[False].count("misread") == 2


def test_two_readers_are_two() -> None:
    with pytest.raises(ValidationError, match="reader and second are both rapidocr"):
        text.Params.model_validate({"second": "rapidocr"})
    assert text.models(text.Params()) == ("rapidocr",)
    assert text.models(text.Params(second="easyocr")) == ("rapidocr", "easyocr")


def test_only_what_decides_a_reading_is_in_the_parameters_that_make_a_digest() -> None:
    params = text.Params(second="easyocr", easyocr=EasyOcr(folder="/models", n_pictures=7, languages=("de",)))
    assert params.model_dump(mode="json") == {
        "reader": "rapidocr",
        "second": "easyocr",
        "easyocr": {"languages": ["de"]},
        "case": False,
    }


@pytest.mark.parametrize("languages", [["th", "ru"], ["english"], []])
def test_languages_that_easyocr_cannot_read_are_refused_with_the_parameters(languages: list[str]) -> None:
    with pytest.raises(ValidationError, match="EasyOCR languages"):
        text.Params.model_validate({"reader": "easyocr", "easyocr": {"languages": languages}})
