"""The tables of the experiment, from what run.py left in a folder, as JSON and Markdown.

    python benchmarks/experiment/report.py DIR [--into benchmarks/results]

A ratio is arm over what it is held against: below 1 the arm's students are nearer to the teacher. Only seeds that both
arms have are paired. p is corrected by Holm's method over all comparisons that are there, which are the protocol's once
every arm is done.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gates.effects import effect, holm
from gates.plan import ARMS, Arm
from gates.pools import AXES

from promptforge.files import put

RESULTS = Path(__file__).resolve().parent.parent / "results"
FLOOR = 0.5  #: share of right pictures of the teacher itself under which an axis gets no claim about pictures
ALPHA = 0.05

#: Arm -> seed -> the numbers of its student.
Found = Mapping[str, Mapping[int, Mapping[str, Any]]]
Measure = Callable[[Mapping[str, Any]], "float | None"]


def main(argv: Sequence[str] | None = None) -> int:
    """What the command line says; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--into", type=Path, default=RESULTS, help="folder for experiment.json and experiment.md")
    told = parser.parse_args(argv)
    record = reported(told.folder)
    put(told.into / "experiment.json", (json.dumps(record, indent=1, sort_keys=True) + "\n").encode())
    put(told.into / "experiment.md", markdown(record).encode())
    print(told.into / "experiment.md")
    return 0


def reported(folder: Path) -> dict[str, Any]:
    """Everything that the tables say."""
    found: dict[str, dict[int, Mapping[str, Any]]] = {}
    for path in sorted((folder / "done").glob("*.json")):
        told = json.loads(path.read_text("utf-8"))
        found.setdefault(told["arm"], {})[told["seed"]] = told
    seeds = sorted({seed for each in found.values() for seed in each})
    prepared = {
        seed: json.loads((folder / f"seed-{seed}" / "draws.json").read_text("utf-8"))
        for seed in seeds
        if (folder / f"seed-{seed}" / "draws.json").is_file()
    }
    price = folder / "price.json"
    return {
        "experiment": json.loads((folder / "experiment.json").read_text("utf-8")),
        "machine": {"processor": platform.processor() or platform.machine(), "python": platform.python_version()},
        "seeds": seeds,
        "comparisons": compared(found),
        "arms": {arm.name: _arm(found[arm.name]) for arm in ARMS if arm.name in found},
        "teacher": _teacher(found),
        "funnel": _funnel([each["funnel"] for each in prepared.values()]),
        "costs": {str(seed): each["costs"] for seed, each in prepared.items()},
        "price": json.loads(price.read_text("utf-8")) if price.is_file() else None,
    }


def compared(found: Found) -> list[dict[str, Any]]:
    """A row for each comparison of the protocol that has a pair, the primary outcome first."""
    rows: list[dict[str, Any]] = []
    for arm in ARMS:
        if arm.against is None or not (set(found.get(arm.name, {})) & set(found.get(arm.against, {}))):
            continue
        primary = _effect(found, arm, lambda each: each["clean"]["all"])
        rows.append(
            {
                "arm": arm.name,
                "against": arm.against,
                "gate": arm.gate,
                "gate_is_in": arm.gate_is_in,
                "primary": primary,
                **{axis: _effect(found, arm, lambda each, axis=axis: each["clean"].get(axis)) for axis in AXES},  # type: ignore[misc]
                "uncurated": _effect(found, arm, lambda each: each["uncurated"]["all"]),
                "apart": _effect(found, arm, lambda each: each["apart"].get("all")),
                "right_difference": _right_difference(found, arm),
            }
        )
    corrected = holm([row["primary"]["p"] if row["primary"] else None for row in rows])
    for row, p in zip(rows, corrected, strict=True):
        row["p_holm"] = p
        row["says"] = _says(row)
    return rows


def _pairs(found: Found, arm: Arm) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    ours, theirs = found[arm.name], found[str(arm.against)]
    return [(ours[seed], theirs[seed]) for seed in sorted(set(ours) & set(theirs))]


def _effect(found: Found, arm: Arm, measure: Measure) -> dict[str, Any] | None:
    pairs = [(measure(one), measure(other)) for one, other in _pairs(found, arm)]
    known = [(one, other) for one, other in pairs if one and other]
    return asdict(effect([one for one, _ in known], [other for _, other in known])) if known else None


