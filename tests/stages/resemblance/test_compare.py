"""Which prompts are near duplicates, against sets and joins worked out in plain Python."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from promptforge import scenes
from promptforge.stages.resemblance import apart, compare, jaccard, minhash
from promptforge.stages.resemblance.features import features, hash_strings, joined, reordered
from promptforge.stages.resemblance.settings import DedupSettings
from promptforge.stages.resemblance.stars import stars

DEFAULT = DedupSettings()
BARE = DedupSettings(view="text", threshold=0.7)


def _pairs(texts: list[str], settings: DedupSettings = DEFAULT) -> list[tuple[int, int]]:
    found = compare.near_pairs(features(pa.array(texts, pa.string()), settings), settings)
    return list(zip(found.a.tolist(), found.b.tolist(), strict=True))


def _merged(a: str, b: str) -> bool:
    return _pairs([a, b]) == [(0, 1)]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("a red fox in the snow", "A RED FOX, in the snow!"),
        ("a red fox in the snow", "red fox in the snow, highly detailed, 8k, trending on artstation"),
        ("a red fox in the snow, octane render, 4 k", "a red fox in the snow, cinematic lighting, f/1.8"),
        ("a photo of a red fox in the snow", "image of a red fox in the snow, by greg rutkowski"),
        ("two dogs on a bench", "2 dogs on a bench"),
        ("a gray horse", "a grey horse"),
        ("a woman rides a horse", "a woman riding a horse"),
        ("a horse on the beach", "a hosre on the beach"),
        ('a sign that says "open 24"', "a sign that says “OPEN 24”"),
        ("一只猫在桌子上", "一只猫在桌子上。"),
        # 20 words of content and one more: 19 of 22 n-grams (with the mark of the end) are shared, 0.86.
        (
            "a fox hunts along frozen rivers while distant bells ring across pale valleys where nobody ever walks under"
            " bleached skies today",
            "a fox hunts along frozen rivers while distant bells ring across pale valleys where nobody ever quietly"
            " walks under bleached skies today",
        ),
    ],
)
def test_these_are_one_prompt(a: str, b: str) -> None:
    assert _merged(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("a red fox in the snow", "a blue fox in the snow"),
        ("two dogs on a bench", "three dogs on a bench"),
        ("a cat left of a dog", "a dog left of a cat"),
        ("a cat left of a dog", "a cat right of a dog"),
        ("a red cube and a blue ball", "a blue cube and a red ball"),
        ('a sign that says "open"', 'a sign that says "closed"'),
        ("a man with a hat", "a man without a hat"),
        ("watercolor of a fox", "charcoal of a fox"),
        ("a fox, watercolor", "a fox, charcoal"),
        ("a knight", "a knight and a dragon"),
        ("a horse in the park", "a house in the park"),  # one edit, but both are words
        (
            "jane austen, " + "highly detailed, 8k, sharp focus, " * 8,
            "mary shelley, " + "highly detailed, 8k, sharp focus, " * 8,
        ),
        ("", ""),
        ("!!!", "???"),
    ],
)
def test_these_are_two(a: str, b: str) -> None:
    assert not _merged(a, b)


def test_a_prompt_of_style_alone_is_compared_by_its_style() -> None:
    assert not _merged("highly detailed, 8k", "cinematic lighting, bokeh")


def _bigrams(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return set(itertools.pairwise(words)) or {tuple(words)}


def _corpus(n: int, seed: int) -> list[str]:
    """Half of it one to four words away from another."""
    random_ = random.Random(seed)
    words = [f"w{number}" for number in range(400)]
    texts: list[str] = []
    for _ in range(n):
        if texts and random_.random() < 0.5:
            row = random_.choice(texts).split()
            for _ in range(random_.randrange(1, 4)):
                row[random_.randrange(len(row))] = random_.choice(words)
        else:
            row = random_.choices(words, k=random_.randrange(1, 40))
        texts.append(" ".join(row))
    return texts


def test_similarity_is_that_of_the_sets() -> None:
    texts = [*_corpus(200, 1), "one", "one one one", "one two one two"]
    found = features(pa.array(texts), BARE)
    a, b = np.array(list(itertools.combinations(range(len(texts)), 2))).T
    wanted = [
        len(_bigrams(texts[i]) & _bigrams(texts[j])) / len(_bigrams(texts[i]) | _bigrams(texts[j]))
        for i, j in zip(a.tolist(), b.tolist(), strict=True)
    ]
    assert jaccard.similarities(found, a, b).tolist() == pytest.approx(wanted)


def test_nearly_all_pairs_of_the_exact_join_are_found_and_no_other() -> None:
    texts = _corpus(2000, 2)
    sets = [_bigrams(text) for text in texts]
    wanted = set()
    for i, j in itertools.combinations(range(len(texts)), 2):
        both = len(sets[i] & sets[j])
        if both and both >= 0.7 * (len(sets[i]) + len(sets[j]) - both) - 1e-9:
            wanted.add((i, j))
    found = set(_pairs(texts, BARE))
    assert found <= wanted
    assert len(wanted) > 400
    assert len(found) >= 0.98 * len(wanted)  # by pairs; of rows to be dropped it is more


def test_a_row_is_dropped_only_for_a_survivor_that_it_resembles() -> None:
    # 0-1 and 1-2 resemble, 0-2 do not: 1 goes, and 2 stays although a chain leads to it. 3 goes for the nearer, 2.
    a, b = np.array([0, 1, 0, 2]), np.array([1, 2, 3, 3])
    winner, value = stars(4, a, b, np.array([0.9, 0.9, 0.8, 0.95]), 10)
    assert winner.tolist() == [0, 0, 2, 0]
    assert value.tolist() == [1, 0.9, 1, 0.8]


def test_a_survivor_drops_no_more_than_the_recipe_allows() -> None:
    a, b = np.zeros(3, np.int64), np.arange(1, 4)
    winner, _ = stars(4, a, b, np.array([0.8, 0.9, 1.0]), 2)
    assert winner.tolist() == [0, 1, 0, 0]  # the two most similar


def test_boilerplate_makes_no_square_of_pairs() -> None:
    # 3,000 subjects with one long tail: with the bare words nearly every band of every row is the tail's.
    tail = " ".join(f"tail{number}" for number in range(40))
    texts = [f"subject{number} thing{number % 7} {tail}" for number in range(3000)]
    found = features(pa.array(texts), BARE)
    rows = minhash.meeting(found)
    a, _ = minhash.bucket_pairs(minhash.band_keys(found, rows, BARE), BARE.bucket_guard)
    assert len(a) < 3000 * 12 * BARE.bands  # 12 a row and band; all pairs would be 4.5 million
    winner, _ = compare.survivors(found, BARE)
    assert len(set(winner.tolist())) == 1  # each resembles the first: 40 of 44 n-grams, 0.91
    content = features(
        pa.array([f"subject{n} of thing{n % 7}, " + "highly detailed, 8k, " * 20 for n in range(3000)]), DEFAULT
    )
    assert len(minhash.meeting(content)) == 0  # by content no two of them even meet


def test_large_buckets_lose_no_equal_row() -> None:
    texts = [f"a red fox in the snow, {style}" for style in ("8k", "bokeh", "hdr", "4k")] * 100
    winner, value = compare.survivors(features(pa.array(texts), DEFAULT), DEFAULT)
    assert set(winner.tolist()) == {0}
    assert set(value.tolist()) == {1.0}


def test_batches_and_order_are_immaterial_to_the_features() -> None:
    texts = [*_corpus(300, 3), "a hosre on the beach", "a sign that says “OPEN”", "", "一只猫", "8k"]
    whole = features(pa.array(texts), DEFAULT)
    parts = joined([features(pa.array(texts[at : at + 7]), DEFAULT) for at in range(0, len(texts), 7)])
    back = np.arange(len(texts))[::-1]
    turned = reordered(features(pa.array(texts[::-1]), DEFAULT), back)
    for other in (parts, turned):
        for name in ("shingles", "offsets", "facts", "media"):
            assert np.array_equal(getattr(whole, name), getattr(other, name)), name


def test_facts_of_the_caller_keep_rows_apart() -> None:
    texts = pa.array(["a sign that says open", "a sign that says open"])
    facts = hash_strings(pa.array(["open", "shut"]))
    assert len(compare.near_pairs(features(texts, DEFAULT, facts), DEFAULT)) == 0
    assert len(compare.near_pairs(features(texts, DEFAULT, facts[[0, 0]]), DEFAULT)) == 1


@pytest.mark.parametrize(
    ("a", "b", "differ"),
    [
        ("a red apple on a table", "a green apple on a table", True),
        ("two apples on a table", "three apples on a table", True),
        ("a cat left of a dog", "a dog left of a cat", True),
        ("a red apple on a table", "a red apple on a table, studio lighting", False),
        ("an apple", "a lamp", False),  # they say nothing of the same thing; the words decide
    ],
)
def test_scenes_differ_where_they_contradict(a: str, b: str, differ: bool) -> None:
    assert apart.scenes_differ(scenes.parse(a), scenes.parse(b)) is differ


def _same(texts: list[str | None], settings: DedupSettings, facts: np.ndarray | None = None) -> None:
    slow, fast = (settings.model_copy(update={"compiled": value}) for value in (False, True))
    one, two = features(pa.array(texts, pa.string()), slow, facts), features(pa.array(texts, pa.string()), fast, facts)
    for name in ("shingles", "offsets", "facts", "media"):
        assert np.array_equal(getattr(one, name), getattr(two, name)), name
    rows = np.flatnonzero(np.diff(one.offsets) > 0)
    assert np.array_equal(minhash.band_keys(one, rows, slow), minhash.band_keys(two, rows, fast))
    assert np.array_equal(compare.survivors(one, slow)[0], compare.survivors(two, fast)[0])


def test_compiled_loops_give_the_same() -> None:
    pytest.importorskip("numba", reason="the extra `fast` is not installed")
    texts = [*_corpus(500, 4), "a hosre on the beach", "a sign that says “OPEN”", "", "一只猫", "averyverylongword" * 3]
    for settings in (DEFAULT, BARE):
        _same(texts, settings)


def test_a_loop_compiled_once_is_read_by_the_next_process(tmp_path: Path) -> None:
    pytest.importorskip("numba", reason="the extra `fast` is not installed")
    enter = (  # it calls another loop
        "import numpy as np; from promptforge.stages.resemblance import compiled; loop = compiled.loops(True).enter;"
        "loop(np.zeros((4, 3), np.uint64), np.zeros((8, 3), np.uint64)); print(sum(loop.stats.cache_hits.values()))"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    hits = [subprocess.check_output([sys.executable, "-c", enter], env=environment, text=True) for _ in range(2)]
    assert hits == ["0\n", "1\n"]


def test_compiled_loops_give_the_same_for_any_mixture_of_style_marks_and_misspelt_words() -> None:
    pytest.importorskip("numba", reason="the extra `fast` is not installed")
    style = "a an the of photo photograph painting by greg rutkowski artstation trending on 4k highly detailed"
    marks = """, , . " " 1.8 5' “ ” — !!! oil in style for with movie render masterpiece"""
    words = [*style.split(), *marks.split(), *("red", "two", "cat", "hourse", "catt", "driving", "Größe", "猫", "x")]
    draw = random.Random(5)
    texts: list[str | None] = [" ".join(draw.choices(words, k=draw.randint(0, 14))) for _ in range(4000)]
    texts += [None, "", "...", '"', "a."]
    facts = np.arange(len(texts)).astype(np.uint64) % np.uint64(5)
    for more in ({}, {"spelling": False, "ngram": 3, "head_words": 2}, {"ngram": 1, "head_words": 0}):
        for own in (None, facts):
            _same(texts, DEFAULT.model_copy(update=more), own)
