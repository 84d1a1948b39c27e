"""64-bit hashes of words that lie in one buffer, in NumPy: what near duplicates and contamination compare.

Not cryptographic, and the same on every machine. resemblance/compiled.py has the same arithmetic in compiled loops.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

M1, M2, SEED = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93), np.uint64(0xA0761D6478BD642F)
#: Multiplier by which the order of words counts, and the mark behind a row's last word.
ORDER, JOINT = M1, np.uint64(0xC2B2AE3D27D4EB4F)
#: The low n bytes, for n of 0 to 8.
_MASKS: U64 = np.array([0, *(0xFFFFFFFFFFFFFFFF >> (64 - 8 * n) for n in range(1, 9))], np.uint64)


def mix(value: U64) -> U64:
    """A bijection of 64 bits that spreads every bit."""
    value = (value ^ (value >> np.uint64(32))) * M1
    value = (value ^ (value >> np.uint64(29))) * M2
    return value ^ (value >> np.uint64(32))


def word_hashes(body: bytes, starts: I64, lengths: I64) -> U64:
    """Hash of each word body[start : start + length]; 8 bytes at a time, read as two aligned halves."""
    blocks = np.frombuffer(body + bytes(24 - len(body) % 8), "<u8")
    found = np.full(len(starts), SEED, np.uint64)
    _blend(found, blocks, starts, lengths)
    left = np.flatnonzero(lengths > 8)
    done = 8
    while len(left):
        part = found[left]
        _blend(part, blocks, starts[left] + done, lengths[left] - done)
        found[left] = part
        done += 8
        left = left[lengths[left] > done]
    return mix(found)


def _blend(found: U64, blocks: U64, starts: I64, lengths: I64) -> None:
    at = starts >> 3
    shift = ((starts & 7) << 3).astype(np.uint64)
    value = blocks[at] >> shift
    value |= (blocks[at + 1] << np.uint64(1)) << (np.uint64(63) - shift)
    value &= _MASKS[np.minimum(lengths, 8)]
    found ^= value
    found *= M1
    found ^= found >> np.uint64(29)
