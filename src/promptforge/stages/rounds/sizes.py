"""How many new prompts of a goal a round tries, from the acceptance measured so far.

Let `missing` prompts still be wanted, and `accepted` of `decided` have passed so far. With Jeffreys' prior the share
that passes is Beta(accepted + 1/2, decided - accepted + 1/2), and M, the prompts that it takes until the last missing
one passes, is `missing` plus a beta-negative-binomial number of failures. A round of x prompts renders max(0, x - M) of
them for nothing. The rule: the largest x of which no more than `allowed` are expected to be for nothing, where that is
SPARE of all prompts that the goal will have taken, and one at least; nor, but for one case in fifty, more than WORST
of them, and two at least. So the first round stays below the median, and the last ones, when little is missing, go
beyond what is likely to be enough. Never fewer than `missing`, which can not be too many; just these where nothing is
decided yet.

Prompts with takes left are undecided; of these only so many are counted on that half of `allowed` is expected to pass
beyond them (`counted`), so that new prompts need not wait for the last take of the old ones. At 600 wanted, 4 takes and
one in five passing, that is 11 rounds in the median of 5 seeds, not 12, and 13 at worst, not 16, for 0.4% too much.

At 600 wanted of each of three goals, with acceptances from 0.1 to 0.95, that takes 2 to 6 rounds and renders 0.4 to
0.6% too much in the median of 20 seeds, 3.9% at worst, at 0.1 (benchmarks/rounds.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Share of a goal's prompts that each round may be expected to render for nothing.
SPARE = 0.004
#: The same share in the worst of fifty cases.
WORST = 0.02
_FIRST = 256  # failures looked at first; eight times as many each time that it is not enough
_MOST = 1 << 22


@dataclass(frozen=True, slots=True)
class Record:
    """Prompts of a goal whose fate is known: how many, and how many of them passed."""

    decided: int = 0
    accepted: int = 0

    @property
    def share(self) -> float | None:
        """Share that passed."""
        return self.accepted / self.decided if self.decided else None

    def interval(self) -> tuple[float, float]:
        """The central 95% of Jeffreys' posterior of the share; an end at 0 or 1 where none or all passed."""
        from scipy.stats import beta

        a, b = self.accepted + 0.5, self.decided - self.accepted + 0.5
        low = float(beta.ppf(0.025, a, b)) if self.accepted else 0.0
        high = float(beta.ppf(0.975, a, b)) if self.accepted < self.decided else 1.0
        return low, high


def failures(missing: int, record: Record, n: int) -> NDArray[np.float64]:
    """P(at most f failures before the last missing prompt passes) for f = 0 to n - 1; missing from 1 up."""
    from scipy.special import betaln, gammaln

    a, b = record.accepted + 0.5, record.decided - record.accepted + 0.5
    f = np.arange(n, dtype=np.float64)
    log_p = gammaln(missing + f) - gammaln(f + 1) - gammaln(missing) + betaln(a + missing, b + f) - betaln(a, b)
    known: NDArray[np.float64] = np.minimum(np.cumsum(np.exp(log_p)), 1.0)
    return known


def quantile(missing: int, record: Record, share: float, limit: int) -> int:
    """Prompts to try until the missing ones have passed with this probability; `limit` where it takes more."""
    if missing <= 0:
        return 0
    n = min(_FIRST, max(1, limit))
    while True:
        known = failures(missing, record, n)
        if known[-1] >= share:
            return min(limit, missing + int(np.searchsorted(known, share)))
        if n >= min(limit, _MOST):
            return limit
        n = min(n * 8, limit, _MOST)


def spare(total: float) -> float:
    """Prompts that a round may be expected to render for nothing, of a goal that takes so many in all."""
    return max(1.0, SPARE * total)


def counted(undecided: int, record: Record, allowed: float) -> int:
    """How many of the undecided prompts to count on: no more than `allowed` are expected to pass beyond these.

    `record` is that of prompts that once stood where these stand; the number that pass is beta-binomial.
    """
    from scipy.special import betaln, gammaln

    a, b = record.accepted + 0.5, record.decided - record.accepted + 0.5
    k = np.arange(undecided + 1, dtype=np.float64)
    log_p = gammaln(undecided + 1) - gammaln(k + 1) - gammaln(undecided - k + 1)
    log_p += betaln(a + k, b + undecided - k) - betaln(a, b)
    at_least = np.cumsum(np.exp(log_p)[::-1])[::-1]
    beyond = np.cumsum(at_least[::-1])[::-1] - at_least  # the mean of max(0, X - k): the sum of P(X >= i) over i > k
    return int(np.argmax(beyond <= allowed))


def size(missing: int, record: Record, tried: int, limit: int) -> int:
    """New prompts that a round tries, `limit` at most; `tried` have been tried already."""
    if missing <= 0 or limit <= missing:
        return max(0, min(missing, limit))
    if record.decided == 0:
        return missing
    total = tried + quantile(missing, record, 0.5, limit)
    allowed = spare(total)
    limit = min(limit, quantile(missing, record, 0.02, limit) + max(2, int(WORST * total)))
    n = min(_FIRST, limit)
    while True:
        # Expected for nothing of missing + j prompts: the sum over i < j of P(at most i failures).
        wasted = np.concatenate([[0.0], np.cumsum(failures(missing, record, n))])
        j = int(np.searchsorted(wasted, allowed, side="right")) - 1
        if j < n or n >= min(limit, _MOST):
            return min(limit, missing + j)
        n = min(n * 8, limit, _MOST)
