"""The costly loops through numba, where it is installed: the same integers as the NumPy code, some times faster.

numba is the extra `fast`. Compiling takes some seconds once; the result is kept beside this file where that is allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from promptforge.errors import EnvironmentFault
from promptforge.stages.hashing import M1, M2, SEED

Loop = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Loops:
    """The compiled loops; their signatures are those of the calls in words.py, vocabulary.py and minhash.py."""

    scan: Loop
    look_up: Loop
    band_keys: Loop
    similarities: Loop


def loops(compiled: bool | None) -> Loops | None:
    """The compiled loops; None where they are not wanted or, left open, not to be had.

    Raises EnvironmentFault where they are demanded and numba is missing.
    """
    if compiled is False:
        return None
    if find_spec("numba") is None:
        if compiled:
            raise EnvironmentFault(
                "dedup.compiled is true and numba is not installed; pip install numba, or leave it out"
            )
        return None
    return _compile()


@lru_cache(maxsize=1)
def _compile() -> Loops:  # noqa: C901, PLR0915 - the loops share their constants
    import numba  # type: ignore[import-not-found,unused-ignore]

    u64, u32 = np.uint64, np.uint32
    m1, m2, seed = M1, M2, SEED
    jit = numba.njit(nogil=True, boundscheck=False)

    @jit
    def mix(value):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        value = (value ^ (value >> u64(32))) * m1
        value = (value ^ (value >> u64(29))) * m2
        return value ^ (value >> u64(32))

    @jit
    def scan(low, kind, offsets):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, C901
        most = len(low) // 2 + len(offsets) + 1
        hashes, phrase = np.empty(most, np.uint64), np.empty(most, np.int32)
        quoted, digit = np.zeros(most, np.bool_), np.empty(most, np.bool_)
        spans, first = np.empty((most, 2), np.int64), np.empty(len(offsets), np.int64)
        n, stretch = 0, -1
        for row in range(len(offsets) - 1):
            first[row] = n
            begin, end = offsets[row], offsets[row + 1]
            fresh, marks, at = True, 0, begin
            while at < end:
                what = kind[at]
                if what != 1:
                    if what == 2:
                        fresh = True
                    elif what == 3:
                        marks += 1
                    elif what == 4 and (at + 1 == len(kind) or kind[at + 1] != 1):
                        fresh = True
                    at += 1
                    continue
                start = at
                value, block, shift = seed, u64(0), u64(0)
                while at < end and kind[at] == 1:
                    block |= u64(low[at]) << shift
                    shift += u64(8)
                    at += 1
                    if shift == u64(64):
                        value = (value ^ block) * m1
                        value ^= value >> u64(29)
                        block, shift = u64(0), u64(0)
                if shift:
                    value = (value ^ block) * m1
                    value ^= value >> u64(29)
                if fresh:
                    stretch += 1
                    fresh = False
                hashes[n], phrase[n], quoted[n] = mix(value), stretch, marks % 2 == 1
                digit[n] = u32(low[start]) - u32(48) < u32(10)
                spans[n, 0], spans[n, 1] = start, at
                n += 1
            if marks % 2 == 1:
                quoted[first[row] : n] = False
        first[len(offsets) - 1] = n
        return hashes[:n], first, phrase[:n], quoted[:n], digit[:n], spans[:n]

    @jit
    def look_up(tables, words):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        keys, kinds, same, media = tables
        n = len(words)
        kind, canon, medium = np.zeros(n, np.uint8), words.copy(), np.zeros(n, np.uint64)
        last = u64(len(keys) - 1)
        for word in range(n):
            slot = words[word] & last
            while keys[slot] != u64(0):
                if keys[slot] == words[word]:
                    kind[word], canon[word], medium[word] = kinds[slot], same[slot], media[slot]
                    break
                slot = (slot + u64(1)) & last
        return kind, canon, medium

    @jit
    def band_keys(shingles, spans, salts, functions, shape):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        bands, rows = shape
        odd, mask = functions
        begin, end = spans
        keys = np.empty((bands, len(begin)), np.uint32)
        minima = np.empty(bands * rows, np.uint32)
        for row in range(len(begin)):
            minima[:] = u32(0xFFFFFFFF)
            for at in range(begin[row], end[row]):
                value = shingles[at]
                for number in range(len(minima)):
                    hashed = u32((value ^ mask[number]) * odd[number])
                    minima[number] = min(minima[number], hashed)
            for band in range(bands):
                key = salts[row] + u64(band)
                for number in range(band * rows, (band + 1) * rows):
                    key = (key ^ u64(minima[number])) * m1
                    key ^= key >> u64(29)
                keys[band, row] = u32(key >> u64(32))
        return keys

    @jit
    def sorted_set(values, into):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        n = 0
        for value in values:  # insertion: some 25 values
            at = n
            while at > 0 and into[at - 1] > value:
                at -= 1
            if at > 0 and into[at - 1] == value:
                continue
            for place in range(n, at, -1):
                into[place] = into[place - 1]
            into[at] = value
            n += 1
        return n

    @jit
    def similarities(shingles, offsets, a, b):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        found = np.zeros(len(a), np.float64)
        longest = 0
        for pair in range(len(a)):
            longest = max(longest, offsets[a[pair] + 1] - offsets[a[pair]], offsets[b[pair] + 1] - offsets[b[pair]])
        row, n_left = -1, 0
        left, right = np.empty(longest, np.uint32), np.empty(longest, np.uint32)
        for pair in range(len(a)):
            if a[pair] != row:  # pairs come in the order of their first row
                row = a[pair]
                n_left = sorted_set(shingles[offsets[row] : offsets[row + 1]], left)
            n_right = sorted_set(shingles[offsets[b[pair]] : offsets[b[pair] + 1]], right)
            one, two, both = 0, 0, 0
            while one < n_left and two < n_right:
                if left[one] == right[two]:
                    both += 1
                    one += 1
                    two += 1
                elif left[one] < right[two]:
                    one += 1
                else:
                    two += 1
            found[pair] = both / max(n_left + n_right - both, 1)
        return found

    return Loops(scan, look_up, band_keys, similarities)
