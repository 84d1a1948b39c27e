"""Pairing quotation marks of every style that people use.

Straight, curly, low-9, guillemets, corner brackets, backticks, doubled single and escaped marks; mixed and unclosed
ones too. Apostrophes, elisions ('90s) and inch marks are no quotation marks. One pass: time grows with the length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_MARKS = re.compile(r"\\[\"']|''|``|[\"“”„‟＂〝〞«»‹›「」『』'‘’‚‛`´]")
_LEFT_ONLY = frozenset("“„「『〝‘‚") | {"``"}
_CLOSERS = {"「": "」", "『": "』", "«": "»", "»": "«", "‹": "›", "›": "‹"}  # every other mark goes by its family
_REACH = 300  # characters within which a single quote must close; keeps unclosed ones from costing n * n
# 'em, '90s, rock 'n' roll; but not a whole quote ('em').
_ELISION = re.compile(
    r"['‘’](?:\d0s\b|n['’]\s+\w|(?:til|em|tis|twas|cause|bout|round|neath|ere)\b(?!['’]))", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Span:
    """A quote: text[start:end] with its marks, text[inner:outer] without."""

    start: int
    inner: int
    outer: int
    end: int


@dataclass(frozen=True, slots=True)
class _Mark:
    glyph: str
    family: Literal["single", "double", "bracket"]
    start: int
    end: int
    opens: bool  # by its neighbours: a quote can begin here
    closes: bool  # a quote can end here


def unwrapped(text: str) -> str:
    """The text without quotes around all of it, and without the doubling of a CSV cell left as it was."""
    text = text.strip()
    if len(text) > 4 and text[0] == text[-1] == '"' and '""' in text[1:-1]:
        return text[1:-1].replace('""', '"')
    marks = _marks(text)
    if len(marks) < 2 or marks[0].start > 0 or marks[-1].end < len(text.rstrip(".,!? ")):
        return text
    inner = [mark for mark in marks[1:-1] if mark.family == marks[0].family]
    if marks[-1].family == marks[0].family and (not inner or (len(inner) % 2 == 0 and not inner[0].closes)):
        return text[marks[0].end : marks[-1].start]
    return text


def _marks(text: str) -> list[_Mark]:
    """Every mark that can open or close a quote; apostrophes inside a word and inch marks are none."""
    found = []
    for match in _MARKS.finditer(text):
        start, end = match.span()
        before, after = text[start - 1 : start] if start else "", text[end : end + 1]
        opens = not _is_word(before) and (bool(after.strip()) or before in "—–:(")
        closes = bool(before.strip()) and not _is_word(after)
        family = _family(match[0])
        if family == "single" and (not (opens or closes) or (not closes and _ELISION.match(text, start))):
            continue
        if family == "double" and before.isdigit() and _is_word(after):  # 5"x7"
            continue
        found.append(_Mark(match[0], family, start, end, opens, closes))
    return found


def _family(glyph: str) -> Literal["single", "double", "bracket"]:
    if glyph in _CLOSERS or glyph in _CLOSERS.values():
        return "bracket"
    return "single" if glyph in "'‘’‚‛`´" or glyph == "\\'" else "double"


def _is_word(character: str) -> bool:
    """A letter or digit of a script that writes blanks; beside Chinese or Japanese a mark may touch."""
    return character.isalnum() and not "\u3040" <= character <= "\u9fff"


def spans(text: str) -> list[Span]:
    """Quotes, outermost only, in order; one that is never closed ends where it begins (inner == outer == end)."""
    marks = _marks(text)
    found = []
    at = 0
    while at < len(marks):
        mark = marks[at]
        starts = mark.opens or mark.glyph in _LEFT_ONLY or (mark.family != "single" and not mark.closes)
        last = _closing(text, marks, at) if starts else None
        if last is not None:
            found.append(Span(mark.start, mark.end, marks[last].start, marks[last].end))
            at = last
        elif starts and mark.opens and mark.family != "single":
            found.append(Span(mark.start, mark.end, mark.end, mark.end))
        at += 1
    return found


def _closing(text: str, marks: list[_Mark], at: int) -> int | None:
    """Place of the mark that closes the one at `at`."""
    first = marks[at]
    for place in range(at + 1, len(marks)):
        mark = marks[place]
        if first.family == "single" and mark.start - first.end > _REACH:
            return None
        if mark.family != first.family:
            continue
        if first.glyph in _CLOSERS:
            if mark.glyph == _CLOSERS[first.glyph]:
                return place
            if mark.glyph == first.glyph:
                return None
            continue
        if mark.glyph in _LEFT_ONLY and not (first.glyph in "„‚" and mark.closes):
            return None  # a new quote begins, so this one was never closed
        if mark.opens and not mark.closes and first.opens:
            return None
        if first.family == "single" and (not mark.closes or _is_possessive(text, marks, place)):
            continue
        return place
    return None


def _is_possessive(text: str, marks: list[_Mark], place: int) -> bool:
    """The dogs' of 'the dogs' house': at most two words on, another mark closes what no mark opened."""
    mark = marks[place]
    if text[mark.start - 1] not in "sS" or place + 1 == len(marks):
        return False
    then = marks[place + 1]
    between = text[mark.end : then.start]
    return (
        then.family == "single"
        and then.closes
        and not then.opens
        and len(between) < 40
        and 1 <= len(between.split()) <= 2
    )
