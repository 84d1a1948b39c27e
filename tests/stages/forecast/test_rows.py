"""Rows of a plan worked out by hand from counts that were measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from promptforge import recipe as recipes
from promptforge.recipe import Recipe
from promptforge.records import AXES
from promptforge.stages.forecast.amounts import Amount, Sampler
from promptforge.stages.forecast.basis import Judged, Measured, Text
from promptforge.stages.forecast.rows import Axis, Limits, files, forecast_rows, n_files
from promptforge.stages.forecast.spending import second_per_picture, spend_limits
from promptforge.stages.rounds.replay import NEVER, Candidates, Play, Rules

AXIS = "semantic_understanding"
NO_LIMIT = Limits()
REFUSING = {"scorer": "technical", "metric": "flat", "max": 0, "decision": "keep_prompt"}


def recipe_of(select: dict[str, Any], **tables: Any) -> Recipe:
    raw = {
        "name": "planned",
        "sources": [{"kind": "grammar", "axis": AXIS, "n": 4000}],
        "regime": {"teacher": "canvas", "size": 128},
        "scorers": {"technical": {}},
        "select": {"quota": {AXIS: 600, "image_quality": 0, "text_rendering": 0}, **select},
        **tables,
    }
    return recipes.validate(raw, "test")


def measured(text: Text, judged: Judged | dict[str, Judged] = Judged(), **changes: Any) -> Measured:  # noqa: B008  frozen
    values: dict[str, Any] = {
        "root": Path("there"),
        "basis": "pilot",
        "whole_text": True,
        "text": dict.fromkeys(judged, text) if isinstance(judged, dict) else {AXIS: text},
        "goals": {},
        "judged": judged if isinstance(judged, dict) else {AXIS: judged},
        "pictures": {},
        "files": {},
        "seconds": {},
        "a_picture_s": 1.0,
        "workers": 2,
        "dataset": {},
        "published": (0, 0),
    }
    return Measured(**values | changes)


def rows_of(recipe: Recipe, seen: Measured | None, limits: Limits = NO_LIMIT, n: int = 4000) -> Axis:
    sampler = Sampler(np.random.default_rng(3), "pilot")
    return forecast_rows(recipe, {AXIS: n}, seen, sampler, limits)[AXIS]


def span(amount: Amount) -> tuple[float, float | None, float]:
    return amount.low, amount.expected, amount.high


def test_a_whole_text_is_counted_and_not_estimated() -> None:
    axis = rows_of(recipe_of({}), measured(Text(4000, 500, 260, 480)))
    assert span(axis.candidates) == (4000, 4000, 4000)
    assert span(axis.kept) == (500, 500, 500)
    assert span(axis.accepted) == (480, 480, 480)  # fewer than the quota of 600
    assert axis.kept.basis == "pilot"
    assert axis.candidates.basis == "known"


def test_a_plan_without_any_basis_has_bounds_from_nothing_to_the_quota() -> None:
    axis = rows_of(recipe_of({}), None)
    assert span(axis.candidates) == (4000, 4000, 4000)
    assert span(axis.kept) == (0, None, 4000)
    assert span(axis.pictures) == (0, None, 600)
    assert span(axis.usable) == (0, None, 600)


def test_usable_pictures_are_the_share_that_passed() -> None:
    seen = measured(Text(4000, 4000, 2000, 4000), Judged(prompts=100, passed=100, usable=80, pictures=100))
    axis = rows_of(recipe_of({}), seen)
    assert axis.usable.expected == pytest.approx(600 * 80.5 / 101, rel=0.01)
    assert axis.usable.low < 450 < 480 < axis.usable.high  # a tenth around it, as 80 of 100 leave open


def test_oversampling_decides_how_many_are_drawn_and_acceptance_how_many_are_taken() -> None:
    select = {"policy": "images", "oversample": 1.25, "gates": {"refusing": REFUSING}}
    seen = measured(Text(4000, 4000, 2000, 4000), Judged(prompts=100, passed=50, usable=40, pictures=100))
    axis = rows_of(recipe_of(select), seen)
    assert span(axis.prompts) == (750, 750, 750)  # 600 x 1.25
    assert axis.accepted.expected == pytest.approx(375, rel=0.02)  # half of them
    assert axis.usable.expected == pytest.approx(375 * 40.5 / 51, rel=0.03)


def test_rounds_draw_until_the_quota_is_full() -> None:
    select = {"policy": "images", "gates": {"refusing": REFUSING}}
    seen = measured(Text(4000, 4000, 2000, 4000), Judged(prompts=1000, passed=500, usable=500, pictures=1000))
    recipe = recipe_of(select, rounds={})
    axis = rows_of(recipe, seen)
    assert axis.prompts.expected == pytest.approx(1200, rel=0.01)  # 600 / 0.5
    assert axis.accepted.expected == pytest.approx(600, rel=0.02)
    assert axis.needed is not None


def test_a_budget_ends_the_rounds_before_the_quota() -> None:
    select = {"policy": "images", "gates": {"refusing": REFUSING}}
    seen = measured(Text(4000, 4000, 2000, 4000), Judged(prompts=1000, passed=500, usable=500, pictures=1000))
    recipe = recipe_of(select, rounds={"max_renders": 400})
    axis = rows_of(recipe, seen, spend_limits(recipe, None))
    assert axis.pictures.high <= 400 + 1e-6
    assert axis.accepted.expected == pytest.approx(200, rel=0.03)


def test_a_quota_that_rounds_reach_is_accepted_whole_however_many_draws_it_takes() -> None:
    select = {"policy": "images", "gates": {"refusing": REFUSING}}
    seen = measured(Text(4000, 4000, 2000, 4000), Judged(prompts=20, passed=10, usable=10, pictures=20))
    axis = rows_of(recipe_of(select, rounds={"max_renders": 4000}), seen, Limits(Amount.exactly(4000), "max_renders"))
    assert axis.prompts.high > axis.prompts.low + 300  # 20 pictures do not tell the acceptance
    assert span(axis.accepted) == (600, 600, 600)


def test_bounds_of_rounds_hold_every_acceptance_and_every_split_of_the_budget() -> None:
    """60 candidates for a quota of 20: none may pass, so all are drawn; of 50 renders any axis may get all it asks."""
    select = {"quota": {AXIS: 20, "image_quality": 20, "text_rendering": 20}, "policy": "images"}
    recipe = recipe_of(select | {"gates": {"refusing": REFUSING}}, rounds={"max_renders": 500})
    found = [
        forecast_rows(
            recipe,
            dict.fromkeys(AXES, 60),
            None,
            Sampler(np.random.default_rng(3), "recipe"),
            Limits(most, "max_renders"),
        )[AXIS]
        for most in (Amount.exactly(500), Amount.exactly(50))
    ]
    assert [span(axis.pictures) for axis in found] == [(0, None, 60), (0, None, 50)]
    assert [span(axis.accepted) for axis in found] == [(0, None, 20), (0, None, 20)]


@pytest.mark.parametrize("most", [50, 300, 700])
def test_a_short_budget_is_spread_as_the_rounds_spread_it(most: int) -> None:
    """Three axes that want 200 and accept one in 1, 2 and 4; the rounds' own play over prompts that pass like that."""
    select = {"quota": dict.fromkeys(AXES, 200), "policy": "images", "gates": {"refusing": {**REFUSING, "axes": AXES}}}
    recipe = recipe_of(select, rounds={"max_renders": most})
    shares = {AXES[0]: 1.0, AXES[1]: 0.5, AXES[2]: 0.25}
    seen = measured(
        Text(2000, 2000, 1000, 2000),
        {axis: Judged(20_000, int(20_000 * share), 0, pictures=20_000) for axis, share in shares.items()},
    )
    sampler = Sampler(np.random.default_rng(3), "pilot")
    found = forecast_rows(recipe, dict.fromkeys(AXES, 2000), seen, sampler, spend_limits(recipe, None))
    passing = [np.where(np.arange(2000) % round(1 / shares[axis]) == 0, 0, NEVER) for axis in AXES]
    planned = np.zeros((3, 2000), np.int64)
    rules = Rules(takes=1, until_pass=False, max_renders=most, hopeless_below=0.02, hopeless_after=300)
    while True:
        goals = [
            Candidates(200, at, at, np.array(done), np.array(done), np.ones(2000, bool))
            for at, done in zip(passing, planned, strict=True)
        ]
        batch = Play(goals, rules).run().batch
        if not len(batch):
            break
        np.add.at(planned, (batch.goal, batch.index), 1)
    assert planned.sum() == most
    for axis, spent in zip(AXES, planned.sum(axis=1), strict=True):
        assert found[axis].pictures.expected == pytest.approx(spent, abs=0.05 * most)


