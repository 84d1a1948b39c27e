"""Minimal pairs: two prompts that differ in one attribute, number, relation or word, and in nothing else.

The second member is the first one's draft, written again from the same choices but one. Which choice that is, is found
by trying: the scenes of both members are compared field by field, and the texts word by word, so that whatever the
grammar learns to write can be paired without a word about it here.

    attribute  colour, shape, texture or action of one thing; both members name one
    number     how many of one thing there are, two or more in both
    relation   where one thing is to another
    word       one noun, or the carrier, setting, light or style
    text       one word of the strings to be drawn, written in the same case

Not covered: swapped roles (dog left of cat, cat left of dog), pairs across templates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Literal

from promptforge.records import Axis, SceneObject
from promptforge.sources.writing.draw import Draw
from promptforge.sources.writing.nounphrases import Draft

Kind = Literal["attribute", "number", "relation", "word", "text"]

#: What the pairs of an axis differ in, in turn.
TURNS: Mapping[str, tuple[Kind, ...]] = {
    Axis.IMAGE_QUALITY: ("attribute", "word", "number"),
    Axis.SEMANTIC_UNDERSTANDING: ("attribute", "number", "relation", "word"),
    Axis.TEXT_RENDERING: ("text",),
}
_KINDS: tuple[Kind, ...] = ("attribute", "number", "relation", "text", "word")

MAX_CHANGED = 6  # words of one member that the other has not, at most: "to the left side of" and the like are five
_TRIES = 6  # other values of one choice: 3 leave 17% of the textures without a twin, 6 some 5%
_ENOUGH = 100  # rewritings after which any kind of difference will do: a paragraph has 300 choices
_ATTRIBUTES = ("colour", "shape", "texture", "action")
_FRAME = ("carrier", "setting", "light", "style")


Changed = tuple[Sequence[str], Sequence[str]]  #: words of the first member that the second has not, and the reverse


class _Astray(Exception):
    """The changed choice asks for more choices than the first member made: another sentence, no minimal pair."""


class _Recorded(Draw):
    """A draw that remembers its choices."""

    __slots__ = ("_draw", "choices")

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self.choices: list[tuple[int, int]] = []

    def below(self, bound: int) -> int:
        choice = self._draw.below(bound)
        self.choices.append((bound, choice))
        return choice


class _Replayed(Draw):
    """Given choices, one after the other."""

    __slots__ = ("_at", "_choices")

    def __init__(self, choices: Sequence[int]) -> None:
        self._choices, self._at = choices, 0

    def below(self, bound: int) -> int:
        if self._at == len(self._choices):
            raise _Astray
        self._at += 1
        return self._choices[self._at - 1] % bound


def kinds_of(axis: str, turn: int) -> tuple[Kind, ...]:
    """What pair number `turn` of an axis should differ in, best first: where a draft has no such thing, the next."""
    turns = TURNS[axis]
    first = turn % len(turns)
    return tuple(dict.fromkeys((*turns[first:], *turns[:first], *_KINDS)))


def twins(
    write: Callable[[Draw], Draft], draw: Draw, chance: Draw, kinds: Sequence[Kind]
) -> tuple[Draft, Draft, Kind] | None:
    """A draft, its twin, and what differs: the first of `kinds` that any one other choice can give; else None.

    `write` makes the draft of `draw`, and the same for the same choices; `chance` decides what is tried first.
    """
    recorded = _Recorded(draw)
    first = write(recorded)
    found: dict[Kind, Draft] = {}
    n_written = 0
    choices = [choice for _, choice in recorded.choices]
    for place in _shuffled(range(len(choices)), chance):
        if found and n_written > _ENOUGH:
            break
        bound, choice = recorded.choices[place]
        for _ in range(min(_TRIES, bound - 1)):
            other = (choice + 1 + chance.below(bound - 1)) % bound
            try:
                second = write(_Replayed([*choices[:place], other, *choices[place + 1 :]]))
            except _Astray:
                continue
            n_written += 1
            kind = difference(first, second)
            if kind == kinds[0]:
                return first, second, kind
            if kind is not None:
                found.setdefault(kind, second)
    best = next((kind for kind in kinds if kind in found), None)
    return None if best is None else (first, found[best], best)


def difference(first: Draft, second: Draft) -> Kind | None:
    """What alone differs between two drafts of one template; None where nothing does, or more than one thing."""
    changed = _changed(first.text, second.text)
    if first.template != second.template or changed is None:
        return None
    differing = [
        name
        for name in ("objects", "relations", *_FRAME, "expected_text")
        if getattr(first, name) != getattr(second, name)
    ]
    if len(differing) != 1:
        return None
    (name,) = differing
    if name == "objects":
        return _of_objects(first.objects, second.objects, changed)
    if name == "relations":
        return _of_relations(first.relations, second.relations)
    if name == "expected_text":
        return _of_strings(first.expected_text, second.expected_text)
    return "word" if name in _FRAME and getattr(first, name) and getattr(second, name) else None


def _changed(first: str, second: str) -> Changed | None:
    """The one run of words in which the texts differ, in either; None where there are several, or it is long."""
    a, b = first.split(), second.split()
    blocks = [block for block in SequenceMatcher(None, a, b, autojunk=False).get_opcodes() if block[0] != "equal"]
    if len(blocks) != 1 or blocks[0][0] != "replace":
        return None
    _, a0, a1, b0, b1 = blocks[0]
    return (a[a0:a1], b[b0:b1]) if max(a1 - a0, b1 - b0) <= MAX_CHANGED else None


def _of_objects(first: Sequence[SceneObject], second: Sequence[SceneObject], changed: Changed) -> Kind | None:
    if len(first) != len(second):
        return None
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a != b]
    if len(pairs) != 1:
        return None
    ((a, b),) = pairs
    differing = [name for name in ("noun", "count", *_ATTRIBUTES) if getattr(a, name) != getattr(b, name)]
    if len(differing) != 1:
        return None
    (name,) = differing
    if name == "noun":  # and no adjective that the scene does not hold
        alone = all(
            _after_article(words) == len(item.noun.split()) for words, item in zip(changed, (a, b), strict=True)
        )
        return "word" if alone else None
    if name == "count":
        return "number" if min(a.count, b.count) > 1 else None
    return "attribute" if getattr(a, name) and getattr(b, name) else None


def _after_article(words: Sequence[str]) -> int:
    return len(words) - (words[0].casefold() in ("a", "an"))


def _of_relations(first: Sequence[tuple[int, str, int]], second: Sequence[tuple[int, str, int]]) -> Kind | None:
    if len(first) != len(second):
        return None
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a != b]
    same_ends = len(pairs) == 1 and pairs[0][0][::2] == pairs[0][1][::2]
    return "relation" if same_ends else None


def _of_strings(first: Sequence[str], second: Sequence[str]) -> Kind | None:
    """One word of one string, written in the same way: case and marks stay."""
    pairs = [(a.split(), b.split()) for a, b in zip(first, second, strict=False) if a != b]
    if len(first) != len(second) or len(pairs) != 1 or len(pairs[0][0]) != len(pairs[0][1]):
        return None
    words = [(a, b) for a, b in zip(*pairs[0], strict=True) if a != b]
    is_other = len(words) == 1 and words[0][0].casefold() != words[0][1].casefold()
    return "text" if is_other and _case(words[0][0]) == _case(words[0][1]) else None


def _case(word: str) -> tuple[bool, bool]:
    """Capitals all over, and a capital first; a figure has neither."""
    return word.isupper(), word[:1].isupper()


def _shuffled(places: range, chance: Draw) -> list[int]:
    """Fisher and Yates's order."""
    found = list(places)
    for last in range(len(found) - 1, 0, -1):
        other = chance.below(last + 1)
        found[last], found[other] = found[other], found[last]
    return found
