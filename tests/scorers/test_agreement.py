"""Colour and count agreement on discs drawn here; tests/scorers/test_on_canvas.py has the canvas teacher's drawings."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from promptforge.protocols import Picture, Pixels
from promptforge.records import Scene, SceneObject
from promptforge.scorers import agreement
from promptforge.scorers.agreement import Agreement, lexicon_colours

GROUND = (214, 226, 238)
PALETTE = lexicon_colours()


@pytest.fixture(scope="module")
def scorer() -> Agreement:
    return agreement.build(agreement.Params())


def discs(*colours: str, radius: int = 30) -> Pixels:
    """Discs in rows of five under a dark outline; the picture is 512 px wide."""
    image = Image.new("RGB", (512, 512), GROUND)
    pen = ImageDraw.Draw(image)
    for number, colour in enumerate(colours):
        x, y = 60 + 96 * (number % 5), 60 + 96 * (number // 5)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), PALETTE[colour], (72, 74, 80), 3)
    return np.asarray(image)


def scored(scorer: Agreement, pixels: Pixels, *things: SceneObject) -> tuple[float | None, float | None, Any]:
    colour, count, regions = scorer.score(Picture(pixels, "", "semantic_understanding", (), Scene(objects=things)))
    assert [colour.metric, count.metric, regions.metric] == ["colour_agreement", "count_agreement", "regions"]
    return colour.value, count.value, json.loads(regions.detail or "")


def test_three_red_and_one_blue_are_counted(scorer: Agreement) -> None:
    pixels = discs("red", "red", "blue", "red")
    found = scored(scorer, pixels, SceneObject("cup", 3, "red"), SceneObject("car", 1, "blue"))
    assert found[:2] == (1, 1)
    assert [(each["colour"], each["wanted"], each["found"]) for each in found[2]] == [("red", 3, 3), ("blue", 1, 1)]


def test_one_too_few_fails_the_count_and_not_the_colour(scorer: Agreement) -> None:
    assert scored(scorer, discs("red", "red", "blue"), SceneObject("cup", 3, "red"), SceneObject("car", 1, "blue"))[
        :2
    ] == (1, 0.5)


def test_a_colour_that_is_not_there_fails_both(scorer: Agreement) -> None:
    assert scored(scorer, discs("green"), SceneObject("cup", 1, "red"))[:2] == (0, 0)


def test_things_of_one_colour_are_counted_together(scorer: Agreement) -> None:
    things = SceneObject("cup", 2, "red"), SceneObject("car", 1, "red")
    assert scored(scorer, discs("red", "red", "red"), *things)[:2] == (1, 1)
    assert scored(scorer, discs("red", "red"), *things)[:2] == (1, 0)


def test_without_coloured_things_nothing_applies(scorer: Agreement) -> None:
    assert scored(scorer, discs("red"), SceneObject("cup", 2), SceneObject("car", 1, "ultraviolet")) == (None, None, [])
    found = scorer.score(Picture(discs("red"), "", "semantic_understanding", (), None))
    assert [score.value for score in found] == [None, None, None]


@pytest.mark.parametrize("colour", sorted(PALETTE))
def test_every_colour_of_the_lexicon_is_found_and_no_other(scorer: Agreement, colour: str) -> None:
    pixels = discs(colour, colour)
    assert {word: len(scorer.regions(pixels, word)) for word in PALETTE} == {
        word: 2 * (word == colour) for word in PALETTE
    }


def test_areas_are_those_of_the_discs(scorer: Agreement) -> None:
    # The outline takes 3 px of the radius of 30: pi * 27 ** 2 = 2290.
    (area,) = scorer.regions(discs("purple"), "purple")
    assert area == pytest.approx(2290, rel=0.06)


def test_blended_rims_are_no_things(scorer: Agreement) -> None:
    """Between black and white every gray occurs."""
    soft = Image.fromarray(discs("black", "white")).filter(ImageFilter.GaussianBlur(1.2))
    assert scorer.regions(np.asarray(soft), "gray") == []


def test_ground_in_the_wanted_colour_is_no_thing(scorer: Agreement) -> None:
    image = Image.fromarray(discs("silver", "silver"))
    ImageDraw.Draw(image).rectangle((0, 400, 512, 512), PALETTE["silver"])
    assert len(scorer.regions(np.asarray(image), "silver")) == 2


@settings(derandomize=True, max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["red", "blue", "yellow", "black"]), min_size=1, max_size=15), st.integers(1, 3))
def test_both_shares_stay_in_range_and_are_1_for_what_was_drawn(colours: list[str], extra: int) -> None:
    scorer = Agreement(agreement.Params(), PALETTE)
    pixels = discs(*colours)
    true = [SceneObject("cup", colours.count(colour), colour) for colour in sorted(set(colours))]
    assert scored(scorer, pixels, *true)[:2] == (1, 1)
    wrong = [SceneObject("cup", colours.count(colours[0]) + extra, colours[0])]
    assert scored(scorer, pixels, *wrong)[:2] == (1, 0)


def test_identity_changes_with_the_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    before = agreement.identity(agreement.Params())
    monkeypatch.setattr(agreement, "lexicon_colours", lambda: {**PALETTE, "red": (1, 2, 3)})
    assert agreement.identity(agreement.Params()) != before
