"""Reads a prompt as a scene: things, their looks and places, as far as the lexicon knows the words.

Not covered: other languages than English, pronouns other than "it", relative clauses, more than one action or
colour a thing. Text in quotation marks is no part of the scene. Only the first `MAX_CHARS` are read.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable

from promptforge.lexicon.phrases import QUOTE, TOKEN, matcher
from promptforge.lexicon.reading import SceneReader
from promptforge.lexicon.reserved import is_reserved_pair, is_reserved_triple, is_reserved_word, words_of
from promptforge.lexicon.tables import load
from promptforge.records import Scene

#: Longer prompts are dropped anyway, and what no teacher reads needs no scene.
MAX_CHARS = 8_000
_SAID = re.compile(
    r"\b(?:(?:that|which) (?:says|reads|spells)|saying|reading|labell?ed|inscribed|lettered|captioned|stating"
    r"|spelling|the (?:word|words|text|message|letters|phrase|inscription|slogan)|with words)\b"
)
_QUOTED = {'"': '"', "“": "”", "”": "”", "„": "“”", "«": "»", "'": "'’", "‘": "’'"}
_SINGLE = "'’‘"
_NONE: deque[int] = deque()

VERSION = 3  # raised whenever the scene of any text changes


def parse(text: str) -> Scene:
    """The scene of any text; never raises, linear in the length of the text."""
    tokens = _tokens(text[:MAX_CHARS])
    bears_text = QUOTE in tokens or _SAID.search(" ".join(tokens)) is not None
    return SceneReader(tokens, matcher(bears_text), bears_text).read()


def split_of(expected_text: Iterable[str], scene: Scene | None) -> str:
    """The split that reserved words and compositions demand: test_words, mixed, test_composition or train.

    `mixed` text has reserved and open words and fits neither side; text without letters has no say. Which of the
    `train` rows go to test_natural is a matter of their group, decided where they are generated.
    """
    kept = {is_reserved_word(word) for text in expected_text for word in words_of(text)}
    if kept == {True}:
        return "test_words"
    if kept == {True, False}:
        return "mixed"
    return "test_composition" if scene is not None and holds_reserved(scene) else "train"


def holds_reserved(scene: Scene) -> bool:
    """Whether a scene holds a reserved (noun, attribute) pair or (noun, predicate, noun) triple."""
    lexicon = load()
    for item in scene.objects:
        looks = [item.colour, item.shape, item.texture, item.action]
        if item.count > 1:
            looks.append(lexicon.number_word(item.count))
        if any(look is not None and is_reserved_pair(item.noun, look) for look in looks):
            return True
    return any(
        is_reserved_triple(scene.objects[r.subject].noun, r.predicate, scene.objects[r.object].noun)
        for r in scene.relations
    )


def _tokens(text: str) -> list[str]:
    """Lower-case tokens of the text outside quotes, with one QUOTE for each quoted span."""
    tokens: list[str] = []
    end = 0
    for start, stop in _quoted_spans(text):
        tokens += TOKEN.findall(text[end:start].lower())
        tokens.append(QUOTE)
        end = stop
    return tokens + TOKEN.findall(text[end:].lower())


def _quoted_spans(text: str) -> list[tuple[int, int]]:
    """Begin and end of each quoted span, outermost only, linear in the length.

    A single quote opens after a blank or bracket and closes before one: "the dog's bowl" holds none.
    """
    marks = [(m.start(), m.group()) for m in re.finditer(r"[\"“”„«»'’‘]", text)]
    closers: dict[str, deque[int]] = {}
    for at, mark in marks:
        if mark not in _SINGLE or at + 1 == len(text) or not text[at + 1].isalnum():
            closers.setdefault(mark, deque()).append(at)
    spans: list[tuple[int, int]] = []
    end = 0
    for at, mark in marks:
        if at < end or mark not in _QUOTED:
            continue
        if mark in _SINGLE and at > 0 and text[at - 1].isalnum():
            continue
        close = _first_after(closers, _QUOTED[mark], at + 1)
        if close is not None:
            spans.append((at, close + 1))
            end = close + 1
    return spans


def _first_after(closers: dict[str, deque[int]], marks: str, at: int) -> int | None:
    """The first closing mark behind `at`; those before it are dropped for good, as `at` only grows."""
    nearest = None
    for mark in marks:
        queue = closers.get(mark, _NONE)
        while queue and queue[0] < at:
            queue.popleft()
        if queue and (nearest is None or queue[0] < nearest):
            nearest = queue[0]
    return nearest
