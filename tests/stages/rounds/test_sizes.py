"""How many prompts a round tries, against scipy's beta-negative-binomial and a recount by chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from promptforge.stages.rounds.sizes import SPARE, WORST, Record, counted, failures, quantile, size


@pytest.mark.parametrize(("missing", "decided", "accepted"), [(1, 10, 3), (180, 600, 420), (540, 600, 60), (5, 40, 40)])
def test_the_failures_to_come_are_beta_negative_binomial(missing: int, decided: int, accepted: int) -> None:
    law = stats.betanbinom(missing, accepted + 0.5, decided - accepted + 0.5)
    found = failures(missing, Record(decided, accepted), 300)
    np.testing.assert_allclose(found, np.cumsum(law.pmf(np.arange(300))), rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize(("missing", "decided", "accepted"), [(180, 600, 420), (20, 300, 100), (3, 600, 420)])
def test_no_more_than_the_spare_share_is_expected_to_be_for_nothing(missing: int, decided: int, accepted: int) -> None:
    record = Record(decided, accepted)
    n = size(missing, record, decided, 10**6)
    rng = np.random.default_rng(5)
    share = rng.beta(accepted + 0.5, decided - accepted + 0.5, 200_000)
    needed = missing + rng.negative_binomial(missing, share)
    total = decided + float(np.median(needed))
    wasted = np.maximum(0, n - needed)
    # 200,000 draws: the mean of the waste is known to about 0.02 prompts here.
    assert wasted.mean() <= max(1.0, SPARE * total) + 0.05
    assert np.quantile(wasted, 0.98) <= max(2, WORST * total) + 1
    more = np.maximum(0, n + 2 - needed)
    assert more.mean() > max(1.0, SPARE * total) - 0.05 or np.quantile(more, 0.98) > max(2, int(WORST * total)) - 1


def test_a_first_round_tries_as_many_as_are_wanted() -> None:
    assert size(600, Record(), 0, 10_000) == 600


def test_never_fewer_than_are_missing_nor_more_than_there_are() -> None:
    assert size(600, Record(200, 1), 200, 10_000) >= 600
    assert size(600, Record(200, 1), 200, 400) == 400
    assert size(0, Record(200, 1), 200, 400) == 0


def test_a_quantile_is_that_of_the_prompts_needed() -> None:
    # One prompt missing, 1 of 1 passed: Beta(1.5, 0.5). P(passes at once) is 1.5 / 2 = 0.75.
    assert quantile(1, Record(1, 1), 0.75, 100) == 1
    assert quantile(1, Record(1, 1), 0.76, 100) == 2
    assert quantile(1, Record(500, 0), 0.99, 100) == 100


def test_an_interval_is_that_of_jeffreys() -> None:
    # scipy's binomtest has no Jeffreys; Brown, Cai, DasGupta (2001), table 5: n = 10, x = 3 gives [0.093, 0.606].
    low, high = Record(10, 3).interval()
    assert (round(low, 3), round(high, 3)) == (0.093, 0.606)
    assert Record(10, 0).interval()[0] == 0.0
    assert Record(10, 10).interval()[1] == 1.0


@pytest.mark.parametrize(
    ("undecided", "decided", "accepted", "allowed"),
    [(4, 0, 0, 1.0), (30, 40, 10, 0.5), (200, 300, 60, 1.2), (3, 9, 0, 2)],
)
def test_those_counted_on_are_the_fewest_beyond_whom_hardly_any_pass(
    undecided: int, decided: int, accepted: int, allowed: float
) -> None:
    law = stats.betabinom(undecided, accepted + 0.5, decided - accepted + 0.5)
    beyond = [sum(law.pmf(x) * max(0, x - n) for x in range(undecided + 1)) for n in range(undecided + 1)]
    assert counted(undecided, Record(decided, accepted), allowed) == next(
        n for n, mean in enumerate(beyond) if mean <= allowed
    )
