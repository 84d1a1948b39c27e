"""How much of a benchmark's prompt stands in a text: the share of its n-grams, or of its words by their weight."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from promptforge.stages.contamination.grams import KNOWN, Table, counted, numbered, once, places, spread_out
from promptforge.stages.contamination.words import Mask, Words
from promptforge.stages.hashing import I64, U64

Floats = npt.NDArray[np.float64]
#: n-grams of more prompts lead to none of them, but for a prompt's rarest: those of a template would lead to all.
MAX_OWNERS = 2


class Held:
    """The distinct n-grams of every prompt, with what each weighs: how rare it is in the list, or all the same."""

    def __init__(self, words: Words, n: int, *, weighted: bool) -> None:
        value, owner = places(words, n)
        self.each, number = numbered(value)  # the distinct n-grams of the list, in order
        both = once((owner << 32) | number)
        self.n, self.owner = n, both >> 32
        self.number = number = both & 0xFFFFFFFF
        self.value = self.each[number]
        self.spread: I64 = np.bincount(number)[number].astype(np.int64)  # prompts that hold this n-gram
        self.starts = np.searchsorted(self.owner, np.arange(len(words) + 1)).astype(np.int64)
        self._weight = np.log((len(words) + 1) / self.spread) if weighted else None
        self._whole = np.bincount(self.owner, weights=self._weight, minlength=len(words))

    def share(self, words: Words, row: I64, prompt: I64, least: float | Floats = 0.0) -> Floats:
        """Share of each prompt's weight that stands in the text beside it, in [0, 1]; 0 where it is under `least`.

        `row` ascends.
        """
        some = counted(row)[0]
        held, of = places(chosen(words, some), self.n)
        key = _key(of.astype(np.uint64), held)
        shares = np.zeros(len(row))
        if not len(key):
            return shares
        # A table of bits leaves few pairs to compare exactly: a binary search costs ten times as much as a look.
        bits = np.uint64(64 - min(len(key).bit_length() + 3, 24))
        table = np.zeros(1 << int(64 - bits), bool)
        table[_slot(key, bits)] = True
        place = np.searchsorted(some, row).astype(np.uint64)
        left = np.flatnonzero(self._sum(place, prompt, lambda asked: table[_slot(asked, bits)]) >= least - 1e-9)
        key.sort()
        shares[left] = self._sum(
            place[left],
            prompt[left],
            lambda asked: key[np.minimum(np.searchsorted(key, asked), len(key) - 1)] == asked,
        )
        shares[shares < least - 1e-9] = 0.0
        return shares

    def _sum(self, place: U64, prompt: I64, held: Callable[[U64], Mask]) -> Floats:
        """Share of each prompt's weight whose n-grams are held by the text."""
        size = self.starts[prompt + 1] - self.starts[prompt]
        at = spread_out(self.starts[prompt], size)
        hit = held(_key(np.repeat(place, size), self.value[at]))
        found = np.zeros(len(at) + 1, np.int64 if self._weight is None else np.float64)
        np.cumsum(hit if self._weight is None else hit * self._weight[at], out=found[1:])
        ends = np.cumsum(size)
        shares: Floats = (found[ends] - found[ends - size]) / np.maximum(self._whole[prompt], 1e-12)
        return shares


class Coverage:
    """Finds the (text, prompt) pairs in which at least `share` of the prompt's distinct n-grams stand in the text.

    Only n-grams of at most MAX_OWNERS prompts, and each prompt's rarest, are looked for. A text that holds `share` of
    the m n-grams lacks (1 - share) m of them at most, so of p that are looked for it holds p - floor((1 - share) m):
    pairs with fewer are not compared at all. Missed are only texts that hold none of a prompt's rarer n-grams.
    """

    def __init__(self, words: Words, n: int, share: float) -> None:
        held = Held(words, n, weighted=False)
        size = np.diff(held.starts)
        some = np.flatnonzero(size)
        rank = (held.spread << 32) | np.arange(len(held.value))  # within a prompt n-grams ascend
        rarest = np.minimum.reduceat(rank, held.starts[some]) if len(some) else rank
        rare = np.flatnonzero((held.spread <= MAX_OWNERS) | (rank == np.repeat(rarest, size[some])))
        n_rare = np.bincount(held.owner[rare], minlength=len(words))
        self._held, self._share = held, share
        self._least = np.maximum(n_rare - np.floor((1 - share) * size + 1e-9).astype(np.int64), 1)
        self.n = n
        self._need = np.ceil(share * size - 1e-9).astype(np.int64)
        self._table = Table.of_pairs(n, held.each, np.sort((held.number[rare] << 32) | held.owner[rare]))

    def find(self, words: Words) -> tuple[I64, I64, Floats, npt.NDArray[np.uint8]]:
        """Text, prompt, share of the prompt's n-grams in the text; and which n-grams of all texts the list may have."""
        (row, key), marks = self._table.marked(words)
        known = np.zeros(len(words.hashes) + 1, np.int64)
        np.cumsum(marks >= KNOWN, out=known[1 : len(marks) + 1])
        known[len(marks) + 1 :] = known[len(marks)]
        n_known = known[words.offsets[1:]] - known[words.offsets[:-1]]
        row, prompt, count = self._table.expand(row, key)
        enough = (count >= self._least[prompt]) & (n_known[row] >= self._need[prompt])
        row, prompt = row[enough], prompt[enough]
        share = self._held.share(words, row, prompt, self._share)
        good = share > 0
        return row[good], prompt[good], share[good], marks


def _key(row: U64, value: U64) -> U64:
    """24 bits for the text, 40 for the n-gram: two of one text are mixed up once in 10**9 texts of 40 words."""
    found: U64 = (row << np.uint64(40)) | (value >> np.uint64(24))
    return found


def _slot(key: U64, shift: np.uint64) -> I64:
    return ((key * np.uint64(0x9E3779B97F4A7C15)) >> shift).view(np.int64)


def chosen(words: Words, rows: I64) -> Words:
    """The words of some of the texts."""
    size = np.diff(words.offsets)[rows]
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(size, out=offsets[1:])
    at = spread_out(words.offsets[:-1][rows], size)
    return Words(words.hashes[at], offsets, words.letters[rows], words.quoted[at])
