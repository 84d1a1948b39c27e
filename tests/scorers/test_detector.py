"""Geometry of boxes, and what a detector's finds say about the questions; the finds are made by hand."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from promptforge.models.detector import Detection
from promptforge.protocols import Picture
from promptforge.questions import from_scene
from promptforge.records import Question
from promptforge.scenes import parse
from promptforge.scorers import detector as module
from promptforge.scorers.locating.geometry import PREDICATES, holds, overlaps, suppressed

EDGE = st.integers(0, 60)
BOX = st.builds(lambda x, y, w, h: (x, y, x + w + 1, y + h + 1), EDGE, EDGE, EDGE, EDGE)
SIDES = ("left of", "right of", "above", "below")


def published_rule(predicate, box, other, near_px=150):
    """T2I-CompBench's soft score (Huang et al. 2023, appendix: 2D-spatial metric) told anew, in [0, 1]."""
    dx = (other[0] + other[2] - box[0] - box[2]) / 2
    dy = (other[1] + other[3] - box[1] - box[3]) / 2
    if predicate == "next to":
        return 1.0 if min(abs(dx), abs(dy)) < near_px else near_px / max(abs(dx), abs(dy))
    along, across = (dx, dy) if predicate in ("left of", "right of") else (dy, dx)
    along = along if predicate in ("left of", "above") else -along
    if along <= 0 or along <= abs(across):
        return 0.0
    iou = counted_overlap(box, other)
    return 1.0 if iou < 0.1 else 0.1 / iou


