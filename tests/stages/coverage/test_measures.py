"""Measures by hand, and against plain counting in Python."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from promptforge.stages.coverage.measures import MEASURES, Prompts, measure, table
from promptforge.stages.coverage.nouns import nouns_of

AXES = ("image_quality", "semantic_understanding", "text_rendering")


def rows(*given: tuple[str, str], **columns: Sequence[Any]) -> pa.Table:
    """A table of (axis, text); other columns as given, else nothing special."""
    n = len(given)
    made: dict[str, Any] = {
        "text": pa.array([text for _, text in given], pa.string()),
        "axis": pa.array([axis for axis, _ in given], pa.string()),
        "source": pa.array(["own"] * n, pa.string()),
        "template": pa.array([None] * n, pa.string()),
        "natural": pa.array([True] * n, pa.bool_()),
        "keep_image": pa.array([True] * n, pa.bool_()),
        "n_words": pa.array([len(text.split()) for _, text in given], pa.int32()),
    }
    for name, values in columns.items():
        made[name] = pa.array(values, made[name].type)
    return pa.table(made)


def values(prompts: pa.Table, near: dict[str, tuple[int, int]] | None = None) -> dict[tuple[str, str, str], Any]:
    found, _ = table(Prompts(prompts, near or {}))
    return {(row["scope"], row["axis"], row["measure"]): row["value"] for row in found if row["detail"] is None}


QUALITY, SEMANTICS, TEXT = AXES


def test_the_papers_measures_by_hand() -> None:
    found = values(
        rows(
            (QUALITY, "a dog and a dog"),  # dog: 1 pair
            (QUALITY, "two dogs beside a cat"),  # dog, cat: 2 pairs
            (SEMANTICS, "a cat on a table"),  # cat, table: 2 pairs
        )
    )
    # I-N 1 + 2 + 2; UN dog, cat, table; N/I 5 / 3.
    assert found["prompts", "all", "noun_pairs"] == 5
    assert found["prompts", "all", "unique_nouns"] == 3
    assert found["prompts", "all", "nouns_per_prompt"] == pytest.approx(5 / 3)
    assert found["prompts", QUALITY, "noun_pairs"] == 3
    assert found["prompts", QUALITY, "unique_nouns"] == 2
    assert found["prompts", SEMANTICS, "unique_nouns"] == 2
    assert found["prompts", TEXT, "noun_pairs"] == 0
    assert found["prompts", TEXT, "nouns_per_prompt"] is None


def test_distinct_n_by_hand() -> None:
    found = values(rows((QUALITY, "a red dog"), (QUALITY, "A red cat."), (QUALITY, "dog")))
    # 7 words: a red dog cat are 4. Pairs: a-red twice, red-dog, red-cat: 3 of 4. Triples: 2 of 2. None across prompts.
    assert found["prompts", "all", "distinct_1"] == pytest.approx(4 / 7)
    assert found["prompts", "all", "distinct_2"] == pytest.approx(3 / 4)
    assert found["prompts", "all", "distinct_3"] == 1


def test_pictures_count_those_alone_that_may_be_used() -> None:
    given = rows((QUALITY, "a dog"), (QUALITY, "a cat"), keep_image=[True, False])
    found = values(given)
    assert found["prompts", "all", "unique_nouns"] == 2
    assert found["pictures", "all", "unique_nouns"] == 1
    assert found["pictures", "all", "prompts"] == 1


def test_shares_by_hand() -> None:
    given = rows(
        *[(QUALITY, "a dog")] * 4,
        source=["x", "x", "x", "y"],
        template=["t1", "t1", "t2", None],
        natural=[False, False, False, True],
    )
    found, _ = table(Prompts(given, {"all": (1, 4), QUALITY: (1, 4)}))
    mine = {(row["measure"], row["detail"]): row["value"] for row in found if row["axis"] == QUALITY}
    assert mine["template_share", "t1"] == 0.5
    assert mine["templates", None] == 2
    assert mine["natural_share", None] == 0.25
    assert mine["source_share", "x"] == 0.75
    assert mine["source_share", "y"] == 0.25
    assert mine["near_duplicate_share", None] == 0.2  # 1 of 1 + 4


def test_lengths_are_those_that_a_share_does_not_exceed() -> None:
    given = rows(*[(QUALITY, "a " * n) for n in range(1, 21)])  # 1 to 20 words
    found = values(given)
    # 5% of 20 is the 1st, 50% the 10th, 95% the 19th: numpy's inverted_cdf.
    for name, share in {"words_p05": 0.05, "words_p50": 0.5, "words_p95": 0.95}.items():
        wanted = np.quantile(np.arange(1, 21), share, method="inverted_cdf")
        assert found["prompts", QUALITY, name] == wanted


def test_no_prompts_have_counts_of_zero_and_no_ratios() -> None:
    found = values(rows())
    assert {value for (_, _, name), value in found.items() if name in ("prompts", "noun_pairs", "templates")} == {0}
    assert {value for (_, _, name), value in found.items() if name.endswith("_share")} == {None}


def by_hand(texts: Sequence[str]) -> dict[str, float | None]:
    """The same in plain Python; words are single letters here, so splitting is all that cutting is."""
    found: dict[str, float | None] = {}
    for n in (1, 2, 3):
        grams: Counter[tuple[str, ...]] = Counter()
        for text in texts:
            words = text.split()
            grams.update(tuple(words[at : at + n]) for at in range(len(words) - n + 1))
        found[f"distinct_{n}"] = len(grams) / grams.total() if grams else None
    sets = [each.as_py() for each in nouns_of(pa.array(texts, pa.string())).lists(len(texts))]
    found["noun_pairs"] = sum(map(len, sets))
    found["unique_nouns"] = len({noun for each in sets for noun in each})
    return found


@pytest.mark.parametrize("seed", range(6))
def test_groups_are_measured_like_sets_of_their_own(seed: int) -> None:
    rng = random.Random(seed)
    words = ["dog", "cat", "red", "a", "lamp", "on", "tree", "blue", "b"]
    texts = [" ".join(rng.choices(words, k=rng.randrange(7))) for _ in range(60)]
    groups = np.array([rng.randrange(4) for _ in texts])
    given = rows(*((QUALITY, text) for text in texts))
    found = measure(given, groups, 5, nouns_of(given["text"]), MEASURES)
    for place in range(5):  # the last is empty
        wanted = by_hand([text for text, group in zip(texts, groups, strict=True) if group == place])
        for name, value in wanted.items():
            seen = found[name][place][0]
            assert seen == (None if value is None else pytest.approx(value)), (place, name)


def test_only_what_is_wanted_is_measured() -> None:
    made, nouns = table(Prompts(rows((QUALITY, "a dog")), {}), {"natural_share"})
    assert {row["measure"] for row in made} == {"natural_share"}
    assert nouns is None
