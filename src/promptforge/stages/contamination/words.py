"""Texts as flat arrays of hashed words, the words of `texts.fold`, by vectorised arithmetic over the bytes.

ASCII texts go through a table of bytes; the others through `texts.fold` itself, and of scripts without blanks each
character is a word. A word hashes to 64 bits by multiply and xor-shift over its 8-byte blocks.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from promptforge.stages.hashing import I64, SEED, U64, mix, word_hashes
from promptforge.texts import fold

U32 = npt.NDArray[np.uint32]
Mask = npt.NDArray[np.bool_]

_SLAB_BYTES = 1 << 18  # temporaries stay in the second-level cache
_KEPT = "$+<=>|~"  # symbols that fold leaves in a word
_BLANK = "\t\n\v\f\r\x1c\x1d\x1e\x1f "
_NO_BLANKS = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff])"
)


@dataclass(frozen=True, slots=True)
class Words:
    """Hashed words of some texts, flat; `offsets` has one entry more than there are texts.

    `letters` is one value a text: equal for texts of the same letters and digits, in whatever order. `quoted` are the
    words between straight double quotes, of ASCII texts alone.
    """

    hashes: U64
    offsets: I64
    letters: U32
    quoted: Mask

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def rows(self) -> npt.NDArray[np.int32]:
        """Number of the text that each word is of."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.offsets))


@lru_cache(maxsize=1)
def _tables() -> tuple[bytes, U32]:
    """Byte -> lower case, 0 where it is no part of a word; and byte -> 32 bits, 0 where it is no letter or digit."""
    blank = (set(string.punctuation) - set(_KEPT)) | set(_BLANK)
    lower = bytearray(ord(chr(code).lower()) if code < 128 else code for code in range(256))
    lower[0] = 1
    for mark in blank:
        lower[ord(mark)] = 0
    values = (mix(np.arange(1, 257, dtype=np.uint64) * SEED) >> np.uint64(32)).astype(np.uint32)
    for code in range(128):
        if not chr(code).isalnum():
            values[code] = 0
    return bytes(lower), values


def folded(texts: pa.Array) -> pa.Array:
    """The texts in a form of which the byte table makes the words of `texts.fold`; nulls become empty."""
    texts = pc.fill_null(texts, "")
    strange = pc.invert(pc.string_is_ascii(texts))
    if not pc.any(strange).as_py():
        return texts
    some = [_NO_BLANKS.sub(r" \1 ", fold(text)) for text in texts.filter(strange).to_pylist()]
    return pc.replace_with_mask(texts, strange, pa.array(some, texts.type))


def read_words(texts: pa.Array) -> Words:
    """The words of each text, in order."""
    large = pa.large_string()
    ends = (pa.scalar("", large), pa.scalar("\n", large))  # no word runs into the next text
    ended = pc.binary_join_element_wise(folded(texts).cast(large), *ends)
    if not len(ended):
        none = np.empty(0, np.uint64)
        return Words(none, np.zeros(1, np.int64), none.astype(np.uint32), np.empty(0, bool))
    _, place, data = ended.buffers()
    offsets = np.frombuffer(place, np.int64)[ended.offset : ended.offset + len(ended) + 1]
    body = np.frombuffer(data, np.uint8)
    parts: list[Words] = []
    start = 0
    while start < len(ended):
        stop = int(np.searchsorted(offsets, offsets[start] + _SLAB_BYTES, side="right")) - 1
        stop = min(max(stop, start + 1), len(ended))
        parts.append(_slab(body[offsets[start] : offsets[stop]], offsets[start : stop + 1] - offsets[start]))
        start = stop
    sizes = np.cumsum([0] + [len(part.hashes) for part in parts])
    return Words(
        np.concatenate([part.hashes for part in parts]),
        np.concatenate(
            [np.zeros(1, np.int64)] + [part.offsets[1:] + n for part, n in zip(parts, sizes[:-1], strict=True)]
        ),
        np.concatenate([part.letters for part in parts]),
        np.concatenate([part.quoted for part in parts]),
    )


def _slab(body: npt.NDArray[np.uint8], offsets: I64) -> Words:
    lower, values = _tables()
    low = b"\0" + body.tobytes().translate(lower)
    inside = np.frombuffer(low, np.uint8) != 0
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    starts, ends = edges[0::2], edges[1::2]  # places in `body`; the last byte is always a blank
    letters = np.add.reduceat(values.take(np.frombuffer(low, np.uint8)[1:]), offsets[:-1], dtype=np.uint32)
    first = np.searchsorted(starts, offsets).astype(np.int64)
    return Words(word_hashes(low, starts + 1, ends - starts), first, letters, _quoted(body, starts, offsets))


def _quoted(body: npt.NDArray[np.uint8], starts: I64, offsets: I64) -> Mask:
    """Which words stand between two straight double quotes; a text with an odd number has none."""
    marks = np.flatnonzero(body == ord('"'))
    change = np.zeros(len(starts) + 1, np.int8)
    if not len(marks):
        return change[1:].astype(bool)
    before = np.searchsorted(marks, offsets)
    count = np.diff(before)
    number = np.arange(len(marks)) - np.repeat(before[:-1], count)
    closed = np.repeat(count % 2 == 0, count)
    word = np.searchsorted(starts, marks[closed])
    # Bounds of neighbouring quotes may fall on one word, so they are counted, not set.
    opening = number[closed] % 2 == 0
    change += np.bincount(word[opening], minlength=len(change)).astype(np.int8)
    change -= np.bincount(word[~opening], minlength=len(change)).astype(np.int8)
    found: Mask = np.cumsum(change[:-1], dtype=np.int8) > 0
    return found
