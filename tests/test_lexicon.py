"""The lexicon: its words fit together, and what is reserved is reserved in every form."""

import hashlib
import subprocess
import sys
from importlib.resources import files
from itertools import islice

import inflect
import pytest

from promptforge import lexicon
from promptforge.lexicon.reserved import words_of

LEXICON = lexicon.load()
OPEN, KEPT = LEXICON.open_words, LEXICON.kept_words


def test_there_are_enough_words_to_write():
    words = {*OPEN.nouns, *OPEN.adjectives, *OPEN.verbs, *OPEN.others}
    assert len(words) >= 1500
    lengths = {len(word) for word in words}
    assert lengths >= set(range(2, 13))
    assert all(word.isalpha() and word == word.lower() for word in words)


def test_no_word_is_listed_twice_in_its_list():
    for words in (OPEN.nouns, OPEN.adjectives, OPEN.verbs, OPEN.others, KEPT.nouns, KEPT.adjectives, KEPT.verbs):
        assert len(words) == len(set(words))


def test_about_one_word_in_twenty_is_reserved():
    kept = {*KEPT.nouns, *KEPT.adjectives, *KEPT.verbs}
    every = kept | {*OPEN.nouns, *OPEN.adjectives, *OPEN.verbs, *OPEN.others}
    assert 0.04 <= len(kept) / len(every) <= 0.06


def test_no_open_word_is_a_form_of_a_reserved_one_nor_the_other_way_round():
    kept = {*KEPT.nouns, *KEPT.adjectives, *KEPT.verbs}
    every = {*OPEN.nouns, *OPEN.adjectives, *OPEN.verbs, *OPEN.others}
    assert not every & lexicon.reserved_words()
    assert not {form for word in every for form in lexicon.inflections(word)} & kept


@pytest.mark.parametrize(
    ("word", "forms"),
    [
        ("paddle", "paddle paddles paddled paddling paddler paddle's paddles'"),
        ("canary", "canary canaries canary's canaries'"),
        ("slick", "slick slicker slickest slicks"),
        ("rosy", "rosy rosier rosiest"),
        ("hatchet", "hatchet hatchets hatcheted"),
        ("quiz", "quiz quizzes"),  # by inflect
        ("stop", "stop stops stopped stopping stopper"),
        ("bonfire", "bonfire bonfires bonfire's"),
    ],
)
def test_inflections_hold_every_regular_form(word, forms):
    assert set(forms.split()) <= lexicon.inflections(word)


def test_a_reserved_word_is_known_in_any_case_and_with_any_apostrophe():
    assert lexicon.is_reserved_word("PADDLES")
    assert lexicon.is_reserved_word("Lantern’s")
    assert lexicon.is_reserved_word("paddle")  # full width, as OCR and mobile keyboards give it
    assert not lexicon.is_reserved_word("window")


def test_words_of_a_text_are_its_runs_of_letters():
    assert words_of("2 Paddles, 7 pm") == ["paddles", "pm"]
    assert words_of("don’t STOP-now 4K") == ["don't", "stop", "now", "k"]
    assert words_of("$4.99 - 24/7") == []


def test_one_composition_in_25_is_reserved_and_listed():
    pairs = list(lexicon.reserved_pairs())
    attributes = {attribute for _, attribute in pairs}
    assert all(lexicon.is_reserved_pair(*pair) for pair in pairs)
    assert len(pairs) == len(set(pairs))
    # 4% of nouns x attributes; 406 nouns make the standard deviation of the share about 0.06%.
    assert 0.036 <= len(pairs) / (len(LEXICON.nouns) * len(attributes)) <= 0.044


def test_a_triple_and_its_inverse_are_one_composition():
    nouns = list(LEXICON.nouns)[:40]
    for a in nouns:
        for b in nouns:
            assert lexicon.is_reserved_triple(a, "left of", b) == lexicon.is_reserved_triple(b, "right of", a)
            assert lexicon.is_reserved_triple(a, "next to", b) == lexicon.is_reserved_triple(b, "next to", a)
    triples = list(islice((t for t in lexicon.reserved_triples() if t[1] == "left of"), 400))
    # 400 at 4% are met after about 10,000 of the 406 x 406 pairs, in the order of the nouns.
    met = list(LEXICON.nouns).index(triples[-1][0]) * len(LEXICON.nouns)
    assert 0.03 <= 400 / met <= 0.05


def test_reserved_compositions_are_decided_by_the_words_alone():
    # SHA-256 of "pair", noun, attribute joined by NUL: its first 8 bytes modulo 25 are 0.
    for noun, colour in (("cat", "red"), ("cup", "blue"), ("tree", "green"), ("boat", "purple")):
        first = int.from_bytes(hashlib.sha256(f"pair\0{noun}\0{colour}".encode()).digest()[:8], "big")
        assert lexicon.is_reserved_pair(noun, colour) == (first % 25 == 0)


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("hourglass", "an"),
        ("unicycle", "a"),
        ("ufo", "a"),
        ("owl", "an"),
        ("85mm", "an"),
        ("24mm", "a"),
        ("heart-shaped", "a"),
    ],
)
def test_articles_follow_the_sound(word, wanted):
    assert lexicon.article(word) == wanted


def test_plurals_are_right_where_english_is_not_regular():
    wanted = {
        "knife": "knives",
        "mouse": "mice",
        "leaf": "leaves",
        "sheep": "sheep",
        "woman": "women",
        "cherry": "cherries",
    }
    assert {word: LEXICON.nouns[word].plural for word in wanted} == wanted


def test_traits_and_groups_name_nouns_only():
    nouns = set(LEXICON.nouns)
    for name, members in LEXICON.groups.items():
        assert members <= nouns, name
    for row in (*LEXICON.shapes.values(), *LEXICON.textures.values()):
        assert row.nouns, row.word
    assert all(action.agents for action in LEXICON.actions)


def test_every_named_patient_of_an_action_is_a_noun_or_group():
    import tomllib

    known = {*LEXICON.nouns, *LEXICON.groups, *(noun.kind for noun in LEXICON.nouns.values())}
    table = tomllib.loads(files("promptforge.lexicon").joinpath("actions.toml").read_text(encoding="utf-8"))
    for row in table["action"]:
        assert {*row["agents"], *row.get("patients", "").split()} <= known, row["words"]


def test_inverse_relations_come_in_pairs():
    for relation in LEXICON.relations.values():
        if relation.inverse is not None:
            assert LEXICON.relations[relation.inverse].inverse == relation.word


def test_the_digest_covers_every_data_file_and_is_the_same_in_another_process():
    data = sorted(item.name for item in files("promptforge.lexicon").iterdir() if item.name.endswith(".toml"))
    assert {"nouns.toml", "colours.toml", "words.toml", "traits.toml"} <= set(data)
    code = "from promptforge import lexicon; import sys; sys.stdout.write(lexicon.digest())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == lexicon.digest()
    assert len(told) == 64


def test_articles_and_plurals_are_those_of_inflect():
    """inflect is an independent implementation; every word that is inflected anywhere is compared."""
    engine = inflect.engine()
    nouns = {*LEXICON.nouns, *OPEN.countable, *KEPT.countable, *KEPT.nouns}
    assert {word: lexicon.plural(word) for word in nouns} == {word: engine.plural_noun(word) for word in nouns}
    words = {
        *nouns,
        *OPEN.nouns,
        *OPEN.adjectives,
        *KEPT.adjectives,
        *(medium.split()[0] for medium in LEXICON.mediums),
    }
    assert {word: lexicon.article(word) for word in words} == {word: engine.a(word).split()[0] for word in words}
