"""Exact Jaccard similarity of candidate pairs, over the sets of their n-grams."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from promptforge.stages.hashing import I64, U64
from promptforge.stages.resemblance.compiled import Loops
from promptforge.stages.resemblance.features import Features

Floats = npt.NDArray[np.float64]
_SLAB = 1 << 20  # n-grams compared at a time: some 40 MB of temporaries


def similarities(found: Features, a: I64, b: I64, loops: Loops | None = None) -> Floats:
    """Jaccard similarity of each pair of rows, in [0, 1]; two rows without n-grams have 0."""
    if loops:
        made: Floats = loops.similarities(found.shingles, found.offsets, a, b)
        return made
    size = np.diff(found.offsets)
    cost = np.cumsum(size[a] + size[b])
    result = np.zeros(len(a), np.float64)
    start = 0
    while start < len(a):
        done = int(cost[start - 1]) if start else 0
        stop = max(int(np.searchsorted(cost, done + _SLAB, side="right")), start + 1)
        result[start:stop] = _slab(found, a[start:stop], b[start:stop])
        start = stop
    return result


def _slab(found: Features, a: I64, b: I64) -> Floats:
    left, right = _sets(found, a), _sets(found, b)
    every = np.concatenate([left, right])
    every.sort()
    pair = (every[1:][every[1:] == every[:-1]] >> np.uint64(32)).astype(np.int64)
    both = np.bincount(pair, minlength=len(a))
    either = np.bincount((left >> np.uint64(32)).astype(np.int64), minlength=len(a))
    either += np.bincount((right >> np.uint64(32)).astype(np.int64), minlength=len(a))
    shares: Floats = both / np.maximum(either - both, 1)
    return shares


def _sets(found: Features, rows: I64) -> U64:
    """Number of the pair and n-gram as one value, sorted, each once."""
    begin, size = found.offsets[rows], found.offsets[rows + 1] - found.offsets[rows]
    ends = np.cumsum(size)
    pair = np.repeat(np.arange(len(rows), dtype=np.uint64), size)
    at = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - size - begin, size)
    value: U64 = (pair << np.uint64(32)) | found.shingles[at]
    value.sort()
    fresh = np.ones(len(value), bool)
    fresh[1:] = value[1:] != value[:-1]
    sets: U64 = value[fresh]
    return sets
