"""How many accepted prompts are wanted of what: the cells of [select.cells], and the rest of each axis.

A kept prompt belongs to the first cell of the recipe's order that fits, else to `rest` of its axis; the rest wants what
the axis's quota leaves. Within a goal prompts come in the order of their places, and the first that pass are accepted.
`assign` puts that into a database; the stages that plan, select and look ahead read it from there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from promptforge.lexicon.style_kinds import KINDS, kinds_sql
from promptforge.recipe import Recipe
from promptforge.records import AXES
from promptforge.texts import LENGTH_BANDS, length_band_sql

#: The grammar's names of the bands of length.
LENGTHS: dict[str, str] = dict(zip(("tiny", "short", "medium", "long", "paragraph"), LENGTH_BANDS, strict=True))
ANY, REST = "any", "rest"

# Prompts whose split group lies in one split only; the others can go to neither side, nor can a mixed prompt.
# By group and not by a window over a million of them, which takes twice as long.
WHOLE = """
    SELECT * FROM kept k WHERE split <> 'mixed' AND NOT EXISTS (
        FROM (SELECT split_group FROM kept GROUP BY split_group HAVING min(split) <> max(split)) m
        WHERE m.split_group IS NOT DISTINCT FROM k.split_group
    )
"""

# The same with their places: as the recipe's [order] put them, else as they come in the stream.
ELIGIBLE = f"""
    SELECT w.row_id, w.prompt_id, w.axis, w.noise_group, w.split,
        coalesce(a.place, row_number() OVER (PARTITION BY w.axis ORDER BY w.stream_order, w.row_id)) AS place,
        a.turn, a.held, coalesce(a.left_over, false) AS left_over
    FROM ({WHOLE}) w LEFT JOIN arrangement a ON a.row_id = w.row_id
"""

# `nth` is the place within the goal, `nth_turn` that without the caps of [order]; what is left over stands last.
_ASSIGNED = """
CREATE TEMP TABLE eligible AS
SELECT e.* EXCLUDE (turn), g.goal,
    row_number() OVER (PARTITION BY g.goal ORDER BY e.place) AS nth,
    CASE WHEN e.turn IS NOT NULL THEN row_number() OVER (PARTITION BY g.goal ORDER BY e.turn) END AS nth_turn
FROM eligible_rows e JOIN ({assigned}) g ON g.row_id = e.row_id
"""

#: Columns of prompts that decide where a prompt belongs.
READS = ("category", "n_words", "style", "text_clean", "scene_origin")


@dataclass(frozen=True, slots=True)
class Goal:
    """`wanted` accepted prompts of one cell of an axis; None: all there are."""

    axis: str
    cell: str
    wanted: int | None


def goals(recipe: Recipe) -> tuple[Goal, ...]:
    """Every goal: cells in the recipe's order, then the rest of each axis."""
    quota = recipe.select.quota.model_dump()
    cells = [Goal(*_split(path), wanted) for path, wanted in recipe.select.cells.items()]
    taken = {axis: sum(goal.wanted or 0 for goal in cells if goal.axis == axis) for axis in AXES}
    rest = [Goal(axis, REST, None if quota[axis] == "all" else max(0, quota[axis] - taken[axis])) for axis in AXES]
    return (*cells, *rest)


def _split(path: str) -> tuple[str, str]:
    axis, _, cell = path.partition("/")
    return axis, cell


def faults(recipe: Recipe) -> list[str]:
    """What cannot be in [select.cells], a line each: seen, expected, what to do."""
    found = []
    quota, taken = recipe.select.quota.model_dump(), dict.fromkeys(AXES, 0)
    for path, wanted in recipe.select.cells.items():
        parts = path.split("/")
        if len(parts) != 4 or not all(parts):
            found.append(
                f"select.cells.{path}: expected axis/category/length/style, for example"
                " semantic_understanding/numeracy/any/any"
            )
            continue
        for what, seen, allowed in (
            ("axis", parts[0], AXES),
            ("length", parts[2], (*LENGTHS, ANY)),
            ("style", parts[3], (*KINDS, ANY)),
        ):
            if seen not in allowed:
                found.append(f"select.cells.{path}: no {what} {seen!r}; there are {', '.join(allowed)}")
        if wanted < 0:
            found.append(f"select.cells.{path}: is {wanted}; expected a whole number from 0 up")
        if parts[0] in taken:
            taken[parts[0]] += wanted
    for axis, n in taken.items():
        if quota[axis] != "all" and n > quota[axis]:
            found.append(
                f"select.cells: those of {axis} want {n:,} together, its quota is {quota[axis]:,}; raise"
                f" select.quota.{axis} or lower the cells"
            )
    return found


