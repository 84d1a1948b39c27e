"""Variants of a prompt that have as many tokens: shuffled words, a clause made neutral, a drawn word swapped.

A diffusion transformer attends to every text position, so two prompts of different length differ before they mean
anything different. Whatever is exchanged here is exchanged for as many tokens; where no words of ours fit, there is
no variant. Everything follows from the prompt alone. Not covered: languages written without blanks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from itertools import product

from promptforge.records import content_id

Count = Callable[[str], int]  #: tokens of a text, special ones included

#: Ends of clauses: punctuation before a blank. In clauses of LONG words and more, also in front of these words.
_PUNCTUATION = re.compile(r"[,;:.!?]+(?=\s)")
_JOINTS = re.compile(r"\s(?=(?:and|with|while|which|that|who|where|beside|behind|under|above|near|wearing|holding)\s)")
_QUOTED = re.compile(r'"[^"]*"|“[^”]*”')
LONG = 8

#: Words that say nothing to be seen; most are one token of a sentence-piece vocabulary, the last three are more.
NEUTRAL: tuple[str, ...] = (
    *("it", "is", "as", "such", "and", "so", "of", "some", "kind", "or", "other", "in", "general"),
    *("nonetheless", "notwithstanding", "insofar"),
)


def clauses(text: str, most: int) -> tuple[tuple[int, int], ...]:
    """(start, stop) of the first `most` clauses, punctuation left out; () where the text is one clause.

    A clause ends at punctuation and, where it is long, before a joining word; a single word joins its neighbour.
    Text in quotes is never cut.
    """
    quoted = [match.span() for match in _QUOTED.finditer(text)]

    def free(place: int) -> bool:
        return not any(start < place < stop for start, stop in quoted)

    cuts = [match.end() for match in _PUNCTUATION.finditer(text) if free(match.start())]
    pieces = _merged(text, [0, *cuts, len(text)])
    fine: list[int] = [0]
    for start, stop in pieces:
        if len(text[start:stop].split()) >= LONG:
            fine += [m.start() for m in _JOINTS.finditer(text, start, stop) if free(m.start())]
        fine.append(stop)
    spans = [_bare(text, start, stop) for start, stop in _merged(text, fine)]
    return tuple(spans[:most]) if len(spans) > 1 else ()


def _merged(text: str, cuts: Sequence[int]) -> list[tuple[int, int]]:
    """Pieces between the cuts; a piece of one word is joined to the one before it, or to the next if it is first."""
    pieces: list[tuple[int, int]] = []
    start = cuts[0]
    for stop in cuts[1:]:
        if len(text[start:stop].split()) >= 2:
            pieces.append((start, stop))
            start = stop
        elif pieces:
            pieces[-1] = (pieces[-1][0], stop)
            start = stop
    if start < cuts[-1] and text[start:].strip():
        pieces.append((start, cuts[-1]))
    return pieces


def _bare(text: str, start: int, stop: int) -> tuple[int, int]:
    piece = text[start:stop]
    start += len(piece) - len(piece.lstrip())
    return start, start + len(piece.strip().rstrip(",;:.!? "))


def neutralised(text: str, span: tuple[int, int], count: Count) -> str | None:
    """The text with the span exchanged for neutral words, of the same `count`; None where none fit."""
    before, after = text[: span[0]], text[span[1] :]
    target = count(text)
    words: list[str] = []
    for number in range(4 * (span[1] - span[0]) + 4):  # never more tokens than bytes
        words.append(NEUTRAL[number % len(NEUTRAL)])
        n = count(f"{before}{' '.join(words)}{after}")
        if n == target:
            return f"{before}{' '.join(words)}{after}"
        if n > target:
            break
    for n_words, exchanged in product((len(words), len(words) - 1), (1, 2)):
        for tail in product(NEUTRAL, repeat=exchanged) if n_words >= exchanged else ():
            made = f"{before}{' '.join([*words[: n_words - exchanged], *tail])}{after}"
            if count(made) == target and made != text:
                return made
    return None


def shuffles(text: str, n: int) -> tuple[str, ...]:
    """At most `n` different orders of the text's words, none of them its own."""
    words = text.split()
    found: list[str] = []
    for number in range(4 * n):  # orders of two or three words repeat soon
        order = sorted(range(len(words)), key=lambda place: content_id("shuffle", text, number, place))
        made = " ".join(words[place] for place in order)
        if made != " ".join(words) and made not in found:
            found.append(made)
        if len(found) == n:
            break
    return tuple(found)


def word_swapped(text: str, drawn: str, count: Count) -> str | None:
    """The text with the longest word of the string to be drawn exchanged for another of as many tokens.

    The new word is near in length and cased alike. None where the string is not in the text or no word fits.
    """
    at = text.find(drawn)
    words = re.findall(r"\w+", drawn)
    if at < 0 or not words:
        return None
    old = max(words, key=len)
    begin = at + re.search(rf"\b{re.escape(old)}\b", drawn).start()  # type: ignore[union-attr]  # it is one of them
    target = count(text)
    order = sorted(swaps(), key=lambda word: (abs(len(word) - len(old)), content_id("swap", text, word)))
    for word in order:
        new = word.upper() if old.isupper() else word.title() if old[:1].isupper() else word
        made = f"{text[:begin]}{new}{text[begin + len(old) :]}"
        if new.casefold() not in drawn.casefold() and count(made) == target:
            return made
    return None


@cache
def nonvisual() -> tuple[str, ...]:
    """Sentences about nothing that can be seen, in the order of the file, which is about that of their length."""
    return _lines("nonvisual.txt")


@cache
def swaps() -> tuple[str, ...]:
    """Words that a drawn word may be exchanged for."""
    return _lines("swaps.txt")


def _lines(name: str) -> tuple[str, ...]:
    lines = (resources.files(__package__) / name).read_text("utf-8").splitlines()
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def nearest_in_length(length: int, n: int, count: Count) -> tuple[str, ...]:
    """The `n` non-visual sentences whose token counts are nearest to `length`; the earlier one wins a tie."""
    ranked = sorted(enumerate(nonvisual()), key=lambda item: (abs(count(item[1]) - length), item[0]))
    return tuple(sentence for _, sentence in ranked[:n])


def percentile(value: float, population: Sequence[float]) -> float | None:
    """Share of the population below the value, in percent; equals count half. None for an empty population."""
    if not population:
        return None
    below = sum(other < value for other in population)
    equal = sum(other == value for other in population)
    return 100 * (below + equal / 2) / len(population)
