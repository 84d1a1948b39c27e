"""Questions out of scenes and out of a language model's answers; what must come first comes first."""

from collections import Counter
from dataclasses import asdict

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptforge.questions import KINDS, VERSION, from_answer, from_scene
from promptforge.records import AXES, Relation, Scene, SceneObject, digest_of
from promptforge.scenes import parse
from promptforge.sources import grammar
from promptforge.sources.grammar import Params


def asked(scene, text=None):
    return {question.key: question for question in from_scene(scene, text)}


def texts(prompt):
    return [question.text for question in from_scene(parse(prompt), prompt)]


def is_ordered(questions):
    seen = set()
    for question in questions:
        if not set(question.requires) <= seen or question.key in seen:
            return False
        seen.add(question.key)
    return True


def test_a_scene_is_asked_for_thing_by_thing_then_number_look_action_place():
    scene = Scene(
        objects=(
            SceneObject("man", action="riding"),
            SceneObject("horse", colour="white"),
            SceneObject("barrel", 3, "red", "round", "wooden"),
        ),
        relations=(Relation(2, "left of", 0), Relation(1, "behind", 2)),
    )
    assert [(q.key, q.text, q.requires, q.verified) for q in from_scene(scene)] == [
        ("object:man", "Is there a man?", (), True),
        ("object:horse", "Is there a horse?", (), True),
        ("object:barrel", "Are there any barrels?", (), True),
        ("count:barrel:3", "Are there exactly three barrels?", ("object:barrel",), True),
        ("colour:horse:white", "Is the horse white?", ("object:horse",), True),
        ("colour:barrel:red", "Are the barrels red?", ("object:barrel",), True),
        ("shape:barrel:round", "Are the barrels round?", ("object:barrel",), True),
        ("texture:barrel:wooden", "Are the barrels made of wood?", ("object:barrel",), True),
        ("action:man:riding:horse", "Is the man riding the horse?", ("object:man", "object:horse"), False),
        (
            "relation:barrels:left of:man",
            "Are the barrels to the left of the man?",
            ("object:barrel", "object:man"),
            True,
        ),
        ("relation:horse:behind:barrels", "Is the horse behind the barrels?", ("object:horse", "object:barrel"), False),
    ]


def test_a_question_says_the_same_in_fields_for_a_detector():
    scene = Scene((SceneObject("cup", 2), SceneObject("table")), (Relation(0, "above", 1),))
    found = asked(scene)
    fields = {key: (q.kind, q.noun, q.value, q.other) for key, q in found.items()}
    assert fields == {
        "object:cup": ("object", "cup", None, None),
        "object:table": ("object", "table", None, None),
        "count:cup:2": ("count", "cup", "2", None),
        "relation:cups:above:table": ("relation", "cup", "above", "table"),
    }
    assert found["relation:cups:above:table"].text == "Are the cups on or above the table?"


def test_things_of_one_noun_are_told_apart_by_their_looks():
    found = asked(parse("a red cup to the left of a blue cup"))
    assert [q.text for q in found.values()] == [
        "Are there any cups?",
        "Are there exactly two cups?",
        "Is one of the cups red?",
        "Is one of the cups blue?",
        "Is the red cup to the left of the blue cup?",
    ]
    relation = found["relation:red cup:left of:blue cup"]
    assert relation.requires == ("object:cup", "colour:cup:red", "colour:cup:blue")


@pytest.mark.parametrize(
    ("prompt", "number"),
    [
        ("three cups on a table", "Are there exactly three cups?"),
        ("3 large red cups", "Are there exactly three cups?"),
        ("a pair of shoes", "Are there exactly two shoes?"),
        ("two red apples and three green apples", "Are there exactly five apples?"),
        ("cups on a table", "Is there more than one cup?"),
        ("several cups", "Is there more than one cup?"),
        ("two red apples and some green apples", "Are there at least four apples?"),  # some: two at least
        ("one cat and a dog", "Is there exactly one cat?"),
    ],
)
def test_an_exact_number_is_asked_for_only_where_the_text_says_one(prompt, number):
    assert [text for text in texts(prompt) if text.startswith(("Are there exactly", "Is there exactly"))] == [
        text for text in [number] if "exactly" in text
    ]
    assert number in texts(prompt)


