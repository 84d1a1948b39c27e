"""Which pictures are asked about: strata, shares, seeds."""

import itertools
from typing import Any

import numpy as np
import pytest

from promptforge.errors import ConfigError
from promptforge.policy import Gate
from promptforge.records import digest_of
from promptforge.stages.calibration.draw import Request, allocate, bands, draw, share_out
from promptforge.stages.calibration.frame import Frame


def frame(values: np.ndarray, bound: float = 0.0, name: str = "sharp") -> Frame:
    images = [digest_of(number)[:32] for number in range(len(values))]
    gate = Gate(scorer="technical", metric="sharpness", min=bound)
    passes = values >= bound
    distance = np.abs(values - bound)
    chosen = np.arange(len(values)) % 2 == 0
    return Frame(name, gate, images, chosen, passes, distance, [None] * len(values), values, bound, None)


def words(said: list[str]) -> Frame:
    gate = Gate(scorer="text", metric="verdict", one_of=("read",))
    passes = np.array([word == "read" for word in said])
    images = [digest_of(number)[:32] for number in range(len(said))]
    return Frame("reads", gate, images, passes, passes, None, list(said), None, None, None)


def rows(made: Frame, n: int, seed: int = 0) -> list[dict[str, Any]]:
    return draw(Request(made, "quality", n, seed)).to_pylist()


SCORES = np.random.default_rng(4).normal(size=3000)


def test_a_side_is_cut_at_an_eighth_a_quarter_and_a_half_of_it_from_the_bound() -> None:
    distance = np.arange(16.0)
    assert bands(distance, np.ones(16, bool)).tolist() == [4] * 2 + [5] * 2 + [6] * 4 + [7] * 8
    assert bands(distance, np.zeros(16, bool)).tolist() == [3] * 2 + [2] * 2 + [1] * 4 + [0] * 8


def test_equal_distances_are_in_one_stratum() -> None:
    found = bands(np.array([0.0] * 90 + [1.0] * 10), np.ones(100, bool))
    assert set(found[:90].tolist()) == {4}
    assert set(found[90:].tolist()) == {7}  # 90% are nearer


def test_pictures_are_shared_out_as_one_at_a_time_would() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        sizes = rng.integers(0, 12, 5)
        first = list(rng.permutation(5))
        n = int(rng.integers(0, 40))
        plain = np.zeros(5, int)
        while plain.sum() < min(n, sizes.sum()):
            for place in sorted(range(5), key=lambda p: (plain[p], first.index(p))):
                if plain[place] < sizes[place]:
                    plain[place] += 1
                    break
        assert allocate(sizes, n, first).tolist() == plain.tolist()


def test_every_row_states_the_probability_that_it_was_drawn_with() -> None:
    found = rows(frame(SCORES), 160)
    assert len({row["image_id"] for row in found}) == len(found) == 160
    for name, group in itertools.groupby(sorted(found, key=lambda row: row["stratum"]), lambda row: row["stratum"]):
        lines = list(group)
        assert all(row["n_drawn"] == len(lines) == 20 for row in lines), name
        assert all(row["probability"] == row["n_drawn"] / row["n_stratum"] for row in lines)
    sizes = {row["stratum"]: row["n_stratum"] for row in found}
    assert sum(sizes.values()) == 3000
    assert sizes["pass 1"] < sizes["pass 4"]  # equally many labels of fewer pictures: more near the bound


def test_a_larger_sample_contains_the_smaller_and_another_seed_is_another() -> None:
    small, large = ({row["image_id"] for row in rows(frame(SCORES), n)} for n in (50, 173))
    assert small < large
    assert small != {row["image_id"] for row in rows(frame(SCORES), 50, seed=1)}


def test_over_seeds_every_picture_of_a_stratum_comes_as_often() -> None:
    made = frame(SCORES[:80])
    counts = np.zeros(80)
    place = {image: number for number, image in enumerate(made.images)}
    chance = np.zeros(80)
    for seed in range(600):
        for row in rows(made, 32, seed):
            counts[place[row["image_id"]]] += 1
            chance[place[row["image_id"]]] = row["probability"]
    spread = np.sqrt(np.maximum(600 * chance * (1 - chance), 1e-9))
    assert np.abs((counts - 600 * chance) / np.where(chance == 1, 1, spread)).max() < 4.5


def test_whoever_stops_early_has_answered_equally_many_of_each_stratum() -> None:
    found = rows(frame(SCORES), 80)
    assert len({row["stratum"] for row in found[:8]}) == 8
    assert len({row["stratum"] for row in found[8:16]}) == 8


def test_words_are_strata_and_gates_draw_the_same_pictures_where_they_can() -> None:
    found = rows(words(["read"] * 50 + ["misread"] * 7 + ["unreadable"]), 30)
    assert {(row["stratum"], row["n_drawn"]) for row in found} == {
        ("word read", 22),
        ("word misread", 7),
        ("word unreadable", 1),
    }
    other = frame(SCORES, 0.05, "other")
    shared = {row["image_id"] for row in rows(frame(SCORES), 200)} & {row["image_id"] for row in rows(other, 200)}
    assert len(shared) > 130


def test_too_few_pictures_for_a_gate_are_refused_with_a_number_that_does() -> None:
    made = [frame(SCORES), frame(SCORES, name="second")]
    assert share_out(33, made) == [17, 16]
    with pytest.raises(ConfigError, match=r"--n 31: 15 pictures for gate second, which needs 16, .* give --n 32"):
        share_out(31, made)
