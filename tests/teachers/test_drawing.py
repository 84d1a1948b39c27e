"""Parts of the canvas teacher: colours that can be told apart, icons in one piece, slots, letters, slips."""

import itertools
import tomllib
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label

from promptforge import lexicon
from promptforge.errors import ConfigError
from promptforge.records import Relation
from promptforge.teachers.drawing import carriers, faces, layout, lettering, mistakes, paint, shapes, textures
from promptforge.teachers.drawing.icons import IconBook

PALETTE = {c.word: c.rgb for c in lexicon.load().colours.values() if c.same_as is None}
NOUNS = lexicon.load().nouns
PREDICATES = list(lexicon.load().relations)
LETTERS = st.characters(codec="latin-1", categories=("L", "N", "P"))


@pytest.fixture(scope="module")
def icons():
    return IconBook(128)


def test_colours_are_at_least_60_apart_and_the_outline_70_from_each():
    assert min(paint.distance(a, b) for a, b in itertools.combinations(PALETTE.values(), 2)) >= 60
    assert min(paint.distance(paint.OUTLINE, rgb) for rgb in PALETTE.values()) >= 70


def test_a_shade_is_nearer_to_its_own_colour_than_to_any_other():
    for word, rgb in PALETTE.items():
        darker = paint.shade(rgb)
        assert min(PALETTE, key=lambda other: paint.distance(PALETTE[other], darker)) == word
        assert paint.distance(rgb, darker) <= paint.SHADE_STEP + 1


def test_there_are_enough_nouns_and_no_two_share_an_icon():
    rows = tomllib.loads(files("promptforge.lexicon").joinpath("nouns.toml").read_text(encoding="utf-8"))["noun"]
    assert len(rows) >= 220
    assert len({row["word"] for row in rows}) == len({row["icon"] for row in rows}) == len(rows)


def test_every_noun_has_its_icon_and_a_wrong_one_is_named(icons):
    icons.check({noun.word: noun.icon for noun in NOUNS.values()})
    with pytest.raises(ConfigError, match=r"'unicorn' has icon 'mdi6\.no-such'"):
        icons.check({"unicorn": "mdi6.no-such"})


@pytest.mark.parametrize("noun", sorted(NOUNS)[::9])
def test_the_body_of_an_icon_is_one_piece_inside_its_edge(icons, noun):
    icon = icons.get(NOUNS[noun].icon)
    body, edge = (np.asarray(mask) > 127 for mask in (icon.body, icon.edge))
    pieces = np.bincount(label(body, connectivity=2).ravel())[1:]
    assert (pieces > 0.05 * pieces.max()).sum() == 1
    assert not (body & ~edge).any()


@pytest.mark.parametrize(
    "word", ["striped", "wooden", "metal", "fluffy", "glass", "leather", "marble", "spotted", "odd"]
)
def test_a_surface_keeps_the_mean_of_its_colour(word):
    tile = textures.tile(textures.kind_of(word))
    assert abs(float(tile.mean())) < 1
    assert int(np.abs(tile).max()) == textures.DEPTH


def test_every_shape_and_texture_word_of_the_lexicon_is_drawn():
    assert all(shapes.plate_of(word) for word in lexicon.load().shapes)
    assert all(textures.kind_of(word) for word in lexicon.load().textures)


@settings(max_examples=80, derandomize=True, deadline=None)
@given(st.integers(1, 30), st.floats(0.2, 5), st.floats(50, 500), st.floats(50, 500))
def test_slots_lie_in_the_box_and_never_overlap(count, aspect, width, height):
    found = layout.slots((0, 0, width, height), count, aspect)
    assert len(found) == count
    for x0, y0, x1, y1 in found:
        assert -1e-6 <= x0 < x1 <= width + 1e-6
        assert -1e-6 <= y0 < y1 <= height + 1e-6
    for a, b in itertools.combinations(found, 2):
        assert min(a[2], b[2]) - max(a[0], b[0]) < 1e-6 or min(a[3], b[3]) - max(a[1], b[1]) < 1e-6


