"""Uncertain quantities as draws: what is measured on a few rows, carried through products, sums and limits.

A quantity is an array of N_DRAWS equally likely values. A share measured as k of n is drawn from Jeffreys' posterior,
Beta(k + 1/2, n - k + 1/2); what comes of it in so many rows is binomial. The 2.5th and 97.5th percentiles are low and
high, the mean is what is expected. A share of which nothing is known runs from 0 to 1, the same way in every such
quantity: its ends are bounds, and nothing is expected of it. Not covered: what is wrong with a basis itself, such as
a pilot on another machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Draws = npt.NDArray[np.float64]

_MOST_TRIES = 1e9  # what NumPy's hypergeometric distribution takes
N_DRAWS = 4000  # the percentiles' own error is under a tenth of the interval's width

#: What a quantity may rest on, the firmest first; of several the last counts.
BASES = ("known", "pilot", "earlier_run", "published", "recipe")


@dataclass(frozen=True, eq=False)
class Amount:
    """A quantity, and what it rests on. `is_known` is false for bounds, of which only the ends mean something."""

    draws: Draws
    basis: str = "known"
    is_known: bool = True

    @classmethod
    def exactly(cls, value: float, basis: str = "known") -> Self:
        """A number that is counted."""
        return cls(np.full(N_DRAWS, float(value)), basis)

    @classmethod
    def between(cls, least: float, most: float) -> Self:
        """Bounds of what nobody has measured."""
        return cls(np.linspace(least, most, N_DRAWS), "recipe", is_known=False)

    def _with(self, other: Amount | float, draws: Draws) -> Amount:
        """A result of both; bounds that meet, such as no rows times any share, are known."""
        operands = [each for each in (self, other) if isinstance(each, Amount)]
        firm = [each for each in operands if each.is_known]
        if len(firm) < len(operands) and draws.min() == draws.max():
            operands = firm or operands
            return Amount(draws, max((each.basis for each in operands), key=BASES.index))
        return Amount(draws, max((each.basis for each in operands), key=BASES.index), len(firm) == len(operands))

    def __add__(self, other: Amount | float) -> Amount:
        return self._with(other, self.draws + _values(other))

    def __mul__(self, other: Amount | float) -> Amount:
        return self._with(other, self.draws * _values(other))

    def __truediv__(self, other: Amount | float) -> Amount:
        """Over zero it is zero: nothing was there to divide."""
        below = np.broadcast_to(np.asarray(_values(other), float), self.draws.shape)
        return self._with(other, np.divide(self.draws, below, out=np.zeros_like(self.draws), where=below > 0))

    def at_most(self, limit: Amount | float | None) -> Amount:
        """Cut off at a limit; None is none. Wholly under a known limit's reach it is the limit's own basis."""
        if limit is None:
            return self
        cut = np.minimum(self.draws, _values(limit))
        if not isinstance(limit, Amount) and bool((self.draws >= limit).all()):
            return Amount(cut, self.basis)
        return self._with(limit, cut)

    def at_least(self, limit: float) -> Amount:
        """Cut off from below."""
        return Amount(np.maximum(self.draws, limit), self.basis, self.is_known)

    @property
    def low(self) -> float:
        """2.5th percentile, or the lower bound."""
        return float(np.quantile(self.draws, 0.025) if self.is_known else self.draws.min())

    @property
    def expected(self) -> float | None:
        """The mean; None where nothing is known. Within low and high, which a very skew mean would leave."""
        return float(np.clip(self.draws.mean(), self.low, self.high)) if self.is_known else None

    @property
    def high(self) -> float:
        """97.5th percentile, or the upper bound."""
        return float(np.quantile(self.draws, 0.975) if self.is_known else self.draws.max())


def _values(other: Amount | float) -> Draws | float:
    return other.draws if isinstance(other, Amount) else other


def total(amounts: list[Amount]) -> Amount:
    """Their sum; of none, 0."""
    whole = Amount.exactly(0)
    for each in amounts:
        whole = whole + each
    return whole


@dataclass(frozen=True)
class Sampler:
    """Draws from a seeded generator; every call goes on where the last one ended."""

    rng: np.random.Generator
    basis: str

    def share(self, k: float, n: float) -> Amount:
        """A share seen as k of n; bounds where n is 0."""
        if n <= 0:
            return Amount.between(0, 1)
        return Amount(self.rng.beta(k + 0.5, n - k + 0.5, N_DRAWS), self.basis)

    def successes(self, tries: Amount, share: Amount) -> Amount:
        """How many of `tries` (rounded) succeed; bounds of them where either is not known."""
        if not share.is_known:
            return tries * share
        drawn = self.rng.binomial(np.rint(tries.draws).astype(np.int64), share.draws)
        return share._with(tries, drawn.astype(float))

    def tries(self, successes: Amount, share: Amount) -> Amount:
        """How many tries it takes, one by one, until so many succeed; 0 of a share of 0 are never reached: inf.

        Bounds ascend, as every other bound does: beside rows that ascend too, their smaller one keeps its ends.
        """
        if not share.is_known:
            least = np.divide(successes.draws, share.draws, out=np.full(N_DRAWS, np.inf), where=share.draws > 0)
            return successes._with(share, np.sort(np.where(successes.draws > 0, least, 0.0)))
        wanted, p = np.rint(successes.draws), np.clip(share.draws, 1e-9, 1.0)
        failures = self.rng.negative_binomial(np.maximum(wanted, 1), p)
        return share._with(successes, np.where(wanted > 0, wanted + failures, 0.0))

    def reached(self, successes: Amount, needed: Amount, done: Amount) -> Amount:
        """Successes after `done` of the `needed` tries of which the last is the last success that is wanted.

        Those before the last lie anywhere among the tries: hypergeometric.
        """
        wanted, last = np.rint(successes.draws).astype(np.int64), np.minimum(needed.draws, _MOST_TRIES)
        tries = np.clip(np.rint(done.draws), 0, np.maximum(last - 1, 0)).astype(np.int64)
        others = np.maximum(np.rint(last).astype(np.int64) - wanted, 0)
        before = np.maximum(wanted - 1, 0)
        some = self.rng.hypergeometric(before, others, np.minimum(tries, before + others))
        return needed._with(done, np.where(done.draws >= needed.draws, wanted, some).astype(float))

    def mean(self, total: float, squares: float, n: int) -> Amount:
        """The mean of what was measured n times, with its standard error."""
        if n <= 0:
            raise ValueError("a mean of nothing")
        mean = total / n
        variance = max(0.0, squares / n - mean**2)
        return Amount(np.maximum(0.0, self.rng.normal(mean, np.sqrt(variance / n), N_DRAWS)), self.basis)

    def about(self, value: Amount | float, margin: float, basis: str | None = None) -> Amount:
        """Evenly between (1 - margin) and (1 + margin) times the value: a stated margin, measured on nothing."""
        factor = Amount(self.rng.uniform(1 - margin, 1 + margin, N_DRAWS), basis or self.basis)
        return factor * value
