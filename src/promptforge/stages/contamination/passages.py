"""Passages that a text shares with a prompt: n-grams that are telling enough to prove a copy by themselves.

"trending on artstation, highly detailed, 8k" stands in thousands of prompts and proves nothing. So of an n-gram's words
at least MIN_CONTENT are neither style nor glue, and it holds pairs of words that hardly any other prompt of the list
has. Both are told from the list and the vocabulary alone: no verdict depends on the other rows of a run.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa

from promptforge.stages.contamination.grams import Table, grams, places
from promptforge.stages.contamination.words import Words, read_words
from promptforge.stages.hashing import I64, U64
from promptforge.stages.resemblance.vocabulary import IGNORED, MANNER, MEDIUM, POLISH, kinds_of_words

MIN_CONTENT = 4
#: Pairs of words in an n-gram that at most one prompt in ten thousand has; of a run one is enough.
MIN_RARE_PAIRS = {"rare": 1, "run": 1}


class Passages:
    """Telling n-grams of the prompts that have at least `min_words` words."""

    def __init__(self, words: Words, n: int, min_words: int, rule: str) -> None:
        n_prompts = len(words)
        most = {"rare": 1, "run": max(2, n_prompts // 1000)}[rule]
        value, owner = places(words, n)
        size = np.diff(words.offsets)
        telling = (_within(_content(words), words, n, n) >= MIN_CONTENT) & (
            _within(_rare_pairs(words), words, n, n - 1) >= MIN_RARE_PAIRS[rule]
        )
        keep = telling & (size[owner] >= min_words)
        table = Table.of(n, value[keep], owner[keep])
        spread = np.repeat(np.diff(table.spans), np.diff(table.spans))
        few = spread <= most
        self.n = n
        self._table = Table.of(n, np.repeat(table.values(), np.diff(table.spans))[few], table.owners[few])

    def find(self, words: Words, at: I64) -> tuple[I64, I64, I64]:
        """Text, prompt, and how many of its telling n-grams stand in the text; `at`: the places to look at."""
        return self._table.expand(*self._table.find(words, at))


@lru_cache(maxsize=1)
def _weak() -> U64:
    """Hashes of the words of style and glue, sorted."""
    loose = IGNORED | POLISH | MANNER | MEDIUM
    names = sorted(word for word, kind in kinds_of_words().items() if kind & loose and word.isalnum())
    return np.sort(read_words(pa.array(names, pa.string())).hashes)


def _content(words: Words) -> I64:
    """1 for each word that is neither style nor glue."""
    weak = _weak()
    at = np.minimum(np.searchsorted(weak, words.hashes), len(weak) - 1)
    found: I64 = (weak[at] != words.hashes).astype(np.int64)
    return found


def _rare_pairs(words: Words) -> I64:
    """1 for each place whose word and the next hardly any other prompt has."""
    found = np.zeros(len(words.hashes), np.int64)
    pairs = grams(words.hashes, 2)
    if not len(pairs):
        return found
    rows = words.rows()
    inside = np.flatnonzero(rows[:-1] == rows[1:])
    _, inverse = np.unique(pairs[inside], return_inverse=True)
    both = np.unique((inverse.astype(np.int64) << 32) | rows[inside])
    spread = np.bincount(both >> 32)
    found[inside] = spread[inverse] <= max(1, len(words) // 10_000)
    return found


def _within(marks: I64, words: Words, n: int, width: int) -> I64:
    """How many of the `width` places from each n-gram's first on are marked."""
    total = np.zeros(len(marks) + 1, np.int64)
    np.cumsum(marks, out=total[1:])
    rows = words.rows()
    at = np.flatnonzero(rows[: max(len(rows) - n + 1, 0)] == rows[n - 1 :]) if len(rows) >= n else np.empty(0, np.int64)
    return total[at + width] - total[at]
