"""Equality: the same words after folding, or the same words in another order.

Blanks and symbols are no difference: "black-and-white" is "blackandwhite", "dog's" is "dogs".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from promptforge.stages.contamination.words import U32
from promptforge.stages.hashing import I64
from promptforge.texts import fold

_BITS = 20
_SHIFT = np.uint32(32 - _BITS)


class Letters:
    """Prompts by their letters and digits in whatever order, the screen; then by their words, which decide."""

    def __init__(self, letters: U32, texts: Sequence[str]) -> None:
        self._order = np.argsort(letters, kind="stable")
        self._letters = letters[self._order]
        self._texts = texts
        self._maybe = np.zeros(1 << _BITS, bool)
        self._maybe[letters >> _SHIFT] = True

    def find(self, letters: U32, text: Callable[[int], str]) -> tuple[I64, I64, I64]:
        """Text, prompt, and 1 for the same order of words, 0 for another."""
        hit = np.flatnonzero(self._maybe[letters >> _SHIFT] & (letters != 0))
        low = np.searchsorted(self._letters, letters[hit], side="left")
        found: list[tuple[int, int, int]] = []
        for row, first in zip(hit.tolist(), low.tolist(), strict=True):
            own: str | None = None
            for at in range(first, len(self._letters)):
                if self._letters[at] != letters[row]:
                    break
                own = text(row) if own is None else own
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
