"""The outcomes of the protocol for one student, from promptforge.distill.evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from gates import pools
from gates.plan import Experiment
from gates.pools import AXES, Row
from promptforge import scenes
from promptforge.distill.evaluation.bench import Bench, Models
from promptforge.distill.evaluation.held_out import Case
from promptforge.distill.evaluation.summary import Findings
from promptforge.distill.settings import DistillSettings


def outcome(experiment: Experiment, settings: DistillSettings, student: Path, folder: Path) -> dict[str, Any]:
    """Every number; pieces that are done are kept in `folder`, the teacher's where all students find them."""
    n = experiment.scale.held_out
    bench = Bench(settings.evaluation, Models(settings, student), folder)
    uncurated = bench.errors(_cases(pools.held_out(n, clean=False)))
    cases = _cases(pools.held_out(n, clean=True))
    found = bench.measure(cases)
    return {
        "clean": _by_axis(found.errors),
        "uncurated": _by_axis(uncurated),
        "apart": _apart(found),
        "right": {
            "axis": _right(found, {case.prompt_id: case.axis for case in cases}),
            "category": _right(found, {case.prompt_id: str(case.category) for case in cases}),
        },
        "failures": found.failures,
    }


def _cases(rows: Sequence[Row]) -> list[Case]:
    # the table student_gap knows promptforge's own splits alone; both sets are natural prompts of this world
    return [
        Case(
            row.prompt_id,
            row.text,
            row.axis,
            "test_natural",
            category=row.category,
            expected_text=row.expected,
            scene=scenes.parse(row.text).to_json(),
        )
        for row in rows
    ]


def _by_axis(errors: pa.Table) -> dict[str, float]:
    """Axis -> sum of error over sum of blank, all prompts and steps, and "all": the mean of the axes."""
    sums: dict[str, list[float]] = {}
    columns = (errors[name].to_pylist() for name in ("axis", "error", "blank"))
    for axis, error, blank in zip(*columns, strict=True):
        of = sums.setdefault(axis, [0.0, 0.0])
        of[0] += error
        of[1] += blank
    found = {axis: sums[axis][0] / sums[axis][1] for axis in AXES if axis in sums}
    return {**found, "all": _mean(found.values())}


def _apart(found: Findings) -> dict[str, float]:
    """1 - SSIM of both models' pictures from the same noise, by axis and over the axes."""
    values = found.distances.get("ssim", {})
    by_axis: dict[str, list[float]] = {}
    for case in found.drawn:
        if (value := values.get(case.prompt_id)) is not None:
            by_axis.setdefault(case.axis, []).append(1 - value)
    means = {axis: _mean(by_axis[axis]) for axis in AXES if axis in by_axis}
    return {**means, "all": _mean(means.values())} if means else {}


def _right(found: Findings, group: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Group -> n, teacher, student: shares of right pictures, over prompts that the judge can judge of both."""
    sides = found.scores.get(("miniature", "right"), {})
    pairs: dict[str, list[tuple[float, float]]] = {}
    for name, one in sides.get("teacher", {}).items():
        other = sides.get("student", {}).get(name)
        if one is not None and other is not None:
            pairs.setdefault(group[name], []).append((one, other))
    return {
        name: {"n": len(some), "teacher": _mean(t for t, _ in some), "student": _mean(s for _, s in some)}
        for name, some in sorted(pairs.items())
    }


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)
