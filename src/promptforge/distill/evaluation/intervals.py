"""Means over prompts with 95% percentile bootstrap intervals (Efron and Tibshirani 1993, chapter 13).

What is drawn again is prompts. Two models are compared by the differences within prompts, which is the paired interval.
Not covered: what another training seed would give, which needs several trainings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_AT_ONCE = 4_000_000  # draws of one block: 32 MB


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over n prompts; no bounds of fewer than two."""

    mean: float
    low: float | None
    high: float | None
    n: int


def mean_of(values: Sequence[float] | npt.NDArray[np.float64], seed: int, resamples: int) -> Estimate | None:
    """The mean of one number a prompt, and its interval; None of no prompt."""
    given = np.asarray(values, np.float64)
    if not given.size:
        return None
    mean = float(given.mean())
    if given.size == 1:
        return Estimate(mean, None, None, 1)
    rng = np.random.default_rng(seed)
    block = max(1, _AT_ONCE // given.size)
    means = [
        given[rng.integers(0, given.size, (min(block, resamples - start), given.size))].mean(axis=1)
        for start in range(0, resamples, block)
    ]
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return Estimate(mean, float(low), float(high), int(given.size))
