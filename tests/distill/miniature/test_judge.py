"""What the judges learn from, and how the mini-teacher's accuracy is counted."""

import math

import numpy as np
import pytest

from promptforge import scenes
from promptforge.distill.miniature import accuracy, judge, pictures
from promptforge.distill.miniature.accuracy import Share, changes
from promptforge.distill.miniature.pictures import Shown
from promptforge.records import Axis, noise_seed, prompt_id

WORLD = judge.known()


def test_a_target_falls_with_the_distance_from_the_centre():
    # centre at (20, 36) px of 64: 2.5 and 4.5 cells, the middle of column 2, row 4
    found = judge.targets([Shown("cat", "blue", 20 / 64, 36 / 64)], WORLD)
    assert found[0, 4, 2] == 1
    assert found[0, 4, 3] == found[0, 3, 2] == pytest.approx(math.exp(-1))
    assert found[0, 5, 4] == pytest.approx(math.exp(-5))  # one down, two right
    assert (found[1, 4, 3], found[2, 4, 3]) == (-1, 0)  # from the middle of column 3 the centre is one cell left
    assert (found[3, 4, 2], found[4, 4, 2]) == (WORLD.nouns.index("cat"), WORLD.colours.index("blue"))


def test_a_cell_belongs_to_the_nearer_of_two_things():
    left, right = Shown("cat", "blue", 0.25, 0.5), Shown("dog", "red", 0.75, 0.5)
    found = judge.targets([left, right], WORLD)
    nouns = np.array([[WORLD.nouns.index("cat")] * 4 + [WORLD.nouns.index("dog")] * 4] * 8)
    assert np.array_equal(found[3], nouns)


def test_the_two_judges_have_no_picture_in_common():
    assert judge.PLANS["select"].seed != judge.PLANS["evaluate"].seed
    assert judge.PLANS["select"].shape != judge.PLANS["evaluate"].shape
    seeds = [{row.seed for row in pictures.rows(600, plan.seed, judge.SHARES)} for plan in judge.PLANS.values()]
    held_out = {row.seed for rows in accuracy.prompts(100).values() for row in rows}
    taught = {row.seed for row in pictures.rows(600, 0)}
    assert not seeds[0] & seeds[1]
    assert not (seeds[0] | seeds[1]) & (held_out | taught)
    assert not held_out & taught


def test_a_picture_tells_the_things_that_were_drawn():
    rows = list(pictures.rows(30, 5, {Axis.SEMANTIC_UNDERSTANDING: 1000}))
    drawn = pictures.draw(rows)
    assert rows[0].seed == noise_seed(prompt_id(rows[0].text), 0, 5)
    for row, pixels, shown in zip(rows, drawn.pixels, drawn.shown, strict=True):
        wanted = sorted(
            (thing.noun, thing.colour) for thing in scenes.parse(row.text).objects for _ in range(thing.count)
        )
        assert sorted((one.noun, one.colour) for one in shown) == wanted
        for relation in scenes.parse(row.text).relations:
            subject, other = shown[relation.subject], shown[relation.object]
            sides = {
                "left of": other.x - subject.x,
                "right of": subject.x - other.x,
                "above": other.y - subject.y,
                "below": subject.y - other.y,
            }
            assert sides[relation.predicate] > 0.1, row.text
        corner = pixels[:3, :3].astype(float).mean((0, 1))  # ground: no thing reaches a corner
        for one in shown:
            x, y = int(one.x * 64), int(one.y * 64)
            around = pixels[y - 6 : y + 7, x - 6 : x + 7].astype(float)
            assert np.abs(around - corner).sum(-1).max() > 60, row.text


def test_changes_are_minimal_and_of_every_kind():
    assert changes("three red cats", 0) == [
        ("noun", "three red dogs"),
        ("colour", "three orange cats"),
        ("count", "two red cats"),
    ]
    assert changes("a blue cat above a red apple", 1) == [
        ("noun", "a blue cat above a red fish"),
        ("colour", "a blue cat above a yellow apple"),
        ("relation", "a blue cat below a red apple"),
        ("colours swapped", "a red cat above a blue apple"),
    ]
    assert dict(changes("a red cat to the left of an orange dog", 0))["relation"] == (
        "a red cat to the right of an orange dog"
    )
    assert dict(changes("a red cat and an orange dog", 0))["colours swapped"] == "an orange cat and a red dog"


def test_a_share_has_wilsons_interval():
    # Wilson 1927, z = 1.96: 8 of 10 is 0.490 to 0.943
    assert Share(8, 10).plain() == {"n": 10, "share": 0.8, "interval": [0.4902, 0.9433]}


def test_below_the_floor_nothing_is_claimed():
    shares = {"n": 10, "interval": [0.0, 1.0]}
    found = {
        "right": {
            name: {
                each: {see: {**shares, "share": share} for see in ("canvas", "autoencoder", "teacher")}
                for each, share in (("thing", 0.5), ("spatial", 0.49))
            }
            for name in ("select", "evaluate")
        },
        "letters": {
            see: {"exact": {**shares, "share": 0.2}, "characters": 0.4} for see in ("canvas", "autoencoder", "teacher")
        },
        "refused": {name: {"noun": {**shares, "share": 1.0}} for name in ("select", "evaluate")},
        "seen": {"thing": 0.1, "spatial": 0.2, "letters": 0.3},
    }
    claim = accuracy._claims(found)
    assert claim == {"thing": True, "spatial": False, "letters": False}
    lines = accuracy.table({**found, "claim": claim}).splitlines()
    assert next(line for line in lines if line.startswith("| spatial | evaluate")).endswith("| 0.20 | no claim |")
    assert next(line for line in lines if line.startswith("| thing | evaluate")).endswith("| 0.10 | yes |")
