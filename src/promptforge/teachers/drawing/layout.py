"""Where things go: relations become a grid, each kind of thing gets a cell, each copy a slot in its cell.

Left, right, above, below and beside decide columns and rows; in front of, behind and hidden share a cell and
overlap. Copies of one kind never touch. What contradicts itself ("left of" both ways) keeps what came first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from promptforge.records import Relation
from promptforge.teachers.drawing.paint import Box

Cell = tuple[int, int]  #: column, row


@dataclass(frozen=True)
class Pair:
    """One thing partly covered by another: `hidden` where most of it is."""

    front: int
    back: int
    hidden: bool


@dataclass
class _Grid:
    cells: dict[int, Cell] = field(default_factory=dict)
    pairs: list[Pair] = field(default_factory=list)


def direction(predicate: str) -> str:
    """left, right, above, below, beside, front, behind or hidden, for the predicate of a relation."""
    words = predicate.lower().replace("_", " ")
    for kind, stems in _STEMS:
        if any(stem in words for stem in stems):
            return kind
    return "beside"


_STEMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("hidden", ("hidden", "hiding", "obscured", "covered by")),
    ("front", ("front", "inside", "covering", "hides")),
    ("behind", ("behind", "back of")),
    ("left", ("left",)),
    ("right", ("right",)),
    ("below", ("below", "under", "beneath", "bottom")),
    ("above", ("above", "top of", "over", "atop")),
    ("beside", ("next", "beside", "near", "side", "by")),
)
_STEPS: Mapping[str, Cell] = {"left": (-1, 0), "right": (1, 0), "above": (0, -1), "below": (0, 1)}


def place(
    counts: Sequence[int], relations: Sequence[Relation], area: Box, rng: np.random.Generator
) -> tuple[dict[int, Box], list[Pair]]:
    """A box inside `area` for each kind of thing, and the pairs that overlap, back before front."""
    if not counts:
        return {}, []
    grid = _Grid()
    islands = _islands(len(counts), relations)
    across = _columns(len(islands), area, rng)
    boxes: dict[int, Box] = {}
    for members, spot in zip(islands, _spots(islands, counts, across, area), strict=True):
        inside = [r for r in relations if r.subject in members and r.object in members]
        _arrange(members, inside, grid, rng)
        boxes.update(_share_out(members, grid, counts, spot))
    for pair in grid.pairs:
        _overlap(pair, boxes, rng)
    return boxes, grid.pairs


def slots(box: Box, count: int, aspect: float) -> list[Box]:
    """`count` equal slots in rows inside a box, for things of this width to height, as large as can be."""
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0

    def size(columns: int) -> float:
        rows = -(-count // columns)
        return min(width / columns / aspect, height / rows)

    columns = max(range(1, count + 1), key=size)
    rows = -(-count // columns)
    found = []
    for i in range(count):
        row, column = divmod(i, columns)
        in_row = columns if row < rows - 1 else count - columns * (rows - 1)
        left = x0 + (width - in_row * width / columns) / 2 + column * width / columns
        top = y0 + row * height / rows
        found.append((left, top, left + width / columns, top + height / rows))
    return found


def _islands(n: int, relations: Sequence[Relation]) -> list[list[int]]:
    """Groups of things that relations tie together, in order of their first member."""
    owner = list(range(n))
    for relation in relations:
        a, b = owner[relation.subject], owner[relation.object]
        owner = [min(a, b) if x in (a, b) else x for x in owner]
    return [[i for i in range(n) if owner[i] == root] for root in sorted(set(owner))]


def _columns(n: int, area: Box, rng: np.random.Generator) -> int:
    wide = (area[2] - area[0]) / max(1.0, area[3] - area[1])
    best = max(1, min(n, round(math.sqrt(n * wide))))
    if n == 2 and 0.7 < wide < 1.5:
        return int(rng.integers(1, 3))
    return best


def _spots(islands: Sequence[Sequence[int]], counts: Sequence[int], across: int, area: Box) -> list[Box]:
    """One box an island, in reading order; rows share the height, members of a row the width, by weight."""
    weights = [sum(math.sqrt(math.sqrt(max(1, counts[i]))) for i in members) for members in islands]
    rows = [list(range(i, min(i + across, len(islands)))) for i in range(0, len(islands), across)]
    heights = [max(weights[i] ** 0.5 for i in row) for row in rows]
    spots: list[Box] = []
    top = area[1]
    for row, height in zip(rows, heights, strict=True):
        bottom = top + (area[3] - area[1]) * height / sum(heights)
        left = area[0]
        for i in row:
            right = left + (area[2] - area[0]) * weights[i] / sum(weights[j] for j in row)
            spots.append((left, top, right, bottom))
            left = right
        top = bottom
    return spots


def _arrange(members: Sequence[int], relations: Sequence[Relation], grid: _Grid, rng: np.random.Generator) -> None:
    waiting = [r for r in relations if r.subject != r.object]
    while waiting:
        known = next((r for r in waiting if r.subject in grid.cells or r.object in grid.cells), waiting[0])
        waiting.remove(known)
        _relate(known, members, grid, rng)
    for member in members:
        if member not in grid.cells:
            _settle(member, (0, 0), members, grid)


def _relate(relation: Relation, members: Sequence[int], grid: _Grid, rng: np.random.Generator) -> None:
    subject, target = relation.subject, relation.object
    kind = direction(relation.predicate)
    if subject in grid.cells and target in grid.cells:
        return
    if kind in ("front", "behind", "hidden") and not _paired(subject, target, grid):
        front, back = (subject, target) if kind == "front" else (target, subject)
        home = grid.cells.get(subject) or grid.cells.get(target) or (0, 0)
        grid.cells[subject] = grid.cells[target] = home
        grid.pairs.append(Pair(front, back, hidden=kind == "hidden"))
        return
    dx, dy = _STEPS.get(kind) or ((1, 0) if rng.integers(2) else (-1, 0))
    if subject not in grid.cells and target not in grid.cells:
        _settle(target, (0, 0), members, grid)
    if target in grid.cells:
        column, row = grid.cells[target]
        _settle(subject, (column + dx, row + dy), members, grid, along=(dx, dy))
    else:
        column, row = grid.cells[subject]
        _settle(target, (column - dx, row - dy), members, grid, along=(-dx, -dy))


def _paired(a: int, b: int, grid: _Grid) -> bool:
    return any({pair.front, pair.back} & {a, b} for pair in grid.pairs)


def _settle(member: int, wish: Cell, members: Sequence[int], grid: _Grid, along: Cell = (1, 0)) -> None:
    """Puts a member into its cell, or further along the same way where that is taken."""
    taken = {grid.cells[other] for other in members if other in grid.cells}
    while wish in taken:
        wish = (wish[0] + along[0], wish[1] + along[1])
    grid.cells[member] = wish


def _share_out(members: Sequence[int], grid: _Grid, counts: Sequence[int], spot: Box) -> dict[int, Box]:
    columns = sorted({grid.cells[i][0] for i in members})
    rows = sorted({grid.cells[i][1] for i in members})

    def weight(axis: int, value: int) -> float:
        return max(math.sqrt(max(1, counts[i])) for i in members if grid.cells[i][axis] == value)

    xs = _edges([weight(0, c) for c in columns], spot[0], spot[2])
    ys = _edges([weight(1, r) for r in rows], spot[1], spot[3])
    found = {}
    for i in members:
        column, row = columns.index(grid.cells[i][0]), rows.index(grid.cells[i][1])
        found[i] = (xs[column], ys[row], xs[column + 1], ys[row + 1])
    return found


def _edges(weights: Sequence[float], low: float, high: float) -> list[float]:
    total, at = sum(weights), 0.0
    edges = [low]
    for weight in weights:
        at += weight
        edges.append(low + (high - low) * at / total)
    return edges


def _overlap(pair: Pair, boxes: dict[int, Box], rng: np.random.Generator) -> None:
    """Splits the shared cell: the front thing larger and lower, its corner over the back one."""
    x0, y0, x1, y1 = boxes[pair.front]
    w, h = x1 - x0, y1 - y0
    mirror = bool(rng.integers(2))
    front = (0.26, 0.26, 1.0, 1.0) if pair.hidden else (0.34, 0.36, 1.0, 1.0)
    back = (0.06, 0.04, 0.70, 0.68) if pair.hidden else (0.0, 0.0, 0.62, 0.66)

    def inside(part: Box) -> Box:
        left, right = (1 - part[2], 1 - part[0]) if mirror else (part[0], part[2])
        return (x0 + left * w, y0 + part[1] * h, x0 + right * w, y0 + part[3] * h)

    boxes[pair.front], boxes[pair.back] = inside(front), inside(back)
