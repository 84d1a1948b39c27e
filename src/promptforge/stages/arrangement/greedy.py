"""Diversity order: the next unit is the one that adds most to what is covered for its size; ties go to the earlier one.

A set covers the sum over its concepts of weight x h(n), n being how many of the units taken so far have it, those of
earlier blocks included. h grows by 1, 1/2, 1/4, 1/4, then by 1/8 four times, by 1/16 eight times, ...: a staircase
below the harmonic series, concave, so what a unit adds only ever falls. A bound that is still the largest when computed
anew is therefore the largest of all (lazy greedy, Minoux 1978): the order is that of plain greedy.

What a unit adds is divided by the number of its concepts to the power of 3/4. Undivided, long prompts come first (in
the first quarter of 10,000 captions 22 words on average, 12.5 in all), divided by the number itself, short ones (9.9);
so, 14.3. Whole numbers throughout: no rounding, the same order on every machine.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from math import isqrt

import numpy as np
import numpy.typing as npt

from promptforge.stages.arrangement.concepts import BITS, Concepts

VERSION = 1  # raised whenever any units come in another order
ONE = 1 << 24  # what a concept of weight 1 adds when nobody has it yet


class Coverage:
    """How many of the units taken so far have each concept; one an axis."""

    def __init__(self) -> None:
        self._taken = np.zeros(1 << BITS, np.uint32)

    def order(self, units: Concepts) -> tuple[list[int], list[int]]:
        """The units of one block in greedy order, and what each added when its turn came, in units of 1 / ONE.

        All of them count as taken from then on.
        """
        bucket, place = np.unique(units.bucket, return_inverse=True)
        weight = np.zeros(len(bucket), np.int64)
        np.maximum.at(weight, place, units.weight)
        taken = self._taken[bucket]
        worth = (weight * ONE) >> _steps(taken)
        listed = [part.tolist() for part in np.split(place, units.offsets[1:-1])] if len(units) else []
        counts = taken.tolist()
        sequence, added = greedy(listed, worth.tolist(), counts)
        self._taken[bucket] = counts
        return sequence, added


def _steps(taken: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """Halvings so far: the number of binary digits of each count."""
    return np.frexp(taken.astype(np.float64))[1].astype(np.int64)


def scale(n: int) -> int:
    """65536 / n ** 0.75, rounded down."""
    return isqrt(isqrt((1 << 64) // max(1, n) ** 3))


def greedy(units: Sequence[Sequence[int]], worth: list[int], taken: list[int]) -> tuple[list[int], list[int]]:
    """Order of the units, each a list of distinct concepts, and what each added; `worth` and `taken` are used up.

    `worth` is what one more unit with the concept adds, `taken` how many had it.
    """
    value = worth.__getitem__
    scales = [scale(len(concepts)) for concepts in units]
    heap = [(-sum(map(value, concepts)) * scales[number], number) for number, concepts in enumerate(units)]
    heapq.heapify(heap)
    sequence: list[int] = []
    added: list[int] = []
    while heap:
        bound, number = heap[0]
        concepts = units[number]
        adds = sum(map(value, concepts))
        now = -adds * scales[number]
        if now != bound:
            heapq.heapreplace(heap, (now, number))
            continue
        heapq.heappop(heap)
        sequence.append(number)
        added.append(adds)
        for concept in concepts:
            count = taken[concept] + 1
            taken[concept] = count
            if not count & (count - 1):
                worth[concept] >>= 1
    return sequence, added
