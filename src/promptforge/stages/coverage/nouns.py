"""Which words of a prompt are nouns, for the measures that count what is in pictures; a whole column at once.

A word has a class by a list (nouns.toml), else by its ending, else it is taken for a noun. One that can be a noun or
something else is decided by its neighbours: after an article, number, adjective or preposition it is a noun, between a
noun and an article or preposition a verb, before a noun an adjective. Names count as nouns, words with digits do not.
Plurals fold to singulars, each word by itself: `teddy bear` is two nouns. Words within double quotes or curly ones are
to be drawn and count for nothing.

Measured on 70 prompts that were drawn from nine public sets and labelled by hand before they were looked at (348 nouns,
names and nouns before nouns among them): precision 0.965, recall 0.957; on 117 prompts (560 nouns) that it was tuned on
0.984 and 0.966. In T2I-CompBench's colour template it finds the two things and little else: 0.98 at least for both.
250,000 prompts of 9 words a second on one core, 70,000 of 17.
Not covered: languages other than English, where nearly every word is a noun; words in single quotes; compounds.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from promptforge.filters.words.tokens import Ints, Tokens, tokens_of
from promptforge.records import digest_of

VERSION = 1

_OTHER, _NOUN, _ADJECTIVE, _VERB, _DETERMINER, _PREPOSITION, _EITHER, _QUALITY = range(1, 9)
_TO = -1
#: Endings that make no noun where no list says so; the first that fits counts. At least three letters stand before one.
_ENDINGS = (
    *(("ly", _OTHER), ("ing", _VERB), ("ed", _VERB), ("ize", _VERB), ("izes", _VERB)),
    *((end, _ADJECTIVE) for end in "ous ful less able ible ish esque ive ical ic iest like shaped sized".split()),  # noqa: SIM905
)
_QUOTED = r'"[^"]*"|“[^“”]*”|«[^«»]*»|„[^„“”]*[“”]'
_BREAK = "xqbreakqx"  # stands where a comma or full stop parts words, since cutting into words forgets them


@dataclass(frozen=True, slots=True)
class Nouns:
    """The nouns of n rows: row[i] has vocabulary[noun[i]], each pair once, sorted by row and noun."""

    row: Ints
    noun: Ints
    vocabulary: pa.Array

    def lists(self, n_rows: int) -> pa.Array:
        """The nouns of each row, as the column of a table."""
        counts = np.bincount(self.row, minlength=n_rows)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), self.vocabulary.take(pa.array(self.noun)))


def nouns_of(texts: pa.ChunkedArray | pa.Array) -> Nouns:
    """Nouns of every text, each once; no text may be null."""
    column = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    marked = pc.match_substring_regex(column, '["“«„]')
    if pc.any(marked, min_count=0).as_py():
        bare = pc.replace_substring_regex(column.filter(marked), _QUOTED, " , ")
        column = pc.replace_with_mask(column, marked, bare)
    for mark in (", ", ". "):
        column = pc.replace_substring(column, mark, f" {_BREAK} ")
    tokens = tokens_of(column)
    words = tokens.vocabulary.to_pylist()
    found = np.flatnonzero(_is_noun(tokens, _classes(words)))
    singulars = pa.array([singular(word) for word in words], pa.string()).dictionary_encode()
    vocabulary = singulars.dictionary
    nouns = singulars.indices.to_numpy().astype(np.int64)[tokens.codes[found]]
    rows = np.repeat(np.arange(len(tokens.counts)), tokens.counts)[found]
    pairs = np.unique(rows * max(len(vocabulary), 1) + nouns)
    return Nouns(pairs // max(len(vocabulary), 1), pairs % max(len(vocabulary), 1), vocabulary)


def _classes(words: list[str]) -> npt.NDArray[np.int8]:
    table = _table()
    return np.fromiter((table.get(word) or _class_of(word) for word in words), np.int8, len(words))


def _class_of(word: str) -> int:
    """The class of a word that no list has, by how it looks. A possessive has that of its owner."""
    if word.endswith("'s") and len(word) > 2:
        return _table().get(word[:-2]) or _NOUN
    if len(word) == 1 or any(letter.isdigit() for letter in word):
        return _OTHER
    return next((kind for end, kind in _ENDINGS if word.endswith(end) and len(word) > len(end) + 2), _NOUN)


def _is_noun(tokens: Tokens, classes: npt.NDArray[np.int8]) -> npt.NDArray[np.bool_]:
    kind = classes[tokens.codes]
    found: npt.NDArray[np.bool_] = kind == _NOUN
    open_ = np.flatnonzero(kind >= _EITHER)
    first = np.zeros(len(kind) + 1, bool)
    first[tokens.starts] = True
    before = np.where(first[open_], _OTHER, kind[open_ - 1])
    after = np.where(first[open_ + 1], _OTHER, kind[np.minimum(open_ + 1, len(kind) - 1)])
    leads = np.isin(before, (_DETERMINER, _PREPOSITION, _ADJECTIVE, _QUALITY))
    # A verb has its subject before it and an object or a place behind it: "a dog walks in", not "evening walks".
    verb = ((before == _NOUN) & np.isin(after, (_DETERMINER, _PREPOSITION))) | (before == _TO)
    # A quality word is a noun where none follows: "an orange and", "soft light,", not "light blue", "orange sky".
    alone = (leads | (before == _NOUN)) & ~np.isin(after, (_NOUN, _ADJECTIVE, _EITHER, _QUALITY))
    found[open_] = np.where(kind[open_] == _QUALITY, alone, leads | ~verb)
    return found


def singular(word: str) -> str:
    """The singular of a noun in lower case; a singular stays."""
    word = word.removesuffix("'s")
    known = _plurals().get(word)
    if known is not None:
        return known
    if not word.endswith("s") or len(word) < 4 or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes", "zzes", "oes")):
        return word[:-2]
    return word[:-1]


@cache
def _raw() -> dict[str, Any]:
    return tomllib.loads((resources.files(__package__) / "nouns.toml").read_text("utf-8"))


def digest() -> str:
    """64 hex digits over the lists and the rules."""
    return digest_of([VERSION, _raw()])


@cache
def _table() -> Mapping[str, int]:
    """Word -> class; a word in two lists has that of the later one here."""
    raw = _raw()
    kinds = {
        "verbs": _VERB,
        "adjectives": _ADJECTIVE,
        "either": _EITHER,
        "qualities": _QUALITY,
        "nouns": _NOUN,
        "closed": _OTHER,
        "prepositions": _PREPOSITION,
        "numbers": _DETERMINER,
        "determiners": _DETERMINER,
    }
    found = {word: kind for name, kind in kinds.items() for word in raw[name].split()}
    return {**found, "to": _TO, _BREAK: _OTHER}


@cache
def _plurals() -> Mapping[str, str]:
    raw = _raw()
    return {**{word: word for word in raw["singular"]["words"].split()}, **raw["plural"]}
