"""The text scorer with the real engine, on pictures drawn here."""

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from pydantic import ValidationError

from promptforge.protocols import Picture, Pixels
from promptforge.scorers import text
from promptforge.scorers.text import Text

METRICS = ("exact", "folded", "cer", "ned", "word_recall", "word_precision", "verdict", "reading", "agreement")
FACES = {
    "roboto": ("font_roboto", "Roboto-Regular.ttf"),
    "serif": ("font_source_serif_pro", "SourceSerifPro-Bold.ttf"),
    "caladea": ("font_caladea", "Caladea-Italic.ttf"),
}


@pytest.fixture(scope="module")
def scorer() -> Text:
    return text.build(text.Params())


def draw(lines: Sequence[str], size: int = 48, face: str = "roboto", balls: bool = False) -> Image.Image:
    package, file = FACES[face]
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    font = ImageFont.truetype(Path(spec.submodule_search_locations[0]) / "files" / file, size)
    image = Image.new("RGB", (512, 512), (206, 222, 214))
    pen = ImageDraw.Draw(image)
    if balls:
        pen.ellipse((20, 20, 110, 110), (220, 30, 40))
        pen.ellipse((400, 400, 500, 500), (206, 222, 214), (30, 30, 120), 8)
    for number, line in enumerate(lines):
        pen.text((256, 200 + number * size * 1.3), line, (30, 28, 40), font, anchor="mm")
    return image


def scored(scorer: Text, pixels: Pixels, *wanted: str) -> dict[str, Any]:
    found = scorer.score(Picture(pixels, "", "text_rendering", wanted, None))
    assert tuple(score.metric for score in found) == METRICS
    return {score.metric: score.detail if score.value is None else score.value for score in found}


def seen(scorer: Text, lines: Sequence[str], *wanted: str, **how: Any) -> dict[str, Any]:
    return scored(scorer, np.asarray(draw(lines, **how)), *wanted)


def test_what_was_asked_for_is_read(scorer: Text) -> None:
    found = seen(scorer, ["Lantern Festival"], "Lantern Festival")
    assert [found[name] for name in METRICS[:7]] == [1, 1, 0, 1, 1, 1, "read"]
    (line,) = json.loads(found["reading"])["lines"]
    assert (line["text"], len(line["box"])) == ("Lantern Festival", 4)
    assert json.loads(found["reading"])["n_looks"] == 1


def test_text_over_several_lines_is_one_string(scorer: Text) -> None:
    found = seen(scorer, ["keep the", "garden gate", "closed"], "keep the garden gate closed")
    assert (found["exact"], found["verdict"]) == (1, "read")


def test_two_strings_are_found_in_any_order(scorer: Text) -> None:
    assert seen(scorer, ["OPEN", "until late"], "until late", "OPEN")["exact"] == 1


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(
    ("drawn", "wanted"),
    [
        ("harbuor", "harbour"),  # swapped
        ("harbor", "harbour"),  # dropped
        ("harbbour", "harbour"),  # doubled
        ("harkour", "harbour"),  # substituted
        ("fresh tea", "fresh mint tea"),  # a word is missing
        ("fresh iron tea", "fresh mint tea"),  # another word
    ],
)
def test_a_slip_of_one_letter_or_word_is_a_misreading(scorer: Text, face: str, drawn: str, wanted: str) -> None:
    found = seen(scorer, [drawn], wanted, face=face)
    assert (found["verdict"], found["exact"]) == ("misread", 0)
    assert found["cer"] > 0


def test_case_lowers_exact_alone(scorer: Text) -> None:
    found = seen(scorer, ["GARDEN TEA"], "Garden Tea")
    assert (found["exact"], found["folded"], found["cer"], found["verdict"]) == (0, 1, 0, "read")
    strict = Text(scorer._reader, case=True)
    assert seen(strict, ["GARDEN TEA"], "Garden Tea")["verdict"] == "misread"


def test_stray_text_lowers_word_precision_and_nothing_else(scorer: Text) -> None:
    found = seen(scorer, ["quiet please", "library rules"], "quiet please")
    assert (found["verdict"], found["word_recall"], found["word_precision"]) == ("read", 1, 0.5)


def test_balls_and_rings_are_no_letters(scorer: Text) -> None:
    found = seen(scorer, ["nly today"], "only today", balls=True)
    assert found["verdict"] == "misread"
    found = seen(scorer, ["only today"], "only today", balls=True)
    assert (found["verdict"], found["word_precision"]) == ("read", 1)


def test_text_that_is_not_there_is_a_misreading_in_a_clear_picture(scorer: Text) -> None:
    found = scored(scorer, np.asarray(draw([], balls=True)), "harbour")
    assert (found["verdict"], found["cer"], found["ned"], found["word_recall"]) == ("misread", 1, 0, 0)


@pytest.mark.parametrize("level", [0, 150])
def test_a_plain_or_black_frame_is_unreadable(scorer: Text, level: int) -> None:
    assert scored(scorer, np.full((512, 512, 3), level, dtype=np.uint8), "harbour")["verdict"] == "unreadable"


def test_a_blurred_frame_proves_no_misreading(scorer: Text) -> None:
    blurred = draw(["harbour"], size=30).filter(ImageFilter.GaussianBlur(9))
    assert scored(scorer, np.asarray(blurred), "harbour")["verdict"] == "unreadable"


def test_a_dark_picture_is_still_read(scorer: Text) -> None:
    dark = np.asarray(draw(["harbour lights"])) // 12
    assert scored(scorer, dark, "harbour lights")["verdict"] == "read"


def test_strings_of_white_space_ask_for_nothing(scorer: Text) -> None:
    found = seen(scorer, ["harbour"], " ", "\n")
    assert (found["verdict"], found["exact"], found["cer"]) == ("unreadable", None, None)


def test_scoring_twice_gives_the_same(scorer: Text) -> None:
    assert seen(scorer, ["harbuor"], "harbour") == seen(scorer, ["harbuor"], "harbour")


def test_an_unknown_reader_is_refused() -> None:
    with pytest.raises(ValidationError, match="rapidocr"):
        text.Params.model_validate({"reader": "tesseract"})


def test_importing_and_naming_load_no_engine() -> None:
    code = (
        "import sys\nfrom promptforge.scorers import text\n"
        "assert len(text.identity(text.Params())) >= 5\n"
        "print(sorted({'rapidocr', 'onnxruntime', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
