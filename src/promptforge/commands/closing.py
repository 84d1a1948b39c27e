"""What a person reads when a run has ended: figures by axis, seconds by stage, where things are, what next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
from rich.console import Console

from promptforge import catalog
from promptforge.commands import terminal
from promptforge.recipe import Recipe
from promptforge.records import AXES
from promptforge.stages.rounds.told import acceptance, name_of, reached
from promptforge.stages.run import Tally
from promptforge.stages.teachability.shown import told

_FIGURES = """
SELECT coalesce(p.axis, '(axis unknown)') AS axis,
    count(*) AS candidates,
    count(k.row_id) AS kept,
    count(k.row_id) FILTER (k.prompt_id IN (
        SELECT r.prompt_id FROM render_plan r JOIN images i USING (image_id) WHERE i.error IS NULL)) AS rendered,
    count(s.row_id) FILTER (s.keep_prompt) AS accepted,
    count(d.prompt_id) FILTER (k.row_id IS NOT NULL) AS published,
    count(d.prompt_id) FILTER (k.row_id IS NOT NULL AND d.keep_image) AS pictures,
    count(s.row_id) FILTER (s.state = 'not_needed' AND NOT coalesce(a.left_over, false)) AS not_needed,
    count(s.row_id) FILTER (a.left_over) AS left_over,
    count(s.row_id) FILTER (s.reason = 'split_group_straddles') AS in_two_splits
