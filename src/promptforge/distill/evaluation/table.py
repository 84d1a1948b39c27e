"""The numbers as tables to read: teacher, student and their difference; errors by timestep; semantics by category.

Cells are plain texts, for Markdown here and for the terminal in commands/evaluate.py. An interval stands with the
difference alone, where it is the paired one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from promptforge.distill.evaluation.summary import SEMANTIC
from promptforge.records import AXES

NONE = "-"


@dataclass(frozen=True, slots=True)
class Grid:
    """One table: its title, its columns, its rows of as many cells, and lines below it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Measure:
    title: str
    teacher: str = NONE
    student: str = NONE
    difference: str = NONE


def grids(summary: Mapping[str, Any]) -> list[Grid]:
    """The tables of an evaluation.json."""
    found = [_main(summary), _by_step(summary["velocity"]["steps"])]
    found += [_by_category(told) for told in summary["semantic"]]
    return found


def markdown(summary: Mapping[str, Any]) -> str:
    """The same as Markdown."""
    blocks = []
    for grid in grids(summary):
        lines = [_line(grid.columns), _line(["---"] + ["--:"] * (len(grid.columns) - 1))]
        lines += [_line(row) for row in grid.rows]
        blocks.append("\n".join([f"**{grid.title}**", "", *lines, *(["", *grid.notes] if grid.notes else [])]))
    return "\n\n".join(blocks) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _main(summary: Mapping[str, Any]) -> Grid:
    measures = [*_velocity(summary["velocity"]), *_distances(summary), *_judged(summary), *_costs(summary["cost"])]
    rows = tuple((each.title, each.teacher, each.student, each.difference) for each in measures)
    return Grid("Student and teacher", ("", *_SIDES), rows, tuple(_notes(summary)))


def _velocity(velocity: Mapping[str, Any]) -> list[_Measure]:
    of_blank = velocity["of_blank"]
    told = {"velocity error, %": velocity["all"], "of a blank prompt's, %": of_blank["all"]}
    told |= {f"of a blank prompt's, {axis}, %": each for axis, each in of_blank["axis"].items()}
    return [
        _Measure(f"{title} (n={_n(each)})", "0", _number(each, 100), _bounds(each, 100)) for title, each in told.items()
    ]


def _distances(summary: Mapping[str, Any]) -> list[_Measure]:
    found = []
    names = {"ssim": ("SSIM", "1"), "pixel_mse": ("pixel MSE", "0"), "dino": ("DINO distance", "0")}
    for name, (title, of_teacher) in names.items():
        told = summary["distances"].get(name, {}).get("all")
        if told:
            found.append(_Measure(f"{title} (n={_n(told)})", of_teacher, _number(told, 1, 3), _bounds(told, 1, 3)))
    cmmd = summary["cmmd"]
    if cmmd and cmmd["value"] is not None:
        found.append(_Measure(f"CMMD, image quality (n={cmmd['n']})", "0", f"{cmmd['value']:.3f}"))
    return found


def _judged(summary: Mapping[str, Any]) -> list[_Measure]:
    found = []
    for scorer, kind in summary["scorers"].items():
        if kind == "aesthetic":
            told = summary["scores"].get(scorer, {}).get("render_aesthetic")
            of_axis = told and {side: told[side]["axis"].get("image_quality") for side in _SIDES}
            found.append(_compared(f"{scorer}, image quality, mark", of_axis, 1, 2))
        if kind == "alignment":
            told = summary["scores"].get(scorer, {}).get("clip_score")
            found.append(
                _compared(f"{scorer}, CLIP score", told and {side: told[side]["all"] for side in _SIDES}, 1, 2)
            )
    found += [_compared(f"{told['scorer']}, semantic score, %", told, 100, 1) for told in summary["semantic"]]
    for told in summary["text"]:
        where = ", ".join(told["splits"])
        for name, title in (("characters", "characters read right"), ("exact", "exact")):
            measure = _compared(f"{told['scorer']}, {title}, {where}, %", told[name], 100, 1)
            if not told["claimed"]:
                measure = _Measure(measure.title, measure.teacher, "not claimed", NONE)
            found.append(measure)
    return found


_SIDES = ("teacher", "student", "difference")


def _compared(title: str, told: Mapping[str, Any] | None, times: float, digits: int) -> _Measure:
    if not told or not told["teacher"]:
        return _Measure(f"{title} (n=0)")
    one, other, between = (told[side] for side in _SIDES)
    return _Measure(
        f"{title} (n={_n(between)})",
        _number(one, times, digits),
        _number(other, times, digits),
        f"{between['mean'] * times:+.{digits}f} {_bounds(between, times, digits)}",
    )


