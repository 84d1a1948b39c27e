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
                     n_looks, and shapes: what the engine read in balls and bars, which counts nowhere; with two
                     readers also reader, the one that this is, and other, what the other reader said; faults: why a
                     reader said nothing; doubt: why a misreading proves nothing
    agreement        [0, 1]: how alike two readers' readings of the wanted strings are, as ned; null with one reader

The verdict asks whether the drawing is wrong, not whether the reading is perfect: lost blanks and punctuation, and
letters that look alike, are no misreading (reading/glyphs.py). Case counts only with Params.case. A reading that
differs in accents alone is unreadable: RapidOCR loses or changes one in 6 of 100 right Polish, Czech and Turkish signs.
Where no string is left to look for after white space is dropped, or no reader could read (it crashed on the picture
twice, or does not know all the letters), every value is null and the verdict unreadable. With two readers the verdict
is that of reading/accord.py, and the values are those of the reader that it rests on.
Not covered: typeface, colour and placement of the text; text upside down;
text drawn more often than asked for, which lowers word_precision alone; a missing / or + between words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from promptforge.models.reader_process import LostReading, Outcome
from promptforge.protocols import Input, Need, Picture, Pixels, Score, TextLine, TextReader
from promptforge.records import canonical_json
from promptforge.scorers.frame.measures import blur_of, brightest, is_flat, luma_of
from promptforge.scorers.reading import metrics
from promptforge.scorers.reading.accord import settle
from promptforge.scorers.reading.glyphs import same_but_accents, same_drawing
from promptforge.scorers.reading.judge import Judgement, Reading, is_complete, judge, reading_of
from promptforge.scorers.reading.passes import further_looks, look_again
from promptforge.scorers.reading.readers import (
    EasyOcr,
    ReaderName,
    build_reader,
    identity_of,
    line_as_json,
    outcomes,
    suited,
    why_unsuited,
)

VERSION = 4
NEEDS: Need = "expected_text"
INPUTS: tuple[Input, ...] = ("expected_text",)

#: The defaults of the technical scorer; here they only turn a misreading into an abstention.
_MAX_BLUR = 0.62
_MAX_BLACK = 0.14
#: Shorter side in px: in crops 17 to 26 px high the engine sees none of the words that a person reads.
_MIN_SIDE = 32


class Params(BaseModel):
    """Which engines read, and how strictly."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reader: ReaderName = Field("rapidocr", description="OCR engine: a module of models/")
    second: ReaderName | None = Field(None, description="another engine, whose word is heard too")
    easyocr: EasyOcr = Field(default_factory=EasyOcr, description="where EasyOCR is one of them")
    case: bool = Field(
        False, description="whether the verdict minds case (letters of one shape, like o and O, never count)"
    )

    @model_validator(mode="after")
    def _two_are_two(self) -> Params:
        if self.reader == self.second:
            raise ValueError(f"reader and second are both {self.second}; leave second out, or take another engine")
        return self


def build(params: Params, rank: int = 0) -> Text:
    """The scorer with its engines loaded (RapidOCR: 1 to 2 s, 275 MB; EasyOCR: 5 s, 1 GB in a process of its own)."""
    readers = tuple(build_reader(name, params.easyocr, rank) for name in models(params))
    return (BatchText if "easyocr" in models(params) else Text)(*readers, case=params.case)


def models(params: Params) -> tuple[ReaderName, ...]:
    """The engines that judge."""
    return (params.reader,) if params.second is None else (params.reader, params.second)


def identity(params: Params) -> Mapping[str, str]:
    """Engines, models and settings that decide a reading; loads no model."""
    second = identity_of(params.second, params.easyocr) if params.second else {}
    return {
        **identity_of(params.reader, params.easyocr),
        **{f"second {name}": value for name, value in second.items()},
        "distances": f"rapidfuzz {version('rapidfuzz')}",
        "second look": f"pillow {version('pillow')}",
        "blur": f"scikit-image {version('scikit-image')}",
    }


@dataclass(frozen=True, slots=True)
class _Opinion:
    """What one reader says of a picture; `fault` is why it could say nothing."""

    judgement: Judgement
    fault: str | None = None
    doubt: str | None = None


class Text:
    """Reads the picture and compares. A picture that agrees at once is read once, others up to three times."""

    needs = NEEDS
    inputs = INPUTS

    def __init__(self, reader: TextReader, second: TextReader | None = None, *, case: bool = False) -> None:
        self._reader = reader
        self._readers = (reader,) if second is None else (reader, second)
        self._case = case

    def score(self, picture: Picture) -> Sequence[Score]:
        """Every metric, in the order of the module's table."""
        return self._score(picture, [None] * len(self._readers))

    def _score(self, picture: Picture, firsts: Sequence[Outcome | None]) -> Sequence[Score]:
        wanted = wanted_in(picture)
        if not wanted:
            return _nothing({"lines": [], "n_looks": 0, "shapes": []})
        said = [
            self._opinion(reader, picture.pixels, wanted, first)
            for reader, first in zip(self._readers, firsts, strict=True)
        ]
        faults = {"faults": [one.fault for one in said]} if any(one.fault for one in said) else {}
        if all(one.fault for one in said):
            return _nothing({"lines": [], "n_looks": 0, "shapes": [], **faults})
        if len(said) == 1:
            return _scores(said[0].judgement, None, _doubt(said[0]))
        accord = settle(said[0].judgement, said[1].judgement, case=self._case)
        chosen, other = said[accord.rests_on].judgement, said[1 - accord.rests_on].judgement
        names = ("first", "second")
        more: dict[str, Any] = {
            **(_doubt(said[accord.rests_on]) if accord.verdict == "unreadable" else {}),
            "reader": names[accord.rests_on],
            "other": {**_reading(other), "verdict": other.verdict},
            **faults,
        }
        return _scores(replace(chosen, verdict=accord.verdict), None if faults else accord.agreement, more)

    def _opinion(self, reader: TextReader, pixels: Pixels, wanted: Sequence[str], first: Outcome | None) -> _Opinion:
        blank = Judgement("unreadable", reading_of((), wanted, case=self._case), 0)
        able = suited(reader, wanted)
        if able is None:
            return _Opinion(blank, why_unsuited(reader, wanted))
        try:
            judgement = judge(self._looks(able, pixels, wanted, first), case=self._case)
        except LostReading as exc:
            return _Opinion(blank, str(exc))
        doubt = _doubt_of(judgement, pixels) if judgement.verdict == "misread" else None
        return _Opinion(replace(judgement, verdict="unreadable") if doubt else judgement, doubt=doubt)

    def _looks(
        self, reader: TextReader, pixels: Pixels, wanted: Sequence[str], first: Outcome | None
    ) -> Iterator[Reading]:
        reading = reading_of(_lines(reader, pixels, first), wanted, case=self._case)
        yield reading
        for look in further_looks(is_complete(reading)):
            lines = look_again(reader, pixels, reading.lines, look)
            yield reading_of(lines, wanted, case=self._case)