def test_a_lone_thing_is_not_counted():
    assert texts("a cat beside a dog") == ["Is there a cat?", "Is there a dog?", "Is the cat next to the dog?"]


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("an hourglass", "Is there an hourglass?"),
        ("an unicycle", "Is there a unicycle?"),
        ("four mice", "Are there exactly four mice?"),
        ("a glass bottle", "Is the bottle made of glass?"),
        ("a striped umbrella", "Is the umbrella striped?"),
        ("a dog hidden by a box", "Is the dog partly hidden by the box?"),
        ("two women reading a book", "Are the women reading the book?"),
        ("a man holding", "Is the man holding something?"),
        ("a cat next to a cat", "Is one of the cats next to another?"),
    ],
)
def test_the_english_is_right(prompt, text):
    assert text in texts(prompt)


def test_what_bears_text_is_asked_for_and_its_words_are_not():
    questions = texts('a wooden sign that says "RED CUPS" beside a dog')
    assert questions == ["Is there a dog?", "Is there a sign?"]


#: VERSION -> digest of the questions about the prompts below; other questions need a raised VERSION and a line here.
GOLDEN = {1: "b64f79b435535b57"}
FIXED = (
    "three striped cups on a wooden table",
    "a man riding a white horse behind two houses",
    "a red cup beside a blue cup and several balls",
    'a banner that says "TEA" above one cat',
)


def test_other_questions_need_a_raised_version():
    questions = [from_scene(parse(prompt), prompt) for prompt in FIXED]
    assert digest_of([[asdict(question) for question in some] for some in questions])[:16] == GOLDEN[VERSION]


def test_an_empty_scene_asks_nothing():
    assert from_scene(Scene(setting="beach", light="fog"), "a beach in the fog") == ()


@pytest.mark.parametrize("axis", AXES)
def test_the_questions_of_grammar_rows_are_whole_and_in_order(axis):
    source = grammar.build(Params(axis=axis, n=1500), 11)
    (part,) = source.parts()
    for row in source.read(part, 0, 1500):
        questions = from_scene(row.scene, row.text)
        assert is_ordered(questions), row.text
        assert all(q.text[0].isupper() and q.text.endswith("?") and "  " not in q.text for q in questions), row.text
        nouns = {q.noun for q in questions if q.kind == "object"}
        assert {item.noun for item in row.scene.objects} <= nouns
        kinds = Counter(q.kind for q in questions)
        looks = {
            (item.noun, look)
            for item in row.scene.objects
            for look in (item.colour, item.shape, item.texture)
            if look is not None
        }
        assert {(q.noun, q.value) for q in questions if q.kind == "attribute"} == looks
        assert kinds["relation"] == len(row.scene.relations)
        assert from_scene(Scene.from_json(row.scene.to_json()), row.text) == questions


def test_the_numbers_of_grammar_rows_are_exact():
    source = grammar.build(Params(axis="semantic_understanding", n=1500), 3)
    (part,) = source.parts()
    rows = [row for row in source.read(part, 0, 1500) if row.category == "numeracy"]
    assert len(rows) > 100
    for row in rows:
        totals = Counter()
        for item in row.scene.objects:
            totals[item.noun] += item.count
        counts = {q.noun: q.value for q in from_scene(row.scene, row.text) if q.kind == "count"}
        assert {noun: counts[noun] for noun, total in totals.items() if total > 1} == {
            noun: str(total) for noun, total in totals.items() if total > 1
        }, row.text


def test_prompts_of_t2i_compbench_give_the_kinds_of_their_categories(eval_data):
    """Measured over 8 x 1,000 prompts; a floor stands a little under each. What is missing are words not known."""
    rows = pq.read_table(eval_data / "t2i_compbench.parquet", columns=["prompt", "category"]).to_pylist()
    found = Counter()
    for row in rows:
        questions = from_scene(parse(row["prompt"]), row["prompt"])
        assert is_ordered(questions), row["prompt"]
        found.update({(row["category"], q.kind, q.verified) for q in questions})
    floors = {
        ("spatial", "relation", True): 850,  # 864
        ("3d_spatial", "relation", False): 860,  # 877
        ("numeracy", "count", True): 945,  # 958
        ("color", "attribute", True): 850,  # 867
        ("texture", "attribute", True): 855,  # 871
        ("shape", "attribute", True): 570,  # 583
        ("non_spatial", "action", False): 400,  # 411; 24 more where a backpack walked, a store tried on outfits
    }
    assert {key: found[key] for key, floor in floors.items() if found[key] < floor} == {}
    assert found["spatial", "relation", False] == found["3d_spatial", "relation", True] == 0


