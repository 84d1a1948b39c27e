"""report.html: one file that shows a run to a person, from disk, with no request to anywhere.

Every figure is a query over the catalog (figures.py, distributions.py), charts are SVG (charts.py), pictures small
copies in the file (sheets.py has the budget). The same state of the folder gives the same bytes. Whatever a prompt,
a file, a recipe or a model says is escaped by the template, with what cannot be seen or turns the direction as visible
escapes; nothing of withheld rows is read. Not covered: rows of a set that the run adds to.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb
from jinja2 import Environment, FunctionLoader
from markupsafe import Markup

from promptforge.files import put
from promptforge.report import charts, distributions, figures, sheets, summary, thumbnails
from promptforge.report.distributions import Distribution
from promptforge.report.pictures import make_tables
from promptforge.texts import show

REPORT = "report.html"  #: name in the run folder

Chart = tuple[str, str, Markup]  #: title, note, SVG


def write_report(root: Path, con: duckdb.DuckDBPyConnection, out: Path | None = None) -> Path:
    """Write the report of a run from its catalog into its folder, or to `out`; returns the path."""
    make_tables(con)
    tables = figures.gather(con) | {"cells": figures.cells(con, root)}
    recipe, manifest, head = figures.resolved(root)
    gated, little = distributions.gated(con), distributions.others(con)
    drawn = _sheets(con)
    values = {
        **summary.overview(root, tables, recipe, manifest, head),
        **summary.sections(tables, recipe),
        "charts": _gate_charts(gated),
        "little": [(one.name, "", Markup(charts.distribution(one, small=True))) for one in little],
        "teachability_charts": _teachability(tables["teachability"]),
        "round_charts": _rounds(tables["rounds"]),
        "sheets": drawn,
        "n_shown": sum(len(sheet["pictures"]) for sheet in drawn),
        "n_pictures": con.sql("SELECT count(*) FROM report_pictures").fetchall()[0][0],
        "filters": _filters(drawn),
        "drawn": sheets.DRAWN,
        "nearest": sheets.NEAREST,
        "side": thumbnails.SIDE,
        "words": figures.WORDS,
    }
    values["sections"] = _sections(values)
    path = root / REPORT if out is None else out
    put(path, _rendered(values).encode("utf-8", "replace"))
    return path


def _rendered(values: Mapping[str, Any]) -> str:
    env = Environment(autoescape=True, loader=FunctionLoader(_asset), trim_blocks=True, lstrip_blocks=True)
    env.filters |= {"shown": _shown, "n": _number}
    script = _asset("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    page = env.get_template("report.html")
    return page.render(
        **values, style=Markup(_asset("report.css")), script=Markup(script), script_hash=f"sha256-{digest}"
    )


def _asset(name: str) -> str:
    return (resources.files("promptforge.report") / "page" / name).read_text("utf-8")


def _shown(value: object, limit: int = 2000) -> str:
    """Plain text of at most so many characters; Markup stays behind, so it is escaped like any other."""
    text = "" if value is None else "".join([str(value)])
    return show(text[:limit]) + ("…" if len(text) > limit else "")


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "" if value is None else str(value)


def _gate_charts(gated: list[Distribution]) -> list[Chart]:
    """One for each gate and axis; a flag has one for all its axes."""
    flags: dict[str, list[Distribution]] = {}
    for one in gated:
        if one.is_flag and one.key is None:
            flags.setdefault(one.name, []).append(one)
    made: list[Chart] = []
    for one in gated:
        if one.is_flag and one.key is None:
            mine = flags.pop(one.name, [])
            if mine:
                note = f"{one.metric}, {_bounds(one)}"
                made.append((one.name, note, Markup(charts.flags(mine))))
        else:
            title = f"{one.name}: {one.axis.replace('_', ' ')}{'' if one.key is None else f', {one.key}'}"
            note = ", ".join(part for part in (one.metric, _bounds(one)) if part)
            made.append((title, note, Markup(charts.distribution(one))))
    return made


def _bounds(one: Distribution) -> str:
    return " and ".join(f"bound {value:.4g}" for value in one.limits)


def _teachability(rows: list[figures.Row]) -> list[Chart]:
    made: list[Chart] = []
    for axis in dict.fromkeys(row["axis"] for row in rows):
        points = []
        for row in (row for row in rows if row["axis"] == axis):
            low, high = summary.wilson(row["mean"], row["n"])
            points.append({"label": row["category"] or "(none)", "mean": row["mean"], "low": low, "high": high})
        title = axis.replace("_", " ")
        made.append((title, "", Markup(charts.intervals(points, f"share of takes that pass, {title}"))))
    return made


def _rounds(rows: list[figures.Row]) -> list[Chart]:
    made: list[Chart] = []
    for axis in dict.fromkeys(row["axis"] for row in rows):
        mine = [row for row in rows if row["axis"] == axis]
        points = [{"round": row["round"], "accepted": row["accepted"]} for row in mine]
        made.append((axis.replace("_", " "), "", Markup(charts.rounds(points, mine[-1]["wanted"], axis))))
    return made


def _sheets(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    found = sheets.sheets(con)
    uris = iter(thumbnails.data_uris([item.encoded for sheet in found for item in sheet.pictures]))
    return [
        {
            "axis": sheet.axis,
            "kind": sheet.kind,
            "title": sheet.title,
            "n_all": sheet.n_all,
            "pictures": [
                {
                    "about": item.about,
                    "kind": sheet.kind,
                    "scores": item.scores,
                    "compared": item.compared,
                    "near": item.near,
                    "uri": next(uris),
                }
                for item in sheet.pictures
            ],
        }
        for sheet in found
    ]


def _filters(drawn: list[dict[str, Any]]) -> list[tuple[str, str, list[str]]]:
    """Key, label and choices of each filter; only what some picture has."""
    items = [item for sheet in drawn for item in sheet["pictures"]]
    found = []
    for key, label in (("axis", "Axis"), ("kind", "Group"), ("category", "Category"), ("reason", "Reason")):
        values = {item["kind"] if key == "kind" else item["about"][key] for item in items}
        found.append((key, label, sorted(value for value in values if value)))
    return found


def _sections(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    every = (
        *(("overview", "Overview", True), ("funnel", "Funnel", True), ("gates", "Gates", True)),
        ("pictures", "Pictures", values["sheets"]),
        ("coverage", "Coverage", True),
        ("teachability", "Teachability", values["teachability"] or values["take_yield"]),
        ("rounds", "Rounds", values["rounds"]),
        ("benchmarks", "Benchmarks", values["contamination"]),
        *(("cost", "Cost", True), ("provenance", "Provenance", True)),
    )
    return [(name, title) for name, title, is_there in every if is_there]