def test_money_becomes_pictures_by_the_measured_seconds() -> None:
    rounds = {"max_money": 1.0, "price_per_gpu_hour": 3.6}
    recipe = recipe_of({"policy": "images", "gates": {"refusing": REFUSING}}, rounds=rounds)
    seen = measured(Text(4000, 4000, 2000, 4000))
    # A rank-second each; 1.0 / 3.6 hours are 1,000 s.
    each = second_per_picture(recipe, None, seen, Sampler(np.random.default_rng(1), "pilot"))
    assert each is not None
    assert each.expected == pytest.approx(1.0, rel=0.01)
    limits = spend_limits(recipe, each)
    assert limits.by == "max_money"
    assert limits.pictures is not None
    assert limits.pictures.low == pytest.approx(1000 / 1.25, rel=0.02)
    assert limits.pictures.high == pytest.approx(1000 / 0.75, rel=0.02)


def test_takes_until_one_passes_are_the_measured_mean_and_fixed_ones_are_all() -> None:
    # Of four prompts two pass at once, one at the second take, one at none of three: 1, 1, 2, 3.
    judged = Judged(prompts=400, passed=400, usable=300, needed=700.0, needed_squares=1500.0, pictures=1200)
    seen = measured(Text(4000, 4000, 2000, 4000), judged)
    render = {"takes": 3, "until_pass": True}
    axis = rows_of(recipe_of({}, render=render), seen)
    assert axis.pictures.expected == pytest.approx(600 * 1.75, rel=0.02)
    axis = rows_of(recipe_of({}, render=render | {"fixed_share": 0.5}), seen)
    assert axis.pictures.expected == pytest.approx(600 * (1.75 + 3) / 2, rel=0.02)
    assert span(rows_of(recipe_of({}, render=render), None).pictures)[2] == 1800