def counted_overlap(box, other):
    """Intersection over union of boxes with whole-numbered edges, by counting pixels."""
    masks = np.zeros((2, 130, 130), dtype=bool)
    for mask, (x0, y0, x1, y1) in zip(masks, (box, other), strict=True):
        mask[y0:y1, x0:x1] = True
    return (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()


@given(BOX, BOX)
def test_overlap_is_the_share_of_pixels(box, other):
    assert overlaps([box], [other])[0, 0] == pytest.approx(counted_overlap(box, other))


def test_overlap_by_hand():
    """20 x 20 and 20 x 20, shared 10 x 20: 200 / 600. Empty boxes share nothing."""
    found = overlaps([(0, 0, 20, 20), (5, 5, 5, 5)], [(10, 0, 30, 20), (0, 0, 20, 20), (5, 5, 5, 5)])
    assert found == pytest.approx(np.array([[1 / 3, 1, 0], [0, 0, 0]]))


def test_suppression_by_hand():
    """Three boxes of 20 px, each 5 px on from the last: neighbours share 15 / 25 = 0.6, the outer two 10 / 30.

    The middle one is surest: both neighbours go. With the first one surest only the middle one goes.
    """
    row = [(0, 0, 20, 20), (5, 0, 25, 20), (10, 0, 30, 20), (100, 0, 120, 20)]
    assert suppressed(row, [0.5, 0.9, 0.6, 0.4], 0.5) == [1, 3]
    assert suppressed(row, [0.9, 0.5, 0.6, 0.4], 0.5) == [0, 2, 3]
    assert suppressed(row, [0.9, 0.5, 0.6, 0.4], 0.6) == [0, 2, 1, 3]  # 0.6 is not above 0.6
    assert suppressed([], [], 0.5) == []


@given(st.lists(st.tuples(BOX, st.floats(0, 1)), max_size=12), st.floats(0.05, 0.95))
def test_what_stays_is_apart_and_what_goes_has_a_surer_neighbour(finds, limit):
    boxes, sure = [box for box, _ in finds], [value for _, value in finds]
    kept = suppressed(boxes, sure, limit)
    iou = overlaps(boxes, boxes) if boxes else None
    for number, place in enumerate(kept):
        assert all(iou[place, other] <= limit for other in kept[:number])
    for place in set(range(len(boxes))) - set(kept):
        assert any(iou[place, other] > limit and sure[other] >= sure[place] for other in kept)


LAMP = (100, 100, 140, 180)  # 40 wide, 80 high, centre 120, 140


@pytest.mark.parametrize(
    ("box", "true"),
    [
        ((20, 110, 60, 170), {"left of", "next to"}),  # gap 40; half the mean of 60 and 80 is 35: see below
        ((50, 110, 90, 170), {"left of", "next to"}),
        ((160, 110, 200, 170), {"right of", "next to"}),
        ((105, 20, 135, 80), {"above", "next to"}),
        ((105, 200, 135, 260), {"below", "next to"}),
        ((105, 30, 135, 112), {"above", "next to"}),  # stands in it by 12 px, a seventh of its height
        ((60, 170, 99, 260), {"left of", "below", "next to"}),  # apart across and, but for 10 px, down
        ((95, 105, 135, 185), set()),  # nearly the same box: 35 x 75 of 40 x 80, IoU 0.695
        ((400, 100, 440, 180), {"right of"}),  # in one row, far away
    ],
)
def test_places_by_hand(box, true):
    true = true - {"next to"} if box[0] == 20 else true
    assert {predicate for predicate in PREDICATES if holds(box, predicate, LAMP)} == true


def test_a_low_thing_beside_a_high_one_is_beside_it():
    """Dog 40 x 30 on the ground, house 80 x 240: the centres differ by 80 across and 105 down."""
    dog, house = (20, 270, 60, 300), (80, 60, 160, 300)
    assert holds(dog, "left of", house)
    assert not holds(dog, "below", house)  # it shares its whole height with the house
    assert (published_rule("left of", dog, house), published_rule("below", dog, house)) == (0, 1)


def test_a_row_is_not_all_next_to_each_other():
    """Things of 40 px, 360 px apart: 150 px of difference in height are none, so the published rule takes them."""
    first, last = (0, 100, 40, 140), (400, 100, 440, 140)
    assert published_rule("next to", first, last) == 1
    assert not holds(first, "next to", last)
    assert holds(first, "next to", last, reach=9)  # 360 / 40


def shared_share(box, other, axis):
    """Length that both have along an axis, as a share of the shorter one; below 0 for a gap."""
    low, high = axis, axis + 2
    shared = min(box[high], other[high]) - max(box[low], other[low])
    return shared / min(box[high] - box[low], other[high] - other[low])


@given(BOX, BOX, st.sampled_from(SIDES))
def test_places_of_boxes_that_mingle_are_those_of_the_published_rule(box, other, predicate):
    if min(shared_share(box, other, axis) for axis in (0, 1)) > 0.25 and counted_overlap(box, other) <= 0.5:
        assert holds(box, predicate, other) == (published_rule(predicate, box, other) > 0)


@given(BOX, BOX, st.sampled_from(SIDES))
def test_an_axis_along_which_boxes_lie_apart_decides_alone(box, other, predicate):
    axis = 0 if predicate in ("left of", "right of") else 1
    shares = [shared_share(box, other, each) for each in (axis, 1 - axis)]
    difference = other[axis] + other[axis + 2] - box[axis] - box[axis + 2]
    is_there = difference > 0 if predicate in ("left of", "above") else difference < 0
    if shares[0] <= 0:
        assert holds(box, predicate, other) == is_there
    elif shares[0] > 0.25 >= shares[1]:
        assert not holds(box, predicate, other)


@given(BOX, BOX, st.integers(1, 5), st.integers(-30, 30))
def test_places_keep_under_turning_round_scaling_and_shifting(box, other, scale, shift):
    inverse = {"left of": "right of", "right of": "left of", "above": "below", "below": "above", "next to": "next to"}
    moved = [tuple(scale * edge + shift for edge in each) for each in (box, other)]
    for predicate in PREDICATES:
        here = holds(box, predicate, other)
        assert holds(other, inverse[predicate], box) == here
        assert holds(moved[0], predicate, moved[1]) == here


@given(BOX, st.sampled_from(sorted(PREDICATES)))
def test_nothing_stands_anywhere_to_itself(box, predicate):
    assert not holds(box, predicate, box)


# -- the scorer --------------------------------------------------------------------------------------------------------


class Finds:
    """A detector with prepared finds, which notes what it is asked for."""

    def __init__(self, *finds):
        self.finds, self.asked = finds, []

    def detect(self, pixels, labels, min_confidence):
        del pixels, min_confidence
        self.asked.append(tuple(labels))
        return [find for find in self.finds if find.label in labels]


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    (folder / "config.json").write_text("{}", "utf-8")
    return module.Params(model=str(folder))


def scored(params, prompt, *finds):
    questions = from_scene(parse(prompt), prompt)
    picture = Picture(np.zeros((300, 300, 3), np.uint8), prompt, "semantic_understanding", (), None, questions)
    detector = Finds(*finds)
    scores = module.Locator(params, detector).score(picture)
    assert [score.metric for score in scores] == list(module.METRICS)
    return {score.metric: score.value for score in scores}, json.loads(scores[-1].detail), detector


CUP, CUP2 = (10, 100, 50, 160), (60, 100, 100, 160)


def test_all_that_is_asked_for_is_found(params):
    values, boxes, detector = scored(
        params,
        "two cups to the left of a lamp",
        Detection("cup", 0.9, CUP),
        Detection("cup", 0.8, CUP2),
        Detection("cup", 0.5, (12, 101, 52, 160)),  # the first again
        Detection("cup", 0.2, (200, 10, 240, 60)),  # too unsure
        Detection("lamp", 0.7, (120, 80, 160, 170)),
    )
    assert detector.asked == [("cup", "lamp")]
    assert values == {"presence": 1.0, "count_agreement": 1.0, "relation_agreement": 1.0, "boxes": None}
    judge = module.models(params)[0]
    assert judge.startswith("sha256:")
    assert boxes == [
        {"label": "cup", "confidence": 0.9, "box": [10, 100, 50, 160], "model": judge},
        {"label": "cup", "confidence": 0.8, "box": [60, 100, 100, 160], "model": judge},
        {"label": "lamp", "confidence": 0.7, "box": [120, 80, 160, 170], "model": judge},
    ]


def test_what_is_not_found_agrees_with_nothing(params):
    values, boxes, _ = scored(params, "two cups to the left of a lamp", Detection("cup", 0.9, CUP))
    assert values == {"presence": 0.5, "count_agreement": 0.0, "relation_agreement": 0.0, "boxes": None}
    assert len(boxes) == 1
    assert scored(params, "two cups to the left of a lamp")[0]["presence"] == 0


def test_the_surest_box_of_each_thing_decides_a_relation(params):
    lamp = Detection("lamp", 0.7, (120, 80, 160, 170))
    right, left = (200, 100, 240, 160), CUP
    prompt = "a cup to the left of a lamp"
    first = scored(params, prompt, Detection("cup", 0.9, right), Detection("cup", 0.8, left), lamp)[0]
    second = scored(params, prompt, Detection("cup", 0.8, right), Detection("cup", 0.9, left), lamp)[0]
    assert (first["relation_agreement"], second["relation_agreement"]) == (0.0, 1.0)


@pytest.mark.parametrize(("wanted", "agrees"), [("2", [2]), ("2+", [2, 3, 4]), ("1", [1]), ("many", [])])
def test_numbers_are_exact_or_at_least(wanted, agrees):
    assert [n for n in range(5) if module.agrees(wanted, n)] == agrees


@pytest.mark.parametrize("prompt", ["a dog behind a house", "a cat next to a cat", "a man riding a horse"])
def test_depth_actions_and_things_of_one_noun_are_not_judged(params, prompt):
    finds = [Detection(noun, 0.9, CUP) for noun in ("dog", "house", "cat", "man", "horse")]
    values, _, _ = scored(params, prompt, *finds)
    assert values["relation_agreement"] is None
    assert values["presence"] == 1.0


def test_a_picture_that_asks_for_no_thing_is_not_looked_at(params):
    detector = Finds()
    questions = (Question("a", "action", "Is somebody running?", noun="somebody", value="running", verified=False),)
    picture = Picture(np.zeros((8, 8, 3), np.uint8), "", "semantic_understanding", (), None, questions)
    scores = module.Locator(params, detector).score(picture)
    assert detector.asked == []
    assert [score.value for score in scores] == [None] * 4
    assert scores[-1].detail == "[]"


def test_a_model_is_named_by_path_or_by_commit():
    commit = "0" * 40
    assert module.models(module.Params(model="owner/name", revision=commit)) == ("owner/name",)
    for wrong in ({"model": "owner/name"}, {"model": "owner/name", "revision": "main"}, {"model": "a b"}, {}):
        with pytest.raises(ValidationError):
            module.Params.model_validate(wrong)
