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

#: Prompts of that many words prove a copy by themselves where they stand whole before a break: what follows need not be
#: known as style, if it is short and names nothing.
WHOLE_WORDS = 5
_BREAK = "qqbreakqq"
_BREAKS = re.compile(r"[,;:|!?()\[\]\n]|\.(?!\w)|\s[-–—]\s")
_STYLE = POLISH | MANNER | MEDIUM
#: Share of unknown words that a phrase of style may have: with a plain word of it (render, 8k), and without.
_UNKNOWN = {True: 0.5, False: 0.34}
#: What names a kind of picture, or how it is taken. A phrase is about its last word: "national geographic photo" is one
#: about a photo, "plain white background" one about the background. And the longest such phrase, or name behind "by".
_KINDS = frozenset(
    (
        *("style", "art", "render", "rendering", "photography", "photo", "photograph", "picture", "image", "portrait"),
        *("sketch", "drawing", "painting", "illustration", "aesthetic", "anime", "print", "poster", "wallpaper"),
        *("screenshot", "still", "background", "backdrop", "lighting", "light", "lens", "shot", "view", "angle"),
        *("focus", "palette", "tones", "colors", "colours", "resolution", "quality", "composition"),
    )
)
_NAME_WORDS = 4
_LOOSE_WORDS = 3
#: Function words that stand in style as well as in content: they say nothing of either.
_FUNCTION = frozenset(["on", "like", "in", "at", "with", "by", "from", "the", "to", "a", "an", "and", "or"])
#: A picture without colours is a way to take it, though its words are colours.
_TREATMENT = frozenset({"black and white", "b w", "monochrome", "sepia", "greyscale", "grayscale"})
_PLACE = frozenset(["in", "on", "at", "under", "near", "behind", "with", "inside", "over", "to", "from"])


@lru_cache(maxsize=1)
def _kinds() -> dict[str, int]:
    return kinds_of_words()


def wrapped_in_style(text: str, prompt: str) -> float | None:
    """Share of the text's words that are the prompt's, where the rest is style; None where it is not."""
    marked = fold(_BREAKS.sub(f" {_BREAK} ", text)).split()
    while marked and marked[-1] == _BREAK:  # nothing is behind a last point
        marked.pop()
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
    if broken and size > 2:
        # ", 3d render, blender, cycles": a loose word among style is style, and so is one behind a prompt that is long
        # enough to be known again by itself.
        loose = _LOOSE_WORDS if size >= WHOLE_WORDS else 1 if any(found) else 0
        ends = len(phrases) - sum(1 for phrase in behind[1:] if phrase)
        found = [
            good or (number >= ends and _is_loose(phrase, loose))
            for number, (good, phrase) in enumerate(zip(found, phrases, strict=True))
        ]
    return all(found)


def _is_loose(phrase: Sequence[str], most: int) -> bool:
    """Whether a phrase is short and names nothing that is known: no thing, colour, number or place."""
    if len(phrase) > most or (len(phrase) > 1 and _FUNCTION & set(phrase)):
        return False
    return not any(_kinds().get(word, 0) & TELLING and not _kinds()[word] & _STYLE for word in phrase)


def _is_style(phrase: Sequence[str], *, strict: bool) -> bool:
    kinds = [_kinds().get(word, 0) for word in phrase]
    if not strict:
        if " ".join(phrase) in _TREATMENT:
            return True
        if phrase[0] == "by" and len(phrase) <= _NAME_WORDS:
            return "the" not in phrase and "a" not in phrase  # a name may hold any word: van, hill, rose
        if phrase[-1] in _KINDS and len(phrase) <= _NAME_WORDS and kinds[0] != IGNORED and phrase[0] not in _PLACE:
            return True  # "comic book style", "black and white photography"
    if not any(kind & (_STYLE | OPENER) for kind in kinds):
        return False
    if any(kind & TELLING and not kind & _STYLE for kind in kinds):
        return False
    plain = any(kind & (POLISH | MEDIUM) for kind in kinds)
    unknown = sum(
        not kind & (_STYLE | OPENER | OF | IGNORED) and not word.isdecimal()
        for kind, word in zip(kinds, phrase, strict=True)
    )
    opened = any(kind & OPENER for kind in kinds)  # "in the style of x", not "in the desert"
    size = len(phrase) if plain or opened else sum(word not in _FUNCTION for word in phrase)
    return unknown <= (0.0 if strict else _UNKNOWN[plain]) * size
