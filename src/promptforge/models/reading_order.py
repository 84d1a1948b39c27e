"""Lines of text in the order in which a person reads them, whatever order an OCR engine gives them in."""

from __future__ import annotations

from collections.abc import Iterable

from promptforge.protocols import TextLine


def in_reading_order(lines: Iterable[TextLine]) -> tuple[TextLine, ...]:
    """Rows from top to bottom, each from left to right.

    Two boxes share a row where the centre of one lies within the other's height; a fixed pixel distance, as
    engines sort by, tears apart the words of large or slanting lines.
    """
    rows: list[list[TextLine]] = []
    for line in sorted(lines, key=lambda each: (_centre(each), each.box)):
        if rows and _same_row(rows[-1][-1], line):
            rows[-1].append(line)
        else:
            rows.append([line])
    return tuple(line for row in rows for line in sorted(row, key=lambda each: min(x for x, _ in each.box)))


def _centre(line: TextLine) -> float:
    return sum(y for _, y in line.box) / len(line.box)


def _same_row(one: TextLine, other: TextLine) -> bool:
    return any(
        min(y for _, y in a.box) < _centre(b) < max(y for _, y in a.box) for a, b in ((one, other), (other, one))
    ) and not _overlap_sideways(one, other)


def _overlap_sideways(one: TextLine, other: TextLine) -> bool:
    """Whether more than half of the narrower box lies above or below the other: then they are two rows."""
    left, right = (
        (min(x for x, _ in line.box) for line in (one, other)),
        (max(x for x, _ in line.box) for line in (one, other)),
    )
    (l1, l2), (r1, r2) = left, right
    return min(r1, r2) - max(l1, l2) > 0.5 * min(r1 - l1, r2 - l2)
