"""The expected-text contract: a text_rendering prompt names the strings to be drawn, and they stand in it.

A student that is to learn writing needs a prompt that says what to write; the scorers need the same strings. Further
bounds are off unless set: quotes that close, scripts that the teacher's alphabet has, strings that a person can read.
Not covered: the language of a string, which a few words do not tell; its spelling.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from promptforge import quotes
from promptforge.protocols import Filter, Finding
from promptforge.records import Axis
from promptforge.texts import fold, n_words

VERSION = 1

Script = Literal["latin", "greek", "cyrillic", "han", "kana", "hangul", "arabic", "hebrew", "devanagari", "thai"]

_OTHER_QUOTES = "“”„‟＂〝〞«»‹›「」『』"
_ENDLESS = 25  # letters of one word: longer ones are no words
_RANDOM = 8  # characters of a word that mixes letters and digits again and again
_SWITCHES = 3
# For RE2: what `_is_noise` may take for noise holds one of these.
_UNREADABLE = (
    rf"[^\s]{{{_ENDLESS + 1}}}|[B-DF-HJ-NP-TV-XZb-df-hj-np-tv-xz]{{5}}|\p{{Nd}}[^\s\p{{Nd}}]+\p{{Nd}}|"
    r"[^\s\p{Nd}]\p{Nd}+[^\s\p{Nd}]"
)
_VOWELS = re.compile(r"[aeiouyàâäãåáæèéêëìíîïòóôöõøœùúûüýÿ]", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z]{5,}")


class Params(BaseModel):
    """Bounds on what a prompt asks to be drawn; none by default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_words: int | None = Field(
        None, ge=1, le=1000, description="words of all strings together; teachers seldom draw more than ten right"
    )
    max_chars: int | None = Field(
        None, ge=1, le=8000, description="characters of the longest string; more does not fit a line of a sign"
    )
    balanced_quotes: bool = Field(False, description="whether a quotation mark that is never closed drops a row")
    scripts: tuple[Script, ...] = Field(
        (), description="scripts in which the strings may be written; none named: every one"
    )
    readable: bool = Field(
        False,
        description="whether a string that nobody could read drops a row: no letter or digit, letters without a vowel,"
        " endless or random words",
    )


def build(params: Params) -> Filter:
    """The check."""
    return _ExpectedText(params)


