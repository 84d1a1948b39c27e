"""Minimal pairs: one thing differs, and what is said to differ does. The parser of texts is the independent judge."""

from __future__ import annotations

from dataclasses import replace

import pytest

from promptforge import scenes, targets
from promptforge.records import Axis, Candidate, SceneObject
from promptforge.sources import grammar
from promptforge.sources.writing import captions, lettering, semantics
from promptforge.sources.writing.draw import Draw
from promptforge.sources.writing.nounphrases import Draft
from promptforge.sources.writing.pairs import Kind, difference, kinds_of, twins

WRITERS = {
    Axis.IMAGE_QUALITY: captions,
    Axis.SEMANTIC_UNDERSTANDING: semantics,
    Axis.TEXT_RENDERING: lettering,
}
CASES = [(axis, category) for axis, module in WRITERS.items() for category in module.CATEGORIES]

CUP = SceneObject("cup", colour="red")
DRAFT = Draft("color.two", "a red cup and two dogs", (CUP, SceneObject("dog", 2)), ((0, "left of", 1),))


def _pairs(axis: Axis, category: str, n: int) -> list[tuple[Draft, Draft, Kind]]:
    writer = WRITERS[axis].writer()
    made = []
    for k in range(n):
        found = twins(lambda draw: writer.write(category, draw), Draw(7, axis, k), Draw(8, axis, k), kinds_of(axis, k))
        if found is not None:
            made.append(found)
    return made


@pytest.mark.parametrize(("axis", "category"), CASES)
def test_nearly_every_draft_has_a_twin_and_one_run_of_words_differs(axis: Axis, category: str) -> None:
    pairs = _pairs(axis, category, 40)
    assert len(pairs) >= 36
    for first, second, _ in pairs:
        a, b = first.text.split(), second.text.split()
        assert a != b
        while a and b and a[0] == b[0]:
            a, b = a[1:], b[1:]
        while a and b and a[-1] == b[-1]:
            a, b = a[:-1], b[:-1]
        assert len(a) <= 6
        assert len(b) <= 6


@pytest.mark.parametrize(("axis", "category"), CASES)
def test_the_texts_read_back_differ_in_what_the_pair_says(axis: Axis, category: str) -> None:
    wrong = [
        (kind, first.text, second.text)
        for first, second, kind in _pairs(axis, category, 40)
        if _read_difference(first.text, second.text) != {kind}
    ]
    assert len(wrong) <= 2, wrong  # the parser misses some 3% of grammar scenes itself


def _read_difference(first: str, second: str) -> set[str]:
    """Kinds of difference between what the scene parser and the parser of strings read out of two texts."""
    strings = [targets.parse(text).strings for text in (first, second)]
    if strings[0] != strings[1]:
        return {"text"}  # other strings change nothing else: the rest of the texts is equal, as the test above holds
    a, b = scenes.parse(first), scenes.parse(second)
    found = {"relation"} if a.relations != b.relations else set()
    for name in ("setting", "light", "style", "carrier", "unknown"):
        if getattr(a, name) != getattr(b, name):
            found.add("word")
    if len(a.objects) != len(b.objects):
        return found | {"other number of things"}
    for one, other in zip(a.objects, b.objects, strict=True):
        found |= {"word"} if one.noun != other.noun else set()
        found |= {"number"} if one.count != other.count else set()
        looks = [(item.colour, item.shape, item.texture, item.action) for item in (one, other)]
        found |= {"attribute"} if looks[0] != looks[1] else set()
    return found


def test_pairs_take_turns_with_what_a_category_has() -> None:
    differs = {
        (axis, category): {kind for _, _, kind in _pairs(axis, category, 40)}
        for axis, category in (
            (Axis.SEMANTIC_UNDERSTANDING, "complex"),
            (Axis.SEMANTIC_UNDERSTANDING, "numeracy"),
            (Axis.TEXT_RENDERING, "phrase"),
        )
    }
    assert list(differs.values()) == [{"attribute", "relation", "word"}, {"number", "word"}, {"text"}]


