"""Containment: a short prompt whole in a text, with nothing but style before and behind it.

"a red fox, oil on canvas" and "digital art of a red fox" say what "a red fox" says; "a red fox chases a goose" does
not. Style is told phrase by phrase, from the words that [dedup] knows: no thing, colour or number, and enough words of
style for those that are not known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from promptforge.stages.resemblance.vocabulary import (
    IGNORED,
    MANNER,
    MEDIUM,
    OF,
    OPENER,
    POLISH,
    TELLING,
    kinds_of_words,
)
from promptforge.texts import fold

_BREAK = "qqbreakqq"
_BREAKS = re.compile(r"[,;:|!?()\[\]\n]|\.(?!\w)|\s[-–—]\s")
_STYLE = POLISH | MANNER | MEDIUM
#: Share of unknown words that a phrase of style may have: with a plain word of it (render, 8k), and without.
_UNKNOWN = {True: 0.5, False: 0.34}
#: What names a kind of picture at the end of a phrase, and the longest phrase that such a word or "by" makes style.
_KINDS = frozenset(
    {"style", "art", "render", "rendering", "photography", "sketch", "drawing", "illustration", "aesthetic", "anime"}
)
_NAME_WORDS = 4


@lru_cache(maxsize=1)
def _kinds() -> dict[str, int]:
    return kinds_of_words()


def wrapped_in_style(text: str, prompt: str) -> float | None:
    """Share of the text's words that are the prompt's, where the rest is style; None where it is not."""
    marked = fold(_BREAKS.sub(f" {_BREAK} ", text)).split()
    words = [word for word in marked if word != _BREAK]
    wanted = fold(prompt).split()
    for start in range(len(words) - len(wanted) + 1):
        if words[start : start + len(wanted)] == wanted and _around(marked, start, len(wanted)):
            return len(wanted) / len(words)
    return None


def _around(marked: Sequence[str], start: int, size: int) -> bool:
    before: list[list[str]] = [[]]
    behind: list[list[str]] = [[]]
    seen, broken = 0, False
    for word in marked:
        side = before if seen < start else behind
        if word == _BREAK:
            side.append([])
            broken |= seen == start + size
            continue
        if not start <= seen < start + size:
            side[-1].append(word)
        seen += 1
    phrases = [phrase for side in (before, behind) for phrase in side if phrase]
    strict = size <= 2 and not broken  # "cat posing for a photo", "wood engine": a word or two say little
    if strict and (behind[0] or (before[-1] and "of" not in before[-1][-2:])):
        return False
    found = [_is_style(phrase, strict=strict) for phrase in phrases]
    if broken and size > 2 and any(found):  # ", 3d render, blender, cycles": a loose word among style is style
        found = [good or len(phrase) == 1 for good, phrase in zip(found, phrases, strict=True)]
    return all(found)


def _is_style(phrase: Sequence[str], *, strict: bool) -> bool:
    if phrase[0] == "by" and len(phrase) <= _NAME_WORDS and not strict:
        return "the" not in phrase and "a" not in phrase  # a name may hold any word: van, hill, rose
    if phrase[-1] in _KINDS and len(phrase) <= _NAME_WORDS and not strict and _kinds().get(phrase[0], 0) != IGNORED:
        return True  # "comic book style", "black and white photography"
    kinds = [_kinds().get(word, 0) for word in phrase]
    if not any(kind & (_STYLE | OPENER) for kind in kinds):
        return False
    if any(kind & TELLING and not kind & _STYLE for kind in kinds):
        return False
    unknown = sum(
        not kind & (_STYLE | OPENER | OF | IGNORED) and not word.isdecimal()
        for kind, word in zip(kinds, phrase, strict=True)
    )
    plain = any(kind & (POLISH | MEDIUM) for kind in kinds)
    return unknown <= (0.0 if strict else _UNKNOWN[plain]) * len(phrase)
