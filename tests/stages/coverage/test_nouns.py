"""Nouns, against what stands in the words by construction and against another library's singulars."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptforge import lexicon
from promptforge.stages.coverage.nouns import nouns_of, singular


def nouns(*texts: str) -> list[set[str]]:
    return [set(each) for each in nouns_of(pa.array(texts, pa.string())).lists(len(texts)).to_pylist()]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("two dogs and a very old dog", {"dog"}),  # once a prompt, whatever the number
        ("a woman holds an orange under an orange sky", {"woman", "orange", "sky"}),
        ("an orange sky", {"sky"}),
        ("a light blue car in soft light, at night", {"car", "light", "night"}),
        ("a man is walking slowly towards the red building", {"man", "building"}),
        ("children's shoes and women in dresses", {"child", "shoe", "woman", "dress"}),
        ('a sign that says "Fresh Bread" in a bakery', {"sign", "bakery"}),  # words to be drawn are no things
        ("a sign that says \u201cFresh Bread\u201d", {"sign"}),
        ("beautiful, highly detailed, 8k", set()),
        ("greg rutkowski", {"greg", "rutkowski"}),
        ("", set()),
    ],
)
def test_the_nouns_of_a_prompt(text: str, wanted: set[str]) -> None:
    assert nouns(text) == [wanted]


def test_a_row_without_nouns_shifts_no_other() -> None:
    assert nouns("", "a dog", "very red", "a cat") == [set(), {"dog"}, set(), {"cat"}]
    assert nouns_of(pa.array([], pa.string())).lists(0).to_pylist() == []


@settings(deadline=None)
@given(st.lists(st.text(max_size=40), max_size=8))
def test_a_text_has_the_nouns_that_it_has_alone(texts: list[str]) -> None:
    assert nouns(*texts) == [nouns(text)[0] for text in texts]


def test_plurals_of_the_lexicon_fold_to_their_singulars() -> None:
    table = [noun for noun in lexicon.load().nouns.values() if " " not in noun.word]
    assert len(table) > 300
    assert {noun.plural: singular(noun.plural) for noun in table if singular(noun.plural) != singular(noun.word)} == {}


def test_singulars_are_those_of_the_library_inflect(eval_data: Path) -> None:
    import inflect

    # Words of 4,000 captions in -s that inflect makes singular and plural again; of lens and canvas it would make len
    # and canva, and of names in -us and -is what is no word.
    texts = pq.read_table(eval_data / "pickapic_train.parquet")["prompt"].to_pylist()[:4000]
    words = sorted({word for text in texts for word in re.findall(r"\b[a-z]{3,}s\b", text)})
    engine = inflect.engine()
    wanted = {word: engine.singular_noun(word) for word in words if word[-2:] not in ("us", "is", "as")}
    plurals = {word: each for word, each in wanted.items() if each and engine.plural_noun(each) == word}
    assert len(plurals) > 800
    agree = sum(singular(word) == each for word, each in plurals.items())
    assert agree / len(plurals) > 0.97


@pytest.mark.parametrize("word", ["glass", "bus", "lens", "canvas", "species", "chess", "tennis", "octopus", "gas"])
def test_a_singular_in_s_stays(word: str) -> None:
    assert singular(word) == word


def test_both_things_of_compbenchs_colour_template_are_found_and_nothing_else(eval_data: Path) -> None:
    template = re.compile(r"an? (\w{3,}) ([a-z]+) and an? (\w{3,}) ([a-z]+)")
    rows = pq.read_table(eval_data / "t2i_compbench.parquet").to_pylist()
    texts = [row["prompt"].strip().lower() for row in rows if row["category"] == "color"]
    matches = [(text, match) for text in texts if (match := template.fullmatch(text))]
    found = nouns(*(text for text, _ in matches))
    wanted = [{singular(match[2]), singular(match[4])} for _, match in matches]
    right = sum(len(one & two) for one, two in zip(found, wanted, strict=True))
    assert len(matches) > 400
    assert right / sum(map(len, wanted)) > 0.98
    assert right / sum(map(len, found)) > 0.98


def test_genevals_things_are_found(eval_data: Path) -> None:
    # "a photo of a bench": the last word of each thing's name is a noun by construction.
    lines = (eval_data / "geneval.jsonl").read_text("utf-8").splitlines()
    texts = [json.loads(line)["prompt"] for line in lines if json.loads(line)["category"] == "single_object"]
    found = nouns(*texts)
    assert len(texts) == 80
    assert sum(singular(text.split()[-1]) in each for text, each in zip(texts, found, strict=True)) >= 79
