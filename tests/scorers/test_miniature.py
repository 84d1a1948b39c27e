"""The miniature world's scorer: what it makes of things that were seen; and its judges on canvas pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from promptforge import scenes, targets
from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.models import picture_judge
from promptforge.models.picture_judge import Known, Shape, Thing, decoded
from promptforge.protocols import Picture
from promptforge.scorers import miniature
from promptforge.scorers.miniature import EVALUATE, SELECT, Params, build, outside, scores_of

BOTH = pytest.mark.parametrize("judge", [SELECT, EVALUATE])
WORDS = Known(
    ("cat", "dog"), ("red", "blue"), ("a", "and", "cat", "cats", "dog", "red", "blue", "two", "seven", "near")
)


def thing(noun, colour, x=0.5, y=0.5, chance=0.9):
    return Thing(noun, colour, x, y, 0.9, chance, chance)


def said(text, *seen):
    scores = {score.metric: score for score in scores_of(scenes.parse(text), seen)}
    return tuple(scores[name].value for name in ("right", "things", "count", "relation")), json.loads(
        scores["seen"].detail
    )


def picture(text, pixels=None):
    blank = np.zeros((64, 64, 3), np.uint8)
    return Picture(blank if pixels is None else pixels, text, "", targets.parse(text).strings, scenes.parse(text))


def test_a_thing_is_right_in_its_colour_alone():
    assert said("a red cat", thing("cat", "red"))[0] == (1, 1, None, None)
    for seen in (thing("cat", "blue"), thing("dog", "red"), thing("cat", "red", chance=0.4)):
        values, detail = said("a red cat", seen)
        assert values == (0, 0, None, None)
        assert detail["lacks"] == ["no red cat"]


def test_colours_that_are_swapped_are_wrong():
    text = "a red cat and a blue dog"
    assert said(text, thing("cat", "red"), thing("dog", "blue"))[0] == (1, 1, None, None)
    assert said(text, thing("cat", "blue"), thing("dog", "red"))[0] == (0, 0, None, None)


def test_a_number_is_right_when_so_many_are_there():
    cats = [thing("cat", "red", x) for x in (0.1, 0.5, 0.9)]
    assert said("three red cats", *cats)[0] == (1, 1, 1, None)
    values, detail = said("two red cats", *cats)
    assert values == (0, 1, 0, None)
    assert detail["lacks"] == ["3 instead of 2: red cat"]
    assert said("two red cats", *cats[:1], thing("cat", "blue"))[0] == (0, 1, 0, None)


def test_a_relation_holds_along_its_own_axis():
    cat, dog = thing("cat", "red", 0.2, 0.5), thing("dog", "blue", 0.8, 0.6)
    for relation, holds in (("to the left of", 1), ("to the right of", 0), ("above", 0), ("below", 0)):
        assert said(f"a red cat {relation} a blue dog", cat, dog)[0] == (holds, 1, None, holds)
    under = thing("dog", "blue", 0.25, 0.8)
    for relation, holds in (("to the left of", 0), ("to the right of", 0), ("above", 1), ("below", 0)):
        assert said(f"a red cat {relation} a blue dog", cat, under)[0] == (holds, 1, None, holds)
    # 0.05 apart is less than a sixteenth, 0.0625
    assert said("a red cat to the left of a blue dog", cat, thing("dog", "blue", 0.25, 0.5))[0] == (0, 1, None, 0)
    assert said("a red cat above a blue dog", cat)[0] == (0, 0, None, 0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('a red sign that says "CAT"', "letters"),
        ("on a quiet day", "names no thing"),
        ("a red cat and a zebra", "words of another world: zebra"),
        ("a cat", "without a colour"),
        ("seven red cats", "more than 4"),
        ("a red cat and a red cat", "no place tells apart"),
        ("a red cat near a blue dog", "relations of another world"),
    ],
)
def test_what_is_not_of_this_world_gets_no_score_and_a_reason(text, why):
    words = Known(WORDS.nouns, WORDS.colours, (*WORDS.words, *["on", "quiet", "day"]))
    assert why in outside(picture(text), words)


def test_two_peaks_of_one_thing_are_one_and_two_things_are_two():
    # cells of 8 px: (3, 3) and (3, 4) tell the same centre x = 4/8, (3, 6) another 20 px to the right
    found = np.full((7, 8, 8), -9.0, np.float32)
    for column, moved in ((3, 0.5), (4, -0.5), (6, 0.0)):
        found[0, 3, column], found[1, 3, column], found[2, 3, column] = 3.0 - column / 10, moved, 0.0
        found[4, 3, column] = found[5, 3, column] = 9.0
    seen = decoded(found, WORDS)
    assert [(one.noun, one.colour, one.x, one.y) for one in seen] == [
        ("dog", "red", 4 / 8, 3.5 / 8),
        ("dog", "red", 6.5 / 8, 3.5 / 8),
    ]
    # a logit of 2.7: 1 / (1 + e^-2.7) = 0.937
    assert seen[0].chance == pytest.approx(0.937, abs=1e-3)


def test_larger_pictures_are_means():
    large = np.zeros((128, 128, 3), np.uint8)
    large[::2, ::2] = 200  # one of four
    assert np.array_equal(picture_judge.small(large), np.full((64, 64, 3), 50, np.uint8))


def test_a_judge_is_local():
    with pytest.raises(ValidationError, match="no folder"):
        Params(judge="someone/judge")
    with pytest.raises(EnvironmentFault, match="no such"):
        miniature.identity(Params(judge="/nowhere/judge"))


def test_the_two_judges_are_two():
    assert miniature.models(Params(judge=SELECT)) != miniature.models(Params(judge=EVALUATE))


@pytest.mark.models
def test_a_folder_that_is_no_judge_is_refused(tmp_path: Path):
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(2, np.float32)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(ConfigError, match="no judge of pictures"):
        build(Params(judge=str(tmp_path)))


@pytest.mark.models
def test_a_judge_is_read_back_as_it_was_saved(tmp_path: Path):
    from promptforge.models.torch_setup import load_torch

    torch = load_torch()
    torch.manual_seed(0)
    shape = Shape(((8, 8, 8),), 1, 8, "plain")
    module = picture_judge.net(shape, WORDS).to(torch.bfloat16).float().eval()
    picture_judge.save(tmp_path, module, shape, WORDS)
    again = picture_judge.load(str(tmp_path))
    assert again.known == WORDS
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    with torch.inference_mode():
        found = module(torch.from_numpy(picture_judge.inputs(pixels[None])))[0].numpy()
    assert again.look(pixels) == decoded(found, WORDS)


@pytest.fixture(scope="module")
def canvas():
    """Thirty prompts of each category of a seed of their own, as canvas draws them."""
    from promptforge.distill.miniature import pictures
    from promptforge.records import Axis

    axes = ((Axis.IMAGE_QUALITY, 30), (Axis.SEMANTIC_UNDERSTANDING, 90))
    rows = [row for axis, n in axes for row in pictures.rows(n, 77, {axis: 1000})]
    found = {}
    for row, drawn in zip(rows, pictures.draw(rows).pixels, strict=True):
        found.setdefault(row.category, []).append((row.text, drawn))
    return found


@pytest.mark.models
@BOTH
def test_canvas_pictures_are_right_and_changed_prompts_are_refused(judge, canvas):
    from promptforge.distill.miniature.accuracy import changes

    scorer = build(Params(judge=judge))
    for category, pairs in canvas.items():
        right = [scorer.score(picture(text, pixels))[0].value for text, pixels in pairs]
        assert np.mean(right) >= 0.9, category  # measured: benchmarks/results/miniature_accuracy.json
        passed = [
            scorer.score(picture(other, pixels))[0].value
            for number, (text, pixels) in enumerate(pairs)
            for _, other in changes(text, number)
        ]
        assert np.mean(passed) <= 0.05, category


@pytest.mark.models
@BOTH
def test_a_score_does_not_depend_on_what_was_seen_before(judge, canvas):
    pairs = [pair for each in canvas.values() for pair in each[:4]]
    one, other = (build(Params(judge=judge)) for _ in range(2))
    forward = [one.score(picture(*pair)) for pair in pairs]
    assert [other.score(picture(*pair)) for pair in reversed(pairs)][::-1] == forward


@pytest.mark.models
def test_letters_and_larger_pictures_on_a_judge(canvas):
    scorer = build(Params())
    right, *others, seen = scorer.score(picture('a sign that says "B4"'))
    assert [score.value for score in (right, *others)] == [None] * 4
    assert json.loads(seen.detail)["not_applicable"].startswith("letters")
    text, pixels = canvas["thing"][0]
    doubled = pixels.repeat(2, axis=0).repeat(2, axis=1)
    assert scorer.score(picture(text, doubled)) == scorer.score(picture(text, pixels))