def _right_difference(found: Found, arm: Arm) -> float | None:
    """Mean over seeds and judged axes of the difference of shares of right pictures."""
    differences = [
        one["right"]["axis"][axis]["student"] - other["right"]["axis"][axis]["student"]
        for one, other in _pairs(found, arm)
        for axis in sorted(set(one["right"]["axis"]) & set(other["right"]["axis"]))
    ]
    return math.fsum(differences) / len(differences) if differences else None


def _says(row: Mapping[str, Any]) -> str:
    """What the comparison says of its gate; of its arm where it tests none. Of a gate left out it is the reverse."""
    if row["primary"] is None or row["p_holm"] is None:
        return "too few seeds"
    if row["p_holm"] >= ALPHA:
        return "no difference shown"
    nearer = row["primary"]["ratio"] < 1
    if row["gate"] is None:
        return "nearer to the teacher" if nearer else "farther from the teacher"
    return "helps" if nearer == row["gate_is_in"] else "harms"


def _arm(seeds: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    def mean(measure: Measure) -> float | None:
        known = [value for each in seeds.values() if (value := measure(each)) is not None]
        return math.fsum(known) / len(known) if known else None

    groups = {
        kind: sorted({name for each in seeds.values() for name in each["right"][kind]}) for kind in ("axis", "category")
    }
    return {
        "n_seeds": len(seeds),
        "clean": {name: mean(lambda each, name=name: each["clean"].get(name)) for name in (*AXES, "all")},  # type: ignore[misc]
        "uncurated": mean(lambda each: each["uncurated"]["all"]),
        "apart": mean(lambda each: each["apart"].get("all")),
        "right": {
            kind: {
                name: mean(lambda each, kind=kind, name=name: each["right"][kind].get(name, {}).get("student"))  # type: ignore[misc]
                for name in names
            }
            for kind, names in groups.items()
        },
        "n_prompts": mean(lambda each: each["n_prompts"]),
        "n_eligible": mean(lambda each: each["n_eligible"]),
        "n_filled": mean(lambda each: each["n_filled"]),
        "optimiser_steps": mean(lambda each: each["optimiser_steps"]),
        "seconds_a_batch": mean(lambda each: each["seconds_a_batch"]),
        "weights": mean(lambda each: each["weights"]),
    }


def _teacher(found: Found) -> dict[str, Any]:
    """The teacher's own share of right pictures, the same for every student."""
    told: dict[str, Any] = next(
        (dict(each["right"]) for seeds in found.values() for each in seeds.values()), {"axis": {}, "category": {}}
    )
    return {
        kind: {name: {"n": each["n"], "right": each["teacher"]} for name, each in groups.items()}
        for kind, groups in told.items()
    }


def _funnel(funnels: Sequence[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """Kind -> rows and rows dropped by each check, over all seeds."""
    found: dict[str, dict[str, int]] = {}
    for funnel in funnels:
        for kind, counts in funnel.items():
            into = found.setdefault(kind, {})
            for name, n in counts.items():
                into[name] = into.get(name, 0) + n
    return found


def markdown(record: Mapping[str, Any]) -> str:
    """The record as tables to read."""
    scale = record["experiment"]["scale"]
    lines = [
        "# Which checks on prompts help a student: the miniature world",
        "",
        f"Seeds: {len(record['seeds'])}; prompts an axis: {scale['prompts']}; batches: {scale['batches']} of"
        f" {scale['batch']}. Protocol: benchmarks/experiment/PROTOCOL.md. A test of the mechanism at 64 px; nothing"
        " here is about FLUX.",
        "",
        "## Velocity error: each arm against another",
        "",
        "Ratio of velocity errors (as a share of a blank prompt's) on clean held-out prompts, with its 95% t interval;",
        "below 1 the arm is nearer to the teacher. p by Holm over these rows. The last column speaks of the gate, or",
        "else of the arm.",
        "",
        *_table(
            ("arm", "against", "ratio", "95%", "p (Holm)", "says"),
            [
                (
                    row["arm"],
                    row["against"],
                    _ratio(row["primary"]),
                    _interval(row["primary"]),
                    _number(row["p_holm"], 4),
                    f"{row['gate']}: {row['says']}" if row["gate"] else row["says"],
                )
                for row in record["comparisons"]
            ],
        ),
        "",
        "## The same by axis, on uncurated prompts, and of pictures",
        "",
        "Ratios; pictures: 1 - SSIM of both models' pictures from the same noise; right: difference of the shares of",
        "right pictures (judge `evaluate`), in points. Not corrected.",
        "",
        *_table(
            ("arm", "against", *AXES, "uncurated", "pictures", "right"),
            [
                (
                    row["arm"],
                    row["against"],
                    *(_ratio(row[name]) for name in (*AXES, "uncurated", "apart")),
                    _points(row["right_difference"]),
                )
                for row in record["comparisons"]
            ],
        ),
        "",
        *_levels(record),
        *_rest(record),
    ]
    return "\n".join(lines) + "\n"


def _levels(record: Mapping[str, Any]) -> list[str]:
    """Each arm by itself, and what of its pictures is right."""
    teacher = record["teacher"]
    named = [name for name in teacher["axis"] if teacher["axis"][name]["right"] >= FLOOR]
    low = [name for name in teacher["axis"] if name not in named]
    judged = [*teacher["axis"], *(name for name in teacher["category"] if len(teacher["category"]) > 1)]

    def share(arm: Mapping[str, Any], name: str) -> str:
        kind = "axis" if name in teacher["axis"] else "category"
        own, whole = arm["right"][kind].get(name), teacher[kind][name]["right"]
        return f"{own / whole:.2f}" if own is not None and whole else ""

    unsaid = [axis for axis in AXES if axis not in teacher["axis"]]
    return [
        "## Each arm, mean over seeds",
        "",
        "Relative velocity error in per cent.",
        "",
        *_table(
            ("arm", "seeds", *AXES, "mean", "uncurated", "pictures", "prompts", "filled", "eligible", "steps"),
            [
                (
                    name,
                    str(arm["n_seeds"]),
                    *(_number(arm["clean"][axis], 3, 100) for axis in (*AXES, "all")),
                    _number(arm["uncurated"], 3, 100),
                    _number(arm["apart"], 4),
                    *(_number(arm[key], 0) for key in ("n_prompts", "n_filled", "n_eligible", "optimiser_steps")),
                )
                for name, arm in record["arms"].items()
            ],
        ),
        "",
        "Right pictures of the student over those of the teacher, which itself is right in "
        + "; ".join(
            f"{each['right'] * 100:.0f}% of {each['n']} ({name})"
            for kind in ("axis", "category")
            for name, each in teacher[kind].items()
        )
        + ".",
        f"No claim about pictures: {', '.join([*low, *unsaid]) or 'none'} (teacher under {FLOOR:.0%}, or not judged).",
        "",
        *_table(
            ("arm", *judged), [(name, *(share(arm, each) for each in judged)) for name, arm in record["arms"].items()]
        ),
        "",
    ]


def _rest(record: Mapping[str, Any]) -> list[str]:
    """What the checks drop, and what everything cost."""
    funnel = record["funnel"]
    checks = sorted({check for counts in funnel.values() for check in counts} - {"rows"})
    costs = list(record["costs"].values())
    lines = [
        "## What the prompt checks drop, by kind",
        "",
        *_table(
            ("kind", "rows", *checks),
            [
                (kind, str(counts["rows"]), *(f"{counts.get(check, 0) / counts['rows']:.1%}" for check in checks))
                for kind, counts in funnel.items()
            ],
        ),
        "",
        "## Costs",
        "",
        "Seconds of processor time.",
        "",
    ]
    if costs:
        total = {name: math.fsum(each[name] for each in costs) / len(costs) for name in costs[0]}
        lines += [
            f"A seed: {total['checked_rows']:,.0f} rows through the text checks in {total['checked_s']:.0f} s;"
            f" {total['responses']:,.0f} responses in {total['response_s']:.0f} s;"
            f" {total['renders']:,.0f} renders in {total['render_s']:.0f} s, of which teachability takes"
            f" {total['renders_teachability']:,.0f} and sharpness {total['renders_aesthetic']:,.0f} (first takes are"
            " shared).",
        ]
    if record["price"]:
        price = record["price"]
        lines.append(
            f"A render took {price['render_s'] * 1000:.0f} ms, an optimiser step {price['step_s'] * 1000:.0f} ms: a"
            f" render is worth {price['steps_a_render']:.2f} steps."
        )
    return lines


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(each)} |" for each in (head, ["---"] * len(head), *rows)]


def _ratio(told: Mapping[str, Any] | None) -> str:
    return f"{told['ratio']:.3f}" if told else ""


def _interval(told: Mapping[str, Any] | None) -> str:
    return f"{told['low']:.3f} to {told['high']:.3f}" if told and told["low"] is not None else ""


def _number(value: float | None, digits: int, times: float = 1) -> str:
    return "" if value is None else f"{value * times:,.{digits}f}"


def _points(value: float | None) -> str:
    return "" if value is None else f"{value * 100:+.1f}"


if __name__ == "__main__":
    raise SystemExit(main())
