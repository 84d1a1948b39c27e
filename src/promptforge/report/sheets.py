"""Contact sheets: which pictures a person is shown, and what is said of each.

By axis: the pictures on either side of each bound that lie nearest to it (the borderline band), then a draw of those
that were kept and of those that failed a gate. image_id is a hash, so the first by image_id are a fixed draw; kept
ones are drawn in turn from every category and failed ones from every reason, that rare ones are seen. A picture is
shown once, in its band if it is in one.

Budget: 30 kept and 30 failed an axis, 240 in bands, so at most 420 pictures of at most 12 KiB each (thumbnails.py):
7 MB in base64 however large the run is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from promptforge.records import AXES
from promptforge.report.differences import Compared, compare

DRAWN = 30  # kept, and failed, of an axis
NEAREST = 12  # on each side of a bound
IN_BANDS = 240

# Only of metrics with more values than a flag has: of a flag every picture lies equally near.
_BANDS = """
WITH sides AS (
    SELECT image_id, axis, gate, 'min' AS side, value, minimum AS bound, value >= minimum AS above
    FROM report_bounds WHERE minimum IS NOT NULL
    UNION ALL
    SELECT image_id, axis, gate, 'max', value, maximum, value > maximum FROM report_bounds WHERE maximum IS NOT NULL
), graded AS (
    SELECT gate, axis FROM report_bounds GROUP BY ALL HAVING approx_count_distinct(value) > 4
), ranked AS (
    SELECT s.*, row_number() OVER (PARTITION BY axis, gate, side, above ORDER BY abs(value - bound), image_id) AS place
    FROM sides s SEMI JOIN graded g ON g.gate = s.gate AND g.axis = s.axis
)
SELECT image_id, axis, gate, side, value, bound, above, place FROM ranked WHERE place <= $nearest
ORDER BY axis, gate, side, above, place
"""

_DRAWN = """
WITH left_over AS (
    SELECT image_id, axis, passes, keep_image,
        row_number() OVER (PARTITION BY axis, passes, keep_image,
            CASE WHEN passes THEN category ELSE image_reason END ORDER BY image_id) AS turn
    FROM report_pictures
    WHERE (keep_image OR image_reason IS NOT NULL) AND NOT list_contains($taken, image_id)
)
SELECT image_id, axis, keep_image FROM left_over
QUALIFY row_number() OVER (PARTITION BY axis, keep_image ORDER BY turn, image_id) <= $most
ORDER BY axis, keep_image DESC, turn, image_id
"""

_ABOUT = """
SELECT p.image_id, p.prompt_id, p.axis, p.category, p.text, p.expected_text, p.keep_image, p.state, p.image_reason,
    coalesce(p.image_reason, CASE WHEN p.state <> 'accepted' THEN p.state END) AS reason, p.take, p.seed, p.error,
    p.n_takes, p.n_passed, x.encoded
