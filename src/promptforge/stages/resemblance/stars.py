"""Star clusters: every dropped row resembles the survivor itself.

Rows are taken in order of survival. A row that no earlier survivor has dropped survives, and drops the rows that form
a pair with it. Connected components would chain A-B-C and drop C for an A that it does not resemble.
"""

from __future__ import annotations

import numpy as np

from promptforge.stages.hashing import I64
from promptforge.stages.resemblance.jaccard import Floats


def stars(n: int, a: I64, b: I64, value: Floats, most: int) -> tuple[I64, Floats]:
    """Survivor of each of n rows (itself, where it survives) and the pair's similarity (1 for a survivor).

    Pairs are (a < b) in order of survival, so that the smaller number survives; `most` rows at most are dropped for
    one survivor, the most similar first.
    """
    winner = np.arange(n)
    near = np.ones(n, np.float64)
    order = np.lexsort((b, -value, a))
    lost: dict[int, tuple[int, float]] = {}
    dropped: dict[int, int] = {}
    for first, second, similarity in zip(a[order].tolist(), b[order].tolist(), value[order].tolist(), strict=True):
        if first in lost or second in lost or dropped.get(first, 0) >= most:
            continue
        lost[second] = (first, similarity)
        dropped[first] = dropped.get(first, 0) + 1
    for row, (survivor, similarity) in lost.items():
        winner[row], near[row] = survivor, similarity
    return winner, near
