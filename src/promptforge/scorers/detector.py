"""What an open-vocabulary detector finds of what the prompt asks for: things, how many, and how they stand.

    metric              unit and range
    presence            [0, 1]: share of the things asked for of which at least one box is found
    count_agreement     [0, 1]: share of the numbers asked for that the boxes agree with; null where none is asked for
    relation_agreement  [0, 1]: share of the relations of the plane (left of, right of, above, below, next to) in
                        which the surest box of each thing stands so (scorers/locating/geometry.py has the rule); a
                        thing that is not found stands nowhere; null where none is asked for
    boxes               value null; detail JSON list, by label, the surest first: {label, confidence, box (x0, y0, x1,
                        y1 in px), model}

The questions are the table `questions`; a thing is looked for by its noun alone. A box counts from `min_confidence`
on, and boxes of one noun that overlap by more than `max_overlap` are one thing. Neither bound was measured against
labels, and detectors differ in what their confidence means: measure before gating on these numbers.
Not covered: colours, shapes, textures and actions; relations in depth, which are not judged; relations between things
of one noun, where the boxes do not say which is meant; which of several things of a noun a relation means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from promptforge.models import weights
from promptforge.protocols import Input, Need, Picture, Score
from promptforge.records import Question, canonical_json
from promptforge.scorers.locating.geometry import PREDICATES, holds, suppressed

if TYPE_CHECKING:
    from promptforge.models.detector import Detection, Detector

VERSION = 1
NEEDS: Need = "questions"
INPUTS: tuple[Input, ...] = ("questions",)
PLACES = ("model",)
METRICS = {"presence": "number", "count_agreement": "number", "relation_agreement": "number", "boxes": "list"}


class Params(BaseModel):
    """Which detector, and what counts as found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        description="hub id or folder of an OWLv2 or Grounding DINO model, e.g. google/owlv2-base-patch16-ensemble"
    )
    revision: str | None = Field(None, description="40-digit commit of the hub repository; none for a folder")
    min_confidence: float = Field(0.3, gt=0, lt=1, description="least confidence of a box that counts")
    max_overlap: float = Field(
        0.5, gt=0, le=1, description="boxes of one noun with a larger intersection over union are one thing"
    )
    max_shared: float = Field(
        0.5, gt=0, le=1, description="boxes of two nouns with a larger intersection over union stand in no relation"
    )
    reach: float = Field(
        0.5, ge=0, description="next to: widest gap, as a share of the mean of both boxes' longer sides"
    )

    @model_validator(mode="after")
    def _names_one_model(self) -> Self:
        weights.check_field(self.model, self.revision)
        return self


def build(params: Params, rank: int = 0) -> Locator:
    """The scorer with its detector on the rank's device."""
    from promptforge.models.detector import load
    from promptforge.models.torch_setup import device_of

    return Locator(params, load(params.model, params.revision, device_of(rank)))


def identity(params: Params) -> Mapping[str, str]:
    """The weights, and the adapter that asks them; loads nothing."""
    from promptforge.models import detector

    return {**weights.identity(params.model, params.revision), "adapter": str(detector.VERSION)}


def models(params: Params) -> Sequence[str]:
    """The detector as a judge: the repository whatever its revision, or the files' SHA-256."""
    return (judge_of(params),)


def judge_of(params: Params) -> str:
    """Name of the model in `models` and in each box."""
    found = weights.identity(params.model, params.revision)
    return found.get("repository") or f"sha256:{found['sha256']}"


class Locator:
    """Looks for what the questions name, one picture at a time."""

    needs = NEEDS
    inputs = INPUTS

    def __init__(self, params: Params, detector: Detector) -> None:
        self._params, self._detector = params, detector
        self._judge = judge_of(params)

    def score(self, picture: Picture) -> Sequence[Score]:
        """Every metric, in the order of the module's table."""
        labels = labels_of(picture.questions)
        found = self._detector.detect(picture.pixels, labels, self._params.min_confidence) if labels else []
        return scores(self._params, picture.questions, found, self._judge)


def labels_of(questions: Sequence[Question]) -> tuple[str, ...]:
    """Nouns to look for, in the order in which they are first named."""
    judged = [q for q in questions if q.kind in {"object", "count"} or _in_plane(q)]
    return tuple(dict.fromkeys(noun for q in judged for noun in (q.noun, q.other) if noun))


def scores(params: Params, questions: Sequence[Question], found: Sequence[Detection], judge: str) -> Sequence[Score]:
    """The metrics of what was found, boxes of the same thing taken as one."""
    things = _things(params, found)
    asked = {kind: [q for q in questions if q.kind == kind and q.noun] for kind in ("object", "count")}
    detail = [
        {
            "label": each.label,
            "confidence": round(each.confidence, 4),
            "box": [round(edge, 1) for edge in each.box],
            "model": judge,
        }
        for some in things.values()
        for each in some
    ]
    return (
        Score("presence", _share([str(q.noun) in things for q in asked["object"]])),
        Score(
            "count_agreement", _share([agrees(str(q.value), len(things.get(str(q.noun), ()))) for q in asked["count"]])
        ),
        Score("relation_agreement", _share([_stands(params, q, things) for q in questions if _in_plane(q)])),
        Score("boxes", None, canonical_json(detail)),
    )


def agrees(wanted: str, n_found: int) -> bool:
    """Whether a number is what was asked for: "3" is exactly three, "2+" at least two."""
    least = wanted.removesuffix("+")
    if not least.isdecimal():
        return False
    return n_found >= int(least) if wanted.endswith("+") else n_found == int(least)


def _in_plane(question: Question) -> bool:
    """Whether boxes can answer it: a relation of the plane between things of two nouns."""
    return (
        question.kind == "relation"
        and question.value in PREDICATES
        and bool(question.noun and question.other)
        and question.noun != question.other
    )


def _things(params: Params, found: Sequence[Detection]) -> dict[str, list[Detection]]:
    """Label -> what was found of it, the surest first; labels without a find are left out."""
    by_label: dict[str, list[Detection]] = {}
    for each in found:
        if each.confidence >= params.min_confidence:
            by_label.setdefault(each.label, []).append(each)
    return {
        label: [some[k] for k in suppressed([x.box for x in some], [x.confidence for x in some], params.max_overlap)]
        for label, some in sorted(by_label.items())
    }


def _stands(params: Params, question: Question, things: Mapping[str, Sequence[Detection]]) -> bool:
    first, second = things.get(str(question.noun)), things.get(str(question.other))
    if not first or not second:
        return False
    return holds(first[0].box, str(question.value), second[0].box, max_shared=params.max_shared, reach=params.reach)


def _share(facts: Sequence[bool]) -> float | None:
    return sum(facts) / len(facts) if facts else None
