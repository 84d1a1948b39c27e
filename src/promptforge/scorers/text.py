"""Text rendering: does the picture show the strings that the prompt asked for? Read by an OCR engine.

    metric           unit and range
    exact            0 or 1: every string is read exactly, case included (NFKC, white space collapsed)
    folded           0 or 1: the same without case
    cer              [0, inf): edits per wanted character, over all strings; case folded
    ned              [0, 1]: 1 less the edits over the longer side, 1 is exact; mean over strings by their length
    word_recall      [0, 1]: share of the wanted words that were read
    word_precision   [0, 1]: share of the read words, all lines counted, that were wanted; stray text lowers it
    verdict          value null; detail read, misread or unreadable (see reading/judge.py)
    reading          value null; detail JSON: lines of {text, confidence, box (four corners in px)} in reading order,
                     n_looks, and shapes: what the engine read in balls and bars, which counts nowhere

The verdict asks whether the drawing is wrong, not whether the reading is perfect: lost blanks and punctuation, and
letters that look alike, are no misreading (reading/glyphs.py). Case counts only with Params.case.
Where no string is left to look for after white space is dropped, every value is null and the verdict unreadable.
Not covered: typeface, colour and placement of the text; text upside down;
text drawn more often than asked for, which lowers word_precision alone; a missing / or + between words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from promptforge.protocols import Input, Need, Picture, Pixels, Score, TextReader
from promptforge.records import canonical_json
from promptforge.scorers.frame.measures import blur_of, brightest, is_flat, luma_of
from promptforge.scorers.reading import metrics
from promptforge.scorers.reading.judge import Judgement, Reading, is_complete, judge, reading_of
from promptforge.scorers.reading.passes import further_looks, look_again

VERSION = 1
NEEDS: Need = "expected_text"
INPUTS: tuple[Input, ...] = ("expected_text",)

#: The defaults of the technical scorer; here they only turn a misreading into an abstention.
_MAX_BLUR = 0.62
_MAX_BLACK = 0.14


class Params(BaseModel):
    """Which engine reads, and how strictly."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reader: Literal["rapidocr"] = Field("rapidocr", description="OCR engine: a module of models/")
    case: bool = Field(
        False, description="whether the verdict minds case (letters of one shape, like o and O, never count)"
    )


def build(params: Params, rank: int = 0) -> Text:
    """The scorer with its engine loaded (1 to 2 s, 275 MB)."""
    del rank
    from promptforge.models.rapidocr import RapidOcrReader

    readers: dict[str, Callable[[], TextReader]] = {"rapidocr": RapidOcrReader}
    return Text(readers[params.reader](), case=params.case)


def identity(params: Params) -> Mapping[str, str]:
    """Engine, models and settings that decide a reading; loads no model."""
    from importlib.metadata import version

    from promptforge.models import rapidocr

    modules = {"rapidocr": rapidocr}
    return {
        **modules[params.reader].identity(),
        "distances": f"rapidfuzz {version('rapidfuzz')}",
        "second look": f"pillow {version('pillow')}",
        "blur": f"scikit-image {version('scikit-image')}",
    }


class Text:
    """Reads the picture and compares. A picture that agrees at once is read once, others up to three times."""

    needs = NEEDS
    inputs = INPUTS

    def __init__(self, reader: TextReader, *, case: bool = False) -> None:
        self._reader = reader
        self._case = case

    def score(self, picture: Picture) -> Sequence[Score]:
        """Every metric, in the order of the module's table."""
        wanted = [metrics.collapsed(text) for text in picture.expected_text if metrics.collapsed(text)]
        if not wanted:
            return _nothing_wanted()
        judgement = judge(self._looks(picture, wanted), case=self._case)
        if judgement.verdict == "misread" and not shows_letters(picture.pixels):
            judgement = replace(judgement, verdict="unreadable")
        return _scores(judgement)

    def _looks(self, picture: Picture, wanted: Sequence[str]) -> Iterator[Reading]:
        first = reading_of(self._reader.read(picture.pixels), wanted, case=self._case)
        yield first
        for look in further_looks(is_complete(first)):
            lines = look_again(self._reader, picture.pixels, first.lines, look)
            yield reading_of(lines, wanted, case=self._case)


def shows_letters(pixels: Pixels) -> bool:
    """Whether letters could be told at all: not in a plain, black or blurred frame, which proves no misreading."""
    luma = luma_of(pixels)
    blur = None if is_flat(pixels) else blur_of(luma)
    return blur is not None and blur <= _MAX_BLUR and brightest(luma) > _MAX_BLACK


_VALUES: tuple[str, ...] = ("exact", "folded", "cer", "ned", "word_recall", "word_precision")
METRICS = {**dict.fromkeys(_VALUES, "number"), "verdict": "word", "reading": "list"}


def _scores(judgement: Judgement) -> Sequence[Score]:
    spans = judgement.reading.spans
    read, wanted = " ".join(span.read for span in spans), " ".join(span.wanted for span in spans)
    everything = " ".join(line.text for line in judgement.reading.lines)
    weights = [max(len(metrics.folded(span.read)), len(metrics.folded(span.wanted))) for span in spans]
    likeness = [metrics.normalized_edit_similarity(span.read, span.wanted) for span in spans]
    edits = sum(metrics.edit_distance(span.read, span.wanted) for span in spans)
    values = (
        float(all(metrics.exact_match(span.read, span.wanted) for span in spans)),
        float(all(metrics.folded_match(span.read, span.wanted) for span in spans)),
        edits / sum(len(metrics.folded(span.wanted)) for span in spans),
        sum(w * s for w, s in zip(weights, likeness, strict=True)) / sum(weights),
        metrics.word_recall(read, wanted),
        metrics.word_precision(everything, wanted),
    )
    return (
        *(Score(name, value) for name, value in zip(_VALUES, values, strict=True)),
        Score("verdict", None, judgement.verdict),
        Score("reading", None, _reading(judgement.reading, judgement.n_looks)),
    )


def _nothing_wanted() -> Sequence[Score]:
    return (
        *(Score(name, None) for name in _VALUES),
        Score("verdict", None, "unreadable"),
        Score("reading", None, _reading(Reading((), (), (), False), 0)),
    )


def _reading(reading: Reading, n_looks: int) -> str:
    found: list[dict[str, Any]] = [
        {
            "text": line.text,
            "confidence": round(line.confidence, 4),
            "box": [[round(x, 1), round(y, 1)] for x, y in line.box],
        }
        for line in reading.lines
    ]
    return canonical_json({"lines": found, "n_looks": n_looks, "shapes": [line.text for line in reading.shapes]})