@settings(max_examples=80, derandomize=True, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(PREDICATES), st.integers(0, 5)), max_size=8),
    st.integers(0, 99),
)  # fmt: skip
def test_every_thing_gets_a_place_whatever_the_relations_say(counts, triples, seed):
    relations = [Relation(a % len(counts), word, b % len(counts)) for a, word, b in triples]
    boxes, pairs = layout.place(counts, relations, (0, 0, 512, 512), np.random.default_rng(seed))
    assert sorted(boxes) == list(range(len(counts)))
    assert all(box[2] - box[0] > 5 and box[3] - box[1] > 5 for box in boxes.values())
    partners = {frozenset((pair.front, pair.back)) for pair in pairs}
    for a, b in itertools.combinations(range(len(counts)), 2):
        apart_x = min(boxes[a][2], boxes[b][2]) - max(boxes[a][0], boxes[b][0]) < 1e-6
        apart_y = min(boxes[a][3], boxes[b][3]) - max(boxes[a][1], boxes[b][1]) < 1e-6
        assert apart_x or apart_y or frozenset((a, b)) in partners


@pytest.mark.parametrize("predicate", PREDICATES)
def test_every_predicate_of_the_lexicon_has_its_direction(predicate):
    wanted = {
        "left of": "left",
        "right of": "right",
        "in front of": "front",
        "next to": "beside",
        "hidden by": "hidden",
    }
    assert layout.direction(predicate) == wanted.get(predicate, predicate)


def test_a_block_breaks_at_blanks_only_and_fits_its_box():
    setter = lettering.Setter(faces.Face("roboto-bold"), ["the quick brown fox", "jumps"])
    block = setter.largest((0, 0, 200, 300), 512)
    assert [" ".join(part) for part in block.lines] == ["the quick brown fox", "jumps"]
    assert block.height <= 300
    assert all(block.face.at(block.font_px).getlength(line) <= 200 for part in block.lines for line in part)
    assert setter.largest((0, 0, 60, 300), 512) is None


@pytest.mark.parametrize("name", sorted(faces.FACES))
def test_a_face_knows_what_it_lacks(name):
    face = faces.Face(name)
    assert face.lacks("Hello,World2024!?'\"&-") == []
    assert face.lacks("a\u4e2d\U0001f600") == ["\u4e2d", "\U0001f600"]
    # Cap heights of Latin text faces lie between 0.6 and 0.75 em.
    assert 0.6 < face.cap_share < 0.75


def test_a_carrier_of_its_own_colour_gets_ink_that_shows():
    for rgb in PALETTE.values():
        fill, ink = carriers.tones(carriers.SIGN, rgb, [], 0.5)
        assert fill == rgb
        assert abs(paint.luma(fill) - paint.luma(ink)) > 80


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    st.sampled_from(mistakes.TEXT_KINDS),
    st.lists(st.text(LETTERS, min_size=1, max_size=12), min_size=1, max_size=5),
    st.integers(0, 10_000),
)  # fmt: skip
def test_a_text_mistake_always_changes_the_folded_string(kind, words, seed):
    text = " ".join(words)
    spoilt = mistakes.spoil(kind, [text, text], np.random.default_rng(seed))
    if spoilt is not None:
        changed = [mistakes.fold(s) != mistakes.fold(text) for s in spoilt]
        assert sorted(changed) == [False, True]


def test_a_wrong_colour_is_far_from_the_right_one_and_a_wrong_count_is_one_off():
    rng = np.random.default_rng(0)
    for rgb in PALETTE.values():
        word = mistakes.other_colour(rgb, PALETTE, [rgb], rng)
        assert paint.distance(PALETTE[word], rgb) >= 130
    for count in range(1, 31):
        other = mistakes.other_count(count, 30, rng)
        assert abs(other - count) == 1
        assert 1 <= other <= 30
