"""Shares and thresholds from a stratified sample of labels, with intervals at 95%.

A sample is drawn without replacement within strata, n_h of N_h. What is wanted are ratios over the N pictures, such as
the precision of a threshold: good pictures that pass, of those that pass. The estimate is the weighted ratio (Hajek),
each label with N_h / n_h. Its variance is that of the linearised ratio within strata, with the finite-population
correction (Saerndal, Swensson, Wretman 1992, 5.5 to 5.7); each stratum lends some at the ratio's own odds,
since a stratum of whose ten labels all say yes does not vary by nothing. The interval is Wilson's at the effective
number of labels, p (1 - p) / variance, where every label agrees at Kish's, made smaller by (z / t)^2 for the degrees of
freedom (Korn, Graubard 1998): labels less strata in the domain, or Satterthwaite's number where that is less, as it is
when a large stratum of few labels makes up the variance. A census has an interval of no width.

A part of the labels, such as those of one half of the prompts, speaks for the whole run: its correction is for what the
part leaves out, so that half of a census is still a sample.

A threshold's interval holds the thresholds at which the precision asked for lies within the pointwise interval, so
it covers the one where precision crosses what is asked about as often as the pointwise interval covers there, 93 to
97% of the time: benchmarks/calibration.py.

Not covered: that the pictures that a person left out (unsure, raters that differ) may be others than those answered;
within a stratum they count as missing by chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

Z = 1.959963984540054  # of 95%, two-sided
_LENT = 1.5  # observations that each stratum lends to its variance; 1: runs of 120 pictures are covered 3 points less


@dataclass(frozen=True, slots=True)
class Sample:
    """Answered pictures. `key` (n): larger passes first; `good` (n); `stratum` (n): place in `sizes`, N_h by stratum.

    `sizes` None: every label counts alike and stands for pictures beyond those there are; no correction.
    """

    key: F64
    good: Flags
    stratum: I64
    sizes: F64 | None = None

    @property
    def n_strata(self) -> int:
        """Strata, also those without an answer."""
        return 1 if self.sizes is None else len(self.sizes)

    @property
    def said(self) -> F64:
        """Answers by stratum."""
        return np.bincount(self.stratum, minlength=self.n_strata).astype(np.float64)

    def part(self, chosen: Flags) -> Domain:
        """Those of the answers for which `chosen` (n) holds, as part of the whole design."""
        return Domain(self, chosen)


@dataclass(frozen=True, slots=True)
class Domain:
    """A part of a sample, such as one half of the prompts: its strata keep the counts of the whole sample."""

    sample: Sample
    chosen: Flags

    @property
    def said(self) -> F64:
        """Answers of the part by stratum."""
        return np.bincount(self.sample.stratum[self.chosen], minlength=self.sample.n_strata).astype(np.float64)

    def precision(self, thresholds: F64) -> Shares:
        """Good pictures of those with key >= threshold, for each threshold."""
        hits, misses = self._above(thresholds)
        return shares(self, hits, misses)

    def recall(self, thresholds: F64) -> Shares:
        """Pictures with key >= threshold of the good ones, for each threshold."""
        hits, _ = self._above(thresholds)
        every, _ = self._above(np.array([-np.inf]))
        return shares(self, hits, every - hits)

    @property
    def keys(self) -> F64:
        """Distinct keys of the part, ascending: where anything changes."""
        return np.unique(self.sample.key[self.chosen])

    def counts(self) -> tuple[int, int]:
        """Labels that say yes, and no."""
        n_good = int(np.count_nonzero(self.chosen & self.sample.good))
        return n_good, int(np.count_nonzero(self.chosen)) - n_good

    def _above(self, thresholds: F64) -> tuple[F64, F64]:
        """Good and bad labels at or above each threshold by stratum, (thresholds, strata); one pass over the labels."""
        sample = self.sample
        order = np.argsort(thresholds, kind="stable")
        n = len(thresholds)
        place = np.searchsorted(thresholds[order], sample.key, side="right")  # thresholds that it reaches
        found = []
        for good in (True, False):
            chosen = self.chosen & (sample.good == good)
            cells = place[chosen] * sample.n_strata + sample.stratum[chosen]
            table = np.bincount(cells, minlength=(n + 1) * sample.n_strata).reshape(n + 1, sample.n_strata)
            above = np.empty((n, sample.n_strata))
            above[order] = np.cumsum(table[::-1], axis=0)[::-1][1:]
            found.append(above)
        return found[0], found[1]


@dataclass(frozen=True, slots=True)
class Shares:
    """Ratios in [0, 1] with their intervals and effective numbers of labels; nan where there is no label."""

    value: F64
    low: F64
    high: F64
    effective: F64


def shares(part: Domain, hits: F64, misses: F64) -> Shares:
    """The ratio hits / (hits + misses) from counts of the part's labels by stratum, each (ratios, strata)."""
    from scipy.special import stdtrit

    sample = part.sample
    said = np.maximum(sample.said, 1.0)
    sizes = said if sample.sizes is None else sample.sizes
    weight = sizes / said
    left = np.ones_like(said) if sample.sizes is None else np.clip(1 - part.said / sizes, 0, 1)
    inside = hits + misses
    with np.errstate(divide="ignore", invalid="ignore"):
        total = inside @ weight
        value = (hits @ weight) / total
        p = value[:, None]
        sums = (1 - p) * hits - p * misses
        squares = (1 - p) ** 2 * hits + p**2 * misses
        lent = _LENT * inside / said
        spread = (squares + lent * p * (1 - p) - sums**2 / said) / np.maximum(said - 1 + lent, 1.0)
        odds = value * (1 - value)
        agreed = inside * weight**2 * left  # where every label agrees, as if each had the same variance
        terms = np.where(odds[:, None] > 0, spread * sizes**2 * left / said, agreed)
        effective = np.where(odds > 0, odds, 1.0) * total**2 / terms.sum(axis=1)
        satterthwaite = terms.sum(axis=1) ** 2 / (terms**2 / np.maximum(said - 1, 1.0)).sum(axis=1)
    n_inside = inside.sum(axis=1)
    freedom = np.fmax(np.fmin(n_inside - np.count_nonzero(inside, axis=1), satterthwaite), 1.0)
    effective = effective * (Z / stdtrit(freedom, 0.975)) ** 2
    effective = np.where(n_inside > 0, effective, np.nan)
    low, high = wilson(value, effective)
    return Shares(value, low, high, effective)


