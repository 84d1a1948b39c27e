"""The experiment's pools, draws and statistics; what needs models is in test_experiment_whole.py."""

import math
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks" / "experiment"))

from gates import choice, draws, pools
from gates.checks import CHECKS, survivors
from gates.effects import effect, holm
from gates.plan import ARMS
from gates.pools import AXES, Row

N = 200


@pytest.fixture(scope="module")
def pool():
    return pools.pools(3, N)


def test_a_seed_gives_the_same_pool_and_another_seed_another(pool):
    assert pools.pools(3, N) == pool
    shared = {row.text for row in pools.pools(4, N)} & {row.text for row in pool}
    assert len(shared) < len(pool) / 5  # short texts of a small world meet


def test_every_kind_has_the_share_of_the_protocol_on_every_axis(pool):
    wanted = {"hard": 20, "garbled": 12, "boilerplate": 10, "repetition": 8, "nonvisual": 10, "language": 8}
    wanted |= {"near_copy": 12, "world": 120}  # 10, 6, 5, 4, 5, 4, 6 per cent of 200, and what is left
    for axis in AXES:
        assert Counter(row.kind for row in pool if row.axis == axis) == wanted


def test_texts_of_a_pool_differ_and_near_copies_are_of_its_first_rows(pool):
    assert len({row.text for row in pool}) == len(pool)
    for axis in AXES:
        own = [row for row in pool if row.axis == axis]
        first = [row.text for row in own[: pools.COPIED]]
        assert {row.kind for row in own[: pools.COPIED]} == {"world"}
        for copy in (row for row in own if row.kind == "near_copy"):
            assert any(text in copy.text and text != copy.text for text in first)


def test_held_out_texts_are_in_no_pool_and_are_a_twentieth(pool):
    held = {row.text for clean in (True, False) for row in pools.held_out(20, clean=clean)}
    assert all(map(pools.is_held_out, held))
    assert not any(pools.is_held_out(row.text) for row in pool)
    share = sum(pools.is_held_out(str(number)) for number in range(20_000)) / 20_000
    assert share == pytest.approx(0.05, abs=0.005)  # three standard errors of a share of 0.05 in 20,000


def test_clean_held_out_prompts_are_of_the_world_and_uncurated_ones_are_spoiled_as_pools_are():
    assert {row.kind for row in pools.held_out(20, clean=True)} == {"world"}
    kinds = Counter(row.kind for row in pools.held_out(100, clean=False))
    assert kinds == {axis: 3 * n for axis, n in {**pools.SHARES, "world": 60}.items()}


def test_spoiled_rows_for_text_still_ask_for_strings_that_stand_in_them(pool):
    for row in pool:
        assert bool(row.expected) == (row.axis == "text_rendering")
        assert all(f'"{string}"' in row.text for string in row.expected)
    long = [row for row in pool if row.kind == "hard" and row.expected]
    assert {5 <= len(row.expected[0]) <= 12 for row in long} == {True}


def test_each_check_drops_its_own_kind_and_comes_back_when_it_is_left_out(pool, tmp_path):
    left, funnel = survivors(pool, tmp_path)
    assert funnel["boilerplate"]["boilerplate"] >= 28  # of 30
    assert funnel["repetition"]["repetition"] == 24
    assert funnel["language"]["language"] >= 20  # of 24
    assert funnel["hard"]["expected_text"] == 20  # the letters; of things that it never saw no text tells
    assert funnel["world"]["rows"] == 360
    again, _ = survivors(pool, tmp_path, "repetition")
    assert {row.text for row in left} < {row.text for row in again}
    assert Counter(row.kind for row in again)["repetition"] == 24


def rows(*texts):
    return [Row(text, "image_quality", "thing", (), "world") for text in texts]


def words(text):
    return len(text.split())


