"""Distances and intervals against loops, hand arithmetic, scikit-image and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from promptforge.distill.evaluation.distances import cmmd, cosine_distance, pixel_mse, ssim
from promptforge.distill.evaluation.intervals import Estimate, mean_of


def _unit(seed: int, n: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, 12))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_cmmd_is_the_double_loop_of_the_estimate_for_pairs() -> None:
    ones, others = _unit(1, 9), _unit(2, 9)

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return math.exp(-sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) / (2 * 10**2))

    total = 0.0
    for i in range(9):
        for j in range(9):
            if i != j:
                total += kernel(ones[i], ones[j]) + kernel(others[i], others[j])
                total -= kernel(ones[i], others[j]) + kernel(ones[j], others[i])
    assert cmmd(ones, others) == pytest.approx(1000 * total / (9 * 8), abs=1e-9)


def test_cmmd_of_equal_sets_is_0_and_of_two_far_sets_known_by_hand() -> None:
    ones = _unit(3, 5)
    assert cmmd(ones, ones) == 0.0
    # All ones at (1, 0), all others at (-1, 0): 1 + 1 - 2 exp(-4 / 200), times 1000.
    left, right = np.tile([1.0, 0.0], (4, 1)), np.tile([-1.0, 0.0], (4, 1))
    assert cmmd(left, right) == pytest.approx(1000 * (2 - 2 * math.exp(-0.02)), abs=1e-9)
    assert cmmd(ones[:1], ones[:1]) is None
    with pytest.raises(ValueError, match="5 and 4 embeddings"):
        cmmd(ones, ones[:4])


def test_cmmd_of_draws_from_one_distribution_is_about_0_on_both_sides_of_it() -> None:
    found = [cmmd(_unit(2 * n, 30), _unit(2 * n + 1, 30)) for n in range(60)]
    assert min(found) < 0 < max(found)
    # Its mean over 60 tries lies within 4 standard errors of 0; the biased estimate would be near 1000 * 2 / 30 * 0.01.
    assert abs(np.mean(found)) < 4 * np.std(found) / math.sqrt(60) < 0.3


def test_pictures_are_compared_by_levels_and_by_structure() -> None:
    black, white = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    half = black.copy()
    half[:8] = 51  # a fifth of the levels in half of the pixels: 0.2^2 / 2
    assert (pixel_mse(black, black), pixel_mse(black, white)) == (0.0, 1.0)
    assert pixel_mse(black, half) == pytest.approx(0.02, abs=1e-12)
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert ssim(noise, noise) == 1.0
    assert ssim(noise, 255 - noise) < 0
    # Of two flat pictures only the luminance term is left: (2ab + c) / (a^2 + b^2 + c), c = (0.01 * 255)^2.
    c = 2.55**2
    wanted = (2 * 51 * 255 + c) / (51**2 + 255**2 + c)
    assert ssim(np.full_like(white, 51), white) == pytest.approx(wanted, abs=1e-6)


def test_cosine_distance_is_0_for_equal_1_for_right_angles_2_for_opposite_vectors() -> None:
    vector = np.float32([0.1, 0.7, 0.3])
    assert cosine_distance(vector, vector.copy()) == 0.0
    assert cosine_distance([1, 0], [0, 3]) == pytest.approx(1)
    assert cosine_distance([1, 2], [-2, -4]) == pytest.approx(2)


def test_the_interval_is_that_of_scipys_percentile_bootstrap() -> None:
    from scipy.stats import bootstrap

    values = np.random.default_rng(4).exponential(size=80)
    found = mean_of(values, seed=1, resamples=20_000)
    theirs = bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(9)
    ).confidence_interval
    assert found is not None
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)  # its width is 0.45
    assert found == mean_of(values, seed=1, resamples=20_000)


def test_one_prompt_has_a_mean_and_no_bounds_and_none_has_nothing() -> None:
    assert mean_of([0.25], 0, 100) == Estimate(0.25, None, None, 1)
    assert mean_of([], 0, 100) is None
    assert mean_of([2.0] * 7, 0, 100) == Estimate(2.0, 2.0, 2.0, 7)
