"""What words that the vocabulary does not know were meant to be: asked once each, then found by hash.

A table for compiled loops, of 32 bytes a slot (half a cache line) and two to eight slots a word; with half a million
words it is emptied, so that it stays under 100 MB.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from promptforge.stages.hashing import I64, U64
from promptforge.stages.resemblance.compiled import ASKED, LISTED, Loops
from promptforge.stages.resemblance.spelling import corrected
from promptforge.stages.resemblance.vocabulary import hash_words, vocabulary
from promptforge.stages.resemblance.words import Bytes, byte_classes

_MOST = 1 << 19  # words

#: Of some texts: where each begins among the words; then of each word its hash, kind, medium (number from 1), marks.
Told = tuple[I64, U64, Bytes, Bytes, Bytes]


class Meanings:
    """The words asked about so far. One for a thread: the loops write into it."""

    def __init__(self, loops: Loops, *, spelling: bool, words: bool = True) -> None:
        """`spelling`: whether unknown words are looked up; `words`: whether any is."""
        self._loops = loops
        lower, kinds = byte_classes()
        self._classes = np.frombuffer(lower, np.uint8), np.frombuffer(kinds, np.uint8)
        self._listed = _listed() if words else np.zeros((0, 4), np.uint64)
        self._spelling = spelling and words
        self._table = self._made(len(self._listed))
        self._n = len(self._listed)

    def _made(self, n: int) -> U64:
        """A table with room for `n` words beyond those of the vocabulary, half of its slots free."""
        table = np.zeros((1 << (2 * (len(self._listed) + n) + 1).bit_length(), 4), np.uint64)
        self._loops.enter(self._listed, table)
        return table

    def read(self, body: Bytes, offsets: I64) -> Told:
        """The words of some texts, each as what it means."""
        if self._spelling:
            self._make_room(len(body) // 2 + len(offsets))
        words, fresh, waiting, spans = self._loops.read(body, self._classes, offsets, self._table, self._spelling)
        if len(waiting):
            self._ask(body, words[1][fresh], spans[fresh])
            self._loops.settle(waiting, words, self._table)
        told: Told = words
        return told

    def _make_room(self, n: int) -> None:
        if 2 * (self._n + n) <= len(self._table):
            return
        old = self._table
        if self._n > _MOST:
            self._n = len(self._listed)
            self._table = self._made(n)
        else:
            self._table = self._made(2 * self._n + n)
            self._loops.enter(old, self._table)

    def _ask(self, body: Bytes, hashes: U64, spans: npt.NDArray[np.int32]) -> None:
        entries = np.zeros((len(hashes), 4), np.uint64)
        entries[:, 0] = entries[:, 1] = hashes
        entries[:, 2] = ASKED << 16
        wrong: list[int] = []
        right: list[str] = []
        for number, (begin, end) in enumerate(spans.tolist()):
            word = corrected(body[begin:end].tobytes().lower().decode("utf-8", "replace"))
            if word is not None:
                wrong.append(number)
                right.append(word)
        if wrong:
            kinds, same, media = vocabulary().look_up(hash_words(right))
            entries[wrong, 1] = same
            entries[wrong, 2] |= kinds | _numbered(media) << np.uint64(8)
        self._loops.enter(entries, self._table)
        self._n += len(hashes)


def _numbered(media: U64) -> U64:
    """Bits of media, one at most in each value, as their numbers from 1; 0 is none."""
    return np.where(media > 0, np.bitwise_count(media - np.uint64(1)) + np.uint64(1), np.uint64(0)).astype(np.uint64)


@lru_cache(maxsize=1)
def _listed() -> U64:
    """An entry for each word of the vocabulary."""
    known = vocabulary()
    used = np.flatnonzero(known.keys)
    state = np.full(len(used), LISTED << 16, np.uint64)
    packed = known.kinds[used] | _numbered(known.media[used]) << np.uint64(8) | state
    return np.stack([known.keys[used], known.same[used], packed, np.zeros_like(state)], axis=1)
