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

#: Prompts with that many words of content prove a copy by themselves where they stand whole before a break: short
#: phrases behind it may then say what they like. "a photo of a bench" has one, "a sign that says hello" three.
WHOLE_CONTENT = 3
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
#: Longest phrase that is style among style though nobody knows it, and behind a prompt of WHOLE_CONTENT.
_LOOSE_WORDS, _FREE_WORDS = 2, 3
#: Function words that stand in style as well as in content: they say nothing of either.
_ARTICLES = frozenset({"a", "an", "the"})
_FUNCTION = _ARTICLES | {"on", "like", "in", "at", "with", "by", "from", "to", "and", "or"}
#: Ways to make or take a picture whose words name something else.
_TREATMENT = frozenset(
    (
        *("black and white", "b w", "monochrome", "sepia", "greyscale", "grayscale", "stained glass", "line art"),
        *("pop art", "paper cut", "cross stitch", "wood carving", "low poly", "long exposure", "double exposure"),
    )
)
_PLACE = frozenset({"on", "at", "under", "near", "behind", "with", "inside", "over", "to", "from"})
#: What a medium is on or in: "charcoal sketch on paper".
_CARRY = re.compile(r" (?:on|in|with) ")


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
        if words[start : start + len(wanted)] == wanted and _around(marked, start, wanted):
            return len(wanted) / len(words)
    return None


def _around(marked: Sequence[str], start: int, wanted: Sequence[str]) -> bool:
    size = len(wanted)
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
    content = sum(not _kinds().get(word, 0) & (IGNORED | OF | POLISH) for word in wanted)
    strict = size <= 2 and not broken  # "cat posing for a photo", "wood engine": a word or two say little
    if strict and (behind[0] or (before[-1] and "of" not in before[-1][-2:])):
        return False
    found = [_is_style(phrase, strict=strict) for phrase in phrases]
    if broken and (size > 2 or 2 * sum(found) > len(found)):
        # ", 3d render, blender, cycles": a loose phrase among style is style
        loose = _FREE_WORDS if content >= WHOLE_CONTENT else _LOOSE_WORDS if any(found) else 0
        ends = len(phrases) - sum(1 for phrase in behind[1:] if phrase)
        found = [
            good or (number >= ends and _is_loose(phrase, loose, free=content >= WHOLE_CONTENT))
            for number, (good, phrase) in enumerate(zip(found, phrases, strict=True))
        ]
    return all(found)


def _is_loose(phrase: Sequence[str], most: int, *, free: bool) -> bool:
    """Whether a phrase is short and says nothing of a place; and, if not `free`, names no thing, colour or number."""
    if len(phrase) > most or (len(phrase) > 1 and _FUNCTION & set(phrase)):
        return False
    return free or not any(_kinds().get(word, 0) & TELLING and not _kinds()[word] & _STYLE for word in phrase)


def _is_medium(word: str) -> bool:
    return word in _KINDS or bool(_kinds().get(word, 0) & MEDIUM)


def _is_style(phrase: Sequence[str], *, strict: bool) -> bool:
    kinds = [_kinds().get(word, 0) for word in phrase]
    if not strict:
        if " ".join(phrase) in _TREATMENT:
            return True
        if phrase[0] == "by" and len(phrase) <= _NAME_WORDS:
            return "the" not in phrase and "a" not in phrase  # a name may hold any word: van, hill, rose
        if phrase[-1] in _KINDS and len(phrase) <= _NAME_WORDS and kinds[0] != IGNORED and phrase[0] not in _PLACE:
            return True  # "comic book style", "black and white photography"
        made, *onto = _CARRY.split(" ".join(phrase))
        if onto and made.split()[-1:] and _is_medium(made.split()[-1]) and not _ARTICLES & set(phrase):
            return len(phrase) <= _NAME_WORDS + 2
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
