"""The costly loops through numba, where it is installed: the same integers as the NumPy code, some times faster.

numba is the extra `fast`. Compiling takes some seconds once; the result is kept beside this file where that is allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from promptforge.errors import EnvironmentFault
from promptforge.stages.hashing import JOINT, M1, M2, ORDER, SEED
from promptforge.stages.resemblance.kinds import (
    BREAK,
    IGNORED,
    MANNER,
    MEDIUM,
    OF,
    OPENER,
    POINT,
    POLISH,
    QUOTE,
    TELLING,
    WORD,
)

Loop = Callable[..., Any]
#: Marks of a word: the first after a comma or the like; between quotation marks; begins with a digit.
FRESH, QUOTED, DIGIT = 1, 2, 4
#: What an entry of a table of meanings is: a word of the vocabulary; an unknown one; one not looked up yet.
LISTED, ASKED, PENDING = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Loops:
    """The compiled loops; the calls in meanings.py, features.py, minhash.py and jaccard.py are their signatures."""

    enter: Loop
    read: Loop
    settle: Loop
    content: Loop
    whole: Loop
    band_keys: Loop
    similarities: Loop


def loops(compiled: bool | None) -> Loops | None:
    """The compiled loops; None where they are not wanted or, left open, not to be had.

    Raises EnvironmentFault where they are demanded and numba is missing.
    """
    if compiled is False:
        return None
    if find_spec("numba") is None:
        if compiled:
            raise EnvironmentFault(
                "dedup.compiled is true and numba is not installed; add it with make setup-fast, or leave it out"
            )
        return None
    return _compile()


@lru_cache(maxsize=1)
def _compile() -> Loops:  # noqa: C901, PLR0915 - the loops share their constants
    import numba  # type: ignore[import-not-found,unused-ignore]

    u64, u32 = np.uint64, np.uint32
    m1, m2, seed, order, joint = M1, M2, SEED, ORDER, JOINT

    def jit(loop: Loop) -> Any:
        made = numba.njit(nogil=True, boundscheck=False, cache=True)(loop)
        # A loop that calls another has that one's id in the key of its file; a random one is compiled in every process.
        made._set_uuid(f"{__name__}.{loop.__name__}")
        return made

    @jit
    def mix(value):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        value = (value ^ (value >> u64(32))) * m1
        value = (value ^ (value >> u64(29))) * m2
        return value ^ (value >> u64(32))

    @jit
    def place(table, word):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        """Where a word stands in a table of meanings, or the empty slot where it would."""
        last = u64(len(table) - 1)
        slot = word & last
        while table[slot, 0] != u64(0) and table[slot, 0] != word:
            slot = (slot + u64(1)) & last
        return slot

    @jit
    def enter(entries, table):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        """Write entries into a table with room for them, in place of older ones of the same words."""
        for number in range(len(entries)):
            if entries[number, 0]:
                table[place(table, entries[number, 0])] = entries[number]

    @jit
    def read(raw, classes, offsets, table, spelling):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, C901, PLR0912, PLR0915
        """The words of each text and what they are; unknown ones are entered as pending.

        An entry of `table` is three numbers of 64 bits: hash, hash of what is meant, kind | medium << 8 | state << 16.
        """
        lower, kind = classes
        most = len(raw) // 2 + len(offsets) + 1
        canon, spans = np.empty(most, np.uint64), np.empty((most, 2), np.int32)
        what, medium, marked = np.empty(most, np.uint8), np.empty(most, np.uint8), np.empty(most, np.uint8)
        fresh, waiting = np.empty(most, np.int32), np.empty(most, np.int32)
        first = np.empty(len(offsets), np.int64)
        n, n_fresh, n_waiting = 0, 0, 0
        for row in range(len(offsets) - 1):
            first[row] = n
            begin, end = offsets[row], offsets[row + 1]
            head, marks, at = FRESH, 0, begin
            while at < end:
                seen = kind[raw[at]]
                if seen != WORD:
                    if seen == BREAK or (seen == POINT and (at + 1 == end or kind[raw[at + 1]] != WORD)):
                        head = FRESH
                    elif seen == QUOTE:
                        marks ^= 1
                    at += 1
                    continue
                start = at
                value, block, shift = seed, u64(0), u64(0)
                while at < end and kind[raw[at]] == WORD:
                    block |= u64(lower[raw[at]]) << shift
                    shift += u64(8)
                    at += 1
                    if shift == u64(64):
                        value = (value ^ block) * m1
                        value ^= value >> u64(29)
                        block, shift = u64(0), u64(0)
                if shift:
                    value = (value ^ block) * m1
                    value ^= value >> u64(29)
                canon[n], spans[n, 0], spans[n, 1] = mix(value), start, at
                digit = DIGIT if u32(raw[start]) - u32(48) < u32(10) else 0
                marked[n] = head | (QUOTED if marks else 0) | digit
                head = 0
                n += 1
            for word in range(first[row], n):
                if marks:  # an odd one is an inch or a slip
                    marked[word] &= FRESH | DIGIT
                what[word], medium[word] = 0, 0
                loose = spelling and not marked[word] & (QUOTED | DIGIT)
                slot = place(table, canon[word])
                seen = table[slot, 2] >> u64(16)
                if table[slot, 0] == u64(0):
                    if not loose:
                        continue
                    table[slot, 0], table[slot, 2] = canon[word], u64(PENDING) << u64(16)
                    fresh[n_fresh] = word
                    n_fresh, seen = n_fresh + 1, PENDING
                if seen == PENDING:
                    if loose:
                        waiting[n_waiting] = word
                        n_waiting += 1
                elif seen == LISTED or loose:
                    canon[word] = table[slot, 1]
                    what[word], medium[word] = table[slot, 2] & u64(255), (table[slot, 2] >> u64(8)) & u64(255)
        first[len(offsets) - 1] = n
        return (first, canon[:n], what[:n], medium[:n], marked[:n]), fresh[:n_fresh], waiting[:n_waiting], spans

    @jit
    def settle(waiting, words, table):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        """Give the words that waited for an answer what they mean."""
        _, canon, what, medium, _ = words
        for word in waiting:
            slot = place(table, canon[word])
            canon[word] = table[slot, 1]
            what[word], medium[word] = table[slot, 2] & u64(255), (table[slot, 2] >> u64(8)) & u64(255)

    @jit
    def no_content(what, medium, marked, drop):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        """Which words of a row are style (features._style_words); returns its media, and whether anything is left."""
        n, start, left, media = len(what), 0, False, u64(0)
        while start < n:
            end = start + 1
            while end < n and not marked[end] & FRESH:
                end += 1
            every, some, tells = True, False, False
            for word in range(start, end):
                style = what[word] & (POLISH | MANNER | MEDIUM)
                every &= (style | (what[word] & IGNORED) | (marked[word] & DIGIT)) != 0
                some |= style != 0
                tells |= (what[word] & (TELLING | MANNER)) == TELLING
            one = what[start]
            by = (one & OPENER) != 0 and not one & IGNORED
            if not by and start + 1 < end and what[start + 1] & OPENER:
                by = (one & (POLISH | MANNER | MEDIUM | IGNORED)) != 0 or (marked[start] & DIGIT) != 0
            whole = (every and some) or (by and not tells and start > 0)
            lead = start
            of = False
            while lead < end and what[lead] & (IGNORED | POLISH | MEDIUM):
                of |= (what[lead] & OF) != 0
                lead += 1
            trail = end
            while trail > start and what[trail - 1] & (IGNORED | POLISH | MEDIUM):
                trail -= 1
            for word in range(start, end):
                kind = what[word]
                gone = whole or (kind & IGNORED) != 0
                gone |= word >= trail and (kind & (POLISH | MEDIUM)) != 0
                gone |= word < lead and ((kind & POLISH) != 0 or (of and (kind & MEDIUM) != 0))
                gone &= not marked[word] & QUOTED
                drop[word] = gone
                if not gone:
                    left = True
                elif medium[word]:
                    media |= u64(1) << u64(medium[word] - 1)
            start = end
        return media, left

    @jit
    def shingles_of(content, n, size, into, at):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        """Write the n-grams of one row's words; returns where the next row's begin."""
        if n == 0:
            return at
        count = max(n - size + 1, 1)
        for begin in range(count):
            value = content[begin]
            for step in range(1, min(size, n)):
                value = value * order + content[begin + step]
            if n < size:
                value *= joint
            into[at + begin] = u32(mix(value) >> u64(32))
        return at + count

    @jit
    def content(words, own, shape):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, C901
        """Features of the content of each row: n-grams, their counts, facts, media. See features._content."""
        first, canon, what, medium, marked = words
        size, n_head, quotes_tell = shape
        n_rows, longest = len(own), 0
        for row in range(n_rows):
            longest = max(longest, first[row + 1] - first[row])
        shingles, counts = np.empty(len(canon) + n_rows, np.uint32), np.empty(n_rows, np.int64)
        facts, seen = np.empty(n_rows, np.uint64), np.empty(n_rows, np.uint64)
        drop, kept = np.empty(longest, np.bool_), np.empty(longest + 1, np.uint64)
        done = 0
        for row in range(n_rows):
            begin, end = first[row], first[row + 1]
            for word in range(begin, end):
                if marked[word] & QUOTED:
                    what[word] = TELLING if quotes_tell else 0
            seen[row], left = no_content(what[begin:end], medium[begin:end], marked[begin:end], drop)
            if not left:  # nothing but style: then that is what the prompt says
                seen[row] = u64(0)
                drop[: end - begin] = False
            n, n_told, told, head = 0, u64(0), u64(0), u64(0)
            for word in range(begin, end):
                if drop[word - begin]:
                    continue
                value = canon[word]
                kept[n] = value
                n += 1
                if n <= n_head:
                    head += mix(value + u64(n) * order)
                if what[word] & TELLING or marked[word] & DIGIT:
                    n_told += u64(1)
                    told += mix(value + n_told * order)
            facts[row] = mix(mix(mix(own[row]) ^ head) + told)
            if n:
                kept[n] = joint
                n += 1
            at = shingles_of(kept, n, size, shingles, done)
            counts[row] = at - done
            done = at
        return shingles[:done].copy(), counts, facts, seen

    @jit
    def whole(words, size):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        """N-grams of the bare words of each row, and their counts."""
        first, canon = words[0], words[1]
        shingles, counts = np.empty(len(canon), np.uint32), np.empty(len(first) - 1, np.int64)
        done = 0
        for row in range(len(counts)):
            at = shingles_of(canon[first[row] : first[row + 1]], first[row + 1] - first[row], size, shingles, done)
            counts[row] = at - done
            done = at
        return shingles[:done].copy(), counts

    @jit
    def band_keys(shingles, spans, salts, functions, shape):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        bands, rows = shape
        odd, mask = functions
        begin, end = spans
        keys = np.empty((bands, len(begin)), np.uint32)
        minima = np.empty(bands * rows, np.uint32)
        for row in range(len(begin)):
            minima[:] = u32(0xFFFFFFFF)
            for at in range(begin[row], end[row]):
                value = shingles[at]
                for number in range(len(minima)):
                    hashed = u32((value ^ mask[number]) * odd[number])
                    minima[number] = min(minima[number], hashed)
            for band in range(bands):
                key = salts[row] + u64(band)
                for number in range(band * rows, (band + 1) * rows):
                    key = (key ^ u64(minima[number])) * m1
                    key ^= key >> u64(29)
                keys[band, row] = u32(key >> u64(32))
        return keys

    @jit
    def sorted_set(values, into):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        n = 0
        for value in values:  # insertion: some 25 values
            at = n
            while at > 0 and into[at - 1] > value:
                at -= 1
            if at > 0 and into[at - 1] == value:
                continue
            for place in range(n, at, -1):
                into[place] = into[place - 1]
            into[at] = value
            n += 1
        return n

    @jit
    def similarities(shingles, offsets, a, b):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        found = np.zeros(len(a), np.float64)
        longest = 0
        for pair in range(len(a)):
            longest = max(longest, offsets[a[pair] + 1] - offsets[a[pair]], offsets[b[pair] + 1] - offsets[b[pair]])
        row, n_left = -1, 0
        left, right = np.empty(longest, np.uint32), np.empty(longest, np.uint32)
        for pair in range(len(a)):
            if a[pair] != row:  # pairs come in the order of their first row
                row = a[pair]
                n_left = sorted_set(shingles[offsets[row] : offsets[row + 1]], left)
            n_right = sorted_set(shingles[offsets[b[pair]] : offsets[b[pair] + 1]], right)
            one, two, both = 0, 0, 0
            while one < n_left and two < n_right:
                if left[one] == right[two]:
                    both += 1
                    one += 1
                    two += 1
                elif left[one] < right[two]:
                    one += 1
                else:
                    two += 1
            found[pair] = both / max(n_left + n_right - both, 1)
        return found

    return Loops(enter, read, settle, content, whole, band_keys, similarities)
