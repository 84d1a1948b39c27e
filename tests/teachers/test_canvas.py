"""The canvas teacher: same job same bytes, mistakes at the set rate, refusals with a reason, never an exception."""

import hashlib
import json
import math
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from skimage.measure import label

from promptforge import lexicon
from promptforge.protocols import RenderJob
from promptforge.teachers import canvas
from promptforge.teachers.drawing.mistakes import FRAME_KINDS, KINDS, TEXT_KINDS, fold

PROMPTS = (
    "three red apples next to a blue car",
    "a wooden chair in front of a green house",
    'an owl holding a sign that says "Open Late"',
    'a mug with the words "Best Friend"',
    "a foggy valley at dawn, watercolour",
)


@pytest.fixture(scope="module")
def teacher() -> canvas.Canvas:
    return canvas.build(canvas.Params(mistake_rate=0))


@pytest.fixture(scope="module")
def small() -> canvas.Canvas:
    return canvas.build(canvas.Params(size=128, mistake_rate=0.25))


def sha(rendering):
    return hashlib.sha256(rendering.pixels.tobytes()).hexdigest()


def regions(pixels, word):
    """Connected regions of a colour, those under 60 px (blended rims) left out."""
    rgb = np.array(lexicon.load().colours[word].rgb)
    mask = np.abs(pixels.astype(int) - rgb).max(axis=2) <= 34
    labels = label(mask, connectivity=2)
    return [np.argwhere(labels == i) for i in range(1, labels.max() + 1) if (labels == i).sum() >= 60]


def test_the_same_job_gives_the_same_bytes_whatever_was_drawn_before(teacher):
    fresh = canvas.build(canvas.Params(mistake_rate=0))
    first = [sha(teacher.render(RenderJob(text, 7))) for text in PROMPTS]
    again = [sha(fresh.render(RenderJob(text, 7))) for text in reversed(PROMPTS)]
    assert first == again[::-1]
    assert len({sha(teacher.render(RenderJob(PROMPTS[0], seed))) for seed in range(5)}) == 5


def test_a_fresh_process_gives_the_same_bytes(teacher):
    code = (
        "import hashlib\nfrom promptforge.protocols import RenderJob\nfrom promptforge.teachers import canvas\n"
        "t = canvas.build(canvas.Params(mistake_rate=0))\n"
        f"for text in {PROMPTS!r}:\n"
        "    print(hashlib.sha256(t.render(RenderJob(text, 11)).pixels.tobytes()).hexdigest())\n"
        "print(t.fingerprint)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    wanted = [sha(teacher.render(RenderJob(text, 11))) for text in PROMPTS]
    assert done.stdout.split() == [*wanted, teacher.fingerprint]


def test_a_picture_is_rgb_of_the_size_asked_for(teacher, small):
    for drawn, side in ((teacher, 512), (small, 128)):
        pixels = drawn.render(RenderJob(PROMPTS[0], 1)).pixels
        assert pixels.shape == (side, side, 3)
        assert pixels.dtype == np.uint8


def test_the_fingerprint_follows_the_parameters_alone():
    same = {canvas.build(canvas.Params(mistake_rate=0.1)).fingerprint for _ in range(2)}
    other = canvas.build(canvas.Params(mistake_rate=0.2)).fingerprint
    assert len(same) == 1
    assert other not in same


@pytest.mark.parametrize(
    "bad", [{"size": 500}, {"size": 4096}, {"mistake_rate": 1.5}, {"fonts": ["arial"]}, {"weights": {"typo": 1}},
            {"weights": {"blur": -1}}, {"colour": "red"}, {"fonts": []}]
)  # fmt: skip
def test_bad_parameters_are_refused(bad):
    with pytest.raises(ValidationError):
        canvas.Params(**bad)


@pytest.mark.parametrize("count", ["one", "two", "three", "five", "eight"])
@pytest.mark.parametrize(("noun", "colour"), [("dogs", "brown"), ("bicycles", "white"), ("umbrellas", "purple")])
def test_each_copy_is_one_region_of_its_colour(teacher, count, noun, colour):
    number = {"one": 1, "two": 2, "three": 3, "five": 5, "eight": 8}[count]
    text = f"{count} {colour} {noun if number > 1 else noun[:-1]}"
    rendering = teacher.render(RenderJob(text, 3))
    assert rendering.truth["objects"] == [{"noun": noun[:-1], "colour": colour, "count": number}]
    assert len(regions(rendering.pixels, colour)) == number
    assert len(rendering.truth["boxes"]) == number


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("text", "axis", "sign"),
    [
        ("a red cat to the left of a blue car", 1, 1),
        ("a red cat on the right of a blue car", 1, -1),
        ("a red bird above a blue boat", 0, 1),
        ("a red dog under a blue table", 0, -1),
    ],
)
def test_relations_decide_the_places(teacher, text, axis, sign, seed):
    pixels = teacher.render(RenderJob(text, seed)).pixels
    red, blue = (max(regions(pixels, word), key=len).mean(axis=0)[axis] for word in ("red", "blue"))
    assert (blue - red) * sign > 40


