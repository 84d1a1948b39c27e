"""Shapes that an engine takes for a character: a ball for an O, a pole for an I, a button for a dot.

A line of one such glyph is text only where it stands beside or under other text of its own size, or where it is
a word that was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

from promptforge.protocols import TextLine
from promptforge.scorers.reading.glyphs import essence
from promptforge.scorers.reading.metrics import folded, words
from promptforge.scorers.reading.passes import line_height

#: Glyphs that simple shapes are read as: rings, disks, bars, arcs, crosses.
_SHAPES = frozenset("oO0QCcDGUu8oIlLJ1iTVv7XxY4A")
#: A neighbour's height may differ by this factor: x-height against capitals with descenders is 1.6.
_SAME_SIZE = 1.8
#: A neighbour is at most this many of its heights away, sideways or down.
_NEAR = 1.2


def specks(lines: Sequence[TextLine], wanted: Sequence[str]) -> frozenset[int]:
    """Numbers of the lines that are shapes, not text; none where nothing else was read."""
    asked = {word for text in wanted for word in words(text)}
    found = {number for number, line in enumerate(lines) if _is_shape(line.text) and folded(line.text) not in asked}
    text = [line for number, line in enumerate(lines) if number not in found]
    return frozenset(number for number in found if not any(_beside(lines[number], other) for other in text))


def _is_shape(text: str) -> bool:
    left = essence(text)
    return len(left) == 0 or (len(left) == 1 and (left in _SHAPES or not left.isalnum()))


def _beside(line: TextLine, other: TextLine) -> bool:
    height, theirs = line_height(line), line_height(other)
    if not theirs / _SAME_SIZE < height < theirs * _SAME_SIZE:
        return False
    (left, top, right, bottom), (o_left, o_top, o_right, o_bottom) = _extent(line), _extent(other)
    sideways = max(o_left - right, left - o_right)
    upright = max(o_top - bottom, top - o_bottom)
    middle = (top + bottom) / 2
    same_row = o_top < middle < o_bottom
    return (same_row and sideways < _NEAR * theirs) or (sideways < 0 and 0 <= upright < _NEAR * theirs / 2)


def _extent(line: TextLine) -> tuple[float, float, float, float]:
    xs, ys = [x for x, _ in line.box], [y for _, y in line.box]
    return min(xs), min(ys), max(xs), max(ys)
