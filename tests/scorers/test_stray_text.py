"""Text that nobody asked for: on drawings, by readers that always see the same, and on photographs."""

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from promptforge.models.reader_process import LostReading
from promptforge.protocols import Picture, Pixels, RenderJob, TextLine
from promptforge.scorers import stray_text
from promptforge.scorers.stray_text import StrayText, area
from promptforge.teachers import canvas


@pytest.fixture(scope="module")
def scorer() -> StrayText:
    return stray_text.build(stray_text.Params())


class Sees:
    """Always these lines."""

    identity = "by hand"

    def __init__(self, *lines: TextLine) -> None:
        self._lines = lines

    def read(self, pixels: Pixels) -> tuple[TextLine, ...]:
        del pixels
        return self._lines


def line(text: str, confidence: float = 0.9, left: float = 0, width: float = 50, height: float = 20) -> TextLine:
    return TextLine(text, confidence, ((left, 0), (left + width, 0), (left + width, height), (left, height)))


def scored(scorer: StrayText, pixels: Pixels, axis: str = "image_quality", asked: Sequence[str] = ()) -> dict[str, Any]:
    found = scorer.score(Picture(pixels, "", axis, tuple(asked), None))
    assert [score.metric for score in found] == list(stray_text.METRICS)
    return {score.metric: score.value if score.detail is None else json.loads(score.detail) for score in found}


def white(height: int = 100, width: int = 200) -> Pixels:
    return np.full((height, width, 3), 255, dtype=np.uint8)


def test_a_watermark_is_found_with_its_words_and_its_share(scorer: StrayText) -> None:
    spec = find_spec("font_roboto")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    font = ImageFont.truetype(Path(spec.submodule_search_locations[0]) / "files" / "Roboto-Medium.ttf", 40)
    image = Image.new("RGB", (512, 512), (206, 222, 214))
    ImageDraw.Draw(image).text((280, 440), "stock photo", (30, 28, 40), font)
    found = scored(scorer, np.asarray(image))
    assert (found["n_lines"], [each["text"] for each in found["words"]["lines"]]) == (1, ["stock photo"])
    left, top, right, bottom = font.getbbox("stock photo")
    ink = (right - left) * (bottom - top) / 512**2
    assert ink <= found["area_share"] <= 2 * ink


def test_shares_are_areas_of_boxes_over_the_picture() -> None:
    # 50 x 20 and 100 x 20 in 200 x 100: (1000 + 2000) / 20000.
    found = scored(StrayText(Sees(line("one"), line("two", left=60, width=100))), white())
    assert (found["n_lines"], found["area_share"]) == (2, pytest.approx(0.15))
    everywhere = Sees(*(line("all over", width=200, height=100) for _ in range(3)))
    assert scored(StrayText(everywhere), white())["area_share"] == 1


def test_the_area_of_a_slanting_box_is_that_of_the_polygon() -> None:
    # A square with its corners in the middle of the sides of one of 10 x 10: half of it.
    assert area(((5, 0), (10, 5), (5, 10), (0, 5))) == 50
    assert area(((0, 0), (4, 0), (4, 3), (0, 3))) == 12


@pytest.mark.parametrize("text", ["O", "o.", "—", "!?"])
def test_a_single_letter_or_mere_marks_are_no_text(text: str) -> None:
    assert scored(StrayText(Sees(line(text))), white())["n_lines"] == 0


def test_a_line_that_the_reader_doubts_does_not_count() -> None:
    assert scored(StrayText(Sees(line("grass", 0.59), line("sold", 0.6))), white())["n_lines"] == 1


@pytest.mark.parametrize(
    ("axis", "asked"), [("text_rendering", ["open"]), ("text_rendering", []), ("semantic_understanding", ["open"])]
)
def test_where_text_was_asked_for_nothing_is_said(axis: str, asked: list[str]) -> None:
    found = scored(StrayText(Sees(line("open"))), white(), axis, asked)
    assert found == {"n_lines": None, "area_share": None, "words": {"lines": []}}


def test_strings_of_white_space_ask_for_no_text() -> None:
    assert scored(StrayText(Sees(line("open"))), white(), asked=[" "])["n_lines"] == 1


def test_a_reader_that_crashes_says_nothing_and_the_fault_is_recorded() -> None:
    class Crashes:
        identity = "crashes"

        def read(self, pixels: Pixels) -> tuple[TextLine, ...]:
            raise LostReading("no answer within 60 s")

    found = scored(StrayText(Crashes()), white())
    assert found == {
        "n_lines": None,
        "area_share": None,
        "words": {"lines": [], "fault": "no answer within 60 s"},
    }


def test_drawings_of_things_have_no_stray_text(scorer: StrayText) -> None:
    teacher = canvas.build(canvas.Params(mistake_rate=0))
    prompts = ("three red cups and a blue car", "a green bird left of a yellow chair", "seven orange balls")
    drawings = [teacher.render(RenderJob(prompt, seed)).pixels for seed, prompt in enumerate(prompts)]
    assert all(pixels is not None for pixels in drawings)
    found = [scored(scorer, pixels, "semantic_understanding") for pixels in drawings if pixels is not None]
    assert [each["n_lines"] for each in found] == [0, 0, 0]


def test_photographs_without_text_have_none_and_documents_have_much(scorer: StrayText, eval_data: Path) -> None:
    listing = eval_data / "ocr" / "transcripts.jsonl"
    if not listing.is_file():
        pytest.skip(f"no {listing}: the OCR pictures are not among the evaluation sets")
    rows = [json.loads(each) for each in listing.read_text(encoding="utf-8").splitlines()]

    def lines(*kinds: str) -> list[float]:
        found = []
        for row in [row for row in rows if row["kind"] in kinds and row["lang"] in ("en", "")][:4]:
            image = Image.open(eval_data / "ocr" / row["file"]).convert("RGBA")  # some are transparent: on white
            flat = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
            found.append(scored(scorer, np.asarray(flat))["n_lines"])
        return found

    assert lines("no_text", "t2i_no_text") == [0, 0, 0]
    documents = lines("document")
    assert len(documents) == 4
    assert min(documents) >= 1
