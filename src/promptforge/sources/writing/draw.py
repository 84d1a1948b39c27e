"""The choices of one row: digits of a 512-bit number in mixed radix.

The number is SHA-512 of (seed, axis, row, block), so a row needs no generator, no state and no other row. A choice
out of n has a bias below n / 2**64; a row that runs low takes the next block.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

_Item = TypeVar("_Item")
_LOW = 1 << 64


class Draw:
    """A fixed stream of choices, the same for the same key."""

    __slots__ = ("_bits", "_block", "_key")

    def __init__(self, seed: int, axis: str, row: int) -> None:
        self._key = f"{seed}\0{axis}\0{row}\0"
        self._block, self._bits = 0, 0

    def below(self, bound: int) -> int:
        """An integer in [0, bound)."""
        if self._bits < _LOW:
            digest = hashlib.sha512(f"{self._key}{self._block}".encode()).digest()
            self._bits, self._block = int.from_bytes(digest, "big"), self._block + 1
        self._bits, choice = divmod(self._bits, bound)
        return choice

    def pick(self, items: Sequence[_Item]) -> _Item:
        """One of the items."""
        return items[self.below(len(items))]

    def percent(self, share: int) -> bool:
        """True in `share` of a hundred cases."""
        return self.below(100) < share