class BatchText(Text):
    """The same, with the first look at many pictures taken together where the engine can."""

    def score_many(self, pictures: Sequence[Picture]) -> Sequence[Sequence[Score]]:
        """The scores of each picture, in order."""
        firsts = zip(*(self._first_looks(reader, pictures) for reader in self._readers), strict=True)
        return [self._score(picture, first) for picture, first in zip(pictures, firsts, strict=True)]

    @staticmethod
    def _first_looks(reader: TextReader, pictures: Sequence[Picture]) -> list[Outcome | None]:
        found: list[Outcome | None] = [None] * len(pictures)
        groups: dict[str, tuple[TextReader, list[int]]] = {}
        for place, picture in enumerate(pictures):
            wanted = wanted_in(picture)
            able = suited(reader, wanted) if wanted else None
            if able is not None:
                groups.setdefault(able.identity, (able, []))[1].append(place)
        for able, places in groups.values():
            for place, outcome in zip(places, outcomes(able, [pictures[i].pixels for i in places]), strict=True):
                found[place] = outcome
        return found


def wanted_in(picture: Picture) -> list[str]:
    """The strings to look for, white space collapsed; none that is nothing but white space."""
    return [text for each in picture.expected_text if (text := metrics.collapsed(each))]


def _lines(reader: TextReader, pixels: Pixels, first: Outcome | None) -> Sequence[TextLine]:
    if first is None:
        return reader.read(pixels)
    if first.fault:
        raise LostReading(first.fault)
    return first.lines


def _doubt_of(judgement: Judgement, pixels: Pixels) -> str | None:
    """Why a misreading proves nothing, if so."""
    if not shows_letters(pixels):
        return "the picture is plain, black, blurred or tiny"
    spans = judgement.reading.spans
    wrong = [span for span in spans if not same_drawing(span.read, span.wanted)]
    if wrong and all(same_but_accents(span.read, span.wanted) for span in wrong):
        return "accents alone are read otherwise, which the reader often gets wrong"
    return None


def _doubt(opinion: _Opinion) -> dict[str, str]:
    return {"doubt": opinion.doubt} if opinion.doubt else {}


def shows_letters(pixels: Pixels) -> bool:
    """Whether letters could be told at all; a plain, black, blurred or tiny frame proves no misreading."""
    if min(pixels.shape[:2]) < _MIN_SIDE:
        return False
    luma = luma_of(pixels)
    blur = None if is_flat(pixels) else blur_of(luma)
    return blur is not None and blur <= _MAX_BLUR and brightest(luma) > _MAX_BLACK


_VALUES: tuple[str, ...] = ("exact", "folded", "cer", "ned", "word_recall", "word_precision")
METRICS = {**dict.fromkeys(_VALUES, "number"), "verdict": "word", "reading": "list", "agreement": "number"}


def _scores(judgement: Judgement, agreement: float | None, more: Mapping[str, Any]) -> Sequence[Score]:
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
        Score("reading", None, canonical_json({**_reading(judgement), **more})),
        Score("agreement", agreement),
    )


def _nothing(reading: Mapping[str, Any]) -> Sequence[Score]:
    return (
        *(Score(name, None) for name in _VALUES),
        Score("verdict", None, "unreadable"),
        Score("reading", None, canonical_json(reading)),
        Score("agreement", None),
    )


def _reading(judgement: Judgement) -> dict[str, Any]:
    return {
        "lines": [line_as_json(line) for line in judgement.reading.lines],
        "n_looks": judgement.n_looks,
        "shapes": [line.text for line in judgement.reading.shapes],
    }
