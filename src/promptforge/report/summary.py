"""What the report says in words and tables: figures put into the rows that the page shows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from promptforge import __version__
from promptforge.records import AXES
from promptforge.report.figures import WORDS, Row
from promptforge.stages.card import EMBEDDED_TEACHERS
from promptforge.stages.content import portable
from promptforge.stages.coverage.shown import percent

Tables = Mapping[str, Sequence[Row]]


def overview(
    root: Path, tables: Tables, recipe: Mapping[str, Any], manifest: Mapping[str, Any], head: int | None
) -> dict[str, Any]:
    """Head of the page, and its provenance."""
    rows = _by_axis(tables["by_axis"], recipe.get("select", {}).get("quota", {}))
    total = rows[-1] if rows else {}
    recipe = manifest.get("recipe") or portable(recipe)
    return {
        "title": recipe.get("publish", {}).get("pretty_name") or recipe.get("name", root.name),
        "name": recipe.get("name", ""),
        "policy": recipe.get("select", {}).get("policy", ""),
        "version": __version__,
        "about": "What was made, from what, and why each row is in or out.",
        "folder": root.resolve().name,
        "published": bool(manifest),
        "digest": manifest.get("digest", ""),
        "head": "none" if head is None else head,
        "seed": recipe.get("seed", 0),
        "by_axis": rows,
        "headline": [
            ("accepted prompts", f"{total.get('accepted', 0):,}"),
            ("usable pictures", f"{total.get('usable', 0):,}"),
            ("prompts rendered", f"{total.get('rendered', 0):,}"),
            ("candidates", f"{total.get('candidates', 0):,}"),
        ],
        "warnings": list(_warnings(tables, recipe)),
        "models": _models(tables, recipe),
        "recipe": json.dumps(recipe, indent=2, ensure_ascii=True, sort_keys=True),
    }


def _by_axis(rows: Sequence[Row], quota: Mapping[str, Any]) -> list[Row]:
    found = [{**row, "wanted": quota.get(row["axis"], "")} for row in rows]
    counted = ("candidates", "kept", "rendered", "accepted", "published", "usable")
    wanted = [row["wanted"] for row in found if row["wanted"] != ""]
    if rows:
        found.append(
            {
                "axis": "all",
                **{name: sum(row[name] for row in rows) for name in counted},
                "wanted": sum(wanted) if wanted and all(isinstance(each, int) for each in wanted) else "",
            }
        )
    return found


def _warnings(tables: Tables, recipe: Mapping[str, Any]) -> Iterable[str]:
    """What a reader must know before anything else; the first is what the card says first."""
    teacher = recipe.get("teacher", {}).get("kind")
    if teacher in EMBEDDED_TEACHERS and tables["teachers"]:
        yield (
            f"The pictures are drawings of promptforge's embedded {teacher} teacher, made for testing the pipeline:"
            " they are not what a diffusion model draws."
        )
    quota = recipe.get("select", {}).get("quota", {})
    for row in tables["by_axis"]:
        wanted = quota.get(row["axis"], "all")
        if wanted != "all" and row["accepted"] < wanted:
            yield f"{row['axis'].replace('_', ' ')} fell short: {row['accepted']:,} accepted of {wanted:,} wanted."
    for row in tables["short_cells"]:
        yield (
            f"Cell {row['axis']}/{row['cell']} fell short: {row['n_accepted']:,} of {row['wanted']:,}, {row['state']}."
        )
    if not tables["rounds"]:
        for row in tables["cells"]:
            if row["accepted"] < row["wanted"]:
                yield f"Cell {row['axis']}/{row['cell']} fell short: {row['accepted']:,} of {row['wanted']:,}."
    loose = sorted({row["gate"] for row in tables["gates"] if not row["validated"]})
    if loose:
        yield (
            f"Not validated: {', '.join(loose)}. No labels or known truth say that"
            f" {'this gate' if len(loose) == 1 else 'these gates'} measure what they should."
        )
    failed = sum(row["n_errors"] for row in tables["teachers"])
    if failed:
        yield f"{failed:,} {'picture' if failed == 1 else 'pictures'} could not be made."


def _models(tables: Tables, recipe: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Teacher, scorers and language models: what, licence, revision or digest."""
    found = []
    for row in tables["teachers"]:
        regime = json.loads(row["regime"])
        what = str(regime.get("model") or recipe.get("teacher", {}).get("kind", ""))
        found.append(("teacher", what, row["licence"], str(regime.get("revision") or row["teacher"])))
    for part in recipe.get("scorers", []):
        outside = ", ".join(f"{name} {_short(value)}" for name, value in sorted(part.get("outside", {}).items()))
        role = "" if part.get("role", "select") == "select" else " (reports only)"
        found.append((f"scorer {part['name']}{role}", f"{part['kind']}, version {part['version']}", "", outside))
    for name, part in sorted(dict(recipe.get("llm") or {}).items()):
        found.append((f"language model {name}", json.dumps(part, sort_keys=True, default=str)[:300], "", ""))
    return found


