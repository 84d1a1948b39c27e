"""Caps: counted anew at every prefix, by nothing but the definition."""

from __future__ import annotations

import random
from fractions import Fraction
from math import ceil

import pytest

from promptforge.stages.arrangement.caps import Caps, Claim, Placed, Unit

SOURCE, TEMPLATE = 0, 1


def _units(rng: random.Random, n: int) -> list[Unit]:
    """Rows of three sources, one of them large, and five templates or none; every tenth is a pair."""
    units: list[Unit] = []
    turn = 1
    for _ in range(n):
        rows = 2 if rng.random() < 0.1 else 1
        claims: list[Claim] = [(SOURCE, rng.choice("aaaab" + "c"), rows)]
        if rng.random() < 0.8:
            claims.append((TEMPLATE, rng.choice("vvvwxyz"), rows))
        units.append(Unit(turn, rows, tuple(claims)))
        turn += rows
    return units


def _taken(units: list[Unit], shares: dict[int, Fraction], first: int) -> tuple[list[Placed], list[Placed]]:
    caps = Caps(shares, first)
    units = [Unit(u.turn, u.rows, tuple(c for c in u.claims if c[0] in shares)) for u in units]
    return [placed for unit in units for placed in caps.put(unit)], list(caps.rest())


def _most(share: Fraction, k: int, first: int) -> int:
    return ceil(share * max(k, first))


def _breaks(unit: Unit, counts: dict[tuple[int, str], int], placed: int, rule: tuple[dict[int, Fraction], int]) -> bool:
    """Whether some prefix would hold too many if this unit came next: row by row."""
    shares, first = rule
    return any(
        counts.get((cap, who), 0) + n > _most(shares[cap], placed + n, first)
        for cap, who, rows in unit.claims
        for n in range(1, rows + 1)
    )


@pytest.mark.parametrize("seed", range(12))
def test_no_prefix_holds_more_than_its_share_and_the_next_is_always_the_earliest_that_may(seed: int) -> None:
    rng = random.Random(seed)
    shares = {SOURCE: Fraction(rng.choice(["0.4", "0.5", "0.7"])), TEMPLATE: Fraction(rng.choice(["0.25", "0.3", "1"]))}
    first = rng.choice([1, 10, 40])
    units = _units(rng, 300)
    taken, left = _taken(units, shares, first)
    waiting = {unit.turn: unit for unit in units}
    counts: dict[tuple[int, str], int] = {}
    placed = 0
    for item in taken:
        able = [turn for turn, unit in sorted(waiting.items()) if not _breaks(unit, counts, placed, (shares, first))]
        assert item.unit.turn == able[0]
        # Held: something of a later turn had gone before; in its turn: all before it had gone or still wait.
        assert (item.held is not None) == any(turn.unit.turn > item.unit.turn for turn in taken[: taken.index(item)])
        del waiting[item.unit.turn]
        for _ in range(item.unit.rows):
            placed += 1
            for cap, who, _n in item.unit.claims:
                counts[cap, who] = counts.get((cap, who), 0) + 1
                assert counts[cap, who] <= _most(shares[cap], placed, first)
    assert [item.unit.turn for item in left] == sorted(waiting)
    assert all(_breaks(item.unit, counts, placed, (shares, first)) for item in left)
    assert all(item.left_over and item.held in shares for item in left)


def test_two_sources_at_one_half_take_turns_until_one_ends() -> None:
    # Six of a, then three of b; a third a would be 3 of 3, and half of 3 is 1.5, so 2.
    units = [Unit(n + 1, 1, ((SOURCE, "a" if n < 6 else "b", 1),)) for n in range(9)]
    taken, left = _taken(units, {SOURCE: Fraction("0.5")}, 2)
    # a1; then b (7), since 2 of 2 is more than 1; a 3rd may be a: 2 of 3; then b, a, b, a: 4 of 7.
    assert [item.unit.turn for item in taken] == [1, 7, 2, 8, 3, 9, 4]
    assert [item.held for item in taken] == [None, None, SOURCE, None, SOURCE, None, SOURCE]
    assert [item.unit.turn for item in left] == [5, 6]


def test_a_row_without_a_claim_always_comes_in_its_turn() -> None:
    units = [Unit(n + 1, 1, () if n % 2 else ((TEMPLATE, "t", 1),)) for n in range(20)]
    taken, left = _taken(units, {TEMPLATE: Fraction("0.1")}, 1)
    free = [item for item in taken if not item.unit.claims]
    assert [item.unit.turn for item in free] == list(range(2, 21, 2))
    assert all(item.held is None for item in free)
    assert len(left) == 8  # one in ten of 12 rows, rounded up, are 2 of the ten


def test_a_share_is_taken_as_it_is_written() -> None:
    # 0.29 x 100 is 28.999999999999996 in floating point, and 0.07 x 100 is 7.000000000000001.
    for text, most in (("0.29", 29), ("0.07", 7)):
        units = [Unit(n + 1, 1, ((SOURCE, "a", 1),)) for n in range(60)]
        assert len(_taken(units, {SOURCE: Fraction(text)}, 100)[0]) == most
