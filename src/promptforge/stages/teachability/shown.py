"""What a person is told of teachability, and of what each take brought."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb

#: Published column -> the column of the tables that says what it means.
DOCUMENTED_AT = {
    "teachability": ("teachability", "estimate"),
    "teachability_low": ("teachability", "low"),
    "teachability_high": ("teachability", "high"),
}


def on_card(rows: Sequence[Sequence[Any]]) -> list[str]:
    """The card's section in Markdown; a row is (axis, prompts, measured, mean, surely under half, surely over)."""
    if not any(row[2] for row in rows):
        return []
    lines = [
        "| axis | prompts | with teachability | mean | surely under 1/2 | surely over 1/2 |",
        "|---|---|---|---|---|---|",
        *(
            f"| {axis} | {n} | {n_measured} | {'' if mean is None else f'{mean:.2f}'} | {under} | {over} |"
            for axis, n, n_measured, mean, under, over in rows
        ),
    ]
    return [
        "## Teachability",
        "How often the teacher does what the prompt says: the share of a fixed number of takes that pass every gate,"
        " drawn to that of the prompts of the same axis and category by a beta-binomial model, with the ends of its 95%"
        " credible interval (surely: the interval lies on that side). It is as good as the gates are. Null: fewer than"
        " two takes of the prompt were rendered, or they stopped at the first that passed. No prompt was dropped for"
        " it.",
        "\n".join(lines),
    ]


def told(con: duckdb.DuckDBPyConnection) -> list[str]:
    """What each take after the first brought, for the end of a run: a line for fixed prompts, and one for the others.

    `con` has the view take_yield; [] where nobody was given a second take.
    """
    rows = con.execute(
        "SELECT fixed, take, n_tried, n_new, renders_each, n_prompts, passed_share FROM take_yield"
        " WHERE axis = 'all' ORDER BY fixed DESC, take"
    ).fetchall()
    return [_line(each, fixed=fixed) for fixed in (True, False) if len(each := [r for r in rows if r[0] == fixed]) > 1]


def _line(rows: Sequence[Sequence[Any]], *, fixed: bool) -> str:
    brought = [
        f"take {take + 1} brought {n_new:,} of {n_tried:,} a first pass"
        + (f": {renders:.1f} renders each" if n_new else "")
        for _, take, n_tried, n_new, renders, *_ in rows[1:]
    ]
    *_, n_prompts, share = rows[-1]
    counted = f"{n_prompts:,} {'prompt' if n_prompts == 1 else 'prompts'}"
    whose = f"every take of {counted}" if fixed else f"takes of {counted} up to the first pass"
    return f"{whose}: {'; '.join(brought)}; {share:.1%} passed in all"
