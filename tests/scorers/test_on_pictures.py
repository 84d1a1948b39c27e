"""The OCR engine on photographs, documents and generated pictures of the evaluation sets; none is committed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from promptforge.models.rapidocr import RapidOcrReader
from promptforge.protocols import Pixels
from promptforge.scorers.reading.metrics import word_recall, words


@pytest.fixture(scope="module")
def pictures(eval_data: Path) -> list[dict[str, Any]]:
    listing = eval_data / "ocr" / "transcripts.jsonl"
    if not listing.is_file():
        pytest.skip(f"no {listing}: the OCR pictures are not among the evaluation sets")
    return [json.loads(line) for line in listing.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def readings(pictures: list[dict[str, Any]], eval_data: Path) -> dict[str, str]:
    reader = RapidOcrReader()
    return {
        row["id"]: " ".join(line.text for line in reader.read(opened(eval_data / "ocr" / row["file"])))
        for row in pictures
    }


def opened(path: Path) -> Pixels:
    """The picture on white, where it is transparent."""
    image = Image.open(path).convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))


def recall(rows: list[dict[str, Any]], readings: dict[str, str]) -> float:
    """Share of all words of these pictures that were read."""
    wanted = [words(row["text"]).total() for row in rows]
    return sum(n * word_recall(readings[row["id"]], row["text"]) for n, row in zip(wanted, rows, strict=True)) / sum(
        wanted
    )


@pytest.mark.parametrize(
    ("kinds", "least"),
    # Measured 0.952, 1 and 0.955. Of single words cut out of photographs, 60 px wide, 4 of 9 are read.
    [(("document", "poster", "scene", "word_crop", "t2i"), 0.93), (("document",), 0.98), (("t2i",), 0.93)],
)
def test_most_english_words_are_read(
    pictures: list[dict[str, Any]], readings: dict[str, str], kinds: tuple[str, ...], least: float
) -> None:
    rows = [row for row in pictures if row["lang"] == "en" and row["kind"] in kinds]
    assert recall(rows, readings) >= least


def test_nothing_is_read_where_a_photograph_has_no_text(
    pictures: list[dict[str, Any]], readings: dict[str, str]
) -> None:
    assert [readings[row["id"]] for row in pictures if row["kind"] == "no_text"] == [""]
