"""Order, shares and resume of a stream."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from promptforge.errors import ConfigError
from promptforge.reader import Stream

from .conftest import N, encoded, pixels

IDS = ("prompt_id",)


def numbers(rows: Any) -> list[int]:
    return [int(row["prompt_id"], 16) for row in rows]


def test_an_epoch_is_every_row_once_and_another_epoch_another_order(dataset: Path) -> None:
    stream = Stream(dataset, columns=IDS)
    first = numbers(stream)
    assert sorted(first) == list(range(N)) != first
    assert numbers(stream) == first == numbers(Stream(dataset, columns=IDS))
    stream.set_epoch(1)
    second = numbers(stream)
    assert sorted(second) == list(range(N))
    assert second != first
    assert numbers(Stream(dataset, columns=IDS, epoch=1)) == second
    assert numbers(Stream(dataset, columns=IDS, seed=1)) not in (first, second)


def test_without_shuffle_rows_come_as_they_lie(dataset: Path) -> None:
    assert numbers(Stream(dataset, columns=IDS, shuffle=False)) == list(range(N))
    weighted = Stream(dataset, columns=IDS, shuffle=False, weights={"text_rendering": 2, "image_quality": 0})
    assert numbers(weighted) == [n for n in range(N) for _ in range((0, 1, 2)[n % 3])]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("decode", [True, False])
def test_each_row_has_its_own_picture(dataset: Path, threads: int, decode: bool) -> None:
    rows = list(Stream(dataset, decode=decode, threads=threads))
    assert len(rows) == N
    for row, number in zip(rows, numbers(rows), strict=True):
        assert row["text"] == f"a pot, number {number}"
        assert (row["image"] == pixels(number)).all() if decode else row["image"] == encoded(number)


def test_a_weight_is_visits_of_the_rows_of_an_axis(dataset: Path) -> None:
    seen = Counter(numbers(Stream(dataset, columns=IDS, weights={"semantic_understanding": 10, "image_quality": 0})))
    assert seen == {n: (0, 10, 1)[n % 3] for n in range(N) if n % 3}
    half = Stream(dataset, columns=IDS, weights={"image_quality": 0.5})
    assert len(half) == len(numbers(half)) == 38  # 16 x 0.5 + 15 + 15


@pytest.mark.parametrize(("world", "n_workers", "batch"), [(1, 1, 1), (2, 2, 4), (3, 2, 5), (5, 3, 1), (4, 7, 3)])
def test_ranks_and_workers_share_the_epoch_without_overlap_or_loss(
    dataset: Path, world: int, n_workers: int, batch: int
) -> None:
    def given(*, drop_last: bool) -> list[list[int]]:
        return [
            [
                n
                for worker in range(n_workers)
                for n in numbers(
                    Stream(
                        dataset,
                        columns=IDS,
                        rank=rank,
                        world=world,
                        worker=worker,
                        n_workers=n_workers,
                        batch_size=batch,
                        drop_last=drop_last,
                    )
                )
            ]
            for rank in range(world)
        ]

    whole = given(drop_last=False)
    assert sorted(n for rank in whole for n in rank) == list(range(N))
    even = given(drop_last=True)
    assert {len(rank) for rank in even} == {N // world}
    assert len({n for rank in even for n in rank}) == N // world * world
    stream = Stream(dataset, columns=IDS, rank=world - 1, world=world, drop_last=False)
    assert len(stream) == len(whole[-1])


def test_the_batches_of_ranks_side_by_side_are_those_of_one(dataset: Path) -> None:
    one = numbers(Stream(dataset, columns=IDS))
    ranks = [numbers(Stream(dataset, columns=IDS, rank=rank, world=2)) for rank in range(2)]
    assert [n for pair in zip(*ranks, strict=True) for n in pair] == one


@pytest.mark.parametrize("stop", [0, 1, 31, 32, 33, N])
@pytest.mark.parametrize("wanted", [{"columns": IDS}, {"threads": 2, "weights": {"semantic_understanding": 3.0}}])
def test_a_stream_goes_on_where_its_state_was_taken(dataset: Path, stop: int, wanted: dict[str, Any]) -> None:
    whole = numbers(Stream(dataset, epoch=2, **wanted))
    stream = Stream(dataset, epoch=2, **wanted)
    rows = iter(stream)
    seen = numbers(next(rows) for _ in range(stop))
    state = stream.state_dict()
    other = Stream(dataset, **wanted)
    other.load_state_dict(pickle.loads(pickle.dumps(state)))
    other.set_epoch(2)  # what a training loop says first
    assert seen + numbers(other) == whole
    assert numbers(other) == whole  # the next pass is a whole one
    other.load_state_dict(state)
    other.set_epoch(3)
    assert numbers(other) == numbers(Stream(dataset, epoch=3, **wanted))


def test_a_worker_goes_on_where_its_state_was_taken(dataset: Path) -> None:
    share: dict[str, Any] = {"columns": IDS, "world": 2, "rank": 1, "n_workers": 2, "batch_size": 4}
    for worker in range(2):
        whole = numbers(Stream(dataset, worker=worker, **share))
        stream = Stream(dataset, worker=worker, **share)
        rows = iter(stream)
        seen = numbers(next(rows) for _ in range(6))  # in the middle of its second block
        other = Stream(dataset, worker=worker, **share)
        other.load_state_dict(stream.state_dict())
        assert seen + numbers(other) == whole


def test_a_state_serves_another_number_of_ranks(dataset: Path) -> None:
    whole = numbers(Stream(dataset, columns=IDS))
    rest = []
    for rank in range(3):
        stream = Stream(dataset, columns=IDS, rank=rank, world=3, drop_last=False)
        stream.load_state_dict(Stream(dataset, columns=IDS, world=2).state_dict(given=6))  # 2 ranks x 6 visits
        rest += numbers(stream)
    assert sorted(rest) == sorted(whole[12:])


def test_a_state_of_another_order_is_refused(dataset: Path) -> None:
    state = Stream(dataset, columns=IDS).state_dict()
    for other in ({"seed": 1}, {"shuffle": False}, {"weights": {"image_quality": 2}}):
        with pytest.raises(ConfigError, match="the state's order is 'train of 46, seed 0"):
            Stream(dataset, columns=IDS, **other).load_state_dict(state)
    with pytest.raises(ConfigError, match="the state's digest is '1"):
        Stream(dataset, columns=IDS).load_state_dict(state | {"digest": "1" * 64})


def test_a_stream_that_is_left_and_begun_again_begins_at_the_front(dataset: Path) -> None:
    stream = Stream(dataset, threads=2)
    whole = numbers(stream)
    for row in stream:
        assert numbers([row]) == whole[:1]
        break
    assert numbers(stream) == whole


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"rank": 2, "world": 2}, "rank 2 of 2"),
        ({"worker": 1}, "go together"),
        ({"worker": 1, "n_workers": 1}, "worker 1 of 1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"weights": {"quality": 1}}, "no axis 'quality'"),
        ({"columns": ["latents"]}, "no run"),
    ],
)
def test_a_wrong_request_is_refused_before_any_work(dataset: Path, wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Stream(dataset, **wanted)
