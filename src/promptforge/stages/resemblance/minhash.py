"""Candidate pairs by MinHash and LSH: pairs of rows whose signatures agree in at least one band.

The signature is bands x rows minima of h -> (h ^ b) * a mod 2**32 over a row's n-grams. A pair of Jaccard similarity s
shares a band with probability 1 - (1 - s**rows)**bands: 0.9996 at 0.8 and 0.951 at 0.7 with 24 x 6. Rows whose facts
nobody shares are left out before any of it, and the facts enter every band key.

Bucket guard: of a bucket with more than `guard` rows each row is paired with the bucket's first 8 and the 4 before it,
so that shared boilerplate costs 12 pairs a row and not the square. Rows come in order of survival, so the first are
those that would drop the others.
"""

from __future__ import annotations

import numpy as np

from promptforge.stages.hashing import I64, U64, mix
from promptforge.stages.resemblance.compiled import loops
from promptforge.stages.resemblance.features import U32, Features
from promptforge.stages.resemblance.settings import DedupSettings

_SEED = 7
_LEADERS, _NEAREST = 8, 4
_BLOCK = 1 << 17  # n-grams worked on at a time: 512 KiB, within the second-level cache
_COMPACT = 1 << 22  # pairs held before doubles are taken out
_LOW = np.uint64(0xFFFFFFFF)


def multipliers(n: int) -> tuple[U32, U32]:
    """Odd multipliers and masks of the n hash functions."""
    random = np.random.default_rng(_SEED)
    odd = random.integers(0, 1 << 32, n, dtype=np.uint32) | np.uint32(1)
    return odd, random.integers(0, 1 << 32, n, dtype=np.uint32)


def meeting(found: Features) -> I64:
    """Rows that have n-grams and share their facts with another row, in order."""
    if not len(found):
        return np.empty(0, np.int64)
    order = np.argsort(found.facts, kind="stable")
    facts = found.facts[order]
    shared = np.zeros(len(order), bool)
    shared[1:] = facts[1:] == facts[:-1]
    shared[:-1] |= shared[1:]
    rows = np.sort(order[shared])
    return rows[np.diff(found.offsets)[rows] > 0]


def band_keys(found: Features, rows: I64, settings: DedupSettings) -> U32:
    """Key of each band and row, shape (bands, len(rows))."""
    odd, mask = multipliers(settings.bands * settings.rows)
    fast = loops(settings.compiled)
    if fast:
        begin, end = found.offsets[rows], found.offsets[rows + 1]
        shape = (settings.bands, settings.rows)
        made: U32 = fast.band_keys(found.shingles, (begin, end), mix(found.facts[rows]), (odd, mask), shape)
        return made
    keys = np.empty((settings.bands, len(rows)), np.uint32)
    size = np.diff(found.offsets)[rows]
    order = np.argsort(size, kind="stable")
    start = 0
    while start < len(order):
        # Rows of about equal length: a shorter one repeats its last n-gram, which changes no minimum.
        longest = int(size[order[min(start + _BLOCK // max(int(size[order[start]]), 1), len(order)) - 1]])
        stop = min(start + max(_BLOCK // longest, 64), len(order))
        longest = int(size[order[stop - 1]])
        block = order[start:stop]
        step = np.minimum(np.arange(longest)[:, None], size[block] - 1)
        hashes = found.shingles[found.offsets[:-1][rows[block]] + step]
        salt = mix(found.facts[rows[block]])
        work = np.empty_like(hashes)
        for band in range(settings.bands):
            key = salt + np.uint64(band)
            for number in range(band * settings.rows, (band + 1) * settings.rows):
                np.bitwise_xor(hashes, mask[number], out=work)
                np.multiply(work, odd[number], out=work)
                key = (key ^ np.minimum.reduce(work, axis=0)) * np.uint64(0x9E3779B97F4A7C15)
                key ^= key >> np.uint64(29)
            keys[band, block] = (key >> np.uint64(32)).astype(np.uint32)
        start = stop
    return keys


def bucket_pairs(keys: U32, guard: int) -> tuple[I64, I64]:
    """Pairs (a < b) of columns of `keys` that share a key in some band, each once, in order."""
    found: list[U64] = []
    held = 0
    for band in keys:
        for pairs in _pairs_of(band, guard):
            found.append(pairs)
            held += len(pairs)
        if held > _COMPACT:
            found = [_each_once(found)]
            held = len(found[0])
    pairs = _each_once(found)
    return (pairs >> np.uint64(32)).astype(np.int64), (pairs & _LOW).astype(np.int64)


def _each_once(found: list[U64]) -> U64:
    """All values, sorted, each once; np.unique takes a hash table here, which is some times slower."""
    if not found:
        return np.empty(0, np.uint64)
    every = np.concatenate(found)
    every.sort()
    fresh = np.ones(len(every), bool)
    fresh[1:] = every[1:] != every[:-1]
    once: U64 = every[fresh]
    return once


def _pairs_of(band: U32, guard: int) -> list[U64]:
    packed = (band.astype(np.uint64) << np.uint64(32)) | np.arange(len(band), dtype=np.uint64)
    packed.sort()
    same = (packed[1:] ^ packed[:-1]) <= _LOW
    shared = np.zeros(len(packed), bool)
    shared[1:] = same
    shared[:-1] |= same
    packed = packed[shared]
    if not len(packed):
        return []
    bucket = np.flatnonzero(np.diff(packed >> np.uint64(32), prepend=packed[:1] + np.uint64(1)))
    bucket[0] = 0
    size = np.diff(np.append(bucket, len(packed)))
    rows = packed & _LOW
    large = np.repeat(size > guard, size)
    place = np.arange(len(rows)) - np.repeat(bucket, size)
    pairs = []
    for back in range(1, int(min(size.max(), guard))):
        late = np.flatnonzero((place >= back) & ~large) if back > _NEAREST else np.flatnonzero(place >= back)
        pairs.append((rows[late - back] << np.uint64(32)) | rows[late])
    if large.any():
        first = np.repeat(bucket, size)
        for leader in range(_LEADERS):
            late = np.flatnonzero(large & (place > leader + _NEAREST))
            pairs.append((rows[first[late] + leader] << np.uint64(32)) | rows[late])
    return pairs
