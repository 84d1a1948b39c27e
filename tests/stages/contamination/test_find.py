"""Every rule on hand-made prompts, and the kernels against plain Python."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from promptforge import lexicon, scenes, targets, texts
from promptforge.records import Scene
from promptforge.sources import grammar
from promptforge.stages.contamination.find import Index, Rows
from promptforge.stages.contamination.grams import Table, grams, places
from promptforge.stages.contamination.near import Contents
from promptforge.stages.contamination.overlap import Coverage
from promptforge.stages.contamination.settings import RULES, Benchmark, DecontaminateSettings
from promptforge.stages.contamination.skeleton import skeletons
from promptforge.stages.contamination.words import read_words
from promptforge.stages.resemblance.features import features, hash_strings, joined
from promptforge.stages.resemblance.jaccard import similarities
from promptforge.stages.resemblance.settings import DedupSettings

LIST = (
    "a dog on the left of a cat",
    "a red apple and a green pear",
    "A copper kettle boils on a crooked iron stove beside three sleepy otters, while an old sailor reads a torn map.",
    "a capybara",
    'a neon sign that reads "Open Late"',
    "the black-and-white cat's bowl",
    "一只红色的狐狸在雪地里",
)


def _rows(prompts: Sequence[str], *, semantic: bool = True) -> Rows:
    return Rows(
        pa.array(prompts, pa.string()),
        pa.array([" ".join(targets.parse(text).strings) for text in prompts], pa.string()),
        np.full(len(prompts), semantic),
        pa.array([scenes.parse(text).to_json() for text in prompts], pa.string()),
    )


@pytest.fixture(scope="module")
def index() -> Index:
    return Index(LIST, DecontaminateSettings(benchmarks=(Benchmark(name="list", path="list"),)))


def _hits(index: Index, prompt: str, *, semantic: bool = True) -> dict[int, str]:
    """Prompt of the list -> rule."""
    found = index.find(_rows([prompt], semantic=semantic))
    return {int(prompt): RULES[rule] for prompt, rule in zip(found.prompt, found.rule, strict=True)}


@pytest.mark.parametrize(
    ("prompt", "number", "rule"),
    [
        ("A DOG, on the left of a cat!", 0, "exact"),
        ("The black and white cats bowl", 5, "exact"),
        ("「一只红色的狐狸在雪地里」", 6, "exact"),
        ("cat a of left the on dog a", 0, "word_order"),
        ("a green pear and a red apple", 1, "word_order"),
        ("a red apple and a green pear, oil on canvas", 1, "contained"),
        ("digital art of a red apple and a green pear", 1, "contained"),
        ("a capybara, illustrated by frank frazetta", 3, "contained"),
        ("a photo of the red apple and a green pear", 1, "near"),
        (f"{LIST[2]} Cinematic, 8k", 2, "near"),
        (f"{LIST[2].replace('reads a', 'holds the').replace('while', 'and')} In a hut", 2, "ngrams"),
        ("In a park, copper kettle boils on a crooked iron stove", 2, "rare"),
        ("a cat on the right of a dog", 0, "scene"),
        ("a cat on the left of a dog", 0, "other_scene"),
        ("a green apple and a red pear", 1, "other_scene"),
        ("a horse on the left of a chair", 0, "skeleton"),
    ],
)
def test_a_copy_is_found_by_its_rule(index: Index, prompt: str, number: int, rule: str) -> None:
    assert _hits(index, prompt).get(number) == rule


@pytest.mark.parametrize(
    "prompt",
    [
        "a capybara chases a goose",
        "a neon sign that says nothing at all, seen from afar",
        "three sleepy otters beside an old sailor",
        "8k, trending on artstation, highly detailed",
        "!!!",
        "",
        "一只蓝色的猫",
    ],
)
def test_what_only_resembles_is_left_alone(index: Index, prompt: str) -> None:
    assert set(_hits(index, prompt).values()) <= {"skeleton"}


def test_other_roles_are_a_copy_where_the_axis_is_not_semantic(index: Index) -> None:
    assert _hits(index, "a cat on the left of a dog", semantic=False)[0] == "word_order"


def test_another_text_to_be_drawn_is_no_near_copy(index: Index) -> None:
    assert _hits(index, 'a neon sign that reads "Open Late", 8k')[4] in {"contained", "near"}
    assert 4 not in _hits(index, 'a neon sign that reads "Art", 8k')


def test_near_copies_are_those_of_an_index_that_reads_the_strings_of_every_prompt(eval_data: Path) -> None:
    lists = {
        name: eval_data / f"{name}.jsonl" for name in ("flow_grpo_ocr_test", "glyphcontrol_simplebench", "drawbench")
    }
    read = [
        json.loads(line)["prompt"] for path in lists.values() for line in path.read_text("utf-8").split("\n") if line
    ]
    listed = sorted({texts.clean(text).text for text in read})[::3]
    rng = random.Random(4)
    rows = listed + [_loosened(text, rng) for text in listed] + rng.sample(read, 300)
    column, prompts = pa.array(rows, pa.string()), pa.array(listed, pa.string())

    def strings(some: Sequence[str]) -> pa.Array:
        return pa.array([" ".join(targets.parse(text).strings) for text in some], pa.string())

    lazy = Contents(listed, prompts, 0.8)
    expected = strings(rows)
    half = len(rows) // 2
    found = [
        {(at + a, b): value for a, b, value in zip(*(part.tolist() for part in parts), strict=True)}
        for at, parts in (
            (
                0,
                lazy.find(column[:half], expected[:half]),
            ),  # the second batch meets prompts that were read for the first
            (half, lazy.find(column[half:], expected[half:])),
        )
    ]
    settings = DedupSettings(threshold=0.8)
    mine = features(column, settings, hash_strings(expected))
    theirs = features(prompts, settings, hash_strings(strings(listed)))
    row, prompt = np.nonzero(mine.facts[:, None] == theirs.facts[None, :])
    share = similarities(joined([mine, theirs]), row, prompt + len(rows))
    both = mine.media[row] & theirs.media[prompt]
    good = (share >= 0.8) & ((both == mine.media[row]) | (both == theirs.media[prompt]))
    plain = {
        (a, b): value
        for a, b, value in zip(row[good].tolist(), prompt[good].tolist(), share[good].tolist(), strict=True)
    }
    assert found[0] | found[1] == plain
    assert len(plain) > len(listed)


def _loosened(text: str, rng: random.Random) -> str:
    """With style behind it, without its quotation marks, or with other strings to be drawn."""
    kind = rng.randrange(3)
    return f"{text}, 8k" if kind == 0 else text.replace('"', "") if kind == 1 else text.replace("e", "a")


def test_a_batch_gives_what_its_rows_give_alone(index: Index) -> None:
    prompts = [*LIST, "a cat on the left of a dog", "", "a capybara, 8k", "a horse on the left of a chair"]
    whole = index.find(_rows(prompts))
    for number, prompt in enumerate(prompts):
        mine = whole.where(whole.row == number)
        assert {int(p): RULES[r] for p, r in zip(mine.prompt, mine.rule, strict=True)} == _hits(index, prompt)


def test_words_are_those_of_the_fold() -> None:
    prompts = [*LIST[:6], "C++ & $5, naïve café’s Straße…", "tabs\tand\x1fseparators", "a_b-c%d", " ", "x" * 40]
    words = read_words(pa.array(prompts))
    assert np.diff(words.offsets).tolist() == [len(texts.fold(text).split()) for text in prompts[:9]] + [0, 1]
    flat = [word for text in prompts for word in texts.fold(text).split()]
    hashes = words.hashes.tolist()
    assert len(set(flat)) == len(set(hashes)) == len(set(zip(flat, hashes, strict=True)))


def _made(rng: random.Random, n: int) -> list[str]:
    return [" ".join(rng.choice("abcdefghij") for _ in range(rng.randint(0, 12))) for _ in range(n)]


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 13])
def test_an_n_gram_is_found_wherever_a_search_finds_it(n: int) -> None:
    rng = random.Random(n)
    listed, prompts = _made(rng, 60), _made(rng, 200)
    prompts[3:6] = listed[:3]
    words = read_words(pa.array(listed))
    table = Table.of(n, *places(words, n))

    def cut(text: str) -> set[tuple[str, ...]]:
        parts = text.split()
        return {tuple(parts[at : at + n]) for at in range(len(parts) - n + 1)}

    row, owner, count = table.expand(*table.find(read_words(pa.array(prompts))))
    found = {(a, b): c for a, b, c in zip(row.tolist(), owner.tolist(), count.tolist(), strict=True)}
    expected = {
        (a, b): len(cut(one) & cut(other))
        for a, one in enumerate(prompts)
        for b, other in enumerate(listed)
        if cut(one) & cut(other)
    }
    assert found == expected


def test_grams_by_doubling_are_the_sum_of_their_words() -> None:
    hashes = read_words(pa.array(["one two three four five six"])).hashes
    step = 0x9E3779B97F4A7C15
    by_hand = [sum(int(h) * step ** (5 - k - 1) for k, h in enumerate(hashes[at : at + 5])) % 2**64 for at in (0, 1)]
    assert grams(hashes, 5).tolist() == by_hand


def test_coverage_is_the_share_of_distinct_trigrams() -> None:
    listed = ["one two three four five six", "red fox in deep snow at night"]
    words = read_words(pa.array(listed))
    # Of the first's four trigrams two stand in the text; of the second's five none.
    row, prompt, share, _ = Coverage(words, 3, 0.5).find(read_words(pa.array(["zero one two three four nine"])))
    assert (row.tolist(), prompt.tolist(), share.tolist()) == ([0], [0], [0.5])


def test_coverage_finds_every_pair_that_holds_a_rare_trigram() -> None:
    rng = random.Random(8)
    listed = [" ".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(10)) for _ in range(40)]
    prompts = [
        " ".join([*rng.choice(listed).split()[: rng.randint(3, 10)], *(rng.choice("abcxyz") for _ in range(4))])
        for _ in range(100)
    ]
    row, prompt, share, _ = Coverage(read_words(pa.array(listed)), 3, 0.5).find(read_words(pa.array(prompts)))

    def trigrams(text: str) -> set[tuple[str, ...]]:
        parts = text.split()
        return {tuple(parts[at : at + 3]) for at in range(len(parts) - 2)}

    expected = {
        (a, b): len(trigrams(one) & trigrams(other)) / len(trigrams(other))
        for a, one in enumerate(prompts)
        for b, other in enumerate(listed)
        if len(trigrams(one) & trigrams(other)) >= len(trigrams(other)) / 2
    }
    found = {(a, b): c for a, b, c in zip(row.tolist(), prompt.tolist(), share.tolist(), strict=True)}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a dog on the left of a cat", "an elephant on the left of a horse", True),
        ("two dogs and a red car", "three cats and a green bus", True),
        ('a sign that says "Stop here" at night', 'a poster that says "Go" at night', True),
        ("a sign that says 'Stop here' at night", "a poster that says “Go” at night", True),
        ("a dog on the left of a cat", "a dog on the right of a cat", False),
        ("a dog runs", "a dog sleeps", False),
    ],
)
def test_a_skeleton_has_blanks_for_things_looks_numbers_and_quotes(one: str, other: str, same: bool) -> None:
    column = pa.array([one, other])
    first, second = skeletons(column, read_words(column)).tolist()
    assert (first == second != 0) is same


def test_shared_boilerplate_is_no_passage() -> None:
    tail = (
        "highly detailed, digital painting, trending on artstation, concept art, smooth, sharp focus, illustration, 8k"
    )
    listed = (f"a lonely heron wades through a flooded abbey at first light while bells ring, {tail}",)
    one = Index(listed, DecontaminateSettings(benchmarks=(Benchmark(name="list", path="list"),)))
    assert _hits(one, f"portrait of a queen, {tail}", semantic=False) == {}
    assert _hits(one, "the lonely heron wades through a flooded abbey at first sight", semantic=False) == {0: "rare"}


def test_hits_come_sorted(index: Index) -> None:
    hits = index.find(_rows(list(LIST) * 2))
    keys = list(zip(hits.row.tolist(), hits.rule.tolist(), (-hits.value).tolist(), strict=True))
    assert keys == sorted(keys)


def _scenes_of_the_grammar(seed: int) -> list[tuple[str, Scene]]:
    """Prompts of two different things and a relation, with what the grammar meant by them."""
    source = grammar.build(grammar.Params.model_validate({"axis": "semantic_understanding", "n": 300}), seed)
    (part,) = source.parts()
    found = [(str(row.text), scenes.parse(str(row.text))) for row in source.read(part, 0, part.n_rows)]
    return [(text, scene) for text, scene in found if len(scene.relations) == 1 and not scene.unknown]


def _said(scene: Scene, *, turned: bool = False, inverse: bool = False) -> str | None:
    """The scene's relation in plain words: as it is, with the roles changed, or from the other end."""
    (relation,) = scene.relations
    one, other = (scene.objects[number].noun for number in (relation.subject, relation.object))
    predicate = lexicon.load().relations.get(relation.predicate)
    if predicate is None or predicate.inverse in {None, predicate.word} or one == other:  # "next to" has no roles
        return None
    if inverse:
        return f"the {other} is {predicate.inverse} the {one}"
    return f"the {other} is {predicate.word} the {one}" if turned else f"the {one} is {predicate.word} the {other}"


