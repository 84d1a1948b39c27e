"""Texts as flat arrays of hashed words, by vectorised arithmetic over the bytes: no Python object a word.

A word is a run of letters, digits, `_`, `$`, `%`, `&` and non-ASCII characters, in lower case; it hashes to 64 bits by
multiply and xor-shift over its 8-byte blocks. Texts outside ASCII are normalised first (NFKC, lower case, curly quotes
straight, punctuation blank, a blank around each character of scripts without blanks).
Not covered: word boundaries of Chinese, Japanese and Thai, where each character is a word; combining accents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from promptforge.stages.hashing import I64, U64, word_hashes
from promptforge.stages.resemblance.kinds import BREAK, POINT, QUOTE, WORD

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

#: Bytes worked on at a time: temporaries stay in the second-level cache.
SLAB_BYTES = 1 << 18

_CURLY = "[“”„‟«»「」『』]"
_APOSTROPHE = "[’‘‛´`]"
_DASH = "[—–―…]"
_COMMA = "[、。・]"
# RE2 knows no difference of classes, so punctuation outside ASCII is named by its blocks.
_OTHER = (
    r"[\x{a1}\x{a7}\x{ab}\x{b6}\x{b7}\x{bb}\x{bf}\x{2010}-\x{2027}\x{2030}-\x{205e}\x{3001}-\x{3003}"
    r"\x{3008}-\x{3011}\x{3014}-\x{301f}\x{fe10}-\x{fe1f}\x{fe30}-\x{fe6f}]"
)
_NO_BLANKS = r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])"


@dataclass(frozen=True, slots=True)
class Words:
    """Words of some texts; `offsets` has one more entry than there are texts.

    `phrase` counts stretches between commas and the like, over all texts; `quoted`: within straight double quotes;
    `digit`: begins with one.
    """

    hashes: U64
    offsets: I64
    phrase: npt.NDArray[np.int32]
    quoted: Mask
    digit: Mask
    spans: I64  # byte of `body` where each word begins and ends, shape (words, 2)
    body: bytes  # the texts as they were read, in lower case

    def __len__(self) -> int:
        return len(self.offsets) - 1


@lru_cache(maxsize=1)
def byte_classes() -> tuple[bytes, bytes]:
    """Lower case and class of each byte, for bytes.translate."""
    lower = bytes(code + 32 if 65 <= code <= 90 else code for code in range(256))
    kinds = bytearray(256)
    for code in range(256):
        if chr(code).isalnum() or code >= 128 or chr(code) in "_$%&":
            kinds[code] = WORD
    for mark in ",;|!?()[]{}\n":
        kinds[ord(mark)] = BREAK
    kinds[ord('"')] = QUOTE
    kinds[ord(".")] = POINT
    return lower, bytes(kinds)


def plain(texts: pa.Array) -> pa.Array:
    """Texts outside ASCII in the form that the byte classes understand; nulls become empty."""
    texts = pc.fill_null(texts, "")
    strange = pc.invert(pc.string_is_ascii(texts))
    if not pc.any(strange).as_py():
        return texts
    some = pc.utf8_lower(pc.utf8_normalize(texts.filter(strange), form="NFKC"))
    for pattern, by in ((_CURLY, '"'), (_APOSTROPHE, "'"), (_DASH, ", "), (_COMMA, ","), (_OTHER, " ")):
        some = pc.replace_substring_regex(some, pattern, by)
    some = pc.replace_substring_regex(some, _NO_BLANKS, r" \1 ")
    return pc.replace_with_mask(texts, strange, some)


def buffers(texts: pa.Array) -> tuple[Bytes, I64]:
    """The bytes of the texts as they are read, and where each begins and the last ends."""
    texts = plain(texts).cast(pa.large_string())
    _, place, data = texts.buffers()
    offsets = np.frombuffer(place, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8), offsets


def slabs(offsets: I64) -> Iterator[slice]:
    """Ranges of texts of about SLAB_BYTES each."""
    start, n = 0, len(offsets) - 1
    while start < n:
        stop = int(np.searchsorted(offsets, offsets[start] + SLAB_BYTES, side="right")) - 1
        stop = min(max(stop, start + 1), n)
        yield slice(start, stop)
        start = stop


def read_words(texts: pa.Array) -> Words:
    """The words of each text, in order."""
    body, offsets = buffers(texts)
    return _joined(
        [
            _slab(body[offsets[part.start] : offsets[part.stop]], offsets[part.start : part.stop + 1])
            for part in slabs(offsets)
        ]
    )


def _slab(body: Bytes, offsets: I64) -> Words:
    lower, kinds = byte_classes()
    raw, offsets = body.tobytes(), offsets - offsets[0]
    low = raw.translate(lower)
    kind = np.frombuffer(raw.translate(kinds), np.uint8)
    data = np.frombuffer(low, np.uint8)
    inside = kind == WORD
    begins, ends = inside.copy(), inside.copy()
    edges = offsets[1:-1]
    edges = edges[(edges > 0) & (edges < len(kind))]
    begins[1:] &= ~inside[:-1]
    ends[:-1] &= ~inside[1:]
    begins[edges] = inside[edges]
    ends[edges - 1] = inside[edges - 1]
    starts = np.flatnonzero(begins)
    lengths = np.flatnonzero(ends) + 1 - starts
    first = np.searchsorted(starts, offsets).astype(np.int64)
    return Words(
        word_hashes(low, starts, lengths),
        first,
        _phrases(kind, starts, first),
        _quoted(kind, starts, first, offsets),
        (data[starts] - np.uint8(48)) < 10,
        np.stack([starts, starts + lengths], axis=1),
        low,
    )


def _phrases(kind: Bytes, starts: I64, first: I64) -> npt.NDArray[np.int32]:
    breaks = kind == BREAK
    points = np.flatnonzero(kind == POINT)
    if len(points):  # "1.8" and "dr.seuss" are no ends
        after = kind[np.minimum(points + 1, len(kind) - 1)]
        breaks[points[(after != WORD) | (points + 1 == len(kind))]] = True
    if not len(starts):
        return np.empty(0, np.int32)
    behind = np.searchsorted(np.flatnonzero(breaks), starts)
    fresh = np.empty(len(starts), np.int32)
    fresh[0] = 0
    fresh[1:] = behind[1:] != behind[:-1]
    heads = first[1:-1]
    fresh[heads[(heads > 0) & (heads < len(starts))]] = 1
    return np.cumsum(fresh, dtype=np.int32)


def _quoted(kind: Bytes, starts: I64, first: I64, offsets: I64) -> Mask:
    marks = np.flatnonzero(kind == QUOTE)
    if not len(marks) or not len(starts):
        return np.zeros(len(starts), bool)
    before = np.searchsorted(marks, offsets)  # quotes before each text
    count = np.diff(before)
    words = np.diff(first)
    base = np.repeat(before[:-1], words)
    closed = np.repeat(count % 2 == 0, words)  # an odd one is an inch or a slip
    found: Mask = closed & ((np.searchsorted(marks, starts) - base) % 2 == 1)
    return found


def _joined(parts: list[Words]) -> Words:
    if not parts:
        none, no = np.empty(0, np.uint64), np.empty(0, bool)
        return Words(none, np.zeros(1, np.int64), none.astype(np.int32), no, no, np.empty((0, 2), np.int64), b"")
    if len(parts) == 1:
        return parts[0]
    n_words, n_phrases, n_bytes = 0, 0, 0
    offsets = [np.zeros(1, np.int64)]
    phrases, spans = [], []
    for part in parts:
        offsets.append(part.offsets[1:] + n_words)
        phrases.append(part.phrase + np.int32(n_phrases))
        spans.append(part.spans + n_bytes)
        n_bytes += len(part.body)
        n_words += len(part.hashes)
        n_phrases += int(part.phrase[-1]) + 1 if len(part.phrase) else 0
    return Words(
        np.concatenate([part.hashes for part in parts]),
        np.concatenate(offsets),
        np.concatenate(phrases),
        np.concatenate([part.quoted for part in parts]),
        np.concatenate([part.digit for part in parts]),
        np.concatenate(spans),
        b"".join(part.body for part in parts),
    )
