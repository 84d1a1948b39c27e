"""Text in a picture that nobody asked for: signatures, watermarks, letters that a teacher puts on walls.

    metric        unit and range
    n_lines       lines of text, 0 and up
    area_share    [0, 1]: their boxes' area over the picture's; overlaps count once each, at most 1 in all
    words         value null; detail JSON: lines of {text, confidence, box (four corners in px)} in reading order; and
                  fault, where there is one: why the reader said nothing

All null (no lines) where the prompt asks for text or is of the axis text_rendering: there a line is stray only beside
the wanted ones, and the text scorer's word_precision says so. Null too where the reader crashed on the picture twice.
A line counts from `min_confidence` on and with two letters or digits: engines read an O in every ball.
Not covered: whether it disturbs; text upside down; scripts other than those that the reader reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

from promptforge.models.reader_process import Outcome
from promptforge.protocols import Input, Need, Picture, Score, TextLine, TextReader
from promptforge.records import Axis, canonical_json
from promptforge.scorers.reading.readers import (
    EasyOcr,
    ReaderName,
    build_reader,
    identity_of,
    line_as_json,
    outcome,
    outcomes,
)

VERSION = 1
NEEDS: Need = "picture"
INPUTS: tuple[Input, ...] = ("axis", "expected_text")
METRICS = {"n_lines": "number", "area_share": "number", "words": "list"}

_LEAST = 2  # letters or digits


class Params(BaseModel):
    """Which engine reads, and what counts as a line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reader: ReaderName = Field("rapidocr", description="OCR engine: a module of models/")
    easyocr: EasyOcr = Field(default_factory=EasyOcr, description="where EasyOCR reads; auto is English here")
    min_confidence: float = Field(0.6, ge=0, le=1, description="a line that the engine is less sure of is no text")


def build(params: Params, rank: int = 0) -> StrayText:
    """The scorer with its engine loaded."""
    reader = build_reader(params.reader, params.easyocr, rank)
    return (BatchStrayText if params.reader == "easyocr" else StrayText)(reader, params.min_confidence)


def models(params: Params) -> tuple[ReaderName, ...]:
    """The engine that judges."""
    return (params.reader,)


def identity(params: Params) -> Mapping[str, str]:
    """Engine, models and settings that decide a reading; loads no model."""
    return identity_of(params.reader, params.easyocr)


class StrayText:
    """Reads the whole picture once."""

    needs = NEEDS
    inputs = INPUTS

    def __init__(self, reader: TextReader, min_confidence: float = 0.6) -> None:
        self._reader = reader
        self._min_confidence = min_confidence

    def score(self, picture: Picture) -> Sequence[Score]:
        """Every metric, in the order of the module's table."""
        return self._scores(picture, None if asks_for_text(picture) else outcome(self._reader, picture.pixels))

    def _scores(self, picture: Picture, found: Outcome | None) -> Sequence[Score]:
        if found is None or found.fault:
            fault = {"fault": found.fault} if found else {}
            return (Score("n_lines", None), Score("area_share", None), Score("words", None, _words([], fault)))
        lines = [line for line in found.lines if self._counts(line)]
        height, width = picture.pixels.shape[:2]
        share = min(1.0, sum(area(line.box) for line in lines) / (height * width))
        return (
            Score("n_lines", float(len(lines))),
            Score("area_share", share),
            Score("words", None, _words(lines)),
        )

    def _counts(self, line: TextLine) -> bool:
        return line.confidence >= self._min_confidence and sum(map(str.isalnum, line.text)) >= _LEAST


class BatchStrayText(StrayText):
    """The same, many pictures together."""

    def score_many(self, pictures: Sequence[Picture]) -> Sequence[Sequence[Score]]:
        """The scores of each picture, in order."""
        read = [place for place, picture in enumerate(pictures) if not asks_for_text(picture)]
        found = dict(zip(read, outcomes(self._reader, [pictures[place].pixels for place in read]), strict=True))
        return [self._scores(picture, found.get(place)) for place, picture in enumerate(pictures)]


def asks_for_text(picture: Picture) -> bool:
    """Whether the prompt wants any text in the picture."""
    return picture.axis == Axis.TEXT_RENDERING or any(text.strip() for text in picture.expected_text)


def area(corners: Sequence[tuple[float, float]]) -> float:
    """Area of a polygon in square px, by Gauss's shoelace formula."""
    ahead = [*corners[1:], *corners[:1]]
    return abs(sum(x * v - u * y for (x, y), (u, v) in zip(corners, ahead, strict=True))) / 2


def _words(lines: Sequence[TextLine], more: Mapping[str, object] | None = None) -> str:
    return canonical_json({"lines": [line_as_json(line) for line in lines], **(more or {})})
