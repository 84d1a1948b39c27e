"""What is compared of each prompt: hashed n-grams of its content, and facts that must agree.

The content is the text without ignored words and without style: phrases wholly of style words or behind "by", style
words at the end of a phrase, and "a highly detailed photo of" before its first word. Quoted words are always content.
Facts are one 64-bit value a prompt: its first words, its telling words in order (things, colours, counts, relations)
and what the caller adds, such as its scene. Two prompts with other facts are never near duplicates, so they need not
meet at all: the rows are sorted by facts before anything is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from promptforge.stages.hashing import I64, JOINT, ORDER, U64, mix
from promptforge.stages.resemblance.compiled import Loops, loops
from promptforge.stages.resemblance.kinds import IGNORED, MANNER, MEDIUM, OF, OPENER, POLISH, TELLING
from promptforge.stages.resemblance.meanings import Meanings
from promptforge.stages.resemblance.settings import DedupSettings
from promptforge.stages.resemblance.spelling import corrected
from promptforge.stages.resemblance.vocabulary import hash_words, vocabulary
from promptforge.stages.resemblance.words import Mask, Words, buffers, read_words, slabs

_SLOTS = 1 << 16
_MOST_MEANT = 1 << 19
_MEANT: dict[int, int | None] = {}  # cache: hash of an unknown word -> that of the word that was meant, if any
U32 = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Features:
    """Of each prompt: its n-grams (flat, 32 bits each), its facts, and the media that it names (bits)."""

    shingles: U32
    offsets: I64
    facts: U64
    media: U64

    def __len__(self) -> int:
        return len(self.facts)


def features(texts: pa.Array, settings: DedupSettings, facts: U64 | None = None) -> Features:
    """Features of some texts; `facts` are the caller's own, equal where two prompts may be near duplicates."""
    fast = loops(settings.compiled)
    if fast:
        return _compiled(texts, settings, facts, fast)
    words = read_words(texts)
    own = np.zeros(len(words), np.uint64) if facts is None else facts
    if settings.view == "text":
        shingles, offsets = _ngrams(words.hashes, words.offsets, settings.ngram)
        return Features(shingles, offsets, own, np.zeros(len(words), np.uint64))
    content, offsets, telling, media = _content(words, settings, quotes_tell=facts is None)
    head = _in_order(content, offsets, None, settings.head_words)
    told = _in_order(content, offsets, telling, None)
    shingles, places = _ngrams(*_ended(content, offsets), settings.ngram)
    return Features(shingles, places, mix(mix(mix(own) ^ head) + told), media)


def _compiled(texts: pa.Array, settings: DedupSettings, facts: U64 | None, fast: Loops) -> Features:
    """The same through compiled loops."""
    body, offsets = buffers(texts)
    own = np.zeros(len(texts), np.uint64) if facts is None else facts
    meanings = _meanings(fast, settings.spelling, settings.view == "content")
    shape = (settings.ngram, settings.head_words, facts is None)
    parts = []
    for part in slabs(offsets):
        places = offsets[part.start : part.stop + 1]
        words = meanings.read(body[places[0] : places[-1]], places - places[0])
        if settings.view == "text":
            shingles, counts = fast.whole(words, settings.ngram)
            told, media = own[part], np.zeros(len(counts), np.uint64)
        else:
            shingles, counts, told, media = fast.content(words, own[part], shape)
        parts.append(Features(shingles, np.concatenate([[0], np.cumsum(counts)]), told, media))
    return joined(parts)


@lru_cache(maxsize=4)
def _meanings(fast: Loops, spelling: bool, words: bool) -> Meanings:
    return Meanings(fast, spelling=spelling, words=words)


def joined(parts: Sequence[Features]) -> Features:
    """Features of several batches as one."""
    if not parts:
        return Features(np.empty(0, np.uint32), np.zeros(1, np.int64), np.empty(0, np.uint64), np.empty(0, np.uint64))
    sizes = np.cumsum([0] + [len(part.shingles) for part in parts])
    offsets = [part.offsets[1:] + size for part, size in zip(parts, sizes[:-1], strict=True)]
    return Features(
        np.concatenate([part.shingles for part in parts]),
        np.concatenate([np.zeros(1, np.int64), *offsets]),
        np.concatenate([part.facts for part in parts]),
        np.concatenate([part.media for part in parts]),
    )


def collected(parts: list[Features], order: I64) -> Features:
    """The rows of several batches in another order; empties `parts` on the way, so that nothing is held twice."""
    size = np.concatenate([np.zeros(0, np.int64), *(np.diff(part.offsets) for part in parts)])
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    offsets = np.zeros(len(order) + 1, np.int64)
    np.cumsum(size[order], out=offsets[1:])
    found = Features(
        np.empty(int(offsets[-1]), np.uint32),
        offsets,
        np.empty(len(order), np.uint64),
        np.empty(len(order), np.uint64),
    )
    start = 0
    parts.reverse()
    while parts:
        part = parts.pop()
        to = place[start : start + len(part)]
        at = np.repeat(offsets[to] - part.offsets[:-1], np.diff(part.offsets))
        found.shingles[at + np.arange(len(at))] = part.shingles
        found.facts[to], found.media[to] = part.facts, part.media
        start += len(part)
    return found


