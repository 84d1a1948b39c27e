"""Word n-grams: their hashes, tables of those of a list of prompts, and where a batch of texts holds one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from promptforge.stages.contamination.words import Words
from promptforge.stages.hashing import I64, U64

_STEP = 0x9E3779B97F4A7C15
_BITS = (12, 23)
Hashes = TypeVar("Hashes", np.uint64, np.int64)
#: Marks of an n-gram: the list has it; and it is in the table as well, which is the higher one. 0: neither.
KNOWN, NAMED = 1, 2


def grams(hashes: U64, n: int) -> U64:
    """Hash of the n words from each place on, over the ends of texts too; n - 1 places fewer than there are words."""
    if len(hashes) < n:
        return np.empty(0, np.uint64)
    total, size = hashes, 1
    for bit in f"{n:b}"[1:]:  # by doubling: 8 words take three steps
        total = total[:-size] * np.uint64(pow(_STEP, size, 1 << 64)) + total[size:]
        size *= 2
        if bit == "1":
            total = total[:-1] * np.uint64(_STEP) + hashes[size:]
            size += 1
    return total


def grams_at(hashes: U64, n: int, at: I64) -> U64:
    """The same at some places alone; none of them in the last n - 1 words."""
    total = hashes[at]
    for step in range(1, n):
        total = total * np.uint64(_STEP) + hashes[at + step]
    return total


def places(words: Words, n: int) -> tuple[U64, I64]:
    """The n-grams of each text and the text that each is of."""
    found = grams(words.hashes, n)
    rows = words.rows()
    inside = rows[: len(found)] == rows[n - 1 :] if len(found) else np.empty(0, bool)
    return found[inside], rows[: len(found)][inside].astype(np.int64)


@dataclass(frozen=True)
class Table:
    """n-grams, each with the prompts that hold it: `owners[spans[i]:spans[i + 1]]` of `keys[i]`.

    `keys` are hashes, ascending, so their top bits lead to them: `starts` by these bits. `marks` by some bits more say
    what a hash may be, NAMED and KNOWN; some that are neither are marked as well.
    """

    n: int
    keys: U64
    spans: I64
    owners: I64
    starts: npt.NDArray[np.int32]
    marks: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, n: int, values: U64, owners: I64) -> Table:
        """A table of these n-grams, with the owner of each."""
        each, number = numbered(values)
        return cls.of_pairs(n, each, once((number << 32) | owners))

    @classmethod
    def of_pairs(cls, n: int, each: U64, pairs: I64, *, marked: bool = True) -> Table:
        """A table of n-grams by their place in `each`, in the high half of a pair, and their owners, in the low half.

        `pairs` ascend, each once. What of `each` is in no pair is known, but leads to none. Without `marked` there are
        no marks, and `find` needs the places to look at.
        """
        number, owners = pairs >> 32, pairs & 0xFFFFFFFF
        first = np.flatnonzero(np.append(True, number[1:] != number[:-1])) if len(number) else number
        values = each[number[first]]
        bits = _bits(len(values), 1)
        starts = np.zeros((1 << bits) + 1, np.int32)
        np.cumsum(np.bincount(_top(values, bits), minlength=1 << bits), out=starts[1:])
        marks = np.zeros(0, np.uint8)
        if marked:
            bits = _bits(len(each), 4)
            marks = np.zeros(1 << bits, np.uint8)
            marks[_top(each, bits)] = KNOWN
            marks[_top(values, bits)] = NAMED
        return cls(n, values, np.append(first, len(number)), owners, starts, marks)

    def find(self, words: Words, at: I64 | None = None) -> tuple[I64, I64]:
        """Text and number of the key wherever a text holds an n-gram of the table; `at`: the places to look at."""
        if at is None:
            return self.marked(words)[0]
        if not len(at):
            return at, at
        return self._keys_of(words, at, grams_at(words.hashes, self.n, at))

    def marked(self, words: Words) -> tuple[tuple[I64, I64], npt.NDArray[np.uint8]]:
        """Text and key as `find` gives them, and the mark of the n-gram at each place, over the ends of texts too."""
        found = grams(words.hashes, self.n)
        if not len(found):
            none = np.empty(0, np.int64)
            return (none, none), np.empty(0, np.uint8)
        marks = self.marks[_top(found, len(self.marks).bit_length() - 1)]
        at = np.flatnonzero(marks >= NAMED)
        return self._keys_of(words, at, found[at]), marks

    def _keys_of(self, words: Words, at: I64, value: U64) -> tuple[I64, I64]:
        slot = _top(value, (len(self.starts) - 1).bit_length() - 1)
        key, end = self.starts[slot].astype(np.int64), self.starts[slot + 1]
        found: list[I64] = []
        left = np.flatnonzero(key < end)
        while len(left):  # as a rule a slot has no key or one
            hit = self.keys[key[left]] == value[left]
            found.append(left[hit])
            left = left[~hit]
            key[left] += 1
            left = left[key[left] < end[left]]
        some = np.sort(np.concatenate(found)) if found else np.empty(0, np.int64)
        at, key = at[some], key[some]
        row = words.rows()[at].astype(np.int64)
        inside = at + self.n <= words.offsets[row + 1]
        return row[inside], key[inside]

    def expand(self, row: I64, key: I64) -> tuple[I64, I64, I64]:
        """Text, owner, and how many of the owner's n-grams stand in the text, of every pair that shares one."""
        each = once((row << 32) | key)
        row, key = each >> 32, each & 0xFFFFFFFF
        size = self.spans[key + 1] - self.spans[key]
        owner = self.owners[spread_out(self.spans[key], size)]
        both, count = counted((np.repeat(row, size) << 32) | owner)
        return both >> 32, both & 0xFFFFFFFF, count


