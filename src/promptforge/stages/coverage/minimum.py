"""What a recipe demands of its prompts at least: held against what the plan takes, and again before publishing.

The prompts that the plan takes are those that will be accepted (policy distill). Under policy images pictures drop some
of them, so only counts, which can but fall, are held against their bounds before drawing.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from promptforge import catalog
from promptforge.errors import DataFault
from promptforge.stages import goals
from promptforge.stages.coverage import rows
from promptforge.stages.coverage.demands import SETTING, demands, remedy
from promptforge.stages.coverage.measures import RATIOS, table
from promptforge.stages.coverage.settings import ALL, Bound
from promptforge.stages.coverage.shown import percent
from promptforge.stages.run import Run
from promptforge.store import Commit

_WHAT = {
    "prompts": "accepted prompts",
    "noun_pairs": "image-noun pairs",
    "unique_nouns": "unique nouns",
    "nouns_per_prompt": "nouns per prompt",
    "distinct_1": "distinct words",
    "distinct_2": "distinct word pairs",
    "distinct_3": "distinct word triples",
    "words_p05": "words of the shortest 5%",
    "words_p50": "words of the median prompt",
    "words_p95": "words of the longest 5%",
    "templates": "templates",
    "natural_share": "natural captions",
}


def shortfalls(
    con: duckdb.DuckDBPyConnection, chosen: str, bounds: Sequence[Bound], *, exact: bool = True, how: str = SETTING
) -> list[str]:
    """A line for each demand that the chosen prompts fall short of: seen, wanted, what to do.

    `chosen` is a query for row_id and keep_image. Where it may still shrink it is not `exact`, and ratios wait.
    `how` is what a demand is written behind on the command line.
    """
    bounds = [bound for bound in bounds if exact or bound.measure not in RATIOS]
    if not bounds:
        return []
    measures = {bound.measure for bound in bounds} - {"cell"}
    found = table(rows.prompts(con, chosen), measures)[0] if measures else []
    values = {(row["measure"], row["axis"]): row["value"] for row in found if row["scope"] == "prompts"}
    lines = []
    for bound in bounds:
        if bound.measure == "cell":
            thin = rows.thin_cells(con, chosen, int(bound.least))
            lines += [_cell_line(bound, *cell, how) for cell in thin]
        else:
            value = values[(bound.measure, bound.axis)]
            if value is not None and value < bound.least:
                lines.append(_line(bound, value, how))
    return lines


def check_plan(run: Run, text: Sequence[Commit]) -> None:
    """Raise DataFault where the prompts that the plan takes cannot have what is demanded; `text` is what it reads."""
    bounds = demands(run.recipe)
    if not bounds:
        return
    chosen = (
        "SELECT row_id, false AS keep_image FROM eligible JOIN goals USING (goal)"
        " WHERE NOT left_over AND (most IS NULL OR nth <= most)"
    )
    with catalog.connect(run.store, text) as con:
        goals.assign(con, run.recipe)
        found = shortfalls(con, chosen, bounds, exact=run.recipe.select.policy == "distill")
    _raise(found, "before anything is drawn")


def check_accepted(run: Run, commits: Sequence[Commit]) -> None:
    """Raise DataFault where the accepted prompts have not what is demanded; `commits` are those up to select."""
    bounds = demands(run.recipe)
    if bounds:
        with catalog.connect(run.store, commits) as con:
            found = shortfalls(con, rows.ACCEPTED, bounds)
        _raise(found, "so nothing is published")


def _raise(lines: Sequence[str], when: str) -> None:
    if lines:
        raise DataFault("\n".join([f"the prompts fall short of the recipe's [coverage], {when}:", *lines]))


def _line(bound: Bound, value: float, how: str) -> str:
    where = "over all axes" if bound.axis == ALL else f"on {bound.axis}"
    seen, least = _shown(bound, value), _shown(bound, bound.least)
    return f"{bound.name}: {seen} {_WHAT[bound.measure]} {where}, wanted at least {least}; {remedy(bound, how)}"


def _cell_line(bound: Bound, axis: str, category: str, n_prompts: int, how: str) -> str:
    cell = f"{axis}, {category}" if category else f"{axis} without a category"
    return (
        f"cell: {n_prompts:,} accepted prompts in {cell}, wanted at least {bound.least:,.0f}; give the sources more"
        f" rows of it or raise the axis' quota, or lower it: {how}cell=0"
    )


def _shown(bound: Bound, value: float) -> str:
    if bound.measure.endswith("_share"):
        return percent(value)
    return f"{value:,.0f}" if bound.measure not in RATIOS or bound.measure.startswith("words_") else f"{value:.3g}"