def reordered(found: Features, order: I64) -> Features:
    """The rows in another order."""
    size = np.diff(found.offsets)[order]
    offsets = np.zeros(len(order) + 1, np.int64)
    np.cumsum(size, out=offsets[1:])
    at = np.repeat(found.offsets[:-1][order] - offsets[:-1], size)
    at += np.arange(len(at))
    return Features(found.shingles[at], offsets, found.facts[order], found.media[order])


def hash_strings(texts: pa.Array) -> U64:
    """64 bits for the words of each text in their order: equal words, equal value."""
    words = read_words(texts)
    return _in_order(words.hashes, words.offsets, None, None)


def _in_order(hashes: U64, offsets: I64, wanted: Mask | None, first: int | None) -> U64:
    """Order-sensitive hash of each row's words: those `wanted`, or its first ones."""
    size = np.diff(offsets)
    if wanted is not None:
        counts = np.zeros(len(hashes) + 1, np.int64)
        np.cumsum(wanted, out=counts[1:])
        hashes, offsets = hashes[wanted], counts[offsets]
        size = np.diff(offsets)
    place = np.arange(len(hashes), dtype=np.int64) - np.repeat(offsets[:-1], size)
    value = mix(hashes + (place.astype(np.uint64) + np.uint64(1)) * ORDER)
    if first is not None:
        value[place >= first] = 0
    total = np.zeros(len(hashes) + 1, np.uint64)
    np.cumsum(value, out=total[1:])
    return total[offsets[1:]] - total[offsets[:-1]]


def _ngrams(hashes: U64, offsets: I64, n: int) -> tuple[U32, I64]:
    """Hashes of the n-grams of each row; a row with fewer words has one n-gram of them all."""
    size = np.diff(offsets)
    if not len(hashes):
        return np.empty(0, np.uint32), np.zeros(len(offsets), np.int64)
    total = hashes.copy()
    for step in range(1, n):
        total[:-step] = total[:-step] * ORDER + hashes[step:]
    total = mix(total)
    count = np.where(size >= n, size - n + 1, np.minimum(size, 1))
    row_end = np.repeat(offsets[1:], size)
    keep = np.arange(len(hashes)) + n <= row_end
    short = np.flatnonzero((size > 0) & (size < n))
    for row in _each_length(size, short):  # rows shorter than an n-gram: all their words, by length
        at = offsets[:-1][row]
        value = hashes[at]
        for step in range(1, int(size[row[0]])):
            value = value * ORDER + hashes[at + step]
        total[at] = mix(value * JOINT)
        keep[at] = True
    places = np.zeros(len(offsets), np.int64)
    np.cumsum(count, out=places[1:])
    return (total[keep] >> np.uint64(32)).astype(np.uint32), places


def _each_length(size: I64, rows: I64) -> list[I64]:
    return [rows[size[rows] == length] for length in np.unique(size[rows])]


def _ended(hashes: U64, offsets: I64) -> tuple[U64, I64]:
    """The words with a mark behind each row's last, so that another last word changes as many n-grams as any other."""
    size = np.diff(offsets) + (np.diff(offsets) > 0)
    places = np.zeros(len(offsets), np.int64)
    np.cumsum(size, out=places[1:])
    marked = np.full(int(places[-1]), JOINT, np.uint64)
    inner = np.ones(len(marked), bool)
    inner[places[1:][size > 0] - 1] = False
    marked[inner] = hashes
    return marked, places


def _content(words: Words, settings: DedupSettings, *, quotes_tell: bool) -> tuple[U64, I64, Mask, U64]:
    """Content words, their offsets, which of them are telling, and each row's media.

    Where the caller's facts hold the text to be drawn, quotation marks decide nothing: it may be asked for without.
    """
    n_rows, n_words = len(words), len(words.hashes)
    if not n_words:
        return words.hashes, words.offsets, words.quoted, np.zeros(n_rows, np.uint64)
    kinds, hashes, medium = vocabulary().look_up(words.hashes)
    if settings.spelling:
        at, meant = _misspelt(words, kinds)
        kinds[at], hashes[at], medium[at] = vocabulary().look_up(meant)
    kinds[words.quoted] = TELLING if quotes_tell else 0
    drop = _style_words(kinds, words) & ~words.quoted
    media = np.bitwise_or.reduceat(np.where(drop, medium, np.uint64(0)), np.minimum(words.offsets[:-1], n_words - 1))
    media[np.diff(words.offsets) == 0] = 0
    kept = np.zeros(n_words + 1, np.int64)
    np.cumsum(~drop, out=kept[1:])
    empty = (kept[words.offsets[1:]] == kept[words.offsets[:-1]]) & (np.diff(words.offsets) > 0)
    if empty.any():  # nothing but style: then that is what the prompt says
        drop &= ~np.repeat(empty, np.diff(words.offsets))
        media[empty] = 0
        np.cumsum(~drop, out=kept[1:])
    keep = ~drop
    telling = (kinds & TELLING).astype(bool) | words.digit
    return hashes[keep], kept[words.offsets], telling[keep], media


