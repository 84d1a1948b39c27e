"""read, misread or unreadable: what up to three readings of one picture say about the text in it.

    read        the first reading can be a right drawing of every wanted string, or two later ones can
    misread     two readings agree with each other and differ from what was wanted
    unreadable  the readings contradict each other

The wanted strings are compared with, never used to mend a reading: after a first no, only two readings of one
mind give a verdict. Where every look finds nothing the text is not there, which is a misreading too; two
empty looks are not enough, since a detector's blind spots outlast a change of scale more often than its errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from promptforge.protocols import TextLine
from promptforge.scorers.reading.glyphs import essence, same_drawing
from promptforge.scorers.reading.match import Span, match
from promptforge.scorers.reading.specks import specks

Verdict = Literal["read", "misread", "unreadable"]


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the picture: its lines of text without shapes, and which of them stand for which string."""

    lines: tuple[TextLine, ...]
    shapes: tuple[TextLine, ...]
    spans: tuple[Span, ...]
    agrees: bool


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict and the reading it rests on."""

    verdict: Verdict
    reading: Reading
    n_looks: int


def reading_of(lines: Sequence[TextLine], wanted: Sequence[str], *, case: bool) -> Reading:
    """Set shapes aside and match the other lines of one look with the wanted strings."""
    aside = specks(lines, wanted)
    text = tuple(line for number, line in enumerate(lines) if number not in aside)
    spans = match([line.text for line in text], wanted)
    return Reading(
        lines=text,
        shapes=tuple(line for number, line in enumerate(lines) if number in aside),
        spans=spans,
        agrees=all(same_drawing(span.read, span.wanted, case=case) for span in spans),
    )


def judge(looks: Iterator[Reading], *, case: bool) -> Judgement:
    """Take as many looks as the verdict needs; only the first can say `read` alone."""
    seen = [next(looks)]
    if seen[0].agrees:
        return Judgement("read", seen[0], 1)
    for reading in looks:
        seen.append(reading)
        for one in seen[:-1]:
            if one.agrees and reading.agrees:
                return Judgement("read", reading, len(seen))
            if one.agrees == reading.agrees and _found(reading) and _alike(one, reading, case=case):
                return Judgement("misread", _surest((one, reading)), len(seen))
    nothing = not any(_found(reading) for reading in seen)
    return Judgement("misread" if nothing else "unreadable", _surest(seen), len(seen))


def is_complete(reading: Reading) -> bool:
    """Whether each string's reading is at most two characters short: no word of three or more is missing."""
    return all(len(essence(span.read)) >= len(essence(span.wanted)) - 2 for span in reading.spans)


def _found(reading: Reading) -> bool:
    return any(span.lines for span in reading.spans)


def _alike(one: Reading, other: Reading, *, case: bool) -> bool:
    return len(one.spans) == len(other.spans) and all(
        same_drawing(a.read, b.read, case=case) for a, b in zip(one.spans, other.spans, strict=True)
    )


def _surest(readings: Sequence[Reading]) -> Reading:
    return max(readings, key=lambda each: sum(line.confidence * len(essence(line.text)) for line in each.lines))
