"""Equality: the same words after folding, or the same words in another order.

Blanks and symbols are no difference: "black-and-white" is "blackandwhite", "dog's" is "dogs".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from promptforge.stages.contamination.words import I64, U64
from promptforge.texts import fold


class Letters:
    """Prompts by their letters and digits in whatever order, the screen; then by their words, which decide."""

    def __init__(self, letters: U64, texts: Sequence[str]) -> None:
        self._order = np.argsort(letters, kind="stable")
        self._letters = letters[self._order]
        self._texts = texts

    def find(self, letters: U64, text: Callable[[int], str]) -> tuple[I64, I64, I64]:
        """Text, prompt, and 1 for the same order of words, 0 for another."""
        low = np.searchsorted(self._letters, letters, side="left")
        hit = np.flatnonzero(self._letters[np.minimum(low, len(self._letters) - 1)] == letters)
        hit = hit[letters[hit] != 0]
        found: list[tuple[int, int, int]] = []
        for row in hit.tolist():
            own = text(row)
            for at in range(int(low[row]), len(self._letters)):
                if self._letters[at] != letters[row]:
                    break
                prompt = int(self._order[at])
                kind = same_words(own, self._texts[prompt])
                if kind is not None:
                    found.append((row, prompt, kind))
        columns = np.array(found, np.int64).reshape(-1, 3)
        return columns[:, 0], columns[:, 1], columns[:, 2]


def same_words(one: str, other: str) -> int | None:
    """1: the same words in order, 0: in another order, None: other words."""
    first, second = fold(one), fold(other)
    if _bare(first) == _bare(second):
        return 1
    if sorted(first.split()) == sorted(second.split()) or _loose(one) == _loose(other):
        return 0
    return None


def _bare(folded: str) -> str:
    return "".join(mark for mark in folded if mark.isalnum())


def _loose(text: str) -> list[str]:
    """Words split at blanks, letters and digits alone, sorted."""
    return sorted(word for word in (_bare(fold(word)) for word in text.split()) if word)
