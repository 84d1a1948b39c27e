"""Prompts of profanity, sexual content, violence and slurs, by lists of whole words and phrases, masked or not.

Sexual content beside words for persons under age is dropped whatever the settings say, with neither words nor figures
in the finding. It stands first in a recipe, so that no other check drops such a row under a reason whose examples are
shown. `promptforge purge` removes the text itself.
Not covered: what is meant without being said, other languages than English, pictures; the filter `judge` asks a model.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import cache
from typing import Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from promptforge.filters.words.lists import load, plain, plain_text, screen, whole_words
from promptforge.filters.words.masked import SCREEN, Masked
from promptforge.protocols import Filter, Finding

VERSION = 2

Kind = Literal["sexual", "violent", "hateful", "profanity"]
#: Lists whose words make a prompt suspect.
_SCREENED = (*get_args(Kind), "suggestive", "minors_always")

_AGE = r"(?:(?:aged?|age of)[ :]*(?:[1-9]|1[0-7])|(?:[1-9]|1[0-7])[ -]*(?:years?[ -]*olds?|y\.?/?o|yr[ -]?olds?))"
_AGE_WORDS = (
    r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen)"
    r"[ -]years?[ -]olds?"
)


class Params(BaseModel):
    """Which kinds are dropped."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kinds: tuple[Kind, ...] = Field(
        get_args(Kind), description="kinds of words that drop a prompt; minors and sexual content always do"
    )
    max_words: int = Field(0, ge=0, le=100, description="listed words of one kind that a prompt may hold")


def build(params: Params) -> Filter:
    """The check."""
    return _Safety(params)


class _Safety:
    columns: tuple[str, ...] = ("text_clean",)

    def __init__(self, params: Params) -> None:
        self._params = params

    def __call__(self, rows: pa.Table) -> Sequence[Finding]:
        """`value` is the number of listed words, `detail` the first of them."""
        texts = plain(rows["text_clean"])
        suspects = pc.indices_nonzero(pc.match_substring_regex(texts, _screen()))
        some = _unmasked(texts.take(suspects))
        # Python's re is slow with long lists: each is looked for only where RE2 has seen one of its words.
        seen = {name: pc.match_substring_regex(some, _screen_of(name)).to_pylist() for name in _SCREENED}
        found = []
        for number, (row, text) in enumerate(zip(suspects.to_pylist(), some.to_pylist(), strict=True)):
            finding = _look(row, text, self._params, [name for name in _SCREENED if seen[name][number]])
            if finding is not None:
                found.append(finding)
        return found


def look(row: int, text: str, params: Params) -> Finding | None:
    """The word on one text."""
    return _look(row, _masked().shown(plain_text(text)), params, _SCREENED)


def _unmasked(texts: pa.Array) -> pa.Array:
    """Plain texts with masked words written out."""
    odd = pc.match_substring_regex(texts, SCREEN)
    shown = [_masked().shown(text) for text in texts.filter(odd).to_pylist()]
    return pc.replace_with_mask(texts, odd, pa.array(shown, pa.string()))


def _look(row: int, text: str, params: Params, lists: Collection[str]) -> Finding | None:
    """The same of a plain text; `lists` names those of which it may have words."""
    if _minors(text, lists):
        return Finding(row, "drop", "unsafe_sexual_minors")
    if not any(kind in lists for kind in params.kinds):
        return None
    text = _harmless().sub(" \u00b7 ", text)
    for kind in params.kinds:
        if kind not in lists:
            continue
        words = _words(kind).findall(text)
        if len(words) > params.max_words:
            return Finding(row, "drop", f"unsafe_{kind}", float(len(words)), float(params.max_words), words[0])
    return None


def _minors(text: str, lists: Collection[str]) -> bool:
    """Sexual content and persons under age in one text; no phrase excuses a word here."""
    if "minors_always" in lists and _words("minors_always").search(text):
        return True
    if not any(name in lists and _words(name).search(text) for name in ("sexual", "suggestive")):
        return False
    return bool(_words("minors").search(text) or _ages().search(text))


@cache
def _words(name: str) -> re.Pattern[str]:
    return whole_words(load(name))


@cache
def _harmless() -> re.Pattern[str]:
    return whole_words(load("harmless"), plural=False)


@cache
def _ages() -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z0-9])(?:{_AGE}|{_AGE_WORDS})(?![a-z0-9])")


@cache
def _masked() -> Masked:
    return Masked(word for name in (*_SCREENED, "minors") for word in load(name))


@cache
def _screen() -> str:
    """Whatever the look can drop has one of these or a mask; words for minors drop nothing by themselves."""
    return f"{screen(sorted({word for name in _SCREENED for word in load(name)}))}|{SCREEN}"


@cache
def _screen_of(name: str) -> str:
    return screen(load(name))
