"""The candidates of a seed: rows of the miniature world, and spoiled ones, so that every check has something to find.

Texts of a pool differ from each other, since a data set never holds one twice. A twentieth of all texts, by a hash that
no seed moves, is in no pool: what students are measured on is drawn from these alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gates import spoiled
from promptforge import records, texts
from promptforge.records import Axis
from promptforge.sources import miniature
from promptforge.sources.writing.draw import Draw

WORLD = "world"
AXES = tuple(str(axis.value) for axis in Axis)
#: Shares of a pool in per cent; the rest is WORLD.
SHARES: Mapping[str, int] = {
    "hard": 10,
    "garbled": 6,
    "boilerplate": 5,
    "repetition": 4,
    "nonvisual": 5,
    "language": 4,
    "near_copy": 6,
}
COPIED = 40  # rows of an axis that near copies are made of
HELD_ONE_IN = 20
#: Seed of what students are measured on; no pool has it.
HELD_SEED = 1_000_000
_TRIES = 400  # rows looked at for each one wanted, before it is said that there are not as many


@dataclass(frozen=True, slots=True)
class Row:
    """A candidate; `kind` is WORLD or what spoils it, which no check is told."""

    text: str
    axis: str
    category: str
    expected: tuple[str, ...]
    kind: str

    @property
    def prompt_id(self) -> str:
        """As in every table of promptforge."""
        return records.prompt_id(self.text)


def is_held_out(text: str) -> bool:
    """Whether students are measured on this text, so that none may see it."""
    return int(records.content_id("experiment", "held out", text)[:8], 16) * HELD_ONE_IN < 2**32


def place(seed: int, text: str) -> str:
    """Where a text stands among all: of several the lowest are drawn."""
    return records.content_id("experiment", "draw", seed, text)


def pool(axis: str, seed: int, n: int, *, held: bool = False) -> list[Row]:
    """The n candidates of an axis: the first COPIED of the world, then all others mixed by `place`."""
    counts = {kind: n * share // 100 for kind, share in SHARES.items()}
    found = _taken(n - sum(counts.values()), _world(axis, seed), set(), held=held)
    first = found[:COPIED]
    for kind, count in counts.items():
        found += _taken(count, _spoiled(kind, axis, seed, first), {row.text for row in found}, held=held)
    rest = sorted(found[len(first) :], key=lambda row: place(seed, row.text))
    return [*first, *rest]


def pools(seed: int, n: int) -> list[Row]:
    """The candidates of all axes."""
    return [row for axis in AXES for row in pool(axis, seed, n)]


def held_out(n: int, *, clean: bool) -> list[Row]:
    """What students are measured on, n of each axis: of the world alone, or with spoiled ones in their shares."""
    found: list[Row] = []
    for axis in AXES:
        if clean:
            found += _taken(n, _world(axis, HELD_SEED), set(), held=True)
        else:
            found += pool(axis, HELD_SEED + 1, n, held=True)
    return found


def _taken(n: int, rows: Iterable[Row], known: set[str], *, held: bool) -> list[Row]:
    """The first n new ones on the wanted side of the hash, as cleaning leaves them."""
    found: list[Row] = []
    seen = set(known)
    for row in itertools.islice(rows, _TRIES * (n + 10)):
        if len(found) == n:
            break
        if row.text not in seen and is_held_out(row.text) == held and texts.clean(row.text).text == row.text:
            seen.add(row.text)
            found.append(row)
    if len(found) < n:
        raise ValueError(f"{len(found)} rows, {n} wanted; take a smaller pool")
    return found


def _world(axis: str, seed: int) -> Iterator[Row]:
    source = miniature.build(miniature.Params(axis=Axis(axis), n=10_000_000), seed)
    (part,) = source.parts()
    for row in source.read(part, 0, part.n_rows):
        yield Row(str(row.text), axis, str(row.category), tuple(row.expected_text or ()), WORLD)


def _spoiled(kind: str, axis: str, seed: int, first: list[Row]) -> Iterator[Row]:
    """Endless rows of one kind; each is a function of (seed, kind, axis, number)."""
    own = int(records.content_id("experiment", "spoiled", kind, seed)[:8], 16)
    base = _world(axis, own)
    for number in itertools.count():
        draw = Draw(seed, f"experiment/{kind}/{axis}", number)
        row = draw.pick(first) if kind == "near_copy" else next(base)
        text, strings = spoiled.WRITERS[kind](draw, row.text, row.expected)
        yield Row(text, axis, row.category, strings, kind)
