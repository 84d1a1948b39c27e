"""Which of the lines in a picture show which of the wanted strings.

A string may be drawn over several lines, several strings may share one line, and a picture holds text that
nobody asked for. Lines are looked for in reading order; strings in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from promptforge.scorers.reading.metrics import folded

#: A string is not looked for in more lines than it has words, and these on top (a torn word, a stray line between).
_SPARE_LINES = 2


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a reading that stands for one wanted string: its lines by number, joined by blanks."""

    wanted: str
    read: str
    lines: tuple[int, ...]


def match(texts: Sequence[str], wanted: Sequence[str]) -> tuple[Span, ...]:
    """For each wanted string, in order, the lines that come nearest to it; no line serves two strings.

    The strings are also tried as one (an engine may join neighbours to one line, a picture may break them
    anywhere); then a single Span comes back, whose `wanted` is the joined text. The better of the two counts.
    """
    apart = _assign(texts, wanted)
    if len(wanted) < 2:
        return apart
    whole = _assign(texts, [" ".join(wanted)])
    return whole if _cost(whole) < _cost(apart) else apart


def _cost(spans: Sequence[Span]) -> int:
    return sum(Levenshtein.distance(folded(span.read), folded(span.wanted)) for span in spans)


def _assign(texts: Sequence[str], wanted: Sequence[str]) -> tuple[Span, ...]:
    """The best fit first; its lines are then out of the game."""
    free = list(range(len(texts)))
    spans: dict[int, Span] = {}
    while len(spans) < len(wanted):
        found = {index: _nearest(texts, free, text) for index, text in enumerate(wanted) if index not in spans}
        index = min(found, key=lambda i: (_unlikeness(found[i]), i))
        spans[index] = found[index]
        free = [number for number in free if number not in found[index].lines]
    return tuple(spans[index] for index in range(len(wanted)))


def _unlikeness(span: Span) -> float:
    return Levenshtein.normalized_distance(folded(span.read), folded(span.wanted))


def _nearest(texts: Sequence[str], free: Sequence[int], wanted: str) -> Span:
    """The run of free lines nearest to the string, less those lines whose leaving out brings it nearer."""
    best = Span(wanted, "", ())
    longest = len(wanted.split()) + _SPARE_LINES
    for start in range(len(free)):
        for stop in range(start + 1, min(start + longest, len(free)) + 1):
            candidate = _without_strays(texts, free[start:stop], wanted)
            if _unlikeness(candidate) < _unlikeness(best):
                best = candidate
    return best


def _without_strays(texts: Sequence[str], lines: Sequence[int], wanted: str) -> Span:
    span = _span(texts, lines, wanted)
    while len(span.lines) > 1:
        shorter = [_span(texts, [line for line in span.lines if line != gone], wanted) for gone in span.lines]
        nearest = min(shorter, key=_unlikeness)
        if _unlikeness(nearest) >= _unlikeness(span):
            break
        span = nearest
    return span


def _span(texts: Sequence[str], lines: Sequence[int], wanted: str) -> Span:
    return Span(wanted, " ".join(texts[line] for line in lines), tuple(lines))
