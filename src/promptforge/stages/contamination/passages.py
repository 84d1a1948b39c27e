"""Passages that a text shares with a prompt: n-grams that are telling enough to prove a copy by themselves.

"trending on artstation, highly detailed, 8k" stands in thousands of prompts and proves nothing. So an n-gram must be
surprising: a chain of word pairs counted in the rest of the list must give it with less than a set chance (2e-11 with
the default, so one prompt of 30 words in a thousand million). Of its words at least MIN_CONTENT are neither style nor
glue nor position, which holds in lists too short to count in. Both are told from the list and the vocabulary alone: no
verdict depends on the other rows of a run.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from promptforge import lexicon
from promptforge.stages.contamination.grams import Table, grams, numbered, once, places
from promptforge.stages.contamination.words import Words, read_words
from promptforge.stages.hashing import I64, U64
from promptforge.stages.resemblance.vocabulary import IGNORED, MANNER, MEDIUM, POLISH, kinds_of_words

Floats = npt.NDArray[np.float64]
MIN_CONTENT = 3
_BACK_OFF = 0.4  # of a pair that no other prompt has: Brants et al. 2007, stupid backoff


class Passages:
    """Telling n-grams of the prompts that have at least `min_words` words, held by at most `most` of them."""

    def __init__(self, words: Words, n: int, telling: Telling, min_words: int, most: int) -> None:
        value, owner = places(words, n)
        keep = telling.of(n) & (np.diff(words.offsets)[owner] >= min_words)
        each, number = numbered(value[keep])
        pairs = once((number << 32) | owner[keep])
        spread = np.bincount(pairs >> 32, minlength=len(each))
        self.n = n
        self._table = Table.of_pairs(n, each, pairs[spread[pairs >> 32] <= most], marked=False)

    def find(self, words: Words, at: I64) -> tuple[I64, I64, I64]:
        """Text, prompt, and how many of its telling n-grams stand in the text; `at`: the places to look at."""
        return self._table.expand(*self._table.find(words, at))


class Telling:
    """Which n-grams of the list surprise by at least `least` nats."""

    def __init__(self, words: Words, least: float) -> None:
        self._words, self._least = words, least
        each, number = numbered(words.hashes)
        strong = np.isin(each, _weak(), invert=True)
        self._content = _summed(strong[number].astype(np.float64))
        self._first, step = _surprise(words.hashes, np.bincount(number)[number])
        self._steps = _summed(step)

    def of(self, n: int) -> npt.NDArray[np.bool_]:
        """One for each n-gram, in the order of `places`."""
        rows = self._words.rows()
        if len(rows) < n:
            return np.empty(0, bool)
        at = np.flatnonzero(rows[: len(rows) - n + 1] == rows[n - 1 :])
        surprise = self._first[at] + self._steps[at + n] - self._steps[at + 1]
        found: npt.NDArray[np.bool_] = (surprise >= self._least - 1e-9) & (
            self._content[at + n] - self._content[at] >= MIN_CONTENT
        )
        return found


def _surprise(hashes: U64, count: I64) -> tuple[Floats, Floats]:
    """Minus the log of each word's chance, alone and behind the word before it, counted without its own place."""
    alone = -np.log(np.maximum(count - 1, 0.5) / max(len(hashes), 1))
    behind = np.zeros(len(hashes))
    if len(hashes) > 1:
        _, number = numbered(grams(hashes, 2))
        pair = np.bincount(number)[number]
        known = -np.log(np.maximum(pair - 1, 1) / np.maximum(count[:-1] - 1, 1))
        behind[1:] = np.where(pair > 1, known, alone[1:] - np.log(_BACK_OFF))
    return alone, behind


def _summed(values: Floats) -> Floats:
    total = np.zeros(len(values) + 1)
    np.cumsum(values, out=total[1:])
    return total


@lru_cache(maxsize=1)
def _weak() -> U64:
    """Hashes of the words of style, glue and position, sorted."""
    loose = IGNORED | POLISH | MANNER | MEDIUM
    names = {word for word, kind in kinds_of_words().items() if kind & loose}
    for relation in lexicon.load().relations.values():
        names.update(word for phrase in (*relation.phrases, *relation.side) for word in phrase.split())
    return np.sort(read_words(pa.array(sorted(word for word in names if word.isalnum()), pa.string())).hashes)
