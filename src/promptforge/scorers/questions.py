"""Semantic questions: a vision-language model answers what the prompt demands of its picture, fact by fact.

    metric          unit and range
    score           [0, 1]: share of all questions of the prompt whose answer counts as yes
    objects         [0, 1]: the same over the questions that ask for a thing ("Is there a cup?"); null where none does
    attributes      [0, 1]: over colours, shapes and textures; null where none is asked for
    counts          [0, 1]: over numbers of things; null where none is asked for
    relations       [0, 1]: over places of things to each other, of the plane and in depth; null where none
    actions         [0, 1]: over what somebody does; null where none
    verified_score  [0, 1]: over the questions that are verified, that is without 3D relations and actions
    answers         value null; detail JSON list in the order of the questions: {key, answer, counted}

The questions are the table `questions`; all of a picture go to the model in one request, with the picture as it was
drawn. An answer is yes, no or unclear. A yes whose requirement did not come out as yes is not believed: it counts as
the requirement does, as in Davidsonian Scene Graphs (Cho et al. 2024); only yes raises a share. `answer` is the model's
own word, `counted` what became of it.
Where the model gave no usable answer every value is null, and the detail of answers is a list of one {error}.
The score says what this model sees, and models agree to what they are asked more often than they should: no agreement
with people was measured here.
Not covered: the words drawn in a picture, setting, light and style; whether things are there that nobody asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from promptforge import wording
from promptforge.protocols import Answer, Ask, Input, Need, Picture, Pixels, Request, Score
from promptforge.records import Question, canonical_json, digest_of

VERSION = 1
ASKS = True
NEEDS: Need = "questions"
INPUTS: tuple[Input, ...] = ("questions",)
TASK = "answer"

_KINDS = {
    "objects": "object",
    "attributes": "attribute",
    "counts": "count",
    "relations": "relation",
    "actions": "action",
}
_VALUES = ("score", *_KINDS, "verified_score")
METRICS = {**dict.fromkeys(_VALUES, "number"), "answers": "list"}

#: Tokens of an answer: some 8 for each `"q12": "unclear", `, and room for blanks.
_TOKENS_EACH, _TOKENS_MORE = 16, 64


class Params(BaseModel):
    """Who answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    llm: str = Field(description="language model of the recipe that can look at pictures")


def build(params: Params, rank: int = 0, *, ask: Ask) -> Questions:
    """The scorer; the model is loaded or called when the first picture comes."""
    del params, rank
    return Questions(ask)


def identity(params: Params) -> Mapping[str, str]:
    """The words that the model is asked with."""
    del params
    return {"wording": wording.load(TASK).digest}


class Questions:
    """Asks about pictures, many at once."""

    needs = NEEDS
    inputs = INPUTS

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def score(self, picture: Picture) -> Sequence[Score]:
        """Every metric, in the order of the module's table."""
        return self.score_many([picture])[0]

    def score_many(self, pictures: Sequence[Picture]) -> Sequence[Sequence[Score]]:
        """The scores of each picture: one request each, all handed over together; without questions none is made."""
        asked = [picture for picture in pictures if picture.questions]
        answers = iter(self._ask([request(picture) for picture in asked]) if asked else ())
        return [scores(picture.questions, next(answers) if picture.questions else None) for picture in pictures]


def request(picture: Picture) -> Request:
    """The request about one picture. Its keys are q1, q2, ...: as many schemas as there are numbers of questions."""
    brief, names = wording.load(TASK), _names(picture.questions)
    one = brief.schema["properties"]["q1"]
    texts = {name: question.text for name, question in zip(names, picture.questions, strict=True)}
    return Request(
        task=TASK,
        variant=brief.digest,
        subject=_subject(picture),
        system=brief.system,
        user=brief.about(texts),
        schema={**brief.schema, "properties": dict.fromkeys(names, one), "required": names},
        picture=picture.pixels,
        max_tokens=_TOKENS_EACH * len(names) + _TOKENS_MORE,
    )


def _names(questions: Sequence[Question]) -> list[str]:
    return [f"q{number}" for number in range(1, len(questions) + 1)]


def _subject(picture: Picture) -> str:
    return digest_of([_digest(picture.pixels), [asdict(question) for question in picture.questions]])


def _digest(pixels: Pixels) -> str:
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def scores(questions: Sequence[Question], answer: Answer | None) -> Sequence[Score]:
    """The metrics of one picture's answer; all null where there is none, or an error."""
    error = "no questions" if answer is None else answer.error
    words = {} if answer is None or error is not None else _words(questions, answer.value)
    if error is None and len(words) < len(questions):
        error = "malformed: the answer does not have a word for each question"
    if error is not None:
        detail = canonical_json([] if answer is None else [{"error": error}])
        return (*(Score(name, None) for name in _VALUES), Score("answers", None, detail))
    counted = believed(questions, words)
    by_kind = {name: [q for q in questions if q.kind == kind] for name, kind in _KINDS.items()}
    groups = {"score": questions, **by_kind, "verified_score": [q for q in questions if q.verified]}
    detail = canonical_json([{"key": q.key, "answer": words[q.key], "counted": counted[q.key]} for q in questions])
    return (
        *(Score(name, _share(groups[name], counted)) for name in _VALUES),
        Score("answers", None, detail),
    )


def _words(questions: Sequence[Question], value: Any) -> dict[str, str]:
    """Key -> yes, no or unclear."""
    found = value if isinstance(value, Mapping) else {}
    return {
        question.key: found[name]
        for name, question in zip(_names(questions), questions, strict=True)
        if found.get(name) in ("yes", "no", "unclear")
    }


def believed(questions: Sequence[Question], words: Mapping[str, str]) -> dict[str, str]:
    """Key -> what counts. `questions` come after those that they require; an unknown requirement is none."""
    counted: dict[str, str] = {}
    for question in questions:
        bearing = {words[question.key], *(counted[key] for key in question.requires if key in counted)}
        counted[question.key] = next(word for word in ("no", "unclear", "yes") if word in bearing)
    return counted


def _share(questions: Sequence[Question], counted: Mapping[str, str]) -> float | None:
    return sum(counted[q.key] == "yes" for q in questions) / len(questions) if questions else None