def wilson(share: F64, n: F64) -> tuple[F64, F64]:
    """Wilson's score interval of shares, `n` observations each; inf: no width (Wilson 1927)."""
    with np.errstate(invalid="ignore"):
        inverse = 1 / n
        middle = (share + Z * Z * inverse / 2) / (1 + Z * Z * inverse)
        half = Z / (1 + Z * Z * inverse) * np.sqrt(share * (1 - share) * inverse + (Z * inverse / 2) ** 2)
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)


def threshold_interval(part: Domain, precision: float) -> tuple[float, float] | None:
    """Keys between which the precision asked for is crossed; -inf and inf where the labels leave an end open.

    From the first threshold at which it may be that high to the last at which it may be that low, between those where
    it is surely lower and surely higher: the few labels at the strictest thresholds may say anything. None where no
    threshold fits: precision is higher everywhere, or lower.
    """
    keys = part.keys
    found = part.precision(keys)
    fits = (found.low <= precision) & (precision <= found.high)
    below, above = np.flatnonzero(found.high < precision), np.flatnonzero(found.low > precision)
    fits[: below[0] if len(below) else 0] = False
    fits[above[-1] + 1 if len(above) else len(keys) :] = False
    places = np.flatnonzero(fits)
    if not len(places):
        return None
    # Between two keys nothing changes: what holds at a key holds from just above the key below it.
    first, last = int(places[0]), int(places[-1])
    low = -np.inf if first == 0 else float(keys[first - 1])
    high = np.inf if last == len(keys) - 1 or not len(above) else float(keys[last])
    return low, high


def kappa(first: list[str], second: list[str]) -> float:
    """Cohen's kappa of two raters over the same questions: agreement beyond chance, in [-1, 1] (Cohen 1960).

    nan where both say one and the same throughout: chance alone would agree.
    """
    names = sorted({*first, *second})
    codes = np.array([[names.index(word) for word in said] for said in (first, second)])
    agreed = float(np.mean(codes[0] == codes[1]))
    by_chance = sum(float(np.mean(codes[0] == code) * np.mean(codes[1] == code)) for code in range(len(names)))
    return float("nan") if by_chance == 1 else (agreed - by_chance) / (1 - by_chance)
