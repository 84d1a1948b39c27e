"""Visits by teachability: shares of an axis among its rows, never a row without any."""

from __future__ import annotations

import itertools
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptforge.errors import ConfigError
from promptforge.reader import Stream, sampling_order, weights_by_axis

from .conftest import N, seal

IDS = ("prompt_id",)
# By row of its axis in turn: the mean of the measured ones is 0.5, and every third has none.
SHARES = (0.0, 1.0, None)
EPOCHS = 400


@pytest.fixture
def measured(dataset: Path) -> Path:
    """The same data set with teachability in its prompts; rows of text rendering have none."""
    put(dataset, [None if n % 3 == 2 else SHARES[n // 3 % 3] for n in range(N)])
    return dataset


def put(dataset: Path, shares: list[float | None]) -> None:
    path = dataset / "prompts/train-00000-of-00001.parquet"
    table = pq.read_table(path)
    pq.write_table(table.append_column("teachability", pa.array(shares, pa.float64())), path)
    seal(dataset)


def numbers(rows: Any) -> list[int]:
    return [int(row["prompt_id"], 16) for row in rows]


def stream(dataset: Path, **more: Any) -> Stream:
    return Stream(dataset, columns=IDS, weight_by="teachability", **more)


def test_a_row_s_weight_is_its_share_of_its_axis_s(measured: Path) -> None:
    found = weights_by_axis(measured, {"semantic_understanding": 10}, weight_by="teachability")
    # With floor 0.1: f = 0.1, 1 and none. Of 16 rows of image quality 6 are 0, 5 are 1, 5 have none: the mean f of
    # the eleven is (6 x 0.1 + 5) / 11 = 5.6 / 11. Of 15 of semantics 5 each: the mean is 0.55, times 10.
    quality, semantic = 5.6 / 11, 0.55
    want = {
        (0, 0): 0.1 / quality,
        (0, 1): 1 / quality,
        (0, 2): 1.0,
        (1, 0): 10 * 0.1 / semantic,
        (1, 1): 10 / semantic,
        (1, 2): 10.0,
    }
    assert found == pytest.approx([want.get((n % 3, n // 3 % 3), 1.0) for n in range(N)])
    for axis, total in ((0, 16), (1, 150), (2, 15)):  # as without: rows times weight
        assert found[axis::3].sum() == pytest.approx(total)
    plain = weights_by_axis(measured, {}, weight_by="teachability", weight_floor=1)
    assert plain == pytest.approx(np.ones(N))


def test_visits_are_in_proportion_over_epochs_and_no_row_is_left_out(measured: Path) -> None:
    given = stream(measured, weights={"semantic_understanding": 2})
    weights = weights_by_axis(measured, {"semantic_understanding": 2}, weight_by="teachability")
    seen: Counter[int] = Counter()
    for epoch in range(EPOCHS):
        given.set_epoch(epoch)
        visits = Counter(given.order().tolist())
        assert len(given) == visits.total() == 61  # 16 + 15 x 2 + 15
        by_axis = Counter(n % 3 for n in visits.elements())
        assert all(abs(by_axis[axis] - total) <= 1 for axis, total in ((0, 16), (1, 30), (2, 15)))
        assert all(np.floor(weights[n]) <= visits[n] <= np.ceil(weights[n]) for n in range(N))
        seen += visits
    # A visit more or not is a draw of its own in each epoch: 4 standard deviations of at most 1/2 over 400 of them.
    assert [seen[n] / EPOCHS for n in range(N)] == pytest.approx(weights, abs=4 * 0.5 / EPOCHS**0.5)
    assert min(seen.values()) > 0


def test_the_order_is_fixed_and_its_resume_exact(measured: Path) -> None:
    whole = numbers(stream(measured, epoch=3))
    assert numbers(stream(measured, epoch=3)) == whole != numbers(stream(measured, epoch=4))
    first = stream(measured, epoch=3)
    seen = numbers(itertools.islice(first, 17))
    other = stream(measured)
    other.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    assert seen + numbers(other) == whole
    ranks = [numbers(stream(measured, epoch=3, rank=rank, world=2)) for rank in range(2)]
    assert [n for pair in zip(*ranks, strict=True) for n in pair] == whole


def test_a_state_of_another_floor_or_none_is_refused(measured: Path) -> None:
    state = stream(measured).state_dict()
    for other in (stream(measured, weight_floor=0.5), Stream(measured, columns=IDS)):
        with pytest.raises(ConfigError, match="order"):
            other.load_state_dict(state)


def test_groups_have_their_visits_to_within_one() -> None:
    rng = np.random.default_rng(2)
    weights, groups = rng.uniform(0, 2, 600), rng.integers(0, 3, 600)
    totals = np.bincount(groups, weights)
    for seed in range(50):
        visits = np.bincount(sampling_order(weights, np.random.default_rng(seed), groups=groups), minlength=600)
        assert (np.abs(np.bincount(groups, visits) - totals) < 1.5).all()  # the rounding of the epoch, and one
        assert (np.abs(visits - weights) < 1.01).all()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"weight_floor": 0.0}, "above 0, so that no row is dropped"),
        ({"weight_floor": 1.5}, "weight_floor is 1.5"),
        ({"weight_by": "aesthetic"}, "weight_by is 'aesthetic'; expected 'teachability'"),
    ],
)
def test_what_cannot_be_a_weight_is_refused(measured: Path, more: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Stream(measured, columns=IDS, **{"weight_by": "teachability", **more})


def test_a_set_without_teachability_is_refused_with_what_measures_it(dataset: Path) -> None:
    with pytest.raises(ConfigError, match=r"no row of train has a teachability; .* render.takes"):
        stream(dataset)
    put(dataset, [None] * N)
    with pytest.raises(ConfigError, match="no row of train has a teachability"):
        weights_by_axis(dataset, {}, weight_by="teachability")
    assert len(Stream(dataset, columns=IDS, weights={"text_rendering": 2})) == N + 15