@pytest.mark.parametrize("seed", [1, 2])
def test_a_swap_of_roles_is_no_copy_and_the_same_from_the_other_end_is_the_scene(seed: int) -> None:
    scenes_of = [scene for _, scene in _scenes_of_the_grammar(seed)]
    plain = {said: scene for scene in scenes_of if (said := _said(scene))}
    assert len(plain) >= 10
    settings = DecontaminateSettings(benchmarks=(Benchmark(name="list", path="list"),))
    for text, scene in sorted(plain.items()):
        one = Index((text,), settings)
        turned, inverse = _said(scene, turned=True), _said(scene, inverse=True)
        assert turned is not None
        assert inverse is not None
        assert _hits(one, turned).get(0) in {"other_scene", "skeleton"}, (text, turned)
        assert _hits(one, inverse).get(0) == "scene", (text, inverse)
        assert _hits(one, f"{text}, oil on canvas").get(0) in {"contained", "near", "ngrams"}, text


def test_another_look_is_another_prompt_and_a_look_left_out_is_not() -> None:
    settings = DecontaminateSettings(benchmarks=(Benchmark(name="list", path="list"),), weight=0.7)
    one = Index(("a red car was parked by the old harbour wall",), settings)
    assert _hits(one, "a lime car was parked by the old harbour wall") == {0: "other_scene"}
    assert _hits(one, "a car was parked by the old harbour wall") == {0: "ngrams"}


@pytest.mark.parametrize(
    ("suffix", "found"),
    [
        ("national geographic photo", True),
        ("plain white background", True),
        ("charcoal sketch on paper", True),
        ("in comic book style", True),
        ("black and white", True),
        ("on a chair", False),
        ("the moon behind it", False),
        ("chasing two geese", False),
    ],
)
def test_a_phrase_is_style_by_its_last_word(index: Index, suffix: str, found: bool) -> None:
    assert (_hits(index, f"a capybara, {suffix}").get(3) == "contained") is found