def test_strata_are_matched_and_what_is_missing_comes_from_the_nearest():
    there = rows("a", "b", "c", "a b", "a b c", "b c d", "c d e", "d e f", "a b c d e f")
    found = choice.choose(there, {1: 2, 2: 3, 3: 1}, words, seed=0)
    # two of one word as wanted, the only one of two; for the two that lack: one word is nearest (as near as three, and
    # shorter), and is then used up; then three
    assert Counter(words(row.text) for row in found.rows) == {1: 3, 2: 1, 3: 2}
    assert found.n_filled == 2
    full = choice.choose(there, {1: 1, 3: 2}, words, seed=0)
    assert (Counter(words(row.text) for row in full.rows), full.n_filled) == (Counter({3: 2, 1: 1}), 0)


def test_within_a_stratum_the_lowest_hashes_are_taken_whatever_the_order():
    there = rows("a", "b", "c", "d", "e")
    lowest = sorted(there, key=lambda row: pools.place(7, row.text))[:2]
    assert list(choice.choose(there, {1: 2}, words, seed=7).rows) == lowest
    assert list(choice.choose(there[::-1], {1: 2}, words, seed=7).rows) == lowest


def test_too_few_rows_are_all_taken():
    assert len(choice.choose(rows("a", "a b"), {1: 2, 2: 2}, words, seed=0).rows) == 2


@pytest.mark.parametrize(
    ("wanted", "n", "found"),
    [
        ({5: 3, 7: 1}, 8, {5: 6, 7: 2}),
        ({5: 2, 6: 1}, 4, {5: 3, 6: 1}),  # 2.67 and 1.33: the one left goes to the larger remainder
        ({5: 1, 6: 1}, 3, {5: 2, 6: 1}),  # 1.5 each: to the shorter
    ],
)
def test_strata_are_scaled_to_whole_rows(wanted, n, found):
    assert choice.scaled(wanted, n) == found


def test_three_quarters_with_the_highest_values_stay_and_so_do_rows_without_one():
    there = rows("a", "b", "c", "d", "e")
    values = dict(zip((row.prompt_id for row in there), (0.1, None, 0.4, 0.3, 0.2), strict=True))
    assert [row.text for row in draws.best(there, values, seed=0)] == ["b", "c", "d", "e"]


def test_a_pass_share_is_over_the_takes_that_could_be_judged():
    takes = [{"prompt_id": name, "right": right} for name, right in (("a", 1.0), ("a", 0.0), ("a", None), ("b", None))]
    assert draws.pass_shares(takes) == {"a": 0.5, "b": None}


def test_an_effect_is_that_of_a_paired_t_test_on_logs():
    rng = np.random.default_rng(0)
    arm, against = rng.uniform(0.5, 1.0, 5), rng.uniform(0.8, 1.2, 5)
    found = effect(arm.tolist(), against.tolist())
    known = stats.ttest_rel(np.log(arm), np.log(against))
    bounds = known.confidence_interval(0.95)
    assert found.p == pytest.approx(known.pvalue)
    assert (found.low, found.high) == pytest.approx((math.exp(bounds.low), math.exp(bounds.high)))
    assert found.ratio == pytest.approx(stats.gmean(arm / against))


def test_an_effect_of_one_seed_has_no_interval_and_one_without_spread_is_sure():
    assert effect([2.0], [4.0]).p is None
    assert effect([2.0], [4.0]).ratio == 0.5
    assert effect([2.0, 2.0], [4.0, 4.0]).p == 0.0
    assert effect([2.0, 3.0], [2.0, 3.0]).p == 1.0


def test_holm_multiplies_by_what_is_left_and_never_falls():
    # 3 x 0.01; 2 x 0.03; then 0.04, but not below the one before
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_every_comparison_of_the_protocol_is_there_once():
    names = [arm.name for arm in ARMS]
    assert len(set(names)) == len(names) == len({arm.slug for arm in ARMS}) == 21
    assert Counter(arm.against for arm in ARMS) == {None: 1, "random": 1, "prompt": 16, "prompt + teachability": 3}
    assert [arm.gate for arm in ARMS if arm.rows.startswith("-")] == list(CHECKS)
