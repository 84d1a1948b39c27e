"""Names, seeds and scenes."""

from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from promptforge import records
from promptforge.records import Relation, Scene, SceneObject

PARTS = st.lists(st.text(max_size=6) | st.integers(0, 99), max_size=4)


def test_parts_are_framed_so_that_moving_a_border_changes_the_name() -> None:
    assert records.content_id("ab", "c") != records.content_id("a", "bc") != records.content_id("abc")
    assert records.content_id("a", "") != records.content_id("a") != records.content_id("", "a")


@settings(derandomize=True, max_examples=300)
@given(PARTS, PARTS)
def test_two_lists_share_a_name_only_where_their_words_are_equal(left, right) -> None:
    assert (records.content_id(*left) == records.content_id(*right)) == (list(map(str, left)) == list(map(str, right)))


def test_a_name_is_the_first_half_of_a_sha256_over_length_and_bytes() -> None:
    data = (6).to_bytes(8, "big") + b"prompt" + (9).to_bytes(8, "big") + "a café ".encode() + b"x"
    assert records.prompt_id("a café x") == hashlib.sha256(data).hexdigest()[:32]


def test_a_lone_surrogate_has_a_name_of_its_own() -> None:
    assert records.content_id("\ud800") not in {records.content_id("\ud801"), records.content_id("�")}


@settings(derandomize=True, max_examples=300)
@given(st.text(max_size=20), st.integers(0, 63), st.integers(0, 2**63 - 1))
def test_a_seed_fits_a_signed_64_bit_column(group, take, seed) -> None:
    found = records.noise_seed(group, take, seed)
    assert 0 <= found < 2**63
    assert found == records.noise_seed(group, take, seed)


def test_takes_groups_and_recipes_have_different_noise() -> None:
    seeds = {records.noise_seed(g, t, s) for g in ("one", "two") for t in range(20) for s in (0, 7)}
    assert len(seeds) == 2 * 20 * 2


def test_both_members_of_a_pair_start_from_the_same_latent_and_have_pictures_of_their_own() -> None:
    left, right = records.prompt_id("a red cup"), records.prompt_id("a blue cup")
    assert records.noise_seed("pair-1", 0, 7) == records.noise_seed("pair-1", 0, 7)
    assert records.image_id(left, "t", 0) != records.image_id(right, "t", 0)
    # the teacher names the picture and never the noise: the seed's arguments have no place for it
    assert records.image_id(left, "t1", 0) != records.image_id(left, "t2", 0)


def test_a_row_is_named_by_source_content_and_number() -> None:
    names = {records.row_id(s, d, r) for s in ("a", "b") for d in ("0" * 64, "1" * 64) for r in range(3)}
    assert len(names) == 12


def test_equal_values_have_equal_json_whatever_their_order() -> None:
    assert records.canonical_json({"b": [1, 2], "a": "é"}) == '{"a":"é","b":[1,2]}'
    assert records.digest_of({"a": 1, "b": 2}) == records.digest_of({"b": 2, "a": 1}) != records.digest_of({"a": 1})


def test_a_scene_comes_back_from_its_json() -> None:
    scene = Scene(
        objects=(SceneObject("cup", 2, colour="red", texture="wooden"), SceneObject("dog", action="running")),
        relations=(Relation(0, "left of", 1),),
        carrier="sign",
        style="photograph",
        unknown=("zwiebel", "ß"),
    )
    assert Scene.from_json(scene.to_json()) == scene
    assert Scene.from_json(Scene().to_json()) == Scene()
