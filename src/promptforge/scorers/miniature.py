"""Does a picture of the miniature world show what its prompt asks for? Looked at by a small trained net.

    metric    unit and range
    right     0 or 1: things, count and relation are all right, those that are asked for
    things    0 or 1: every thing of the prompt is there in its colour
    count     0 or 1: as many of each thing in its colour as asked for; null where one of each is asked for
    relation  0 or 1: each thing is left of, right of, above or below the other as asked for; null without relation
    seen      value null; detail JSON: things that were seen ({noun, colour, x, y: centre as shares of width and height,
              chance, noun_chance, colour_chance}), lacks (what is wrong, a line each) or not_applicable (why there
              is no score)

A thing is left of another if its centre is, by at least a sixteenth of the picture and by more than it is above or
below: so T2I-CompBench (Huang et al. 2023) reads relations. Things that nobody asked for do no harm.
All values are null for prompts outside of the judge's world: words that it does not know, letters to be drawn, things
without a colour, more than four of a kind, other relations. Pictures of any size are seen at 64 x 64 px.
Two judges come with the package, of different shape and taught on different pictures: one to select, one to evaluate.
benchmarks/README.md has how often they are right, and how often they believe a wrong picture.
Not covered: letters (the scorer text reads them), light, style, opinions such as lovely or old.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from promptforge.models import picture_judge, weights
from promptforge.models.picture_judge import Known, PictureJudge, Thing
from promptforge.protocols import Input, Need, Picture, Score
from promptforge.records import Relation, Scene, SceneObject, canonical_json

VERSION = 1
NEEDS: Need = "scene"
INPUTS: tuple[Input, ...] = ("text", "expected_text", "scene")
PLACES = ("judge",)
METRICS = {**dict.fromkeys(("right", "things", "count", "relation"), "number"), "seen": "list"}

SELECT, EVALUATE = (f"{weights.OWN}miniature-judge-{name}" for name in ("select", "evaluate"))
MAX_COUNT = 4
#: Least distance of two centres along the axis of a relation, as a share of the picture.
_MARGIN = 1 / 16
#: What a thing's noun and colour must have at least, not to be taken for anything.
_SURE = 0.5
#: Predicate: the axis (0 is x, 1 is y) and the side on which the subject lies.
_SIDES = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}
_WORD = re.compile(r"[a-z]+")


class Params(BaseModel):
    """Who judges."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    judge: str = Field(SELECT, min_length=1, description=f"{SELECT}, {EVALUATE}, or a folder of another judge")

    @field_validator("judge")
    @classmethod
    def _is_local(cls, value: str) -> str:
        if not weights.is_local(value):
            raise ValueError(f"{value!r} is no folder; expected {SELECT}, {EVALUATE} or a path")
        return value


def identity(params: Params) -> Mapping[str, Any]:
    """The judge's files by SHA-256; loads nothing."""
    return {"judge": weights.identity(params.judge, None, picture_judge.FILES)}


def models(params: Params) -> tuple[str, ...]:
    """The judge, by its files."""
    return (f"sha256:{weights.identity(params.judge, None, picture_judge.FILES)['sha256']}",)


def build(params: Params, rank: int = 0) -> Miniature:
    """The scorer with its judge loaded: 1 MB, on the CPU whatever the rank."""
    del rank
    return Miniature(picture_judge.load(params.judge))


class Miniature:
    """Looks, and compares what it saw with the scene."""

    needs = NEEDS
    inputs = INPUTS

    def __init__(self, judge: PictureJudge) -> None:
        self._judge = judge

    def score(self, picture: Picture) -> Sequence[Score]:
        """Every metric, in the order of the module's table."""
        why = outside(picture, self._judge.known)
        if why is not None or picture.scene is None:
            return (*(Score(name, None) for name in tuple(METRICS)[:-1]), _seen({"not_applicable": why, "things": []}))
        return scores_of(picture.scene, self._judge.look(picture.pixels))


def outside(picture: Picture, known: Known) -> str | None:
    """Why a picture is none of this judge's business; None if it is."""
    scene = picture.scene
    if picture.expected_text:
        return "letters are to be drawn, which the scorer text reads"
    if scene is None or not scene.objects:
        return "the prompt names no thing"
    if strange := sorted(set(_WORD.findall(picture.text.lower())) - set(known.words)):
        return f"words of another world: {', '.join(strange)}"
    for thing in scene.objects:
        if thing.noun not in known.nouns:
            return f"a thing of another world: {thing.noun}"
        if thing.colour not in known.colours:
            return f"{thing.noun} without a colour of this world"
        if not 1 <= thing.count <= MAX_COUNT:
            return f"{thing.count} of one kind, more than {MAX_COUNT}"
    kinds = [(thing.noun, thing.colour) for thing in scene.objects]
    if len(set(kinds)) < len(kinds):
        return "two things alike, which no place tells apart"
    other = sorted({each.predicate for each in scene.relations} - set(_SIDES))
    return f"relations of another world: {', '.join(other)}" if other else None


def scores_of(scene: Scene, seen: Sequence[Thing]) -> Sequence[Score]:
    """The scores of a picture that shows these things, surest first."""
    groups = [_alike(seen, wanted) for wanted in scene.objects]
    lacks = [f"no {_phrase(wanted)}" for wanted, found in zip(scene.objects, groups, strict=True) if not found]
    things = not lacks
    pairs = list(zip(scene.objects, groups, strict=True))
    count = None
    if any(wanted.count > 1 for wanted in scene.objects):
        wrong = [
            f"{len(found)} instead of {wanted.count}: {_phrase(wanted)}"
            for wanted, found in pairs
            if len(found) != wanted.count
        ]
        count, lacks = not wrong, lacks + wrong
    relation = None
    if scene.relations:
        wrong = [_said(each, scene) for each in scene.relations if not _holds(each, groups)]
        relation, lacks = not wrong, lacks + wrong
    right = things and count is not False and relation is not False
    values = (right, things, count, relation)
    return (
        *(
            Score(name, None if value is None else float(value))
            for name, value in zip(tuple(METRICS)[:-1], values, strict=True)
        ),
        _seen({"things": [_rounded(thing) for thing in seen], "lacks": lacks}),
    )


def _alike(seen: Sequence[Thing], wanted: SceneObject) -> list[Thing]:
    return [
        thing
        for thing in seen
        if (thing.noun, thing.colour) == (wanted.noun, wanted.colour)
        and min(thing.noun_chance, thing.colour_chance) >= _SURE
    ]


def _holds(relation: Relation, groups: Sequence[Sequence[Thing]]) -> bool:
    """Whether the surest thing of one kind lies as asked from the surest of the other."""
    subjects, objects = groups[relation.subject], groups[relation.object]
    if not subjects or not objects:
        return False
    axis, side = _SIDES[relation.predicate]
    apart = (subjects[0].x - objects[0].x, subjects[0].y - objects[0].y)
    along = side * apart[axis]
    return along >= _MARGIN and along > abs(apart[1 - axis])


def _phrase(wanted: SceneObject) -> str:
    return f"{wanted.colour} {wanted.noun}"


def _said(relation: Relation, scene: Scene) -> str:
    subject, thing = scene.objects[relation.subject], scene.objects[relation.object]
    return f"not so: {_phrase(subject)} {relation.predicate} {_phrase(thing)}"


def _rounded(thing: Thing) -> Mapping[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(thing).items()}


def _seen(detail: Mapping[str, Any]) -> Score:
    return Score("seen", None, canonical_json(detail))
