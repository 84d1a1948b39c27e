"""Which prompts are measured: those of the data set, those accepted, or those that a plan would take; by SQL."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from promptforge.stages.coverage.measures import Prompts
from promptforge.stages.coverage.settings import ALL

# `chosen` has row_id and keep_image. What the embedded grammar wrote says so in source_part; all else is natural.
_ROWS = """
SELECT p.prompt_id, p.text_clean AS text, p.axis, p.category, p.style, p.source, p.template, p.n_words,
    c.words, p.source_part <> 'grammar' AS natural, s.keep_image
FROM ({chosen}) s JOIN prompts p USING (row_id) JOIN cells c USING (row_id)
WHERE p.text_clean IS NOT NULL ORDER BY p.prompt_id
"""

ACCEPTED = (
    "SELECT row_id, keep_image FROM selection WHERE keep_prompt AND prompt_id NOT IN (SELECT prompt_id FROM tombstones)"
)

_NEAR = """
SELECT {keys}, count(*) FILTER (near) AS n_near, count(*) FILTER (NOT near) AS n_kept FROM (
    SELECT p.*, c.words, d.row_id IS NOT NULL AS near
    FROM prompts p JOIN cells c USING (row_id)
    LEFT JOIN (FROM verdicts WHERE verdict = 'drop') d USING (row_id)
    WHERE d.row_id IS NULL OR d.check_name = 'near_duplicate'
) GROUP BY ALL
"""

_CELLS = """
SELECT c.axis, coalesce(c.category, '') AS category, count(s.row_id) AS n_prompts
FROM cells c LEFT JOIN ({chosen}) s USING (row_id)
WHERE c.axis IS NOT NULL GROUP BY ALL HAVING count(s.row_id) < $least ORDER BY ALL
"""


def prompts(con: duckdb.DuckDBPyConnection, chosen: str) -> Prompts:
    """The prompts of a query for row_id and keep_image, sorted by prompt_id."""
    rows = con.sql(_ROWS.format(chosen=chosen)).to_arrow_table()
    near = {axis: found for (axis,), found in near_duplicates(con, ("axis",)).items()}
    near[ALL] = (sum(pair[0] for pair in near.values()), sum(pair[1] for pair in near.values()))
    return Prompts(rows, near)


def near_duplicates(con: duckdb.DuckDBPyConnection, keys: Sequence[str]) -> dict[tuple[str, ...], tuple[int, int]]:
    """Values of these columns, '' for null -> near duplicates that were dropped, and rows that were kept."""
    wanted = ", ".join(f"coalesce({key}, '') AS {key}" for key in keys)
    return {tuple(row[:-2]): (row[-2], row[-1]) for row in con.sql(_NEAR.format(keys=wanted)).fetchall()}


def thin_cells(con: duckdb.DuckDBPyConnection, chosen: str, least: int) -> list[tuple[str, str, int]]:
    """Axis, category and number of the chosen prompts of each cell of which any source wrote a row, below `least`."""
    found: list[tuple[str, str, int]] = con.execute(_CELLS.format(chosen=chosen), {"least": least}).fetchall()
    return found