def test_in_front_of_covers_a_part_of_what_is_behind(teacher):
    for seed in range(6):
        truth = teacher.render(RenderJob("an orange dog in front of a purple house", seed)).truth
        (behind, bx0, by0, bx1, by1), (front, fx0, fy0, fx1, fy1) = truth["boxes"]
        assert (behind, front) == ("house", "dog")
        assert min(bx1, fx1) - max(bx0, fx0) > 0
        assert min(by1, fy1) - max(by0, fy0) > 0


def test_strings_are_drawn_in_order_large_enough_to_read(teacher):
    from promptforge.teachers.drawing.faces import Face

    rendering = teacher.render(RenderJob('a poster that says "Grand Opening" and "Free Coffee"', 5))
    truth = rendering.truth
    assert truth["wanted_text"] == truth["drawn_text"] == ["Grand Opening", "Free Coffee"]
    assert " ".join(truth["lines"]) == "Grand Opening Free Coffee"
    # 24 px of cap height at 512, less half a pixel of rounding.
    assert truth["font_px"] * Face(truth["font"]).cap_share >= 23.5
    x0, y0, x1, y1 = truth["text_box"]
    assert 0 < x0 < x1 < 512
    assert 0 < y0 < y1 < 512


@pytest.mark.parametrize(
    ("wanted", "code"),
    [("\u4e2d\u6587", "U+4E2D"), ("fun \U0001f600", "U+1F600"), ("\u0633\u0644\u0627\u0645", "U+0633")],
)
def test_what_no_font_has_is_refused_by_its_code_point(teacher, wanted, code):
    rendering = teacher.render(RenderJob(f'a sign that says "{wanted}"', 1))
    assert rendering.pixels is None
    assert code in rendering.error


def test_text_that_does_not_fit_is_refused_with_the_size(teacher):
    rendering = teacher.render(RenderJob('a sign that says "' + " ".join(["wonderful"] * 40) + '"', 1))
    assert rendering.pixels is None
    assert "does not fit at a cap height of 24 px" in rendering.error


def test_accents_greek_and_cyrillic_are_drawn(teacher):
    for wanted in (
        "Caf\u00e9 M\u00fcller",
        "\u039a\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1",
        "\u041c\u043e\u0441\u043a\u0432\u0430",
    ):
        rendering = teacher.render(RenderJob(f'a sign that says "{wanted}"', 2))
        assert rendering.truth["drawn_text"] == [wanted]


def test_a_prompt_of_unknown_words_is_still_drawn_and_says_so(teacher):
    rendering = teacher.render(RenderJob("quantum flummery", 1))
    assert rendering.pixels is not None
    assert rendering.truth["objects"] == []
    assert "flummery" in rendering.truth["unknown"]


