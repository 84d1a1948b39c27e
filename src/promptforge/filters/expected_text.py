"""The expected-text contract: a text_rendering prompt names the strings to be drawn, and they stand in it.

A student that is to learn writing needs a prompt that says what to write; the scorers need the same strings.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from promptforge.protocols import Filter, Finding
from promptforge.records import Axis
from promptforge.texts import fold, n_words

VERSION = 1


class Params(BaseModel):
    """Bounds on what a prompt asks to be drawn; none by default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_words: int | None = Field(
        None, ge=1, le=1000, description="words of all strings together; teachers seldom draw more than ten right"
    )
    max_chars: int | None = Field(
        None, ge=1, le=8000, description="characters of the longest string; more does not fit a line of a sign"
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
        given = pc.equal(rows["expected_origin"], "source")
        if self._params.max_words is not None or self._params.max_chars is not None:
            given = pc.fill_null(pc.or_kleene(given, wanted), False)
        # Strings that were parsed from the text stand in it: only given ones need a look.
        look = pc.indices_nonzero(pc.and_(pc.fill_null(given, False), pc.greater(lengths, 0)))
        some = rows.take(look).to_pylist()
        for row, values in zip(look.to_pylist(), some, strict=True):
            finding = self._look(row, values["text_clean"], values["expected_text"], values["expected_origin"])
            if finding is not None:
                found.append(finding)
        return sorted(found, key=lambda finding: finding.row)

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
        return None


def _occurs(string: str, text: str) -> bool:
    """Whole words of the folded text; where blanks are not written, any place of it."""
    needle = fold(string)
    if not any(character.isalnum() for character in needle):
        return string.strip() in text
    if needle.isascii():
        return f" {needle} " in f" {fold(text)} "
    return needle in fold(text)