class _ExpectedText:
    columns: tuple[str, ...] = ("text_clean", "axis", "expected_text", "expected_origin")

    def __init__(self, params: Params) -> None:
        self._params = params

    def __call__(self, rows: pa.Table) -> Sequence[Finding]:
        """Rows of every axis: a source may give strings that do not occur, whatever the row is for."""
        lengths = pc.fill_null(pc.list_value_length(rows["expected_text"]), 0)
        wanted = pc.equal(rows["axis"], str(Axis.TEXT_RENDERING))
        missing = pc.and_(wanted, pc.equal(lengths, 0))
        found = [Finding(row, "drop", "no_expected_text", 0.0, 1.0) for row in pc.indices_nonzero(missing).to_pylist()]
        if self._params.balanced_quotes:
            found += self._unbalanced(rows, pc.and_(wanted, pc.greater(lengths, 0)))
        given = pc.equal(rows["expected_origin"], "source")
        if self._params.max_words or self._params.max_chars or self._params.scripts or self._params.readable:
            given = pc.fill_null(pc.or_kleene(given, wanted), False)
        # Strings that were parsed from the text stand in it: only given ones need a look.
        from_source = pc.fill_null(pc.equal(rows["expected_origin"], "source"), False)
        doubtful = pc.or_(from_source, pa.array(self._doubtful(rows["expected_text"])))
        given = pc.and_(pc.fill_null(given, False), doubtful)
        look = pc.indices_nonzero(pc.and_(given, pc.greater(lengths, 0)))
        some = rows.take(look).to_pylist()
        for row, values in zip(look.to_pylist(), some, strict=True):
            finding = self._look(row, values["text_clean"], values["expected_text"], values["expected_origin"])
            if finding is not None:
                found.append(finding)
        first = {finding.row: finding for finding in reversed(found)}
        return [first[row] for row in sorted(first)]

    def _doubtful(self, column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        """Rows with strings that a bound may drop; every row that one would drop is among them."""
        params = self._params
        lists = column.combine_chunks()
        found = np.zeros(len(lists), bool)
        rows = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
        strings = pc.list_flatten(lists)
        hits = np.zeros(len(strings), bool)
        if params.max_words is not None:
            blanks = pc.count_substring_regex(strings, r"[\s\x{1c}-\x{1f}\x{85}\pZ]+").to_numpy(zero_copy_only=False)
            found |= np.bincount(rows, blanks + 1, minlength=len(lists)) > params.max_words
        if params.max_chars is not None:
            hits |= pc.utf8_length(strings).to_numpy(zero_copy_only=False) > params.max_chars
        if params.scripts:
            hits |= ~pc.string_is_ascii(strings).to_numpy(zero_copy_only=False) | ("latin" not in params.scripts)
        if params.readable:
            hits |= pc.match_substring_regex(strings, _UNREADABLE).to_numpy(zero_copy_only=False)
            hits |= ~pc.match_substring_regex(strings, r"[\pL\pN]").to_numpy(zero_copy_only=False)
        found[rows[hits]] = True
        return found

    def _unbalanced(self, rows: pa.Table, wanted: pa.ChunkedArray) -> list[Finding]:
        text = rows["text_clean"]
        odd = pc.equal(pc.bit_wise_and(pc.count_substring(text, '"'), 1), 1)
        marked = pc.or_(odd, pc.match_substring_regex(text, f"[{_OTHER_QUOTES}]"))
        suspects = pc.indices_nonzero(pc.and_(marked, pc.fill_null(wanted, False)))
        return [
            Finding(row, "drop", "unbalanced_quotes", float(n), 0.0)
            for row, value in zip(suspects.to_pylist(), text.take(suspects).to_pylist(), strict=True)
            if (n := n_unclosed(value))
        ]

    def _look(self, row: int, text: str, strings: list[str], origin: str) -> Finding | None:
        if origin == "source":
            absent = [string for string in strings if not _occurs(string, text)]
            if absent:
                return Finding(row, "drop", "expected_text_not_in_prompt", float(len(absent)), 0.0, absent[0])
        words, chars = sum(map(n_words, strings)), max(map(len, strings))
        if self._params.max_words is not None and words > self._params.max_words:
            return Finding(row, "drop", "too_many_words", float(words), float(self._params.max_words))
        if self._params.max_chars is not None and chars > self._params.max_chars:
            return Finding(row, "drop", "too_long_target", float(chars), float(self._params.max_chars))
        if self._params.scripts:
            others = sorted({script for string in strings for script in scripts_of(string)} - {*self._params.scripts})
            if others:
                return Finding(row, "drop", "other_script", float(len(others)), 0.0, ", ".join(others))
        if self._params.readable:
            unreadable = [string for string in strings if not _is_readable(string)]
            if unreadable:
                return Finding(row, "drop", "unreadable_text", float(len(unreadable)), 0.0, unreadable[0][:80])
        return None


def n_unclosed(text: str) -> int:
    """Quotation marks that open and never close; an even number of straight marks alone is taken for closed."""
    if text.count('"') % 2 == 0 and not any(mark in text for mark in _OTHER_QUOTES):
        return 0
    return sum(span.inner == span.end for span in quotes.spans(text))


def scripts_of(string: str) -> frozenset[str]:
    """Scripts of its letters, by the names of the characters; one that has no name here is "other"."""
    return frozenset(_script(character) for character in string if character.isalpha())


def _script(character: str) -> str:
    if character.isascii():
        return "latin"
    word = unicodedata.name(character, "").split(" ")[0].split("-")[0].lower()
    word = {"cjk": "han", "hiragana": "kana", "katakana": "kana", "fullwidth": "latin"}.get(word, word)
    return word if word in get_args(Script) else "other"


def _is_readable(string: str) -> bool:
    words = re.findall(r"\w+", string)
    if not any(character.isalnum() for character in string):
        return False
    return not any(_is_noise(word) for word in words)


def _is_noise(word: str) -> bool:
    if len(word) > _ENDLESS and scripts_of(word) <= {"latin"}:
        return True
    if _PLAIN.fullmatch(word) and not word.isupper() and not _VOWELS.search(word):
        return True
    kinds = [character.isdigit() for character in word]
    switches = sum(one != other for one, other in pairwise(kinds))
    return len(word) >= _RANDOM and switches >= _SWITCHES


def _occurs(string: str, text: str) -> bool:
    """Whole words of the folded text; where blanks are not written, any place of it."""
    needle = fold(string)
    if not any(character.isalnum() for character in needle):
        return string.strip() in text
    if needle.isascii():
        return f" {needle} " in f" {fold(text)} "
    return needle in fold(text)
