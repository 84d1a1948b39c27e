"""Weighted shares, their intervals and that of a threshold, against hand arithmetic, scipy and resampled designs."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import binomtest, norm, t

from promptforge.stages.calibration.estimates import Sample, kappa, threshold_interval, wilson

BENCHMARK = Path(__file__).resolve().parents[3] / "benchmarks" / "calibration.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_calibration", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("number", [1, 5, 6])
def test_intervals_cover_the_known_threshold_and_precisions_in_93_to_97_of_100(
    benchmark: ModuleType, number: int
) -> None:
    found = benchmark.coverage(benchmark.CASES[number], 1000, 100 + number)
    for name in ("threshold", "precision_at_threshold", "precision_at_bound"):
        assert 0.93 <= found[name] <= 0.97, (name, found)


def sample(key: list[float], good: list[int], stratum: list[int], sizes: list[float] | None) -> Sample:
    return Sample(
        np.array(key, float), np.array(good, bool), np.array(stratum), None if sizes is None else np.array(sizes)
    )


def whole(made: Sample):
    return made.part(np.ones(len(made.key), bool))


def test_labels_count_for_the_pictures_that_they_stand_for() -> None:
    # Stratum 0: 2 of 100, so 50 each; stratum 1: 4 of 10, so 2.5 each. At or above 1: one bad and one good of the
    # first, two good of the second: (50 + 5) / (50 + 50 + 5) = 55 / 105. Of the good, 1 of 4 in stratum 1 lies below:
    # recall (50 + 5) / (50 + 7.5) = 55 / 57.5.
    made = whole(sample([1, 1, 0, 1, 2, 0], [1, 0, 1, 1, 1, 0], [0, 0, 1, 1, 1, 1], [100, 10]))
    assert made.precision(np.array([1.0])).value[0] == pytest.approx(55 / 105)
    assert made.recall(np.array([1.0])).value[0] == pytest.approx(55 / 57.5)
    assert made.counts() == (4, 2)


def test_thresholds_in_any_order_get_their_own_figures() -> None:
    rng = np.random.default_rng(1)
    key, good = rng.normal(size=60), rng.random(60) < 0.6
    made = whole(Sample(key, good, np.zeros(60, np.int64)))
    asked = np.array([0.5, -1.0, 2.0, 0.0, -9.0])
    found = made.precision(asked).value
    for threshold, value in zip(asked, found, strict=True):
        assert value == pytest.approx(good[key >= threshold].mean())


@pytest.mark.parametrize(("hits", "n"), [(3500, 4000), (40, 4000), (4000, 4000)])
def test_with_equal_weights_the_interval_is_wilsons(hits: int, n: int) -> None:
    made = whole(Sample(np.zeros(n), np.arange(n) < hits, np.zeros(n, np.int64)))
    found = made.precision(np.array([0.0]))
    wanted = binomtest(hits, n).proportion_ci(method="wilson")
    assert (found.low[0], found.high[0]) == pytest.approx((wanted.low, wanted.high), abs=2e-4)


def test_wilson_is_that_of_scipy() -> None:
    for hits, n in [(0, 3), (3, 3), (7, 12), (59, 63)]:
        wanted = binomtest(hits, n).proportion_ci(method="wilson")
        found = wilson(np.array([hits / n]), np.array([float(n)]))
        assert (found[0][0], found[1][0]) == pytest.approx((wanted.low, wanted.high))


def test_the_variance_is_that_of_drawing_again_and_again() -> None:
    """10,000 draws of the design from a fixed population, half of one stratum drawn: the correction matters."""
    rng = np.random.default_rng(2)
    sizes, drawn = np.array([60, 40, 300]), np.array([30, 20, 40])
    stratum = np.repeat([0, 1, 2], sizes)
    key = rng.normal(size=400) + stratum
    good = rng.random(400) < np.array([0.4, 0.6, 0.85])[stratum]
    at = np.array([0.5])
    truth = good[key >= 0.5].mean()
    values, variances, covered = [], [], 0
    for _ in range(2000):
        order = np.lexsort((rng.random(400), stratum))
        taken = np.concatenate([order[a : a + n] for a, n in zip((0, 60, 100), drawn, strict=True)])
        made = whole(Sample(key[taken], good[taken], stratum[taken], sizes.astype(float)))
        found = made.precision(at)
        passing = key[taken] >= 0.5
        freedom = passing.sum() - len(set(stratum[taken][passing]))
        effective = found.effective[0] * (t.ppf(0.975, freedom) / norm.ppf(0.975)) ** 2
        values.append(found.value[0])
        variances.append(found.value[0] * (1 - found.value[0]) / effective)
        covered += found.low[0] <= truth <= found.high[0]
    # A ratio's linearised variance is a little short, what strata lend a little long: 2,000 draws tell it within 3%.
    assert np.mean(variances) == pytest.approx(np.var(values), rel=0.1)
    assert np.mean(values) == pytest.approx(truth, abs=0.003)
    assert 0.93 <= covered / 2000 <= 0.97


@dataclass(frozen=True)
class Design:
    """`members`, `drawn` and the good ones' `share` by stratum; every picture passes. `by_half`: only half is read."""

    members: tuple[int, ...]
    drawn: tuple[int, ...]
    share: tuple[float, ...]
    by_half: bool