def spread_out(starts: I64, size: I64) -> I64:
    """starts[0], starts[0] + 1, ... for size[0] numbers, then the same of the next."""
    ends = np.cumsum(size)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total, dtype=np.int64) - np.repeat(ends - size - starts, size)


def numbered(values: U64) -> tuple[U64, I64]:
    """Each value once, in order, and for each of all the place of its own there.

    Found by their top bits, as they are hashes; an argsort, or a binary search of each, takes two to six times as long.
    """
    each = once(values)
    bits = _bits(len(each), 3)
    table = np.zeros(1 << bits, np.int32)
    table[_top(each, bits)] = np.arange(len(each), dtype=np.int32)
    if not len(each):
        return each, np.empty(0, np.int64)
    place = table[_top(values, bits)].astype(np.int64)
    left = np.flatnonzero(each[place] != values)  # two in one slot
    place[left] = np.searchsorted(each, values[left])
    return each, place


def once(values: npt.NDArray[Hashes]) -> npt.NDArray[Hashes]:
    """Each value once, in order; np.unique hashes first, which takes up to a hundred times as long."""
    values = np.sort(values)
    fresh = np.ones(len(values), bool)
    fresh[1:] = values[1:] != values[:-1]
    return values[fresh]


def _bits(n: int, more: int) -> int:
    return min(max(n.bit_length() + more, _BITS[0]), _BITS[1])


def _top(values: U64, bits: int) -> I64:
    return (values >> np.uint64(64 - bits)).view(np.int64)


def counted(values: I64) -> tuple[I64, I64]:
    """Each value once, in order, and how often it came."""
    values = np.sort(values)
    fresh = np.ones(len(values) + 1, bool)
    fresh[1:-1] = values[1:] != values[:-1]
    first = np.flatnonzero(fresh)
    return values[first[:-1]], np.diff(first)


def runs(marks: npt.NDArray[np.uint8], length: int) -> I64:
    """Places from which on `length` marks in a row are set."""
    if len(marks) < length:
        return np.empty(0, np.int64)
    gaps = np.flatnonzero(marks == 0)
    edges = np.concatenate([np.array([-1]), gaps, np.array([len(marks)])])
    size = np.diff(edges) - 1
    long = np.flatnonzero(size >= length)
    return spread_out(edges[long] + 1, size[long] - length + 1)
