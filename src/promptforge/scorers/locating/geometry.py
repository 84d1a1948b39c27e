"""Boxes (x0, y0, x1, y1) in px, y downwards: overlap, non-maximum suppression, places of two boxes to each other.

For left of, right of, above and below the centres must differ to that side; and where the boxes lie apart along one
axis alone, only that axis counts, where along both, both, where along neither, the one along which the centres differ
more. T2I-CompBench (Huang et al. 2023, UniDet_eval/2D_spatial_eval.py) always takes the last: there a dog on the ground
beside a tall house is below it and not left of it, since the centres differ more in height. There the score falls from
1 to 0.1 / IoU above an IoU of 0.1; here a limit parts yes from no. For next to, 150 px in either direction are near
there in a picture of any size, so that all in one row are next to each other; here the gap is measured by the size of
the things.
Not covered: depth; things that hold each other (a bird in a cage stands in no relation of the plane).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot

import numpy as np
import numpy.typing as npt

Box = tuple[float, float, float, float]
Floats = npt.NDArray[np.float64]

#: Predicate -> axis (0 across, 1 down) and the sign of (other's centre - own centre) along it.
_SIDES = {"left of": (0, 1), "right of": (0, -1), "above": (1, 1), "below": (1, -1)}
#: Predicates that boxes can answer.
PREDICATES = frozenset({*_SIDES, "next to"})
#: Boxes lie apart along an axis where they share at most this share of the shorter extent: a cup's box ends a little
#: below the edge of the table that it stands on.
_APART = 0.25


def overlaps(boxes: Sequence[Box], others: Sequence[Box]) -> Floats:
    """Intersection over union of each box with each other one, [0, 1]; 0 where both are empty."""
    a, b = (np.asarray(some, dtype=np.float64).reshape(-1, 4) for some in (boxes, others))
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(np.clip(some[:, 2:] - some[:, :2], 0, None), axis=1) for some in (a, b)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    found: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return found


def suppressed(boxes: Sequence[Box], confidences: Sequence[float], max_overlap: float) -> list[int]:
    """Places of the boxes that stay, the surest first: greedy non-maximum suppression.

    A box goes whose intersection over union with a surer one that stays is above `max_overlap`. Of equally sure ones
    the first stays.
    """
    waiting = np.argsort(-np.asarray(confidences, dtype=np.float64), kind="stable")
    iou = overlaps(boxes, boxes)
    kept: list[int] = []
    while len(waiting):
        best = int(waiting[0])
        kept.append(best)
        waiting = waiting[1:][iou[best, waiting[1:]] <= max_overlap]
    return kept


def holds(box: Box, predicate: str, other: Box, *, max_shared: float = 0.5, reach: float = 0.5) -> bool:
    """Whether `box` stands so to `other`. Raises KeyError for a predicate that is not of the plane.

    Boxes with an intersection over union above `max_shared` are taken for one thing, which stands nowhere to itself.
    Next to: the gap between them is at most `reach` times the mean of their longer sides.
    """
    if float(overlaps([box], [other])[0, 0]) > max_shared:
        return False
    if predicate == "next to":
        size = (max(_extents(box)) + max(_extents(other))) / 2
        return hypot(*(max(0.0, -_shared(box, other, axis)) for axis in (0, 1))) <= reach * size
    axis, sign = _SIDES[predicate]
    offset = [_centre(other, k) - _centre(box, k) for k in (0, 1)]
    if sign * offset[axis] <= 0:
        return False
    apart = [_shared(box, other, k) <= _APART * min(_extents(box)[k], _extents(other)[k]) for k in (0, 1)]
    if any(apart):
        return apart[axis]
    return abs(offset[axis]) > abs(offset[1 - axis])


def _extents(box: Box) -> tuple[float, float]:
    return box[2] - box[0], box[3] - box[1]


def _centre(box: Box, axis: int) -> float:
    return (box[axis] + box[axis + 2]) / 2


def _shared(box: Box, other: Box, axis: int) -> float:
    """Length that both have along an axis; the gap between them where it is negative."""
    return min(box[axis + 2], other[axis + 2]) - max(box[axis], other[axis])
