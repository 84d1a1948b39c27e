"""Paired effects over seeds: mean log ratio, its 95% t interval, its p, and Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Effect:
    """A ratio of two arms' outcomes over n paired seeds; bounds and p are None of fewer than two."""

    n: int
    ratio: float
    low: float | None
    high: float | None
    p: float | None


def effect(arm: Sequence[float], against: Sequence[float]) -> Effect:
    """Geometric mean of arm / against, pairs in order, with n - 1 degrees of freedom. Every number must be above 0."""
    logs = np.log(np.asarray(arm, np.float64) / np.asarray(against, np.float64))
    n, mean = len(logs), float(logs.mean())
    if n < 2:
        return Effect(n, math.exp(mean), None, None, None)
    error = float(logs.std(ddof=1)) / math.sqrt(n)
    half = float(stats.t.ppf(0.975, n - 1)) * error
    t = abs(mean) / error if error else math.inf if mean else 0.0  # equal ratios in every seed have no error
    p = float(2 * stats.t.sf(t, n - 1))
    return Effect(n, math.exp(mean), math.exp(mean - half), math.exp(mean + half), p)


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction of the p-values that there are (Holm 1979): largest (m - i) p so far, at most 1."""
    known = sorted((p, place) for place, p in enumerate(values) if p is not None)
    found: list[float | None] = [None] * len(values)
    worst = 0.0
    for rank, (p, place) in enumerate(known):
        worst = max(worst, min(1.0, (len(known) - rank) * p))
        found[place] = worst
    return found
