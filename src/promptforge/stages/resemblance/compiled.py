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

Loop = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Loops:
    """The compiled loops; their signatures are those of the calls in words.py, vocabulary.py and minhash.py."""

    hashes: Loop
    look_up: Loop
    band_keys: Loop


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
def _compile() -> Loops:  # noqa: C901 - three loops that share their constants
    import numba  # type: ignore[import-not-found,unused-ignore]

    u64, u32 = np.uint64, np.uint32
    m1, m2, seed = u64(0x9E3779B97F4A7C15), u64(0xD6E8FEB86659FD93), u64(0xA0761D6478BD642F)
    jit = numba.njit(nogil=True, boundscheck=False)

    @jit
    def mix(value):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        value = (value ^ (value >> u64(32))) * m1
        value = (value ^ (value >> u64(29))) * m2
        return value ^ (value >> u64(32))

    @jit
    def hashes(low, starts, lengths):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        found = np.empty(len(starts), np.uint64)
        for word in range(len(starts)):
            value, at, left = seed, starts[word], lengths[word]
            while left > 0:
                block = u64(0)
                for byte in range(min(left, 8)):
                    block |= u64(low[at + byte]) << u64(8 * byte)
                value = (value ^ block) * m1
                value ^= value >> u64(29)
                at += 8
                left -= 8
            found[word] = mix(value)
        return found

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

    return Loops(hashes, look_up, band_keys)
