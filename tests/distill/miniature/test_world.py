"""The miniature world's prompts: fixed by seed and number, read back as they were meant, each word one token."""

import pytest

from promptforge import scenes, targets
from promptforge.lexicon import plural
from promptforge.records import AXES, digest_of
from promptforge.sources import miniature
from promptforge.sources.miniature import COLOURS, COUNTS, LETTERS, NOUNS, RELATIONS, Params, build

N = 600
#: Digest of the first 60 texts of seed 7 by axis; a change needs a raised VERSION and new values here.
GOLDEN = {
    1: {
        "image_quality": "148ff49682c25f40",
        "semantic_understanding": "f8a878fad12edc12",
        "text_rendering": "0a938e3b9074a1e3",
    }
}


def rows(axis, n=N, seed=7):
    source = build(Params(axis=axis, n=n), seed)
    (part,) = source.parts()
    return list(source.read(part, 0, n))


@pytest.mark.parametrize("axis", AXES)
def test_rows_change_only_with_the_version(axis):
    found = digest_of([row.text for row in rows(axis, 60)])[:16]
    assert found == GOLDEN[miniature.VERSION][axis], found


@pytest.mark.parametrize("axis", AXES)
def test_a_row_depends_on_seed_axis_and_number_alone(axis):
    written = rows(axis)
    source = build(Params(axis=axis, n=N), 7)
    (part,) = source.parts()
    assert list(source.read(part, 400, 410)) == written[400:410]
    assert rows(axis, n=50) == written[:50]
    assert [row.text for row in rows(axis, 50, seed=8)] != [row.text for row in written[:50]]


def test_a_part_of_another_seed_is_refused():
    source, other = (build(Params(axis="image_quality", n=5), seed) for seed in (1, 2))
    with pytest.raises(ValueError, match="digest"):
        list(source.read(other.parts()[0], 0, 5))


def test_one_thing_is_read_with_its_colour():
    for row in rows("image_quality"):
        (thing,) = scenes.parse(row.text).objects
        words = set(row.text.split())
        assert {thing.noun, thing.colour} <= words, row.text
        assert thing.noun in NOUNS
        assert thing.colour in COLOURS
        assert thing.count == 1


def test_things_numbers_and_places_are_read_as_the_sentence_has_them():
    words = {word: n for n, word in COUNTS.items()}
    predicates = {phrase: phrase.removeprefix("to the ") for phrase in RELATIONS}
    for row in rows("semantic_understanding"):
        scene = scenes.parse(row.text)
        found = [(thing.count, thing.colour, thing.noun) for thing in scene.objects]
        if row.category == "numeracy":
            number, colour, things = row.text.split()
            assert [(n, c, plural(noun)) for n, c, noun in found] == [(words[number], colour, things)], row.text
            continue
        between = next((phrase for phrase in RELATIONS if f" {phrase} " in row.text), "and")
        told = [half.split()[1:] for half in row.text.split(f" {between} ")]
        assert found == [(1, colour, noun) for colour, noun in told], row.text
        told_relations = [(each.subject, each.predicate, each.object) for each in scene.relations]
        assert told_relations == ([] if between == "and" else [(0, predicates[between], 1)]), row.text
        assert (row.category == "spatial") == (between != "and")


def test_letters_are_read_as_the_string_and_as_no_thing():
    for row in rows("text_rendering"):
        (string,) = targets.parse(row.text).strings
        assert row.expected_text == (string,)
        assert f'"{string}"' in row.text
        assert 1 <= len(string) <= 4
        assert set(string) <= set(LETTERS)
        assert not scenes.parse(row.text).objects


@pytest.mark.models
def test_a_word_is_one_token_and_a_sign_is_spelled_out():
    from promptforge.distill.miniature.parts import LENGTH, tokenizer

    tokens = tokenizer()
    for word in miniature.words():
        assert tokens.tokenize(word) == [f"▁{word}"], word
        assert tokens.decode(tokens(word).input_ids, skip_special_tokens=True) == word
    found = tokens.tokenize('a sign that says "B4Z"')
    assert found[:4] == ["▁a", "▁sign", "▁that", "▁says"]
    assert "".join(found[4:]) == '▁"B4Z"'
    assert [piece for piece in found[4:] if piece != "▁"] == ['"', "B", "4", "Z", '"']
    texts = [row.text for axis in AXES for row in rows(axis, 300)]
    assert max(len(tokens(text).input_ids) for text in texts) <= LENGTH
    assert all(tokens.unk_token_id not in tokens(text).input_ids for text in texts)