def test_mistakes_are_made_at_the_set_rate_and_recorded():
    n, rate = 1600, 0.25
    teacher = canvas.build(canvas.Params(size=192, mistake_rate=rate))
    texts = ['a red dog with a sign that says "Hot Tea"', "two blue cups", "a calm lake"]
    kinds = Counter()
    for seed in range(n):
        rendering = teacher.render(RenderJob(texts[seed % 3], seed))
        truth = rendering.truth
        kinds[truth["mistake"]] += 1
        json.dumps(truth, allow_nan=False)
        same = [fold(t) for t in truth["drawn_text"]] == [fold(t) for t in truth["wanted_text"]]
        assert same == (truth["mistake"] not in (*TEXT_KINDS, *(("flat", "black") if truth["wanted_text"] else ())))
    made = n - kinds[None]
    # Four standard deviations of a binomial: 4 * sqrt(1600 * 0.25 * 0.75) = 69.
    assert abs(made - n * rate) < 4 * math.sqrt(n * rate * (1 - rate))
    assert set(kinds) == {None, *KINDS}


def test_no_mistake_is_made_at_rate_zero_and_always_one_at_rate_one(teacher):
    always = canvas.build(canvas.Params(size=128, mistake_rate=1))
    for seed in range(40):
        assert teacher.render(RenderJob("a red dog", seed)).truth["mistake"] is None
        assert always.render(RenderJob("a red dog", seed)).truth["mistake"] is not None


def test_frame_mistakes_look_like_what_they_are():
    by_kind = {kind: canvas.build(canvas.Params(mistake_rate=1, weights={kind: 1})) for kind in FRAME_KINDS}
    pixels = {kind: t.render(RenderJob("a red dog in a park", 4)).pixels.astype(float) for kind, t in by_kind.items()}
    whole = canvas.build(canvas.Params(mistake_rate=0)).render(RenderJob("a red dog in a park", 4)).pixels.astype(float)
    assert pixels["black"].max() == 0
    assert np.ptp(pixels["flat"].reshape(-1, 3), axis=0).max() == 0
    assert 0 < pixels["dark"].mean() < 26
    # Neighbours differ by the grain in a sharp picture, by next to nothing in a blurred one.
    assert np.abs(np.diff(pixels["blur"], axis=0)).mean() < 0.3 * np.abs(np.diff(whole, axis=0)).mean()


HOSTILE = (
    "",
    " ",
    "\x00\x1b[31m red dog",
    "<script>alert('dog')</script>",
    "../../etc/passwd",
    "=HYPERLINK(\"x\",\"y\")",
    "'; DROP TABLE prompts; --",
    'a sign that says ""',
    'a sign that says "\ud800"',
    'a sign that says "\u202egnirts"',
    'a sign that says "e\u0301\u0301\u0301\u200d\ufe0f"',
    "a million dogs and 99999999999999999999 cats",
    "a dog left of a cat left of a dog above the cat behind the cat",
    "red " * 2000,
    ('a dog, a cat, "word" ' * 400)[:8000],
    '"' * 8000,
    "x" * 8000,
    'a sign that says "' + "W" * 8000 + '"',
)  # fmt: skip


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_prompts_become_a_picture_or_an_error(small, number):
    check(small.render(RenderJob(HOSTILE[number], 2**63 - 1)))


WORDS = [
    '"',
    "\u201c",
    "\u201d",
    "'",
    "says",
    "two",
    "red",
    "dog",
    "dogs",
    "cat",
    "left",
    "of",
    "above",
    "behind",
    "sign",
]


@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    st.text(max_size=60) | st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join),
    st.integers(0, 2**63 - 1),
)
def test_no_text_makes_it_raise(small, text, seed):
    check(small.render(RenderJob(text, seed)))


def check(rendering):
    assert (rendering.pixels is None) != (rendering.error is None)
    if rendering.truth is not None:
        json.dumps(rendering.truth, allow_nan=False).encode("utf-8")
    if rendering.error is not None:
        rendering.error.encode("utf-8")