def test_kept_rows_of_another_text_grow_as_they_did_there() -> None:
    """1,000 rows kept 500, of these 350 in the first half: twice the rows keep 500 / 350 times as many."""
    seen = measured(Text(1000, 500, 350, 500), whole_text=False)
    axis = rows_of(recipe_of({}), seen, n=2000)
    assert axis.kept.expected == pytest.approx(500 * 500 / 350, rel=0.03)  # and not 1,000
    even = rows_of(recipe_of({}), measured(Text(1000, 500, 250, 500), whole_text=False), n=2000)
    assert even.kept.expected == pytest.approx(1000, rel=0.03)


def test_cells_end_where_each_of_them_ends() -> None:
    seen = measured(Text(4000, 4000, 2000, 4000), goals={AXIS: [(100, 40), (500, 3960)]})
    axis = rows_of(recipe_of({}), seen)
    assert span(axis.accepted) == (540, 540, 540)  # 40 of the cell that wants 100, 500 of the rest


def test_files_of_pictures_are_counted_as_buckets_and_increments_make_them() -> None:
    recipe = recipe_of({})
    # 1,200 pictures on 2 ranks: 16 buckets of 75, each 64 and 11.
    assert n_files(recipe, 1200) == 32
    assert n_files(recipe, 10) == 10
    assert n_files(recipe, 0) == 0


def test_each_round_and_each_wave_of_takes_has_files_of_its_own() -> None:
    # 1,200 pictures on 2 ranks: 32 files at once. Each later round or wave has 16 buckets more: surely with 200
    # pictures and more; a wave of 20 leaves each empty with a chance of (15 / 16)^20 = 0.275, so 11.6 of them.
    def axes(prompts: float, pictures: float) -> dict[str, Axis]:
        some = Amount.exactly(0)
        return {AXIS: Axis(some, some, some, Amount.exactly(prompts), Amount.exactly(pictures), some, some, some)}

    sampler = Sampler(np.random.default_rng(1), "pilot")
    assert span(files(recipe_of({}), axes(1200, 1200), sampler)) == (32, 32, 32)
    waves = recipe_of({}, render={"takes": 3, "until_pass": True})
    assert files(waves, axes(600, 1200), sampler).expected == pytest.approx(64, abs=0.01)
    assert files(waves, axes(1160, 1200), sampler).expected == pytest.approx(32 + 2 * 11.6, abs=0.05)
    rounds = recipe_of({"policy": "images", "gates": {"refusing": REFUSING}}, rounds={})
    found = files(rounds, axes(1200, 1200), sampler)
    assert (found.low, found.high) == pytest.approx((32, 112), abs=0.01)  # 1 to 6 rounds
