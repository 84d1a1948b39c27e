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

from promptforge.filters.words.tokens import lowered, parted, words_in
from promptforge.protocols import Filter, Finding

VERSION = 1

_PHRASE = 3  # words
_SAME_LETTERS = r"[^\x00-\x7f]{8}"  # may be one letter of several bytes, eight times
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
    run = re.search(rf"(.)\1{{{params.max_same_character},}}", lowered(text))
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
    runs = list(zip(words, words[1:], words[2:], strict=False))
    if len(set(runs)) == len(runs):
        return (), 0.0
    places: dict[tuple[str, ...], list[int]] = {}
    for at, run in enumerate(runs):
        places.setdefault(run, []).append(at)
    best: tuple[str, ...] = ()
    most = 0
    for phrase, found in places.items():
        if len(found) > 1:
            n = _PHRASE + sum(min(_PHRASE, after - before) for before, after in pairwise(found))
            if n > most:
                best, most = phrase, n
    return best, round(most / len(words), 4)


def _suspicious(texts: pa.Array, params: Params) -> npt.NDArray[np.bool_]:
    """Rows that `look` might drop; every row that it would drop is among them. `texts` are lowered."""
    n = len(texts)
    if n == 0 or texts.buffers()[2] is None:
        return np.zeros(n, bool)
    found: npt.NDArray[np.bool_] = np.zeros(n, bool)
    foreign = np.flatnonzero(~pc.string_is_ascii(texts).to_numpy(zero_copy_only=False))
    if len(foreign):
        some = pc.match_substring_regex(texts.take(pa.array(foreign)), _SAME_LETTERS)
        found[foreign] = some.to_numpy(zero_copy_only=False)
    edges = np.frombuffer(texts.buffers()[1], np.int32)[: n + 1].astype(np.int64)
    data = np.frombuffer(texts.buffers()[2], np.uint8)[: edges[-1]]
    same = data[1:] == data[:-1]
    for step in (1, 2, 3):  # runs of 2, 4 and 7 equal neighbours: 8 equal bytes
        same = same[step:] & same[:-step]
    found[np.searchsorted(edges, np.flatnonzero(same), side="right") - 1] = True
    _mark_words(found, parted(texts), params)
    return found


def _mark_words(found: npt.NDArray[np.bool_], texts: pa.Array, params: Params) -> None:
    """Mark the rows whose words may repeat; in `texts` blanks alone part words."""
    edges = np.frombuffer(texts.buffers()[1], np.int32)[: len(texts) + 1].astype(np.int64)
    data = np.frombuffer(texts.buffers()[2], np.uint8)[: edges[-1]]
    is_edge = np.zeros(len(data) + 1, bool)
    is_edge[edges] = True
    inside = np.concatenate([[False], data != ord(" "), [False]])
    starts = np.flatnonzero(inside[1:-1] & (~inside[:-2] | is_edge[:-1]))
    last = np.flatnonzero(inside[1:-1] & (~inside[2:] | is_edge[1:]))
    # Bytes wrap around at 256 on their own, which makes as many bins.
    size = (last - starts).astype(np.uint8)
    name = data[starts] * np.uint8(31) + data[np.minimum(starts + 1, last)] * np.uint8(57)
    name += data[last] * np.uint8(7) + size * np.uint8(13)
    firsts = np.searchsorted(starts, edges)
    words = np.diff(firsts)
    row_of = np.repeat(np.arange(len(texts)), words)
    beside = (name[1:] == name[:-1]) & (row_of[1:] == row_of[:-1])
    for _ in range(params.max_in_a_row - 1):
        beside = beside[1:] & beside[:-1]
    found[row_of[np.flatnonzero(beside)]] = True
    # A phrase of three that covers more than a share s of n words leaves fewer than (1 - s) * n + 3 different ones.
    most = np.maximum(params.min_distinct_share * words, (1 - params.max_phrase_share) * words + _PHRASE)
    long = np.flatnonzero(words >= params.min_words)
    few = long[_bins(name, firsts, long, 1) < most[long]]
    found[few[_bins(name, firsts, few, 4) < most[few]]] = True


def _bins(
    name: npt.NDArray[np.uint8], firsts: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], parts: int
) -> npt.NDArray[np.int64]:
    """Different names modulo 64 * parts among each row's words: at most as many as there are different words."""
    if len(rows) == 0:
        return np.zeros(0, np.int64)
    counts = firsts[rows + 1] - firsts[rows]
    begin = np.cumsum(counts) - counts
    some = name[np.arange(counts.sum()) + np.repeat(firsts[rows] - begin, counts)]
    bit = np.uint64(1) << (some & np.uint8(63)).astype(np.uint64)
    total = np.zeros(len(rows), np.int64)
    for part in range(parts):
        own = bit if parts == 1 else np.where(some >> 6 == part, bit, np.uint64(0))
        total += np.bitwise_count(np.bitwise_or.reduceat(own, begin))
    return total
