"""Length of a prompt in words and in characters.

Words are split at white space. Chinese, Japanese, Thai and their neighbours write no blanks, so a text that is mostly
of such a script is held against the character limits alone, each of its characters counted as two: a tokenizer gives
it about as many tokens as two Latin letters or more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, model_validator

from promptforge.protocols import Filter, Finding

VERSION = 1

_NO_BLANKS = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"


class Params(BaseModel):
    """Bounds; a text at a bound passes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_words: int = Field(
        2, ge=0, le=1000, description="one word alone says nothing to bind; only for scripts with blanks"
    )
    max_words: int = Field(
        120,
        ge=1,
        le=4000,
        description="T5 reads 77 tokens in the paper's training, some 55 English words: the rest is unseen by student"
        " and teacher alike, so a longer prompt is harmless, but far beyond it teaches nothing more",
    )
    min_chars: int = Field(4, ge=0, le=8000, description="code points; the least for any script")
    max_chars: int = Field(
        800, ge=1, le=8000, description="code points: 120 words of 5.6 letters and a blank; bounds one endless word"
    )
    near_share: float = Field(
        0.1, ge=0, lt=1, description="a pass this close to a bound, as a share of it, is recorded as a near miss"
    )

    @model_validator(mode="after")
    def _bounds_leave_room(self) -> Self:
        for unit in ("words", "chars"):
            low, high = getattr(self, f"min_{unit}"), getattr(self, f"max_{unit}")
            if low > high:
                raise ValueError(f"min_{unit} {low} is above max_{unit} {high}: nothing could pass")
        return self


def build(params: Params) -> Filter:
    """The check."""
    return _Length(params)


class _Length:
    columns: tuple[str, ...] = ("text_clean", "n_words", "n_chars")

    def __init__(self, params: Params) -> None:
        self._params = params

    def __call__(self, rows: pa.Table) -> Sequence[Finding]:
        """`value` and `threshold` are in the unit that `detail` names: words or characters."""
        params = self._params
        chars, words = rows["n_chars"], rows["n_words"]
        dense = pc.count_substring_regex(rows["text_clean"], _NO_BLANKS)
        no_blanks = pc.greater(pc.multiply(dense, 2), chars)
        chars = pc.add(chars, pc.if_else(no_blanks, dense, 0))
        words = pc.if_else(no_blanks, pa.scalar(None, pa.int32()), words)
        found: dict[int, Finding] = {}
        for verdict, share in (("drop", 0.0), ("near_miss", params.near_share)):
            for unit, values, low, high in (
                ("words", words, params.min_words, params.max_words),
                ("characters", chars, params.min_chars, params.max_chars),
            ):
                # Near a bound means strictly within the share of it, so that a share of 0 finds nothing.
                for row, value in _where(values, pc.less(values, low * (1 + share))):
                    found.setdefault(row, _finding(row, verdict, "too_short", value, low, unit))
                for row, value in _where(values, pc.greater(values, high * (1 - share))):
                    found.setdefault(row, _finding(row, verdict, "too_long", value, high, unit))
        return [found[row] for row in sorted(found)]


def _finding(row: int, verdict: str, reason: str, value: int, threshold: int, unit: str) -> Finding:
    return Finding(row, "drop" if verdict == "drop" else "near_miss", reason, float(value), float(threshold), unit)


def _where(values: pa.ChunkedArray, mask: pa.ChunkedArray) -> Iterator[tuple[int, int]]:
    indices = pc.indices_nonzero(pc.fill_null(mask, False))
    return zip(indices.to_pylist(), values.take(indices).to_pylist(), strict=True)