DESIGNS = {
    # One bad label in the far half of the pictures weighs as much as all that were drawn near the bound.
    "precision 0.99 and 60 labels": Design((250, 250, 500, 1000), (15, 15, 15, 15), (0.99,) * 4, False),
    "faults that only the far half has": Design((250, 250, 500, 1000), (8, 8, 8, 8), (1, 1, 1, 0.97), True),
    "one drawn of a stratum": Design((250, 250, 500, 1000), (10, 10, 10, 1), (0.7, 0.9, 0.95, 0.97), False),
    "half of a census": Design((15, 15, 30, 60), (15, 15, 30, 60), (0.6, 0.8, 0.9, 0.97), True),
    "a small run": Design((7, 8, 15, 30), (7, 8, 8, 8), (0.7, 0.85, 0.92, 0.97), False),
}


@pytest.mark.parametrize("name", DESIGNS)
def test_intervals_hold_what_is_true_of_the_run_however_few_or_odd_the_labels(name: str) -> None:
    """At least 93 of 100, over 1,500 runs drawn, halved and sampled by plain NumPy."""
    design, rng, held = DESIGNS[name], np.random.default_rng(11), 0
    stratum = np.repeat(range(4), design.members)
    for _ in range(1500):
        good = rng.random(len(stratum)) < np.array(design.share)[stratum]
        chosen = rng.random(len(stratum)) < 0.5 if design.by_half else np.ones(len(stratum), bool)
        taken = np.concatenate(
            [rng.permutation(np.flatnonzero(stratum == place))[:n] for place, n in enumerate(design.drawn)]
        )
        made = Sample(np.zeros(len(taken)), good[taken], stratum[taken], np.array(design.members, float))
        found = made.part(chosen[taken]).precision(np.array([0.0]))
        held += found.low[0] <= good.mean() <= found.high[0]
    assert held / 1500 >= 0.93


def test_a_census_has_no_doubt() -> None:
    made = whole(sample([1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 1, 1], [2, 2]))
    found = made.precision(np.array([1.0]))
    assert (found.low[0], found.value[0], found.high[0]) == pytest.approx((2 / 3, 2 / 3, 2 / 3))


def test_a_half_has_the_weights_of_the_whole_draw() -> None:
    made = sample([1, 1, 1, 1], [1, 0, 1, 1], [0, 0, 1, 1], [100, 10])
    half = made.part(np.array([True, False, True, False]))
    assert half.precision(np.array([0.0])).value[0] == 1
    other = made.part(np.array([False, True, False, True]))
    assert other.precision(np.array([0.0])).value[0] == pytest.approx(5 / 55)  # 50 bad to 5 good


def test_no_label_in_a_domain_is_no_figure() -> None:
    found = whole(sample([0, 0], [1, 0], [0, 0], [9])).precision(np.array([1.0]))
    assert np.isnan([found.value[0], found.low[0], found.high[0]]).all()


def test_a_threshold_that_labels_part_cleanly_lies_where_they_do() -> None:
    # 100 bad below 0, 100 good above: at -0.5 some 67% are good, at 0 all.
    key = np.concatenate([np.linspace(-1, -0.01, 100), np.linspace(0.01, 1, 100)])
    made = whole(Sample(key, key > 0, np.zeros(200, np.int64)))
    ends = threshold_interval(made, 0.8)
    assert ends is not None
    assert -0.7 < ends[0] < -0.25 < ends[1] <= 0.01  # 0.8 is crossed at -0.25: 25 bad, 100 good


def test_a_precision_that_is_reached_nowhere_or_everywhere_has_no_threshold() -> None:
    key = np.linspace(0, 1, 400)
    rng = np.random.default_rng(3)
    made = whole(Sample(key, rng.random(400) < 0.5, np.zeros(400, np.int64)))
    assert threshold_interval(made, 0.2) is None
    below = threshold_interval(made, 0.8)
    assert below is None or below[1] == np.inf  # the strictest thresholds have too few labels to exclude


def test_kappa_by_hand() -> None:
    # Both yes 20, both no 15, yes and no 5, no and yes 10: agreed 0.7; by chance 0.5 * 0.6 + 0.5 * 0.4 = 0.5.
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert kappa(first, second) == pytest.approx(0.4)
    assert kappa(second, first) == pytest.approx(0.4)
    assert kappa(first, first) == 1
    assert np.isnan(kappa(["yes"] * 3, ["yes"] * 3))
