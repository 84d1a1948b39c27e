"""Languages of prompts."""

import json
import tomllib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from promptforge.filters import language
from promptforge.filters.words.identify import LANGUAGES, identified, identifier
from tests.filters.columns import findings

FOREIGN = tomllib.loads((Path(__file__).parent / "foreign.toml").read_text("utf-8"))


def dropped(texts, expected=None, **params):
    return {
        item.row: item.detail
        for item in findings(language, texts, expected, **params)
        if (item.verdict, item.reason) == ("drop", "other_language")
    }


def test_prompts_in_25_languages_are_dropped_and_named():
    rows = [(code, text) for code, texts in FOREIGN.items() for text in texts]
    found = dropped([text for _, text in rows])
    assert len(rows) == 178
    assert len(found) / len(rows) >= 0.98
    assert sum(found.get(row) == code for row, (code, _) in enumerate(rows)) / len(rows) >= 0.98


@pytest.mark.parametrize("name", ["geneval", "partiprompts", "tifa_v1", "t2i_compbench", "imagereward_refl"])
def test_english_prompts_of_five_words_and_more_pass(name, eval_data):
    path = eval_data / f"{name}.jsonl"
    if path.exists():
        rows = [json.loads(line)["prompt"] for line in path.read_text("utf-8").splitlines()]
    else:
        rows = pq.read_table(eval_data / f"{name}.parquet", columns=["prompt"])["prompt"].to_pylist()
    rows = [text for text in rows if text and len(text.split()) >= 5]
    assert len(dropped(rows)) / len(rows) < 0.001  # DiffusionDB holds three that are not English among 8,337


def test_short_and_odd_english_passes():
    texts = [
        "a photo of a bench",
        "dystopian megacity, neon, 8k",
        "Leonardo da Vinci portrait",
        "42",
        "!!!",
        "Kafuu Chino",
    ]
    assert dropped(texts) == {}


def test_a_sign_may_be_in_any_language():
    text = "a red wooden sign that says «Добро пожаловать домой, друзья»"
    assert dropped([text], [["Добро пожаловать домой, друзья"]]) == {}
    assert dropped(["красная собака сидит на зелёной лужайке"]) == {0: "ru"}


def test_other_languages_can_be_let_through():
    german, french = FOREIGN["de"], FOREIGN["fr"]
    assert dropped(german, languages=("en", "de")) == {}
    assert set(dropped(french, languages=("de",)).values()) == {"fr"}
    assert len(dropped(["the old house by the river at night"], languages=("de",))) == 1


def test_an_unknown_language_is_refused():
    with pytest.raises(ValidationError, match="xx"):
        language.Params(languages=("xx",))


def test_what_the_identifier_is_told_apart_is_what_it_knows():
    assert set(LANGUAGES) <= set(identifier().labels)


def test_many_texts_at_once_are_told_as_the_library_tells_one_bit_for_bit(eval_data):
    texts = [
        "",
        " ",
        "1 2 3",
        "\ud800",
        "İSTANBUL",
        "a",
        "日本語の看板",
        "x" * 300,
        "SHOUTED ENGLISH",
        "e\u0301te\u0301",
    ]
    texts += [text for lines in FOREIGN.values() for text in (lines if isinstance(lines, list) else [])]
    texts += pq.read_table(eval_data / "laion_alttext.parquet").slice(0, 1500)["prompt"].to_pylist()
    library = [identifier().classify(text[:100].lower()) for text in texts]
    assert identified(texts) == library
