"""The fit against scipy's beta-binomial on a grid, and what the estimates are worth where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom

from promptforge.stages.teachability.beta_binomial import LARGEST, SMALLEST, fit, posterior


def tallied(passed: np.ndarray, takes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    pairs, prompts = np.unique(np.column_stack([passed, takes]), axis=0, return_counts=True)
    return pairs[:, 0], pairs[:, 1], prompts


def drawn(a: float, b: float, takes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """True share and count of passes of each prompt."""
    rng = np.random.default_rng(seed)
    share = rng.beta(a, b, len(takes))
    return share, rng.binomial(takes, share)


@pytest.mark.parametrize(("a", "b"), [(2.0, 1.0), (0.4, 0.3), (6.0, 1.5)])
def test_the_fit_is_where_scipy_s_likelihood_is_largest(a: float, b: float) -> None:
    takes = np.tile([2, 3, 4, 8], 100)  # some renders failed
    _, passed = drawn(a, b, takes, 5)
    found = fit(*tallied(passed, takes))
    assert found is not None

    def likelihood(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.array([betabinom.logpmf(passed, takes, x, y).sum() for x, y in zip(a, b, strict=True)])

    # Every pair on a grid of 40 x 40, a factor of 1.19 apart, then 21 x 21 around the best, 1.006 apart.
    coarse = np.geomspace(0.06, 60, 40)
    xs, ys = (grid.ravel() for grid in np.meshgrid(coarse, coarse))
    best = likelihood(xs, ys).argmax()
    fine = np.geomspace(0.94, 1.06, 21)
    fx, fy = (grid.ravel() for grid in np.meshgrid(xs[best] * fine, ys[best] * fine))
    top = max(likelihood(xs, ys).max(), likelihood(fx, fy).max())
    (mine,) = likelihood(np.array([found[0]]), np.array([found[1]]))
    assert mine >= top
    assert mine - top < 0.05  # and the grid comes close, so that it would have found another summit
    assert found[0] / (found[0] + found[1]) == pytest.approx(xs[best] / (xs[best] + ys[best]), rel=0.1)


def test_shares_that_differ_by_chance_alone_have_no_fit() -> None:
    takes = np.full(5000, 4)
    # Binomial counts of one share, as exact as whole numbers go: 5000 x C(4, k) / 16.
    passed = np.repeat(np.arange(5), [312, 1250, 1876, 1250, 312])
    assert fit(*tallied(passed, takes)) is None
    for all_alike in (0, 4):
        assert fit(*tallied(np.full(5000, all_alike), takes)) is None


def test_one_cell_in_twenty_without_any_difference_has_a_fit() -> None:
    rng = np.random.default_rng(3)
    takes = np.full(400, 4)
    fitted = sum(fit(*tallied(rng.binomial(4, 0.6, 400), takes)) is not None for _ in range(400))
    assert 8 <= fitted <= 33  # 400 x 0.05 = 20, within three standard deviations of 4.4


def test_prompts_that_pass_always_or_never_keep_an_interval() -> None:
    passed = np.repeat([0, 4], [50, 150])
    found = fit(*tallied(passed, np.full(200, 4)))
    assert found is not None
    assert min(found) == SMALLEST
    mean, low, high = posterior(np.array([4]), np.array([4]), np.array([found[0]]), np.array([found[1]]))
    assert 0.8 < low[0] < mean[0] < high[0] <= 1


@pytest.mark.parametrize(("a", "b"), [(2.0, 1.0), (0.5, 0.5), (4.0, 1.5)])
@pytest.mark.parametrize("n_takes", [4, 8])
def test_estimates_beat_shares_and_intervals_hold_the_truth_of_95_in_100_prompts(
    a: float, b: float, n_takes: int
) -> None:
    errors, raw, held = [], [], []
    for seed in range(30):  # 30 cells of 300 prompts
        takes = np.where(np.arange(300) % 10 == 0, n_takes - 1, n_takes)
        share, passed = drawn(a, b, takes, seed)
        found = fit(*tallied(passed, takes))
        assert found is not None
        mean, low, high = posterior(passed, takes, np.full(300, found[0]), np.full(300, found[1]))
        errors.append(np.square(mean - share).mean())
        raw.append(np.square(passed / takes - share).mean())
        held.append(((low <= share) & (share <= high)).mean())
    assert np.mean(errors) < np.mean(raw)
    # What nobody can beat: the posterior variance under the true a and b, ab / ((a+b)(a+b+1)(a+b+n)) on average.
    least = a * b / ((a + b) * (a + b + 1) * (a + b + n_takes))
    assert np.mean(errors) < 1.12 * least
    assert 0.93 <= np.mean(held) <= 0.97


def test_a_posterior_by_hand() -> None:
    # beta(1, 1) and 3 of 3: beta(4, 1), whose distribution function is x^4; mean 4 / 5.
    mean, low, high = posterior(np.array([3]), np.array([3]), np.array([1.0]), np.array([1.0]))
    assert mean[0] == pytest.approx(0.8)
    assert low[0] == pytest.approx(0.025**0.25)
    assert high[0] == pytest.approx(0.975**0.25)


@given(
    st.integers(1, 64).flatmap(lambda takes: st.tuples(st.integers(0, takes), st.just(takes))),
    st.floats(SMALLEST, LARGEST),
    st.floats(SMALLEST, LARGEST),
)
def test_the_interval_holds_the_mean_and_failing_is_passing_seen_from_behind(
    counts: tuple[int, int], a: float, b: float
) -> None:
    passed, takes = (np.array([count]) for count in counts)
    mean, low, high = posterior(passed, takes, np.array([a]), np.array([b]))
    assert 0 <= low[0] <= mean[0] <= high[0] <= 1
    other, below, above = posterior(takes - passed, takes, np.array([b]), np.array([a]))
    assert [1 - other[0], 1 - above[0], 1 - below[0]] == pytest.approx([mean[0], low[0], high[0]], abs=1e-9)
