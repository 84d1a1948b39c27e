"""Prompts that say the same again and again: one word in a row, few different words, one phrase throughout, "!!!!!!".

Two bounds that cost little pass most rows: no byte stands eight times in a row, no word beside itself, and the words
fall into enough of 256 bins by their first and last letters and lengths (equal words share a bin, so bins never
outnumber words). Only the rest is cut into words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from promptforge.filters.words.tokens import blanked, words_in
from promptforge.protocols import Filter, Finding

VERSION = 1

_PHRASE = 3  # words
_BINS = 256
_SCRIPTS_WITHOUT_BLANKS = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


class Params(BaseModel):
    """Bounds; a text at a bound passes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_in_a_row: int = Field(3, ge=1, le=100, description="times that one word may stand in a row")
    max_same_character: int = Field(
        9, ge=7, le=1000, description="times that one character may stand in a row; blanks and digits count like others"
    )
    min_distinct_share: float = Field(
        0.35, ge=0, le=1, description="share of different words in a text of min_words and more"
    )
    max_phrase_share: float = Field(
        0.5, gt=0, le=1, description="share of the words that the most frequent run of three words covers, likewise"
    )
    min_words: int = Field(12, ge=6, le=1000, description="words from which the two shares are looked at")


def build(params: Params) -> Filter:
    """The check."""
    return _Repetition(params)


class _Repetition:
    columns: tuple[str, ...] = ("text_clean",)

    def __init__(self, params: Params) -> None:
        self._params = params

    def __call__(self, rows: pa.Table) -> Sequence[Finding]:
        """`detail` is the word, character or phrase that comes back."""
        texts = rows["text_clean"].combine_chunks()
        suspects = np.flatnonzero(_suspicious(pc.ascii_lower(texts), self._params))
        found = []
        for row, text in zip(suspects.tolist(), texts.take(pa.array(suspects)).to_pylist(), strict=True):
            finding = look(row, text, self._params)
            if finding is not None:
                found.append(finding)
        return found


def look(row: int, text: str, params: Params) -> Finding | None:
    """The word on one text."""
    run = re.search(rf"(.)\1{{{params.max_same_character},}}", text, re.IGNORECASE)
    if run:
        length = float(len(run[0]))
        return Finding(row, "drop", "repeated_character", length, float(params.max_same_character), run[1])
    words = words_in(text)
    in_a_row = _in_a_row(words)
    if in_a_row[1] > params.max_in_a_row:
        return Finding(row, "drop", "repeated_word", float(in_a_row[1]), float(params.max_in_a_row), in_a_row[0][:80])
    if len(words) < params.min_words or _SCRIPTS_WITHOUT_BLANKS.search(text):
        return None
    counts = Counter(words)
    share = round(len(counts) / len(words), 4)
    if share < params.min_distinct_share:
        word = max(counts, key=lambda each: (counts[each], each))
        return Finding(row, "drop", "few_different_words", share, params.min_distinct_share, word[:80])
    phrase, covered = _widest_phrase(words)
    if covered > params.max_phrase_share:
        return Finding(row, "drop", "repeated_phrase", covered, params.max_phrase_share, " ".join(phrase)[:80])
    return None


def _in_a_row(words: Sequence[str]) -> tuple[str, int]:
    best, last, length = ("", 0), "", 0
    for word in words:
        length = length + 1 if word == last else 1
        last = word
        if length > best[1]:
            best = (word, length)
    return best


def _widest_phrase(words: Sequence[str]) -> tuple[tuple[str, ...], float]:
    """The run of three words that comes back and covers most, and its share of the words."""
    places: dict[tuple[str, ...], list[int]] = {}
    for at in range(len(words) - _PHRASE + 1):
        places.setdefault(tuple(words[at : at + _PHRASE]), []).append(at)
    best: tuple[str, ...] = ()
    most = 0
    for phrase, found in places.items():
        if len(found) > 1:
            n = _PHRASE + sum(min(_PHRASE, after - before) for before, after in pairwise(found))
            if n > most:
                best, most = phrase, n
    return best, round(most / len(words), 4)


def _suspicious(texts: pa.Array, params: Params) -> npt.NDArray[np.bool_]:
    """Rows that `look` might drop; every row that it would drop is among them."""
    n = len(texts)
    if n == 0 or texts.buffers()[2] is None:
        return np.zeros(n, bool)
    edges = np.frombuffer(texts.buffers()[1], np.int32)[: n + 1].astype(np.int64)
    data = np.frombuffer(texts.buffers()[2], np.uint8)[: edges[-1]]
    found = np.zeros(n, bool)
    # Other letters than ASCII, of several bytes each, are looked at row by row.
    found |= pc.invert(pc.string_is_ascii(texts)).to_numpy(zero_copy_only=False)
    same = data[1:] == data[:-1]
    for step in (1, 2, 3):  # runs of 2, 4 and 7 equal neighbours: 8 equal bytes
        same = same[step:] & same[:-step]
    _mark(found, edges, np.flatnonzero(same))
    data = np.frombuffer(blanked(texts).buffers()[2], np.uint8)[: edges[-1]]
    inside = data != ord(" ")
    change = np.flatnonzero(np.diff(inside.view(np.int8), prepend=0, append=0))
    starts, ends = change[::2], change[1::2]
    if len(starts) == 0:
        return found
    # A word may run from one text into the next: such a pair is parted where the next text begins.
    starts, ends = _parted(starts, ends, edges)
    first, last, size = data[starts].astype(np.int64), data[ends - 1].astype(np.int64), ends - starts
    second = data[np.minimum(starts + 1, ends - 1)].astype(np.int64)
    name = (first * 31 + second * 57 + last * 7 + size * 13) & (_BINS - 1)
    row_of = np.searchsorted(edges, starts, side="right") - 1
    beside = (name[1:] == name[:-1]) & (row_of[1:] == row_of[:-1]) & (size[1:] == size[:-1])
    for _ in range(params.max_in_a_row - 1):
        beside = beside[1:] & beside[:-1]
    found[row_of[np.flatnonzero(beside)]] = True
    firsts = np.flatnonzero(np.diff(row_of, prepend=-1))
    bins = np.zeros(len(firsts), np.int64)
    bit = np.uint64(1) << (name & 63).astype(np.uint64)
    for part in range(_BINS // 64):
        bins += np.bitwise_count(np.bitwise_or.reduceat(np.where(name >> 6 == part, bit, np.uint64(0)), firsts))
    words = np.diff(np.append(firsts, len(starts)))
    # A phrase of three that covers more than a share s of n words leaves fewer than (1 - s) * n + 3 different ones.
    most = np.maximum(params.min_distinct_share * words, (1 - params.max_phrase_share) * words + _PHRASE)
    few = (bins < most) & (words >= params.min_words)
    found[row_of[firsts[few]]] = True
    return found


def _mark(found: npt.NDArray[np.bool_], edges: npt.NDArray[np.int64], places: npt.NDArray[np.int64]) -> None:
    found[np.searchsorted(edges, places, side="right") - 1] = True


def _parted(
    starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], edges: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Runs of word bytes, cut where one text ends and the next begins."""
    inner = np.unique(edges[1:-1])
    at = np.searchsorted(starts, inner, side="right") - 1
    cut = inner[(at >= 0) & (inner > starts[np.maximum(at, 0)]) & (inner < ends[np.maximum(at, 0)])]
    return np.sort(np.concatenate([starts, cut])), np.sort(np.concatenate([ends, cut]))
