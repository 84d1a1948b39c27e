"""Which of the prompts that an arm's rule leaves are taken: those of lowest hash, in strata of their token count."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gates.pools import Row, place

#: Tokens of a text as teacher and student are given it, cut at their length.
Tokens = Callable[[str], int]


@dataclass(frozen=True)
class Chosen:
    """Rows in order of their hash; `n_filled` of them came from another stratum than was wanted."""

    rows: tuple[Row, ...]
    n_filled: int


def drawn(rows: Sequence[Row], n: int, seed: int) -> list[Row]:
    """The n rows of lowest hash."""
    return sorted(rows, key=lambda row: place(seed, row.text))[:n]


def strata(rows: Sequence[Row], tokens: Tokens) -> dict[int, int]:
    """Token count -> rows."""
    return dict(sorted(Counter(tokens(row.text) for row in rows).items()))


def scaled(wanted: Mapping[int, int], n: int) -> dict[int, int]:
    """The same shares of n rows: whole parts first, then the largest remainders, the shorter stratum on a tie."""
    total = sum(wanted.values())
    exact = {stratum: count * n / total for stratum, count in wanted.items()}
    found = {stratum: math.floor(share) for stratum, share in exact.items()}
    by_rest = sorted(exact, key=lambda stratum: (found[stratum] - exact[stratum], stratum))
    for stratum in by_rest[: n - sum(found.values())]:
        found[stratum] += 1
    return found


def choose(rows: Sequence[Row], wanted: Mapping[int, int], tokens: Tokens, seed: int) -> Chosen:
    """As many of each stratum as wanted, the rest from the nearest stratum that has some left, the shorter on a tie."""
    left: dict[int, list[Row]] = {}
    for row in drawn(rows, len(rows), seed):
        left.setdefault(tokens(row.text), []).append(row)
    taken: list[Row] = []
    short: dict[int, int] = {}
    for stratum, count in sorted(wanted.items()):
        there = left.get(stratum, [])
        taken += there[:count]
        left[stratum] = there[count:]
        short[stratum] = max(0, count - len(there))
    n_filled = 0
    for stratum, count in sorted(short.items()):
        for _ in range(count):
            near = min(
                (each for each in left if left[each]), key=lambda each: (abs(each - stratum), each), default=None
            )
            if near is None:
                break
            taken.append(left[near].pop(0))
            n_filled += 1
    return Chosen(tuple(drawn(taken, len(taken), seed)), n_filled)
