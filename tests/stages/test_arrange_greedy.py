"""Diversity order: against plain greedy by the definition of coverage, and on real prompts."""

from __future__ import annotations

import itertools
import json
import random
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptforge import scenes
from promptforge.stages.arrangement.concepts import WEIGHTS, Concepts, concepts
from promptforge.stages.arrangement.greedy import ONE, Coverage, scale

#: What the first, second, third, ... unit with a concept adds: the staircase of the module's first lines.
STAIRS = [Fraction(1, step) for step in (1, 2, *[4] * 2, *[8] * 4, *[16] * 8, *[32] * 16, *[64] * 32, *[128] * 64)]


def _plain(units: list[dict[int, int]], weight: dict[int, int], before: list[int]) -> list[int]:
    """Greedy by trying every unit at every step, in fractions."""
    counts = {concept: before.count(concept) for concept in weight}
    left, order = list(range(len(units))), []
    while left:

        def gain(number: int) -> Fraction:
            added = sum((weight[c] * STAIRS[counts[c]] for c in units[number]), start=Fraction(0))
            return added * scale(len(units[number]))

        best = max(left, key=lambda number: (gain(number), -number))
        left.remove(best)
        order.append(best)
        for concept in units[best]:
            counts[concept] += 1
    return order


def _random(rng: random.Random, n: int, weight: dict[int, int]) -> list[dict[int, int]]:
    return [{c: weight[c] for c in rng.sample(sorted(weight), rng.randint(0 if n > 5 else 1, 8))} for _ in range(n)]


def _flat(units: list[dict[int, int]]) -> Concepts:
    return Concepts(
        np.array([c for unit in units for c in sorted(unit)], np.int32),
        np.array([unit[c] for unit in units for c in sorted(unit)], np.int8),
        np.cumsum([0] + [len(unit) for unit in units]).astype(np.int64),
    )


@pytest.mark.parametrize("seed", range(10))
def test_the_order_is_that_of_plain_greedy_also_behind_an_earlier_block(seed: int) -> None:
    rng = random.Random(seed)
    weight = {concept: rng.randint(1, 4) for concept in range(0, 400, 13)}
    first, second = _random(rng, 60, weight), _random(rng, 60, weight)
    covered = Coverage()
    assert covered.order(_flat(first))[0] == _plain(first, weight, [])
    before = [concept for unit in first for concept in unit]
    assert covered.order(_flat(second))[0] == _plain(second, weight, before)


def test_scale_is_the_size_to_the_power_of_minus_three_quarters() -> None:
    assert [scale(n) for n in (1, 16, 81, 256)] == [65536, 8192, 2427, 1024]  # 65536 / 1, 8, 27, 64


def test_equal_units_come_in_their_own_order_and_a_unit_of_nothing_comes_last() -> None:
    units: list[dict[int, int]] = [{}, {1: 1}, {1: 1}, {2: 1}]
    order, added = Coverage().order(_flat(units))
    assert order == [1, 3, 2, 0]
    assert [value / ONE for value in added] == [1, 1, 0.5, 0]


def _rows(texts: list[str], cell: str = "cell") -> pa.Table:
    return pa.table(
        {
            "text_clean": texts,
            "scene": [scenes.parse(text).to_json() for text in texts],
            "template": pa.nulls(len(texts), pa.string()),
            "cell": [cell] * len(texts),
        }
    )


def test_a_prompt_is_about_its_words_things_looks_and_places_each_once() -> None:
    rows = _rows(["a red dog left of a red cat"])
    found = concepts(rows, np.array([0]))
    # Words: a, red, dog, left, of, cat. Nouns: 2. Look: red. Bindings: 2. Relation and placing. Cell.
    assert sorted(found.weight.tolist()) == sorted(
        [WEIGHTS["word"]] * 6
        + [WEIGHTS["noun"]] * 2
        + [WEIGHTS["look"]]
        + [WEIGHTS["binding"]] * 2
        + [WEIGHTS["relation"], WEIGHTS["placing"], WEIGHTS["cell"]]
    )


def test_members_of_a_unit_share_their_concepts() -> None:
    rows = _rows(["a red dog", "a blue dog", "a red dog"])
    both = concepts(rows, np.array([0, 0, 1]))
    alone = concepts(rows.slice(2), np.array([0]))
    # The pair has blue, once as a word, a look and a binding, beyond what the single row has.
    assert np.diff(both.offsets).tolist() == [len(alone.bucket) + 3, len(alone.bucket)]


def _measures(texts: list[str]) -> dict[str, float]:
    """Distinct nouns, distinct things with looks, distinct words, distinct-2."""
    found = [json.loads(scenes.parse(text).to_json())["objects"] for text in texts]
    words = [re.findall(r"\w+", text.lower()) for text in texts]
    pairs = [pair for each in words for pair in itertools.pairwise(each)]
    return {
        "nouns": len({thing["noun"] for each in found for thing in each}),
        "bound": len({tuple(sorted(thing.items(), key=str)) for each in found for thing in each}),
        "words": len({word for each in words for word in each}),
        "distinct-2": len(set(pairs)) / len(pairs),
    }


@pytest.mark.parametrize(
    ("name", "n", "nouns", "words"), [("pickapic_train", 4000, 1.1, 1.5), ("t2i_compbench", 4000, 1.2, 1.5)]
)
def test_a_tenth_and_a_quarter_of_a_block_cover_more_of_real_prompts(
    eval_data: Path, name: str, n: int, nouns: float, words: float
) -> None:
    texts = pq.read_table(eval_data / f"{name}.parquet", columns=["prompt"])["prompt"].to_pylist()
    texts = random.Random(5).sample(texts, n)
    order, _ = Coverage().order(concepts(_rows(texts), np.arange(n)))
    assert sorted(order) == list(range(n))
    for share, factor in ((0.1, 1.0), (0.25, 0.9)):
        k = int(n * share)
        ours, stream = _measures([texts[number] for number in order[:k]]), _measures(texts[:k])
        assert ours["nouns"] >= stream["nouns"] * (1 + (nouns - 1) * factor)
        assert ours["words"] >= stream["words"] * (1 + (words - 1) * factor)
        assert ours["bound"] > stream["bound"]
        assert ours["distinct-2"] > stream["distinct-2"]


def test_the_first_quarter_is_not_made_of_the_longest_prompts(eval_data: Path) -> None:
    texts = pq.read_table(eval_data / "pickapic_train.parquet", columns=["prompt"])["prompt"].to_pylist()[:4000]
    order, _ = Coverage().order(concepts(_rows(texts), np.arange(4000)))
    lengths = np.array([len(text.split()) for text in texts])
    longest = np.sort(lengths)[-1000:].mean()
    assert lengths[order[:1000]].mean() < 1.5 * lengths.mean() < 0.75 * longest
