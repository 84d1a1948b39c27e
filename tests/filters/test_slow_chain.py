"""The vectorised filters say of a whole column what their plain code says of each text alone."""

from __future__ import annotations

import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptforge.filters import (
    boilerplate,
    language,
    personal_data,
    repetition,
    safety,
    specificity,
    visualness,
)
from promptforge.filters.words.tokens import tokens_of, words_in
from promptforge.filters.words.visual import model
from tests.filters.columns import findings

PLAIN = (personal_data, repetition, safety, specificity)  # their look takes the text alone
WITH_TARGETS = (boilerplate, language, visualness)  # and theirs the strings to be drawn too

# Words on both sides of every screen, with the marks that part words differently in RE2, NumPy and Python.
_WORDS = """a the cat don't 'hat' dog. red-blue très Hund und der ein of with 8k masterpiece www.a.com x@y.org <b> --ar
    (555) 867-5309 4111111111111111 9.1.2.3 「猫」 кот café’s ﬁre _x_ naked eye blood!!!!!!!!!!! gore glass $5 i you
    would because 42 Straße ÉTÉ .jpg photo.jpg stock photo""".split()  # noqa: SIM905
# Python's Unicode tables are older than RE2's: what they lack is a letter to one and nothing to the other.
_known = st.characters(exclude_categories=("Cs", "Cn"))
_texts = st.lists(st.sampled_from(_WORDS), min_size=1, max_size=40).map(" ".join)


def alone(module, texts, expected):
    params = module.Params()
    found = []
    for row, (text, strings) in enumerate(zip(texts, expected, strict=True)):
        arguments = (row, text, strings, params) if module in WITH_TARGETS else (row, text, params)
        found.append(module.look(*arguments))
    return [finding for finding in found if finding is not None]


@pytest.mark.parametrize("module", [*PLAIN, *WITH_TARGETS], ids=lambda module: module.__name__.rpartition(".")[2])
def test_on_real_prompts_a_column_is_judged_like_each_text_alone(module, eval_data):
    rows = pq.read_table(eval_data / "pickapic_train.parquet", columns=["prompt"])["prompt"].to_pylist()
    rows += pq.read_table(eval_data / "laion_alttext.parquet", columns=["prompt"])["prompt"].to_pylist()
    rows = random.Random(5).sample([text for text in rows if text], 1200)
    expected = [[] for _ in rows]
    for line in (eval_data / "lex_bench_easy.jsonl", eval_data / "flow_grpo_ocr_test.jsonl"):
        if line.exists():
            some = [json.loads(each) for each in line.read_text("utf-8").splitlines()[:200]]
            rows += [each["prompt"] for each in some]
            expected += [each["expected_text"] for each in some]
    assert findings(module, rows, expected) == alone(module, rows, expected)


@settings(max_examples=40, deadline=None)
@given(st.lists(_texts, min_size=1, max_size=6))
def test_on_marks_of_every_kind_too(texts):
    expected = [[text.split(" ")[0]] if len(text) % 3 == 0 else [] for text in texts]
    for module in (*PLAIN, *WITH_TARGETS):
        assert findings(module, texts, expected) == alone(module, texts, expected), module.__name__


@settings(deadline=None)
@given(st.lists(st.one_of(_texts, st.text(_known, max_size=60)), min_size=1, max_size=8))
def test_a_column_is_cut_into_the_same_words_as_each_text(texts):
    texts = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
    tokens = tokens_of(pa.array(texts, pa.string()))
    words = tokens.vocabulary.to_pylist()
    cut = [
        [words[code] for code in tokens.codes[start:stop]]
        for start, stop in zip(tokens.starts[:-1], tokens.starts[1:], strict=True)
    ]
    assert cut == [words_in(text) for text in texts]


@settings(deadline=None)
@given(st.lists(_texts, min_size=1, max_size=8))
def test_logits_of_a_column_are_those_of_each_text(texts):
    assert model().logits(tokens_of(pa.array(texts))).tolist() == pytest.approx([model().logit(t) for t in texts])


def test_words_are_lower_case_runs_with_apostrophes_inside():
    assert words_in("Don't touch 'Grandma’s' 8k-photo_1, “É”!") == [
        *("don't", "touch", "grandma's", "8k", "photo", "1", "É")
    ]


@pytest.mark.parametrize("module", [*PLAIN, *WITH_TARGETS], ids=lambda module: module.__name__.rpartition(".")[2])
def test_empty_tables_and_texts_give_no_finding_but_of_naming_nothing(module):
    assert findings(module, []) == []
    assert [finding.reason for finding in findings(module, ["", ""])] in ([], ["names_nothing"] * 2)