def most(recipe: Recipe) -> list[int | None]:
    """For each goal, prompts to render at most; None: as many as it takes, or all."""
    images, in_rounds = recipe.select.policy == "images", recipe.rounds is not None
    factor = recipe.select.oversample if images else 1.0
    # 100 * 1.1 is 110.00000000000001 in floating point
    return [
        None if goal.wanted is None or in_rounds else math.ceil(goal.wanted * factor - 1e-9) for goal in goals(recipe)
    ]


def wanted(recipe: Recipe) -> dict[str, int | None]:
    """Axis -> prompts to render at most, as `most`; None where one of its goals has no limit."""
    found: dict[str, int | None] = dict.fromkeys(AXES, 0)
    for goal, limit in zip(goals(recipe), most(recipe), strict=True):
        have = found[goal.axis]
        found[goal.axis] = None if limit is None or have is None else have + limit
    return found


def assign(con: duckdb.DuckDBPyConnection, recipe: Recipe) -> None:
    """Make the temporary tables `goals` and `eligible` in a catalog that holds everything up to the order.

    goals (goal, axis, cell, wanted, most): numbered from 0. eligible: a row for each prompt that may be taken, with
    place on its axis, goal, nth (place within the goal, from 1), nth_turn, held and left_over.
    """
    found = goals(recipe)
    table = pa.table(
        {
            "goal": pa.array(range(len(found)), pa.int64()),
            "axis": pa.array([goal.axis for goal in found], pa.string()),
            "cell": pa.array([goal.cell for goal in found], pa.string()),
            "wanted": pa.array([goal.wanted for goal in found], pa.int64()),
            "most": pa.array(most(recipe), pa.int64()),
        }
    )
    con.register("goals_in", table)
    con.execute("CREATE TEMP TABLE goals AS FROM goals_in")
    con.execute(f"CREATE TEMP TABLE eligible_rows AS {ELIGIBLE}")
    con.execute(_ASSIGNED.format(assigned=_assigned(found, con)))
    con.execute("DROP TABLE eligible_rows")


def _assigned(found: tuple[Goal, ...], con: duckdb.DuckDBPyConnection) -> str:
    """SQL of (row_id, goal): which goal each eligible row belongs to."""
    rest = " ".join(f"WHEN '{goal.axis}' THEN {n}" for n, goal in enumerate(found) if goal.cell == REST)
    cells = [(n, goal) for n, goal in enumerate(found) if goal.cell != REST]
    if not cells:
        return f"SELECT row_id, CASE axis {rest} END AS goal FROM eligible_rows"
    con.execute("CREATE TEMP TABLE styled AS SELECT k.* FROM kept k SEMI JOIN eligible_rows e ON e.row_id = k.row_id")
    asked = any(goal.cell.rsplit("/", 1)[1] != ANY for _, goal in cells)
    rows = kinds_sql("FROM styled") if asked else "SELECT *, NULL AS style_kind FROM styled"
    cases = " ".join(f"WHEN {_fits(goal)} THEN {n}" for n, goal in cells)
    return f"SELECT row_id, CASE {cases} ELSE CASE axis {rest} END END AS goal FROM ({rows})"


def _fits(goal: Goal) -> str:
    category, length, style = goal.cell.split("/")
    tests = [f"axis = '{goal.axis}'"]
    if category != ANY:
        tests.append("category = '{}'".format(category.replace("'", "''")))
    if length != ANY:
        tests.append(f"{length_band_sql('n_words')} = '{LENGTHS[length]}'")
    if style != ANY:
        tests.append(f"style_kind = '{style}'")
    return " AND ".join(tests)
