"""Uncertain quantities against SciPy's distributions and hand arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from promptforge.stages.forecast.amounts import N_DRAWS, Amount, Sampler, total


def sampler(seed: int = 1) -> Sampler:
    return Sampler(np.random.default_rng(seed), "pilot")


@pytest.mark.parametrize(("k", "n"), [(0, 100), (90, 100), (100, 100), (7, 20)])
def test_a_shares_interval_is_jeffreys(k: int, n: int) -> None:
    found = sampler().share(k, n)
    exact = stats.beta(k + 0.5, n - k + 0.5)
    assert found.low == pytest.approx(exact.ppf(0.025), abs=0.01)
    assert found.high == pytest.approx(exact.ppf(0.975), abs=0.01)
    assert found.expected == pytest.approx(exact.mean(), abs=0.004)


def test_successes_are_beta_binomial() -> None:
    found = sampler().successes(Amount.exactly(400), sampler(2).share(90, 100))
    exact = stats.betabinom(400, 90.5, 10.5)
    assert found.expected == pytest.approx(exact.mean(), rel=0.01)
    assert found.low == pytest.approx(exact.ppf(0.025), abs=4)
    assert found.high == pytest.approx(exact.ppf(0.975), abs=4)


def test_tries_until_a_quota_are_negative_binomial() -> None:
    share = Amount.exactly(0.5, "pilot")
    found = sampler().tries(Amount.exactly(600), share)
    failures = stats.nbinom(600, 0.5)
    assert found.expected == pytest.approx(1200, rel=0.005)  # 600 / 0.5
    assert found.low == pytest.approx(600 + failures.ppf(0.025), abs=8)
    assert found.high == pytest.approx(600 + failures.ppf(0.975), abs=8)
    assert sampler().tries(Amount.exactly(0), share).high == 0


def test_successes_before_a_quota_is_reached_are_binomial_again() -> None:
    """Tries until 600 succeed, cut at 1,150: together what 1,150 tries of 0.5 bring, at most 600."""
    whole, wanted = sampler(), Amount.exactly(600)
    needed = whole.tries(wanted, Amount.exactly(0.5, "pilot"))
    found = whole.reached(wanted, needed, needed.at_most(1150))
    exact = stats.binom(1150, 0.5)
    assert found.expected == pytest.approx(exact.expect(lambda n: np.minimum(n, 600)), rel=0.003)
    assert found.low == pytest.approx(exact.ppf(0.025), abs=4)
    assert found.high == 600


def test_nothing_known_gives_bounds_and_no_expectation() -> None:
    share = sampler().share(0, 0)
    whole = total([Amount.exactly(400) * share, Amount.exactly(600) * share])
    assert (whole.low, whole.expected, whole.high) == (0, None, 1000)
    assert whole.basis == "recipe"


def test_a_quantity_rests_on_the_weakest_of_its_parts() -> None:
    assert (Amount.exactly(3) * Amount.exactly(2, "pilot")).basis == "pilot"
    assert (Amount.exactly(3, "published") + Amount.exactly(2, "pilot")).basis == "published"
    assert not (Amount.exactly(3) + Amount.between(0, 1)).is_known


def test_a_mean_has_its_standard_error() -> None:
    values = np.array([10.0, 20.0, 30.0, 40.0])
    found = sampler().mean(values.sum(), (values**2).sum(), 4)
    error = values.std() / 2  # sqrt(125) / sqrt(4)
    assert found.expected == pytest.approx(25, abs=0.3)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.05)


def test_the_interval_holds_the_truth_in_nineteen_of_twenty_pilots() -> None:
    """A pilot of 100 of a stream that passes by 0.85, then 1,200 more: beta-binomial intervals cover what comes."""
    rng = np.random.default_rng(5)
    draws, inside, n = sampler(6), 0, 300
    for _ in range(n):
        seen = draws.successes(Amount.exactly(1200), draws.share(int(rng.binomial(100, 0.85)), 100))
        inside += seen.low <= rng.binomial(1200, 0.85) <= seen.high
    assert 0.92 <= inside / n <= 0.98  # 0.95 with a standard error of 0.0126


def test_a_limit_below_every_draw_is_the_result() -> None:
    found = Amount.exactly(500, "pilot").at_most(400)
    assert (found.low, found.expected, found.high, len(found.draws)) == (400, 400, 400, N_DRAWS)
    assert Amount.between(0, 600).at_most(400).high == 400
    assert Amount.exactly(5).at_most(None).expected == 5
