"""What must be the same in two prompts that mean the same: vectors do not see it.

MiniLM gives "with" and "without" a cosine of 0.97 and "red" and "blue" one of 0.95, more than many paraphrases have. So
two prompts are held apart unless they have the same known things, colours, shapes, textures, actions, numbers, traits,
places and negations (the telling words of near duplicates), and unless what stands behind one of them, or behind a
preposition, is the same where both say it: "a red cup on a blue plate" is no "blue cup on a red plate", nor "a plate on
a cup". Words that are not known differ freely: there the vector decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from promptforge import lexicon, texts
from promptforge.stages.hashing import I64, U64, mix
from promptforge.stages.resemblance.vocabulary import (
    IGNORED,
    MANNER,
    MEDIUM,
    POLISH,
    TELLING,
    hash_words,
    kinds_of_words,
    vocabulary,
)
from promptforge.stages.resemblance.words import Mask

VERSION = 1  # raised whenever another pair is held apart

_WORD = re.compile(r"[^\W_]+|[,;.:]")
_PREPOSITIONS = frozenset(
    (
        *("on", "in", "at", "under", "below", "above", "over", "behind", "beside", "inside", "of", "with", "without"),
        *("to", "from", "into", "onto", "through", "by", "near", "against", "across", "around", "between", "toward"),
        *("towards", "holding", "wearing", "chasing", "eating", "riding"),
    )
)
_ARTICLES = frozenset(("a", "an", "the", "its", "his", "her", "their"))
#: Behind one of these nothing is said of the word before.
_STOPS = frozenset({"and", "or", "that", "which", "is", "are", "was", "while", ",", ";", ".", ":"})


def sets(prompts: Iterable[str]) -> U64:
    """64 bits for the set of telling words of each prompt: equal sets, equal value; 0 for none."""
    found: list[U64] = []
    words: list[list[str]] = []
    for number, prompt in enumerate(prompts, 1):
        words.append(_words(prompt))
        if number % 50_000 == 0:
            found.append(_sets(words))
            words = []
    return np.concatenate([*found, _sets(words)])


def _sets(rows: Sequence[Sequence[str]]) -> U64:
    known = sorted({word for words in rows for word in words if word.isalnum()})
    meant = _meant(known)
    return np.array([sum({meant[word] for word in words if word in meant}) & (2**64 - 1) for words in rows], np.uint64)


def _meant(words: Sequence[str]) -> dict[str, int]:
    """Telling word -> bits of what it means; spellings and forms of one word have the same."""
    if not words:
        return {}
    kinds, same, _ = vocabulary().look_up(hash_words(list(words)))
    style = (kinds & (POLISH | MANNER | MEDIUM | IGNORED)) != 0
    telling = ((kinds & TELLING) != 0) & ~style
    telling |= np.array([word[0].isdigit() for word in words]) & ~style
    bits = mix(same ^ np.uint64(0x5E7))
    return {word: int(value) for word, value, tells in zip(words, bits, telling, strict=True) if tells}


def _words(prompt: str) -> list[str]:
    return _WORD.findall(texts.fold(prompt) if not prompt.isascii() else prompt.lower())


class Telling:
    """The telling words of some prompts, and whether pairs of them contradict each other."""

    def __init__(self, prompts: Sequence[str]) -> None:
        self._prompts = prompts
        self.sets = sets(prompts)

    def agree(self, a: I64, b: I64) -> Mask:
        """Which pairs (equal sets or not) say the same behind each of their words."""
        pairs = zip(a.tolist(), b.tolist(), strict=True)
        return np.array([not contradict(self._prompts[i], self._prompts[j]) for i, j in pairs], bool)


def contradict(one: str, other: str) -> bool:
    """Whether a word that both have stands before different words: "red cup" and "red plate", "on a cup"."""
    first, second = _statements(one), _statements(other)
    return any(first[word] != second[word] for word in first.keys() & second.keys())


@lru_cache(maxsize=65_536)
def _statements(prompt: str) -> dict[str, frozenset[str]]:
    words = _words(prompt)
    nouns = _nouns()
    meant = _meant_once()
    found: dict[str, set[str]] = {}
    for place, word in enumerate(words):
        if word not in _PREPOSITIONS and (word not in meant or word in nouns):
            continue
        after = next((each for each in words[place + 1 :] if each not in _ARTICLES), ",")
        if after not in _STOPS and after not in _PREPOSITIONS:
            found.setdefault(word, set()).add(after)
    return {word: frozenset(said) for word, said in found.items()}


@lru_cache(maxsize=1)
def _nouns() -> frozenset[str]:
    return frozenset(form for noun in lexicon.load().nouns.values() for form in (noun.word, noun.plural))


@lru_cache(maxsize=1)
def _meant_once() -> frozenset[str]:
    return frozenset(word for word, bits in kinds_of_words().items() if bits & TELLING)
