"""The language of a prompt: is it one of those that teacher and student are to learn?

Short texts are hard for identifiers (a photo of a bench is taken for Dutch), and most prompts are plainly English, so
English is told by its words first: by small words that no other language here has, then by the share of known words.
What is left, and every other language, goes to py3langid (97 languages, a byte n-gram model in its package, no
network), held to the languages named here. Strings to be drawn are left out: a sign may be in any language.
Not covered: texts under `min_words` words, which pass where their script does; dialects; code.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, field_validator

from promptforge.filters.words.identify import LANGUAGES, READ, identified, identifier
from promptforge.filters.words.lists import load
from promptforge.filters.words.tokens import Floats, tokens_of, words_in
from promptforge.filters.words.visual import model
from promptforge.protocols import Filter, Finding

VERSION = 1

_ENOUGH = 0.3  # share of words that English knows, less those of other languages
_SOME = 0.2  # up to _ENOUGH: names and inventions among English words, more of which only a sure identifier outweighs
_SURE = 0.9
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f\u1e00-\u1eff]")
_DIGIT = re.compile("[0-9]")
_LETTER = re.compile(r"[^\W\d_]")


class Params(BaseModel):
    """Which languages pass."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    languages: tuple[str, ...] = Field(("en",), min_length=1, description="ISO 639-1 codes of the languages that pass")
    min_words: int = Field(
        3, ge=1, le=100, description="words from which a language is told; of fewer only the script is looked at"
    )
    min_probability: float = Field(
        0.5, ge=0, le=1, description="of the identifier; below it the prompt passes with a near miss"
    )

    @field_validator("languages")
    @classmethod
    def _are_known(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(languages) - set(LANGUAGES))
        if unknown:
            raise ValueError(f"languages {', '.join(unknown)}: there are {', '.join(LANGUAGES)}")
        return languages


def identity(params: Params) -> dict[str, Any]:
    """The identifier's version: its model comes with it."""
    del params
    from importlib.metadata import version

    return {"py3langid": version("py3langid")}


def build(params: Params) -> Filter:
    """The check; the identifier is loaded when the first text needs it."""
    return _Language(params)


class _Language:
    columns: tuple[str, ...] = ("text_clean", "expected_text")

    def __init__(self, params: Params) -> None:
        self._params = params

    def __call__(self, rows: pa.Table) -> Sequence[Finding]:
        """`value` is the identifier's probability, `detail` the language that it names."""
        suspects = self._suspects(rows["text_clean"])
        some = rows.select(list(self.columns)).take(pa.array(suspects, pa.int64())).to_pylist()
        doubts = [_doubt(each["text_clean"], each["expected_text"] or (), self._params) for each in some]
        open_ones = [(row, doubt) for row, doubt in zip(suspects, doubts, strict=True) if doubt is not None]
        told = identified([doubt.text for _, doubt in open_ones])
        found = [_finding(row, doubt, *said, self._params) for (row, doubt), said in zip(open_ones, told, strict=True)]
        return [finding for finding in found if finding is not None]

    def _suspects(self, text: pa.ChunkedArray) -> list[int]:
        """Rows that are not plainly English."""
        if "en" not in self._params.languages:
            return list(range(len(text)))
        plainly = pc.and_(pc.string_is_ascii(text), pc.match_substring_regex(text, _screen_of("en")))
        plainly = pc.and_(plainly, pc.invert(pc.match_substring_regex(text, _screen_of("others"))))
        rest = pc.indices_nonzero(pc.invert(plainly))
        some = text.take(rest)
        tokens = tokens_of(some)
        signs = _signs(tokens.vocabulary)
        plain = pc.invert(pc.match_substring_regex(tokens.vocabulary, "[0-9]")).to_numpy(zero_copy_only=False)
        counts = tokens.sums(plain.astype(np.float64))
        shares = tokens.sums(signs * plain) / np.maximum(counts, 1)
        latin = pc.invert(pc.match_substring_regex(some, r"[^\P{L}\p{Latin}]")).to_numpy(zero_copy_only=False)
        known = (shares >= _ENOUGH) & latin & (counts > 0)
        found: list[int] = rest.filter(pa.array(~known)).to_pylist()
        return found