def _short(value: object) -> str:
    return json.dumps(value, sort_keys=True) if isinstance(value, Mapping | list) else str(value)


def sections(tables: Tables, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The rows of every other table of the page."""
    axes = [axis for axis in (*AXES, "") if any(row["axis"] == axis for row in tables["funnel"])]
    budget = {name: value for name, value in (recipe.get("rounds") or {}).items() if name.startswith("max_") and value}
    return {
        "axes": axes,
        "funnel": _funnel(tables),
        "gates": _gates(tables["gates"]),
        "coverage": _coverage(tables["coverage"]),
        "cells": [
            (f"{row['axis']}/{row['cell']}", _cell(row["wanted"]), _cell(row["accepted"])) for row in tables["cells"]
        ],
        "teachability": [
            (
                f"{row['axis'].replace('_', ' ')}: {row['category'] or '(none)'}",
                f"{row['n']:,}",
                f"{row['n_takes']:,}",
                percent(row["mean"]),
                " to ".join(percent(end) for end in wilson(row["mean"], row["n"])),
                f"{row['under']:,}",
                f"{row['over']:,}",
            )
            for row in tables["teachability"]
        ],
        "take_yield": [_take(row) for row in tables["take_yield"]]
        if any(row["take"] for row in tables["take_yield"])
        else [],
        "rounds": [
            tuple(
                _cell(row[name]).replace("_", " ")
                for name in ("axis", "round", "accepted", "wanted", "new_prompts", "renders", "spent", "states")
            )
            for row in tables["rounds"]
        ],
        "budget": ", ".join(
            f"{name.removeprefix('max_').replace('_', ' ')} {value:,}" for name, value in budget.items()
        ),
        "contamination": [tuple(_cell(value) for value in row.values()) for row in tables["contamination"]],
        "cost": _cost(tables["cost"]),
        "llm_cost": [tuple(_cell(value) for value in row.values()) for row in tables["llm_cost"]],
        "plan": [_planned(row) for row in tables["plan"]],
        "sources": [tuple(_cell(value) for value in row.values()) for row in tables["sources"]],
        "splits": [tuple(_cell(value) for value in row.values()) for row in tables["splits"]],
    }


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def _funnel(tables: Tables) -> list[Row]:
    """Rows in, what each stage took out with its reasons, rows accepted."""
    rows = tables["funnel"]
    n_in = sum(row["n_in"] or 0 for row in rows)
    examples: dict[tuple[str, str, str], list[str]] = {}
    for row in tables["examples"]:
        examples.setdefault((row["stage"], row["check_name"], row["reason"]), []).append(row["text"])
    entering = {row["axis"]: row["n_in"] for row in rows if row["step"] == 0}
    groups: dict[str, Row] = {}
    for row in (row for row in rows if row["step"] > 0):
        group = groups.setdefault(row["stage"], {"stage": row["stage"], "by_axis": {}, "n": 0, "found": {}})
        key = (row["stage"], row["check_name"], row["reason"])
        name = row["check_name"] if row["check_name"] == row["reason"] else f"{row['check_name']}: {row['reason']}"
        reason = group["found"].setdefault(
            key, {"name": name, "by_axis": {}, "n": 0, "examples": examples.get(key, [])}
        )
        for each in (group, reason):
            each["by_axis"][row["axis"]] = each["by_axis"].get(row["axis"], 0) + row["n_dropped"]
            each["n"] += row["n_dropped"]
    left = dict(entering)
    found: list[Row] = [{"stage": "rows in", "by_axis": entering, "n": n_in, "share": 1.0, "reasons": [], "left": True}]
    for group in groups.values():
        for axis, n in group["by_axis"].items():
            left[axis] = left.get(axis, 0) - n
        reasons = sorted(group["found"].values(), key=lambda each: (-each["n"], each["name"]))
        for reason in reasons:
            reason["share"] = reason["n"] / n_in if n_in else 0
        found.append(
            {
                "stage": "not taken by select" if group["stage"] == "select" else f"taken out by {group['stage']}",
                "by_axis": group["by_axis"],
                "n": group["n"],
                "share": group["n"] / n_in if n_in else 0,
                "reasons": reasons,
                "left": False,
            }
        )
    accepted = {row["axis"]: row["accepted"] for row in tables["by_axis"]}
    n = sum(accepted.values())
    found.append(
        {
            "stage": "accepted",
            "by_axis": accepted,
            "n": n,
            "share": n / n_in if n_in else 0,
            "reasons": [],
            "left": True,
        }
    )
    return found


def _gates(rows: Sequence[Row]) -> list[Row]:
    found = []
    for row in rows:
        metric = f"{row['scorer']}.{row['metric']}"
        if row["kind"] == "where":
            passes = row["predicate"]
        elif row["kind"] == "one_of":
            passes = f"{metric} is {' or '.join(row['one_of'])}"
        else:
            ends = (("≥", row["minimum"]), ("≤", row["maximum"]))
            passes = f"{metric} " + " and ".join(f"{sign} {end:.4g}" for sign, end in ends if end is not None)
        origin = "validated" if row["validated"] else "not validated"
        if row["kind"] == "quantile":
            origin = f"quantile {row['quantile']:g} of {row['n_reference']:,}, {origin}"
        n_failing = (row["n_first"] if row["n_outside"] is None else row["n_outside"]) or 0
        share = n_failing / row["n_pictures"] if row["n_pictures"] else 0
        found.append({**row, "passes": passes, "origin": origin, "share": share})
    return found


def _coverage(rows: Sequence[Row]) -> list[Row]:
    """A block for each axis: a row for each category, and one for all; a cell's share is of the axis's largest."""
    blocks = []
    for axis in dict.fromkeys(row["axis"] for row in rows):
        mine = [row for row in rows if row["axis"] == axis]
        cells = {(row["category"], row["words"]): row["n_prompts"] for row in mine if not row["all_words"]}
        most = max(cells.values(), default=0) or 1
        lines = []
        for row in (row for row in mine if row["all_words"]):
            whole = bool(row["all_categories"])
            counts = [
                sum(n for (_, band), n in cells.items() if band == word)
                if whole
                else cells.get((row["category"], word), 0)
                for word in WORDS
            ]
            lines.append(
                {
                    "name": "all" if whole else row["category"] or "(none)",
                    "sum": whole,
                    "cells": [(n, 0 if whole else n / most) for n in counts],
                    "n": row["n_prompts"],
                    "n_images": row["n_images"],
                    "unique": row["unique_nouns"],
                    "per_prompt": "" if row["nouns_per_prompt"] is None else f"{row['nouns_per_prompt']:.2f}",
                    "near": "" if row["near_share"] is None else percent(row["near_share"]),
                }
            )
        blocks.append({"axis": axis, "rows": lines})
    return blocks


def _take(row: Row) -> tuple[str, ...]:
    return (
        row["axis"],
        "all drawn" if row["fixed"] else "until one passes",
        f"{row['take'] + 1}",
        _cell(row["n_tried"]),
        _cell(row["n_new"]),
        "" if row["new_share"] is None else percent(row["new_share"]),
        "" if row["passed_share"] is None else percent(row["passed_share"]),
        "" if row["renders_each"] is None else f"{row['renders_each']:.1f}",
        "" if row["seconds_each"] is None else f"{row['seconds_each']:.1f}",
    )


def _planned(row: Row) -> tuple[str, ...]:
    numbers = [_cell(None if row[name] is None else float(row[name])) for name in ("expected", "low", "high", "actual")]
    expected, low, high, actual = (f"{text} s" if text and row["part"] == "time" else text for text in numbers)
    off = "" if row["error_share"] is None else f"{row['error_share']:+.1%}"
    return (row["item"], row["axis"] or "all", expected, low, high, actual, off, row["basis"])


def _cost(rows: Sequence[Row]) -> list[Row]:
    total = sum(row["seconds"] for row in rows)
    found = [
        {
            **row,
            "time": duration(row["seconds"]),
            "rate": _cell(round(row["n_rows"] / row["seconds"], 1)) if row["seconds"] else "",
            "share": row["seconds"] / total if total else 0,
            "sum": False,
        }
        for row in rows
    ]
    if found:
        found.append({"stage": "all", "n_rows": None, "time": duration(total), "rate": "", "share": 0, "sum": True})
    return found


def duration(seconds: float) -> str:
    """Seconds with one decimal under a minute; else minutes and seconds, or hours and minutes."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def wilson(share: float, n: int) -> tuple[float, float]:
    """95% interval of a share of n. Source: Wilson 1927. For a mean of shares in [0, 1] it is rather too wide."""
    z2 = 1.959964**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = (z2 * (share * (1 - share) / n + z2 / (4 * n * n))) ** 0.5 / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)