def _misspelt(words: Words, kinds: npt.NDArray[np.uint8]) -> tuple[I64, U64]:
    """Places of words with a typing error, and the hashes of what was meant. Text to be drawn is never mended."""
    unknown = np.flatnonzero((kinds == 0) & ~words.quoted & ~words.digit)
    hashes = words.hashes[unknown]
    places = unknown[_one_of_each(hashes)]
    wrong: list[int] = []
    right: list[int] = []
    for place, value in zip(places.tolist(), words.hashes[places].tolist(), strict=True):
        if value not in _MEANT:
            if len(_MEANT) >= _MOST_MEANT:
                _MEANT.clear()
            begin, end = words.spans[place].tolist()
            meant = corrected(words.body[begin:end].decode("utf-8", "replace"))
            _MEANT[value] = None if meant is None else int(hash_words([meant])[0])
        target = _MEANT[value]
        if target is not None:
            wrong.append(value)
            right.append(target)
    if not wrong:
        return np.empty(0, np.int64), np.empty(0, np.uint64)
    order = np.argsort(np.array(wrong, np.uint64))
    known, targets = np.array(wrong, np.uint64)[order], np.array(right, np.uint64)[order]
    spot = np.zeros(_SLOTS, bool)
    spot[_slot(known)] = True
    maybe = unknown[spot[_slot(hashes)]]
    at = np.minimum(np.searchsorted(known, words.hashes[maybe]), len(known) - 1)
    sure = known[at] == words.hashes[maybe]
    return maybe[sure], targets[at[sure]]


def _slot(hashes: U64) -> I64:
    slots: I64 = (hashes & np.uint64(_SLOTS - 1)).astype(np.int64)
    return slots


def _one_of_each(hashes: U64) -> I64:
    """One place of each value: a table by low bits gives most, a sort those of two values in one slot."""
    last = np.zeros(_SLOTS, np.int64)
    slot = _slot(hashes)
    last[slot] = np.arange(len(hashes))
    shadowed = np.flatnonzero(hashes[last[slot]] != hashes)
    _, first = np.unique(hashes[shadowed], return_index=True)
    taken = np.zeros(_SLOTS, bool)
    taken[slot] = True
    return np.concatenate([last[taken], shadowed[first]])


def _style_words(kinds: npt.NDArray[np.uint8], words: Words) -> Mask:
    """Which words are no content."""
    starts = np.flatnonzero(np.diff(words.phrase, prepend=-1))
    ends = np.append(starts[1:], len(kinds))
    phrase = words.phrase
    plain_style = (kinds & (POLISH | MANNER | MEDIUM)) != 0
    loose = plain_style | ((kinds & IGNORED) != 0) | words.digit
    all_style: Mask = np.logical_and.reduceat(loose, starts) & np.logical_or.reduceat(plain_style, starts)
    second = np.minimum(starts + 1, len(kinds) - 1)
    opened = ((kinds[starts] & OPENER) != 0) & ((kinds[starts] & IGNORED) == 0)
    by = opened | (((kinds[second] & OPENER) != 0) & (second < ends) & loose[starts])
    # "by the window" tells of a thing; "art by X" of none.
    by &= ~np.logical_or.reduceat((kinds & (TELLING | MANNER)) == TELLING, starts)
    first_of_row = np.zeros(len(starts), bool)
    first_of_row[phrase[words.offsets[:-1][np.diff(words.offsets) > 0]]] = True
    style = all_style | (by & ~first_of_row)

    weak = (kinds & (IGNORED | POLISH | MEDIUM)) != 0
    hard = np.cumsum(~weak)
    before = hard[starts] - ~weak[starts]
    leading = hard == before[phrase]
    trailing = hard == hard[ends - 1][phrase]
    trailing &= weak
    of = np.logical_or.reduceat(leading & ((kinds & OF) != 0), starts)[phrase]
    drop: Mask = style[phrase] | ((kinds & IGNORED) != 0)
    drop |= (kinds & (POLISH | MEDIUM)).astype(bool) & trailing
    drop |= leading & ((kinds & POLISH) != 0)
    drop |= leading & of & ((kinds & MEDIUM) != 0)
    return drop