def _costs(cost: Mapping[str, Any] | None) -> list[_Measure]:
    if not cost:
        return []
    one, other = cost["teacher"], cost["student"]
    n = other["batch"]
    wanted = (
        ("encoder, million parameters", "parameters", 1e-6),
        ("weights, MiB", "weight_mib", 1),
        ("encoding memory, MiB", "peak_mib", 1),
        ("encode, ms a prompt, alone", "ms_1", 1),
        (f"encode, ms a prompt, {n} at once", "ms_n", 1),
    )
    return [
        _Measure(title, _few(one[key] * by), _few(other[key] * by), f"1/{one[key] / other[key]:.3g}")
        for title, key, by in wanted
        if one[key] and other[key]
    ]


def _notes(summary: Mapping[str, Any]) -> list[str]:
    given = summary["settings"]
    notes = [
        "Velocity error: mean squared difference of the predictions as a share of the teacher's, mean over steps; in"
        " brackets 95% bootstrap intervals over prompts, of the student's number or of the paired difference.",
        f"Prompts measured: {_counts(summary['prompts'])}; drawn by both: {_counts(summary['pictures']['prompts'])}.",
    ]
    failed = summary["pictures"]["failed"]
    if any(failed.values()):
        notes.append(
            f"No picture came of {failed['teacher']} prompts by the teacher, {failed['student']} by the student."
        )
    for told in summary["text"]:
        reached = told["characters"]["teacher"]
        if not told["claimed"]:
            seen = "has no reading" if reached is None else f"itself reaches {reached['mean']:.2f}"
            notes.append(
                f"{told['scorer']}: not claimed: the teacher {seen} (character accuracy, floor {told['floor']:.2f})."
            )
    if names := summary.get("also_selected"):
        notes.append(f"Judged here, and had the role select when the data set was made: {', '.join(names)}.")
    missing = [name for name, what in (("DINO distance", "dino"), ("CMMD", "clip")) if given[what] is None]
    kinds = set(summary["scorers"].values())
    wanted = {"text accuracy": {"text"}, "CLIP score": {"alignment"}, "aesthetic mark": {"aesthetic"}}
    wanted["semantic score"] = set(SEMANTIC)
    missing += [name for name, some in wanted.items() if not some & kinds]
    if missing:
        notes.append(f"Left out, since no model or scorer is named for it: {', '.join(missing)}.")
    return notes


def _counts(prompts: Mapping[str, Mapping[str, int]]) -> str:
    parts = [
        f"{split} {', '.join(f'{axes[axis]} {axis}' for axis in AXES if axis in axes)}"
        for split, axes in sorted(prompts.items())
    ]
    return "; ".join(parts) or "none"


def _by_step(steps: Sequence[Mapping[str, Any]]) -> Grid:
    axes = [axis for axis in AXES if any(axis in step["axis"] for step in steps)]
    rows = tuple(
        (
            f"{step['timestep']:.0f}",
            *(f"{_number(step['axis'].get(axis), 100)} {_bounds(step['axis'].get(axis), 100)}" for axis in axes),
            f"{_number(step['all'], 100)} {_bounds(step['all'], 100)}",
        )
        for step in steps
    )
    return Grid("Velocity error by timestep, %", ("timestep", *axes, "all"), rows)


def _by_category(told: Mapping[str, Any]) -> Grid:
    between = told["category"]["difference"]
    rows = tuple(
        (
            name,
            str(_n(between[name])),
            _number(told["category"]["teacher"][name], 100, 1),
            _number(told["category"]["student"][name], 100, 1),
            f"{between[name]['mean'] * 100:+.1f} {_bounds(between[name], 100, 1)}",
        )
        for name in sorted(between)
    )
    title = f"Semantic score by category, % ({told['scorer']}: mean of {', '.join(told['metrics'])})"
    return Grid(title, ("category", "n", *_SIDES), rows)


def _n(estimate: Mapping[str, Any] | None) -> int:
    return estimate["n"] if estimate else 0


def _number(estimate: Mapping[str, Any] | None, times: float, digits: int = 2) -> str:
    return f"{estimate['mean'] * times:.{digits}f}" if estimate else NONE


def _bounds(estimate: Mapping[str, Any] | None, times: float, digits: int = 2) -> str:
    if not estimate or estimate["low"] is None:
        return ""
    return f"[{estimate['low'] * times:.{digits}f}, {estimate['high'] * times:.{digits}f}]"


def _few(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
