"""The vision-language model's answers: one request a picture, shares by kind, no belief without what it builds on."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from promptforge.protocols import Answer, Picture
from promptforge.questions import from_scene
from promptforge.records import Question
from promptforge.scenes import parse
from promptforge.scorers import questions as module

PROMPT = "a red cup to the left of two lamps"
#: In order: cup, lamp, two lamps, red cup, cup left of lamps.
QUESTIONS = from_scene(parse(PROMPT), PROMPT)
NAMES = [name for name, kind in module.METRICS.items() if kind == "number"]


class Asked:
    """An Ask with prepared answers, in order."""

    def __init__(self, *answers):
        self.answers, self.calls = list(answers), []

    def __call__(self, requests):
        self.calls.append(list(requests))
        return [self.answers.pop(0) for _ in requests]


def picture(questions=QUESTIONS, shade=0):
    pixels = np.full((4, 6, 3), shade, dtype=np.uint8)
    return Picture(pixels, PROMPT, "semantic_understanding", (), parse(PROMPT), tuple(questions))


def answer(*words):
    return Answer(value={f"q{number}": word for number, word in enumerate(words, 1)})


def scored(*words, questions=QUESTIONS):
    scores = module.Questions(Asked(answer(*words))).score(picture(questions))
    assert [score.metric for score in scores] == list(module.METRICS)
    values = {score.metric: score.value for score in scores}
    return values, json.loads(scores[-1].detail)


def test_the_questions_are_those_that_the_tests_count_with():
    assert [q.kind for q in QUESTIONS] == ["object", "object", "count", "attribute", "relation"]


def test_shares_are_of_yes_by_kind():
    values, detail = scored("yes", "yes", "no", "yes", "yes")
    assert values == {
        "score": 4 / 5,
        "objects": 1.0,
        "attributes": 1.0,
        "counts": 0.0,
        "relations": 1.0,
        "actions": None,
        "verified_score": 4 / 5,
        "answers": None,
    }
    assert detail[2] == {"key": "count:lamp:2", "answer": "no", "counted": "no"}


def test_what_is_said_of_a_thing_that_is_not_there_is_not_believed():
    """No lamp: neither two of them nor a cup beside them count, whatever the model says: cup and red, 2 / 5."""
    values, detail = scored("yes", "no", "yes", "yes", "yes")
    assert [each["counted"] for each in detail] == ["yes", "no", "no", "yes", "no"]
    assert [each["answer"] for each in detail] == ["yes", "no", "yes", "yes", "yes"]
    assert (values["score"], values["counts"], values["relations"]) == (2 / 5, 0.0, 0.0)


def test_doubt_spreads_and_no_outweighs_it():
    _, detail = scored("yes", "unclear", "yes", "no", "no")
    assert [each["counted"] for each in detail] == ["yes", "unclear", "unclear", "no", "no"]


def test_disbelief_goes_down_a_chain():
    chain = [
        Question("a", "object", "Is there a dog?", noun="dog"),
        Question("b", "attribute", "Is the dog red?", ("a",), "dog", "red"),
        Question("c", "relation", "Is the red dog left of the cat?", ("b",), "dog", "left of", "cat"),
    ]
    values, _ = scored("no", "yes", "yes", questions=chain)
    assert values["score"] == 0


def test_unverified_questions_stay_out_of_the_verified_score():
    questions = from_scene(parse("a dog behind a house"))
    values, _ = scored("yes", "yes", "no", questions=questions)
    assert (values["score"], values["verified_score"], values["relations"]) == (2 / 3, 1.0, 0.0)


@pytest.mark.parametrize(
    "given",
    [
        Answer(error="too_long: cut off after 112 tokens"),
        answer("yes"),  # one word for five questions
        answer("yes", "yes", "yes", "yes", "perhaps"),
        Answer(value=["yes"]),
    ],
)
def test_without_a_usable_answer_every_value_is_null(given):
    scores = module.Questions(Asked(given)).score(picture())
    assert {score.value for score in scores} == {None}
    (detail,) = json.loads(scores[-1].detail)
    assert detail["error"].startswith(("too_long", "malformed"))


def test_a_picture_without_questions_asks_nothing():
    ask = Asked(answer("yes", "yes", "yes", "yes", "yes"))
    first, second = module.Questions(ask).score_many([picture(()), picture()])
    assert {score.value for score in first} == {None}
    assert first[-1].detail == "[]"
    assert second[0].value == 1.0
    assert [len(call) for call in ask.calls] == [1]


def test_pictures_are_asked_about_together_and_scored_in_order():
    ask = Asked(answer(*["yes"] * 5), answer(*["no"] * 5))
    scores = module.Questions(ask).score_many([picture(shade=1), picture(shade=2)])
    assert [each[0].value for each in scores] == [1.0, 0.0]
    (requests,) = ask.calls
    assert [request.picture[0, 0, 0] for request in requests] == [1, 2]


def test_a_request_is_named_by_its_pixels_and_questions():
    names = {
        module.request(each).subject
        for each in (
            picture(),
            picture(shade=1),
            picture(QUESTIONS[:4]),
            Picture(np.zeros((6, 4, 3), np.uint8), PROMPT, "", (), None, QUESTIONS),  # as many zeros, turned
        )
    }
    assert len(names) == 4
    assert module.request(picture()).subject == module.request(picture()).subject


def test_the_schema_takes_a_word_for_each_question_and_nothing_else():
    request = module.request(picture())
    validator = Draft202012Validator(request.schema)
    assert validator.is_valid({f"q{number}": "yes" for number in range(1, 6)})
    assert not validator.is_valid({f"q{number}": "yes" for number in range(1, 5)})
    assert not validator.is_valid({f"q{number}": "yes" for number in range(1, 7)})
    assert not validator.is_valid({f"q{number}": "maybe" for number in range(1, 6)})
    assert all(question.text in request.user for question in QUESTIONS)


def test_a_model_must_be_named():
    with pytest.raises(ValidationError):
        module.Params.model_validate({})


@given(st.lists(st.sampled_from(["yes", "no", "unclear"]), min_size=5, max_size=5), st.integers(0, 4))
def test_more_yes_never_lowers_a_share(words, place):
    more = [*words[:place], "yes", *words[place + 1 :]]
    before, _ = scored(*words)
    after, _ = scored(*more)
    for name in NAMES:
        if before[name] is not None:
            assert 0 <= before[name] <= after[name] <= 1