FROM prompts p
LEFT JOIN kept k ON k.row_id = p.row_id
LEFT JOIN selection s ON s.row_id = p.row_id
LEFT JOIN arrangement a ON a.row_id = s.row_id
LEFT JOIN published d ON d.prompt_id = s.prompt_id
GROUP BY 1
"""

COLUMNS = ("axis", "candidates", "kept", "rendered", "accepted", "published", "pictures")


def figures(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """One row an axis, in the order of the axes, and one for rows whose axis nobody knows."""
    rows = con.sql(_FIGURES).to_arrow_table().to_pylist()
    order = {axis: place for place, axis in enumerate(AXES)}
    return sorted(rows, key=lambda row: order.get(row["axis"], len(order)))


def tell(console: Console, root: Path, recipe: Recipe, result: Mapping[str, Any], total_s: float) -> None:
    """Print it all."""
    stages = [Tally(**row) for row in result["stages"]]
    with catalog.open_run(root) as con:
        rows = figures(con)
        found = con.execute(
            "SELECT (SELECT count(*) FROM render_plan), (SELECT count(*) FROM (SELECT DISTINCT image_id, scorer"
            " FROM scores JOIN render_plan USING (image_id))),"
            " (SELECT count(*) FROM render_plan JOIN images USING (image_id) WHERE error IS NOT NULL)"
        ).fetchone()
        takes = told(con)
    assert found is not None
    if not any(tally.done for tally in stages):
        shards = sum(tally.skipped for tally in stages if tally.stage == "generate")
        console.print(
            f"nothing to do: {root} is up to date ({shards:,} text {'shard' if shards == 1 else 'shards'},"
            f" {found[0]:,} pictures, {found[1]:,} measurements found done)"
        )
    console.print(_figures_table(rows))
    worked = [f"{tally.stage} {tally.seconds:.1f}" for tally in stages if tally.done]
    console.print(f"seconds: {', '.join(worked) or 'no stage had work'}; in all {total_s:.1f}", style="dim")
    at = "" if root.parent == Path("runs") else f" --run {shlex.quote(str(root))}"
    with catalog.open_run(root) as con:
        in_rounds = round_remarks(con, recipe)
    for said in [*in_rounds, *_remarks(rows, recipe), *_picture_remarks(rows, recipe, found[0], found[2], at), *takes]:
        console.print(said)
    console.print(f"dataset:  {root / 'dataset'}")
    console.print(f"report:   {root / 'report.html'}")
    console.print(f"rejects:  {root / 'rejects.md'}")
    console.print(f'next:     {terminal.program()} query "select axis, count(*) n from accepted group by all"{at}')


_WHAT_TO_DO = {
    "exhausted": "no candidate is left: give the sources more rows of it",
    "hopeless": "given up, hardly any passes: look at its pictures, ease its gates, or lower rounds.hopeless_below",
    "budget": "the budget is spent: raise the limit in [rounds] and run again, what is drawn counts",
}


def round_remarks(con: duckdb.DuckDBPyConnection, recipe: Recipe) -> list[str]:
    """Rounds and what they took against the budget, and each goal that fell short: why, and what to do."""
    if recipe.rounds is None:
        return []
    last = (
        con.sql("FROM rounds WHERE round = (SELECT max(round) FROM rounds) ORDER BY axis, cell")
        .to_arrow_table()
        .to_pylist()
    )
    if not last:
        return []
    ((n_rounds, n_renders),) = con.sql("SELECT count(DISTINCT round), count(*) FROM render_plan").fetchall()
    most = recipe.rounds.max_renders
    of = "" if most is None else f", at most {most:,}"
    said = [f"{n_rounds:,} {'round' if n_rounds == 1 else 'rounds'}, {n_renders:,} pictures{of}"]
    for row in last:
        if row["state"] in _WHAT_TO_DO and row["wanted"] is not None and row["n_accepted"] < row["wanted"]:
            about = ", ".join(filter(None, [reached(row), acceptance(row)]))
            said.append(f"{name_of(row, last)} fell short, {about}; {_WHAT_TO_DO[row['state']]}")
    return said


def _figures_table(rows: list[dict[str, Any]]) -> Any:
    made = terminal.table(*COLUMNS, numeric=COLUMNS[1:])
    for row in rows:
        made.add_row(row["axis"], *(f"{row[name]:,}" for name in COLUMNS[1:]))
    if len(rows) > 1:
        made.add_row("all", *(f"{sum(row[name] for row in rows):,}" for name in COLUMNS[1:]), style="bold")
    return made


def _remarks(rows: list[dict[str, Any]], recipe: Recipe) -> list[str]:
    """What a person would wonder about: rows left over, a quota not reached."""
    quota = recipe.select.quota.model_dump()
    spare = [row for row in rows if row["not_needed"]]
    short = [
        f"{row['axis']} {row['accepted']:,} of {quota[row['axis']]:,}"
        for row in rows
        if quota.get(row["axis"], "all") != "all" and row["accepted"] < quota[row["axis"]]
    ]
    said = []
    if spare and recipe.rounds is None:  # in rounds nobody looked at what was not needed
        counted = ", ".join(f"{row['axis']} {row['not_needed']:,}" for row in spare)
        settings = " ".join(f"--set select.quota.{row['axis']}=all" for row in spare)
        said.append(f"passed but not needed: {counted}; take them with {settings}")
    if over := ", ".join(f"{row['axis']} {row['left_over']:,}" for row in rows if row["left_over"]):
        said.append(
            f"left over by the caps of [order]: {over}; no quota takes them: give prompts of other sources and"
            " templates, or raise order.max_source_share or order.max_template_share"
        )
    if torn := ", ".join(f"{row['axis']} {row['in_two_splits']:,}" for row in rows if row["in_two_splits"]):
        said.append(f"in no split, since their pair, family or duplicates lie in two: {torn}")
    # A quota is a limit to a person's own prompts: nobody asked for as many.
    if short and recipe.rounds is None and any(source.kind != "files" for source in recipe.sources):
        said.append(f"fewer than wanted: {', '.join(short)}; more candidates would fill them")
    return said


def _picture_remarks(rows: list[dict[str, Any]], recipe: Recipe, n_planned: int, n_failed: int, at: str) -> list[str]:
    """Pictures that a person may miss; `n_failed` counts those of the plan in force alone."""
    said = []
    if n_planned == 0 and 0 < recipe.render.sample < 1 and any(row["kept"] for row in rows):
        said.append(
            f"no picture was made: render.sample = {recipe.render.sample:g} chose no prompt; a larger share will"
        )
    if n_failed:
        sql = (
            "select error, count(*) n from images semi join render_plan using (image_id)"
            " where error is not null group by 1"
        )
        counted = "1 picture" if n_failed == 1 else f"{n_failed:,} pictures"
        said.append(f'{counted} could not be made; ask: {terminal.program()} query "{sql}"{at}')
    return said