def look(row: int, text: str, expected: Sequence[str], params: Params) -> Finding | None:
    """The word on one text; `expected` are its strings to be drawn."""
    if "en" in params.languages and _plainly_english(text):
        return None
    doubt = _doubt(text, expected, params)
    return None if doubt is None else _finding(row, doubt, *_identified(doubt.text), params)


class _Doubt(NamedTuple):
    """A text whose language must be told: without its strings to be drawn, and what its letters and words say."""

    text: str
    foreign: bool
    share: float


def _doubt(text: str, expected: Sequence[str], params: Params) -> _Doubt | None:
    """What is left of a text that is not plainly English; None where nothing is to be told."""
    for string in sorted(filter(None, expected), key=len, reverse=True):
        text = text.replace(string, " ")
    letters, latin = len(_LETTER.findall(text)), len(_LATIN.findall(text))
    if letters == 0:
        return None
    foreign = latin * 2 < letters
    words = words_in(text)
    if not foreign and len(words) < params.min_words:
        return None
    share = _share(words)
    if "en" in params.languages and not foreign and share >= _ENOUGH:
        return None
    return _Doubt(text, foreign, share)


def _finding(row: int, doubt: _Doubt, language: str, probability: float, params: Params) -> Finding | None:
    """What follows from the identifier's language and probability."""
    if language in params.languages:
        return None
    trusted = doubt.foreign or doubt.share < _SOME or probability >= _SURE or "en" not in params.languages
    sure = probability >= params.min_probability and trusted
    detail, value = language, round(probability, 3)
    if sure:
        return Finding(row, "drop", "other_language", value, params.min_probability, detail)
    return Finding(row, "near_miss", "language_uncertain", value, params.min_probability, detail)


def _plainly_english(text: str) -> bool:
    """What the column's screen says of one text."""
    if text.isascii() and _pattern("en").search(text) and not _pattern("others").search(text):
        return True
    words = words_in(text)
    others = any(not _is_latin(letter) for letter in _LETTER.findall(text)) if not text.isascii() else False
    return bool(words) and not others and _share(words) >= _ENOUGH


def _is_latin(letter: str) -> bool:
    return bool(_LATIN.match(letter)) or letter in "ªº" or "\uff21" <= letter <= "\uff5a" or letter in "ﬀﬁﬂﬃﬄ"


def _share(words: Sequence[str]) -> float:
    """Words that English knows less those of other languages; what holds a digit is of no language."""
    known, others = _known(), _others()
    words = [word for word in words if not _DIGIT.search(word)]
    return sum((word in known) - (word in others) for word in words) / max(len(words), 1)


def _signs(words: pa.Array) -> Floats:
    known = pc.is_in(words, value_set=pa.array(sorted(_known()))).to_numpy(zero_copy_only=False)
    others = pc.is_in(words, value_set=pa.array(sorted(_others()))).to_numpy(zero_copy_only=False)
    found: Floats = known.astype(np.float64) - others
    return found


@cache
def _known() -> frozenset[str]:
    """English words of prompts."""
    own = {word for word in model().weights if not word.startswith("<") and (len(word) > 1 or word == "a")}
    own |= {word for line in load("vague") for word in line.split()} | set(_tables()["en"])
    return frozenset(own - _others())


@cache
def _others() -> frozenset[str]:
    """Small words of the other languages."""
    english = set(_tables()["en"])
    return frozenset(word for name, words in _tables().items() if name != "en" for word in words) - english


@cache
def _tables() -> dict[str, list[str]]:
    text = (resources.files("promptforge.filters.words") / "function_words.toml").read_text("utf-8")
    return {name: words.split() for name, words in tomllib.loads(text).items()}


@cache
def _alternation(name: str) -> str:
    words = set(_tables()["en"]) if name == "en" else _others()
    return "|".join(sorted(filter(str.isascii, words)))


@cache
def _screen_of(name: str) -> str:
    return rf"(?i)\b(?:{_alternation(name)})\b"


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(_screen_of(name), re.ASCII)


def _identified(text: str) -> tuple[str, float]:
    """The identifier's language and its probability."""
    language, probability = identifier().classify(text[:READ].lower())
    return str(language), float(probability)