def row(number, kind, noun, value="", other="", requires=(), text="Is it so?"):
    return {
        "id": number,
        "kind": kind,
        "text": text,
        "noun": noun,
        "value": value,
        "other": other,
        "requires": list(requires),
    }


def test_an_answer_is_put_into_the_form_of_a_scene():
    answer = [
        row(4, "attribute", "the Gazelle", "swift ", requires=[1], text="Is the  gazelle swift?"),
        row(1, "object", "gazelle", text="Is there a gazelle?"),
        row(2, "object", "Cups", text="Are there any cups?"),
        row(3, "count", "cup", "three", requires=[2], text="Are there exactly three cups?"),
        row(5, "relation", "cup", "to the left of", "gazelle", [2, 1], "Are the cups left of the gazelle?"),
        row(6, "relation", "cup", "behind", "gazelle", [], "Are the cups behind the gazelle?"),
        row(7, "action", "gazelle", "chewing", "grass", [1], "Is the gazelle chewing grass?"),
    ]
    questions = from_answer(answer)
    assert [(q.key, q.requires, q.value, q.other, q.verified) for q in questions] == [
        ("object:gazelle", (), None, None, True),
        ("object:cup", (), None, None, True),
        ("count:cup:3", ("object:cup",), "3", None, True),
        ("attribute:gazelle:swift", ("object:gazelle",), "swift", None, True),
        ("action:gazelle:chewing:grass", ("object:gazelle",), "chewing", "grass", False),
        ("relation:cup:left of:gazelle", ("object:cup", "object:gazelle"), "left of", "gazelle", True),
        ("relation:cup:behind:gazelle", ("object:cup", "object:gazelle"), "behind", "gazelle", False),
    ]
    assert questions[3].text == "Is the gazelle swift?"


@pytest.mark.parametrize(
    "bad",
    [
        row(2, "attribute", "lamp", "red", requires=[1]),  # no lamp is asked for
        row(2, "attribute", "cup", "", requires=[1]),  # of what colour?
        row(2, "attribute", "cup", "red", requires=[9]),  # requires what is not there
        row(2, "attribute", "cup", "red", requires=[2]),  # requires itself
        row(2, "count", "cup", "many", requires=[1]),  # no number
        row(2, "count", "cup", "0", requires=[1]),
        row(2, "relation", "cup", "near", "", [1]),  # near what?
        row(2, "relation", "cup", "near", "lamp", [1]),
        row(2, "object", "lamp", requires=[1]),  # a thing requires nothing
        row(2, "object", ""),
        row(2, "object", "lamp", text="There is a lamp."),
        row(2, "object", "lamp", text="Is there " + 200 * "a" + "?"),
        row(2, "object", 61 * "a"),
        row(2, "colour", "cup", "red", requires=[1]),  # no such kind
        row(1, "attribute", "cup", "red", requires=[1]),  # the number of another question
    ],
)
def test_a_row_that_cannot_be_asked_is_left_out_with_what_builds_on_it(bad):
    good = row(1, "object", "cup")
    after = row(3, "action", "cup", "rolling", requires=[1, 2])
    assert [q.key for q in from_answer([good, bad, after])] == ["object:cup"]


def test_equal_facts_of_an_answer_are_asked_once():
    answer = [row(1, "object", "cup"), row(2, "object", "cups"), row(3, "attribute", "cup", "red", requires=[2])]
    assert [(q.key, q.requires) for q in from_answer(answer)] == [
        ("object:cup", ()),
        ("attribute:cup:red", ("object:cup",)),
    ]


WORDS = st.sampled_from(["", "cup", "cups", "the lamp", "red", "three", "2+", "on", "behind", "?", "Ä\u2028b"])
ROWS = st.builds(
    row,
    st.integers(1, 5),
    st.sampled_from(KINDS),
    WORDS,
    WORDS,
    WORDS,
    st.lists(st.integers(1, 5), max_size=3),
    st.sampled_from(["Is it?", "It is.", ""]),
)


@given(st.lists(ROWS, max_size=8))
def test_any_answer_gives_questions_in_order(rows):
    questions = from_answer(rows)
    assert is_ordered(questions)
    things = {q.noun for q in questions if q.kind == "object"}
    assert all(q.noun in things for q in questions)
