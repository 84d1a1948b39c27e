"""Caps: units in an order, taken so that no source and no template ever holds more than its share.

Of the first k rows at most share x max(k, first), rounded up, are of one source: from k = `first` on that is the share
to within a row (rounded down, two sources at 0.5 could never go on from an even k). The next unit is the earliest that
keeps every cap. One that would break a cap waits, and goes before all that come later as soon as it keeps them. What
still waits at the end could only come by breaking a cap: it is left over. A unit is one row, or the members of a
minimal pair, which are never parted.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil

#: What a unit takes of a cap: (number of the cap, who is capped, rows). Sorted, and the same for units alike.
Claim = tuple[int, str, int]


@dataclass(frozen=True, slots=True)
class Unit:
    """Something to be taken whole: its number in the order, its rows, and what it takes of which cap."""

    turn: int
    rows: int
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """A unit whose place is settled; `held` is the cap that it waited on, None where it came in its turn."""

    unit: Unit
    held: int | None
    left_over: bool = False


@dataclass(slots=True)
class _Alike:
    """Units of the same claims that wait, earliest first, with the cap that each waited on first."""

    claims: tuple[Claim, ...]
    rows: int
    waiting: deque[tuple[Unit, int]] = field(default_factory=deque)


class Caps:
    """One axis; `shares` are the caps by number."""

    def __init__(self, shares: Mapping[int, Fraction], first: int) -> None:
        self._shares = shares
        self._free = {cap: ceil(share * first) for cap, share in shares.items()}
        self._count: dict[tuple[int, str], int] = {}
        self._placed = 0
        self._alike: dict[tuple[tuple[Claim, ...], int], _Alike] = {}
        self._asleep: list[tuple[int, int, _Alike]] = []  # (rows placed when it may go on, turn of its first, itself)

    def put(self, unit: Unit) -> Iterator[Placed]:
        """Take the next unit of the order; gives what is settled by it, in the order of places."""
        opens, cap = self._opens(unit.claims)
        if opens <= self._placed:  # none alike waits: all that could go went before
            self._place(unit.claims, unit.rows)
            yield Placed(unit, None)
            yield from self._woken()
            return
        alike = self._alike.setdefault((unit.claims, unit.rows), _Alike(unit.claims, unit.rows))
        alike.waiting.append((unit, cap))
        if len(alike.waiting) == 1:
            heapq.heappush(self._asleep, (opens, unit.turn, alike))

    def rest(self) -> Iterator[Placed]:
        """What no place is left for, in its order, after the last unit was put; `held` is the cap in its way."""
        left = [(unit, alike) for alike in self._alike.values() for unit, _ in alike.waiting]
        for unit, alike in sorted(left, key=lambda item: item[0].turn):
            yield Placed(unit, self._opens(alike.claims)[1], left_over=True)

    def _opens(self, claims: tuple[Claim, ...]) -> tuple[int, int]:
        """How many rows must be placed before such a unit keeps every cap, and the cap that opens last."""
        latest, last = 0, -1
        for cap, who, rows in claims:
            share = self._shares[cap]
            n = self._count.get((cap, who), 0) + rows
            # The smallest k with share x k > n - 1, less the rows of the unit itself: the bound grows by one at most.
            opens = 0 if n <= self._free[cap] else (n - 1) * share.denominator // share.numerator + 1 - rows
            if opens > latest:
                latest, last = opens, cap
        return latest, last

    def _place(self, claims: tuple[Claim, ...], rows: int) -> None:
        self._placed += rows
        for cap, who, n in claims:
            self._count[cap, who] = self._count.get((cap, who), 0) + n

    def _woken(self) -> Iterator[Placed]:
        """Units that may go since a row was placed, earliest first, until none may."""
        ready: list[tuple[int, _Alike]] = []
        while True:
            while self._asleep and self._asleep[0][0] <= self._placed:
                _, turn, alike = heapq.heappop(self._asleep)
                heapq.heappush(ready, (turn, alike))  # turns differ, so no two queues are compared
            if not ready:
                return
            _, alike = heapq.heappop(ready)
            opens, _ = self._opens(alike.claims)
            if opens > self._placed:
                heapq.heappush(self._asleep, (opens, alike.waiting[0][0].turn, alike))
                continue
            unit, cap = alike.waiting.popleft()
            self._place(alike.claims, alike.rows)
            yield Placed(unit, cap)
            if alike.waiting:
                heapq.heappush(self._asleep, (self._opens(alike.claims)[0], alike.waiting[0][0].turn, alike))