FROM report_pictures p LEFT JOIN pixels x USING (image_id)
WHERE p.image_id IN (SELECT unnest($names))
"""

_SCORES = """
SELECT image_id, scorer, metric, value, detail FROM scores_in_force
WHERE image_id IN (SELECT unnest($names)) ORDER BY image_id, scorer, metric
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture with what is said of it; `encoded` is None where the picture could not be made or is gone."""

    about: Mapping[str, Any]
    scores: tuple[tuple[str, str], ...]
    compared: Compared | None
    near: str
    encoded: bytes | None


@dataclass(frozen=True, slots=True)
class Sheet:
    """Pictures under one heading, and how many there are in all."""

    axis: str
    kind: str  # kept, failed or band
    title: str
    n_all: int
    pictures: tuple[Shown, ...]


def sheets(con: duckdb.DuckDBPyConnection) -> list[Sheet]:
    """Of each axis: kept, failed, bands; only those with pictures."""
    bands, near = _bands(con)
    taken = sorted(near)
    groups: dict[tuple[str, str, str], list[str]] = {}
    rows = con.execute(_DRAWN, {"taken": taken, "most": DRAWN}).fetchall()
    for name, axis, kept in rows:
        groups.setdefault((axis, "kept" if kept else "failed", "Kept" if kept else "Failed a gate"), []).append(name)
    for (axis, title), names in bands.items():
        groups[axis, "band", title] = names
    shown = _described(con, [name for names in groups.values() for name in names], near)
    counts = _counts(con)
    order = ("kept", "failed", "band")
    return [
        Sheet(*key, counts.get(key[:2], len(names)), tuple(shown[name] for name in names))
        for key, names in sorted(groups.items(), key=lambda item: (AXES.index(item[0][0]), order.index(item[0][1])))
    ]


def _bands(con: duckdb.DuckDBPyConnection) -> tuple[dict[tuple[str, str], list[str]], dict[str, str]]:
    """Names of the pictures of each band, from the lowest value to the highest, and what is said of each."""
    rows = con.execute(_BANDS, {"nearest": NEAREST}).fetchall()
    found: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
    for row in rows:
        found.setdefault((row[1], f"Near the bound of {row[2]} ({row[3]})"), []).append(row)
    each = min(NEAREST, max(1, IN_BANDS // (2 * len(found)))) if found else 0
    bands: dict[tuple[str, str], list[str]] = {}
    near: dict[str, str] = {}
    for key, members in list(found.items())[: IN_BANDS // 2]:
        for name, _, gate, side, value, bound, _, place in sorted(members, key=lambda row: (row[4], row[0])):
            if place <= each and name not in near:
                near[name] = f"{gate}: {value:.4g}, {side} {bound:.4g}"
                bands.setdefault(key, []).append(name)
    return bands, near


def _counts(con: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], int]:
    sql = (
        "SELECT axis, count(*) FILTER (keep_image), count(*) FILTER (NOT keep_image AND image_reason IS NOT NULL)"
        " FROM report_pictures GROUP BY axis"
    )
    return {
        key: n
        for axis, kept, failed in con.sql(sql).fetchall()
        for key, n in zip(_keys(axis), (kept, failed), strict=True)
    }


def _keys(axis: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return (axis, "kept"), (axis, "failed")


def _described(con: duckdb.DuckDBPyConnection, names: Sequence[str], near: Mapping[str, str]) -> dict[str, Shown]:
    if not names:
        return {}
    scores: dict[str, list[tuple[str, str]]] = {}
    read: dict[str, str] = {}
    for name, scorer, metric, value, detail in con.execute(_SCORES, {"names": list(names)}).fetchall():
        said = _said(value, detail)
        if said is not None:
            scores.setdefault(name, []).append((f"{scorer}.{metric}", said))
        if metric == "reading" and detail and name not in read:
            lines = _lines(detail)
            if lines is not None:
                read[name] = lines
    table = con.sql(_ABOUT, params={"names": list(names)}).to_arrow_table()
    found = {}
    for row in table.to_pylist():
        name = row["image_id"]
        wanted = row["expected_text"] or []
        compared = compare(" ".join(wanted), read[name]) if wanted and name in read else None
        found[name] = Shown(
            {key: value for key, value in row.items() if key != "encoded"},
            tuple(scores.get(name, ())),
            compared,
            near.get(name, ""),
            row["encoded"],
        )
    return found


def _said(value: float | None, detail: str | None) -> str | None:
    """A score for a person: its number, or its word where it is short; JSON stands in the table scores."""
    if value is not None:
        return f"{value:.4g}"
    return detail if detail is not None and len(detail) <= 60 and detail[:1] not in "{[" else None


def _lines(detail: str) -> str | None:
    """What a reader read, its lines one after another; None where the detail is no reading."""
    try:
        lines = json.loads(detail)["lines"]
        return " ".join(str(line["text"]) for line in lines)
    except (ValueError, TypeError, KeyError):
        return None
