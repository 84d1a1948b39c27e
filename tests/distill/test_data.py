"""Batches: a function of the seed and their number, weighted by axis, whole, the same for any number of ranks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from promptforge.distill.data import Batches
from promptforge.distill.settings import DistillSettings, Guidance, read
from promptforge.errors import ConfigError

N_BY_AXIS = {"image_quality": 1, "semantic_understanding": 4, "text_rendering": 4}


def settings(dataset: Path, **more: Any) -> DistillSettings:
    raw = {
        "name": "small",
        "dataset": str(dataset),
        "teacher": {"model": "./flux", "size": 64, "steps": 4, "licence": "CC0-1.0"},
        "student": {"encoder": "./t5"},
        "phases": [{"name": "all", "batches": 3}],
        "batch": 2,
        **more,
    }
    return read(raw, "test")


def test_an_epoch_visits_a_prompt_as_often_as_its_axis_weighs(dataset: Path) -> None:
    phase = {"name": "all", "batches": 3, "weights": {"semantic_understanding": 10, "image_quality": 0}}
    told = settings(dataset, phases=[phase], batch=4)
    batches = Batches(told)
    # 4 x 10 + 4 x 1 visits are 11 batches of 4, none left over.
    found = [batches.batch(told.phases[0], number) for number in range(11)]
    visits = Counter(prompt for batch in found for prompt in batch.prompt_ids)
    assert sorted(visits.values()) == [1] * 4 + [10] * 4
    by_axis = Counter(axis for batch in found for axis in batch.axes)
    assert by_axis == {"semantic_understanding": 40, "text_rendering": 4}


def test_what_does_not_fill_a_batch_is_dropped_and_the_next_epoch_has_another_order(dataset: Path) -> None:
    told = settings(dataset)
    batches = Batches(told)
    first, second = (
        [prompt for number in range(4) for prompt in batches.batch(told.phases[0], 4 * epoch + number).prompt_ids]
        for epoch in range(2)
    )
    assert len(set(first)) == len(set(second)) == 8  # of 9
    assert first != second


def test_two_ranks_see_together_what_one_with_twice_the_batch_sees(dataset: Path) -> None:
    one, two = settings(dataset, batch=4), settings(dataset)
    alone, together = Batches(one), Batches(two, world=2)
    for number in range(2):
        whole = alone.batch(one.phases[0], number)
        parts = [together.batch(two.phases[0], number, rank) for rank in range(2)]
        for name in ("prompt_ids", "texts", "axes", "seeds", "guidance"):
            assert getattr(whole, name) == getattr(parts[0], name) + getattr(parts[1], name)


def test_every_visit_has_noise_and_guidance_of_its_own(dataset: Path) -> None:
    told = settings(dataset)
    batches = Batches(told)
    found = [batches.batch(told.phases[0], number) for number in range(40)]
    seeds = [seed for batch in found for seed in batch.seeds]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    drawn = Counter(scale for batch in found for scale in batch.guidance)
    assert set(drawn) == {2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0}
    assert found == [Batches(told).batch(told.phases[0], number) for number in range(40)]
    other = Batches(settings(dataset, seed=1))
    assert [other.batch(told.phases[0], number) for number in range(40)] != found


def test_scales_go_from_low_to_high() -> None:
    assert Guidance().scales == (2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0)
    assert Guidance(low=1.0, high=1.3, step=0.1).scales == pytest.approx((1.0, 1.1, 1.2, 1.3))
    assert Guidance(low=3.5, high=3.5).scales == (3.5,)


def test_too_few_prompts_are_told_before_any_weights_are_loaded(dataset: Path) -> None:
    with pytest.raises(ConfigError, match="phase all: an epoch has 9 visits, a batch takes 16"):
        Batches(settings(dataset, batch=16))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"phases": []}, "phases: is"),
        ({"phases": [{"name": "a", "batches": 1, "weights": {"semantics": 1}}]}, "no axis semantics; there are"),
        ({"teacher": {"model": "./sd3", "pipeline": "sd3"}}, "distillation knows flux"),
        ({"teacher": {"model": "./flux"}}, "teacher: ./flux: licence is not set"),
        ({"student": {"encoder": "google/flan-t5-base"}}, "40"),
        ({"bach": 3}, "bach: no such field; did you mean 'batch'"),
        ({"guidance": {"low": 5, "high": 2}}, "expected low to be the smaller"),
    ],
)
def test_wrong_settings_are_refused(dataset: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        settings(dataset, **change)
