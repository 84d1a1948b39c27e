"""Survivors among vectors: every pair of a group is compared, block by block, and forms stars as near duplicates do.

Exact, so quadratic in the largest group: n rows of d numbers are n * n * d operations. Memory: two bytes a number of a
vector, and 80 MB for the blocks. Rows are taken in order of survival, and what an earlier block dropped is not
compared again.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from promptforge.stages.hashing import I64, U64
from promptforge.stages.resemblance.compare import Agree
from promptforge.stages.resemblance.jaccard import Floats
from promptforge.stages.resemblance.stars import stars

Halves = npt.NDArray[np.float16]

BLOCK = 2048  # a product is 16 MB
_MARGIN = 3e-3  # halves are of length 1 but for 5e-4; what passes is measured again
_EPSILON = 1e-9
_PAIRS = 1 << 15  # pairs measured at a time


def survivors(
    vectors: Halves, groups: U64, threshold: float, *, n_fixed: int = 0, agree: Agree | None = None
) -> tuple[I64, Floats]:
    """For each row, in order of survival, the row that stays for it, and their cosine (1 for a survivor).

    Only rows of one group are compared. The first `n_fixed` rows always stay. A row with a number that is not finite,
    or of length 0, resembles none.
    """
    winner, value = np.arange(len(vectors)), np.ones(len(vectors))
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    rows = np.flatnonzero(np.isfinite(length) & (length > 0))
    rows = rows[np.argsort(groups[rows], kind="stable")]
    bounds = np.flatnonzero(np.diff(groups[rows])) + 1
    for group in np.split(rows, bounds):
        if len(group) > 1 and group[-1] >= n_fixed:
            _Group(vectors, length, group, threshold, n_fixed).drop(winner, value, agree)
    return winner, value


class _Group:
    """Rows that may be compared with each other, in order of survival."""

    def __init__(self, vectors: Halves, length: Floats, rows: I64, threshold: float, n_fixed: int) -> None:
        self._vectors, self._length, self._rows = vectors, length, rows
        self._threshold, self._n_fixed = threshold, n_fixed

    def drop(self, winner: I64, value: Floats, agree: Agree | None) -> None:
        """Write the survivor and the cosine of every row that is dropped."""
        rows = self._rows
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            block = block[winner[block] == block]
            a, b, cosine = self._pairs(block, block, agree)
            # Whoever survives within its block survives: earlier blocks have dropped theirs already.
            own, near = stars(len(block), np.searchsorted(block, a), np.searchsorted(block, b), cosine, len(block))
            winner[block], value[block] = block[own], near
            block = block[own == np.arange(len(block))]
            for after in range(start + BLOCK, len(rows), BLOCK):
                other = rows[after : after + BLOCK]
                other = other[winner[other] == other]
                a, b, cosine = self._pairs(block, other, agree)
                order = np.lexsort((a, b))  # the first that it resembles drops a row
                first = order[np.append(True, np.diff(b[order]) != 0)] if len(b) else order
                winner[b[first]], value[b[first]] = a[first], cosine[first]

    def _pairs(self, left: I64, right: I64, agree: Agree | None) -> tuple[I64, I64, Floats]:
        """Pairs (a of `left` before b of `right`) that are near and that nothing holds apart."""
        right = right[np.searchsorted(right, self._n_fixed) :]
        product = self._vectors[left].astype(np.float32) @ self._vectors[right].astype(np.float32).T
        p, q = np.nonzero(product >= self._threshold - _MARGIN)
        a, b = left[p], right[q]
        a, b = a[a < b], b[a < b]
        # Measured again, pair by pair, so that no order of additions within a library decides.
        cosine = np.empty(len(a), np.float64)
        for start in range(0, len(a), _PAIRS):
            part = slice(start, start + _PAIRS)
            dot = np.einsum("ij,ij->i", self._vectors[a[part]], self._vectors[b[part]], dtype=np.float64)
            cosine[part] = dot / (self._length[a[part]] * self._length[b[part]])
        near = cosine >= self._threshold - _EPSILON
        if agree is not None:
            near[near] = agree(a[near], b[near])
        return a[near], b[near], np.minimum(cosine[near], 1.0)
