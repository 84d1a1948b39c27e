"""From measurements by prompt to what is said: means with intervals, by axis, split, category, length and step.

Shares of velocity error: error / scale of each step, mean over a prompt's steps and noises; and of what the prompt
changes at all: sum of error over sum of blank. Two models' scores are compared over the prompts for which both have
one; the difference is the student's less the teacher's.

    character accuracy  1 less edits per wanted character (scorer text, cer), not below 0; case does not count
    exact               share of prompts whose every string is read exactly, case included
    semantic score      mean of what the scorer answers of a prompt (SEMANTIC), on prompts of semantic understanding

Text counts on the prompts for text whose words the student never saw (test_words) where that split is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from promptforge.distill.evaluation import distances
from promptforge.distill.evaluation.held_out import Case
from promptforge.distill.evaluation.intervals import mean_of
from promptforge.distill.evaluation.settings import Evaluation
from promptforge.texts import length_band

#: Scorers that say whether a picture shows what was asked for, and the metrics whose mean is the semantic score.
SEMANTIC: Mapping[str, tuple[str, ...]] = {
    "detector": ("presence", "count_agreement", "relation_agreement"),
    "agreement": ("colour_agreement", "count_agreement"),
    "miniature": ("right",),
}

#: prompt_id -> number, or None where there is none.
Values = Mapping[str, float | None]


@dataclass
class Findings:
    """What was measured. `scores`: (scorer, metric) -> side -> values; `kinds`: scorer -> module of scorers/."""

    cases: tuple[Case, ...]
    errors: pa.Table
    drawn: tuple[Case, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=lambda: {"teacher": 0, "student": 0})
    distances: dict[str, dict[str, float | None]] = field(default_factory=dict)
    vectors: dict[str, dict[str, npt.NDArray[np.float64]]] = field(default_factory=dict)
    scores: dict[tuple[str, str], dict[str, dict[str, float | None]]] = field(default_factory=dict)
    cost: Mapping[str, Any] | None = None


def summarise(found: Findings, settings: Evaluation) -> dict[str, Any]:
    """Every number, as JSON takes it."""
    groups = _Groups(found.cases, settings)
    scores: dict[str, dict[str, Any]] = {}
    for (scorer, metric), sides in sorted(found.scores.items()):
        scores.setdefault(scorer, {})[metric] = groups.compared(sides.get("teacher", {}), sides.get("student", {}))
    return {
        "settings": settings.model_dump(mode="json", exclude={"shared"}),
        "prompts": groups.counted(found.cases),
        "velocity": _velocity(found.errors, groups),
        "pictures": {"prompts": groups.counted(found.drawn), "failed": found.failures},
        "distances": {name: groups.by(values) for name, values in sorted(found.distances.items())},
        "cmmd": _cmmd(found),
        "scores": scores,
        "scorers": dict(sorted(found.kinds.items())),
        "text": _text(found, groups, settings),
        "semantic": _semantic(found, groups),
        "cost": found.cost,
    }


class _Groups:
    """Prompts by axis, split, category and length."""

    def __init__(self, cases: Sequence[Case], settings: Evaluation) -> None:
        self.cases, self._settings = {case.prompt_id: case for case in cases}, settings
        self._of: dict[str, Callable[[Case], str | None]] = {
            "axis": lambda case: case.axis,
            "split": lambda case: case.split,
            "category": lambda case: case.category,
            "length": lambda case: length_band(case.n_words),
        }

    def estimate(self, values: Iterable[float]) -> dict[str, Any] | None:
        """Mean, bounds and n, or None."""
        found = mean_of(list(values), self._settings.seed, self._settings.resamples)
        return asdict(found) if found else None

    def by(self, values: Values) -> dict[str, Any]:
        """Estimates over all prompts and by group; prompts in order of their id, so that equal runs give equal bits."""
        there = {name: value for name, value in sorted(values.items()) if value is not None and np.isfinite(value)}
        found: dict[str, Any] = {"all": self.estimate(there.values())}
        for name, of in self._of.items():
            members: dict[str, list[float]] = {}
            for prompt, value in there.items():
                if (key := of(self.cases[prompt])) is not None:
                    members.setdefault(key, []).append(value)
            found[name] = {key: self.estimate(some) for key, some in sorted(members.items())}
        return found

    def compared(self, teacher: Values, student: Values) -> dict[str, Any]:
        """`by` of both sides and of the differences, over the prompts that both have a number for."""
        pairs = {
            name: (one, other)
            for name, one in sorted(teacher.items())
            if one is not None and (other := student.get(name)) is not None
        }
        return {
            "teacher": self.by({name: one for name, (one, _) in pairs.items()}),
            "student": self.by({name: other for name, (_, other) in pairs.items()}),
            "difference": self.by({name: other - one for name, (one, other) in pairs.items()}),
            "n_left_out": len(teacher.keys() | student.keys()) - len(pairs),
        }

    def counted(self, cases: Sequence[Case]) -> dict[str, dict[str, int]]:
        """Prompts by split and axis."""
        found: dict[str, dict[str, int]] = {}
        for case in cases:
            of = found.setdefault(case.split, {})
            of[case.axis] = of.get(case.axis, 0) + 1
        return found


def _velocity(errors: pa.Table, groups: _Groups) -> dict[str, Any]:
    with duckdb.connect() as con:
        con.register("student_gap", errors)
        shares = con.sql(
            "SELECT prompt_id, avg(error / scale) FROM student_gap WHERE scale > 0 GROUP BY ALL ORDER BY prompt_id"
        ).fetchall()
        of_blank = con.sql(
            "SELECT prompt_id, sum(error) / sum(blank) FROM student_gap GROUP BY ALL HAVING sum(blank) > 0"
            " ORDER BY prompt_id"
        ).fetchall()
        steps = con.sql(
            "SELECT step, any_value(timestep), prompt_id, avg(error / scale) FROM student_gap WHERE scale > 0"
            " GROUP BY step, prompt_id ORDER BY step, prompt_id"
        ).fetchall()
    by_step: dict[tuple[int, float], dict[str, float | None]] = {}
    for step, timestep, prompt, share in steps:
        by_step.setdefault((step, timestep), {})[prompt] = share
    return {
        **groups.by(dict(shares)),
        "of_blank": groups.by(dict(of_blank)),
        "steps": [
            {"step": step, "timestep": timestep, **{name: groups.by(values)[name] for name in ("all", "axis")}}
            for (step, timestep), values in by_step.items()
        ],
    }


def _cmmd(found: Findings) -> dict[str, Any] | None:
    """CMMD of the student's pictures to the teacher's, prompts for image quality; None where no tower is named."""
    if not found.vectors:
        return None
    sides = [found.vectors.get(side, {}) for side in ("teacher", "student")]
    names = [
        case.prompt_id
        for case in found.drawn
        if case.axis == "image_quality" and all(np.isfinite(side.get(case.prompt_id, np.nan)).all() for side in sides)
    ]
    if not names:
        return {"value": None, "n": 0}
    ones, others = (np.stack([side[name] for name in names]) for side in sides)
    return {"value": distances.cmmd(ones, others), "n": len(names)}


def _text(found: Findings, groups: _Groups, settings: Evaluation) -> list[dict[str, Any]]:
    """For each scorer of text: character accuracy and exact strings, and whether a claim is made."""
    splits = sorted({case.split for case in found.drawn})
    counted = ["test_words"] if "test_words" in splits else splits
    names = {case.prompt_id for case in found.drawn if case.axis == "text_rendering" and case.split in counted}
    told = []
    for scorer in sorted(name for name, kind in found.kinds.items() if kind == "text"):
        cer, exact = (_kept(found.scores.get((scorer, metric), {}), names) for metric in ("cer", "exact"))
        right = {
            side: {name: None if value is None else max(0.0, 1 - value) for name, value in values.items()}
            for side, values in cer.items()
        }
        characters = _all(groups.compared(right["teacher"], right["student"]))
        reached = characters["teacher"] and characters["teacher"]["mean"]
        told.append(
            {
                "scorer": scorer,
                "splits": counted,
                "characters": characters,
                "exact": _all(groups.compared(exact["teacher"], exact["student"])),
                "floor": settings.text_floor,
                "claimed": reached is not None and reached >= settings.text_floor,
            }
        )
    return told


def _semantic(found: Findings, groups: _Groups) -> list[dict[str, Any]]:
    names = {case.prompt_id for case in found.drawn if case.axis == "semantic_understanding"}
    told = []
    for scorer, kind in sorted(found.kinds.items()):
        if kind not in SEMANTIC:
            continue
        metrics = [_kept(found.scores.get((scorer, metric), {}), names) for metric in SEMANTIC[kind]]
        sides = {side: _means([metric[side] for metric in metrics]) for side in ("teacher", "student")}
        compared = groups.compared(sides["teacher"], sides["student"])
        by_category = {side: compared[side]["category"] for side in ("teacher", "student", "difference")}
        told.append({"scorer": scorer, "metrics": list(SEMANTIC[kind]), **_all(compared), "category": by_category})
    return told


def _kept(sides: Mapping[str, Values], names: set[str]) -> dict[str, dict[str, float | None]]:
    return {
        side: {name: value for name, value in sides.get(side, {}).items() if name in names}
        for side in ("teacher", "student")
    }


def _means(metrics: Sequence[Values]) -> dict[str, float | None]:
    """Mean over the metrics that a prompt has a number for."""
    found: dict[str, float | None] = {}
    for name in sorted({name for values in metrics for name in values}):
        there = [value for values in metrics if (value := values.get(name)) is not None]
        found[name] = sum(there) / len(there) if there else None
    return found


def _all(compared: Mapping[str, Any]) -> dict[str, Any]:
    return {side: compared[side]["all"] for side in ("teacher", "student", "difference")}