def test_a_pair_is_the_same_every_time() -> None:
    assert _pairs(Axis.IMAGE_QUALITY, "food", 10) == _pairs(Axis.IMAGE_QUALITY, "food", 10)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"text": "a blue cup and two dogs", "objects": (replace(CUP, colour="blue"), DRAFT.objects[1])}, "attribute"),
        ({"text": "a red cup and four dogs", "objects": (CUP, SceneObject("dog", 4))}, "number"),
        ({"text": "a red cup and one dog", "objects": (CUP, SceneObject("dog", 1))}, None),  # is and are would follow
        ({"text": "a red cup and two cats", "objects": (CUP, SceneObject("cat", 2))}, "word"),
        ({"text": "a red cup and two sleepy cats", "objects": (CUP, SceneObject("cat", 2))}, None),  # sleepy as well
        ({"text": "a red cup or two dogs", "relations": ((0, "right of", 1),)}, "relation"),
        ({"text": "a red cup or two dogs", "relations": ((1, "left of", 0),)}, None),  # roles swapped
        ({"text": "a cup and two dogs", "objects": (replace(CUP, colour=None), DRAFT.objects[1])}, None),  # left out
        ({"text": "a blue cup and four dogs", "objects": (replace(CUP, colour="blue"), SceneObject("dog", 4))}, None),
        ({"text": "a red cup and two dogs in a park", "setting": "park"}, None),  # added, not changed
        ({"template": "color.other", "text": "a blue cup and two dogs"}, None),
        ({}, None),
    ],
)
def test_what_differs_is_named(change: dict[str, object], kind: str | None) -> None:
    assert difference(DRAFT, replace(DRAFT, **change)) == kind


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        ("FRESH FISH", "FRESH BREAD", "text"),
        ("Fresh fish", "Fresh Bread", None),  # the case differs too
        ("fresh fish", "fresh fish daily", None),
        ("fresh fish", "old bread", None),
    ],
)
def test_one_word_of_a_string_is_a_pair(first: str, second: str, kind: str | None) -> None:
    a, b = (Draft("word.sign", f'a sign that says "{text}"', expected_text=(text,)) for text in (first, second))
    assert difference(a, b) == kind


SOURCES = [
    {"axis": axis, "n": 60, "pairs": True, **more}
    for axis in WRITERS
    for more in ({}, {"lengths": {"long": 1}}, {"styles": {"painting": 1}, "lengths": {"medium": 1}})
]


def _rows(params: dict[str, object], seed: int = 5) -> list[Candidate]:
    source = grammar.build(grammar.Params.model_validate(params), seed)
    (part,) = source.parts()
    return list(source.read(part, 0, part.n_rows))


@pytest.mark.parametrize("params", SOURCES, ids=lambda params: "-".join(map(str, params.values())))
def test_a_source_of_pairs_gives_two_rows_each_in_any_cell(params: dict[str, object]) -> None:
    rows = _rows(params)
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        assert first.pair_id == second.pair_id
        assert first.text != second.text
        assert first.category == second.category
        assert first.template == second.template
        assert first.pair_id is not None
        assert first.pair_id.split(":")[1].startswith(f"{first.category}/")
    assert len({row.pair_id for row in rows}) == 30


def test_any_range_of_a_source_of_pairs_is_what_the_whole_has() -> None:
    params = {"axis": "semantic_understanding", "n": 40, "pairs": True}
    source = grammar.build(grammar.Params.model_validate(params), 5)
    (part,) = source.parts()
    assert list(source.read(part, 7, 20)) == _rows(params)[7:20]
    assert _rows({**params, "n": 80})[:40] == _rows(params)
    assert (
        source.parts()[0].digest
        != grammar.build(grammar.Params(axis="semantic_understanding", n=40), 5).parts()[0].digest
    )


def test_a_half_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="n is 7; pairs need an even number of rows"):
        grammar.Params(axis=Axis.TEXT_RENDERING, n=7, pairs=True)
