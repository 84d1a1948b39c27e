"""What `why` tells of the prompts around a row: who stays for it, whom it stays for, what of a benchmark it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import duckdb

from promptforge.commands import terminal
from promptforge.errors import PromptforgeError
from promptforge.stages.earlier import PREFIX
from promptforge.stages.run import Run

SHOWN = 5  #: rows of a cluster that are named
CHECKS = ("exact_duplicate", "near_duplicate", "semantic_duplicate")
_MEASURES = {"near_duplicate": "similarity", "semantic_duplicate": "cosine"}

_ROW = """
SELECT p.source_part, p.source_row, p.text, w.row_id IS NOT NULL AS withheld
FROM prompts p LEFT JOIN withheld w USING (row_id) WHERE p.row_id = $id
"""

_DROPPED_FOR = """
SELECT v.row_id, v.check_name, v.value, p.source_part, p.source_row, p.text, w.row_id IS NOT NULL AS withheld
FROM verdicts v JOIN prompts p USING (row_id) LEFT JOIN withheld w USING (row_id)
WHERE v.stage = 'dedup' AND v.verdict = 'drop' AND v.detail = $id ORDER BY p.stream_order, v.row_id
"""

_HITS = """
SELECT benchmark, benchmark_file, benchmark_row, benchmark_prompt_id, rule, value, action
FROM contamination WHERE row_id = $id ORDER BY action, benchmark, rule
"""


def duplicate_of(con: duckdb.DuckDBPyConnection, run: Run, verdict: Mapping[str, Any], fate: str) -> str:
    """What the verdict of a duplicate says of the row that stays; `fate` is that row's."""
    measure = _MEASURES.get(verdict["check_name"])
    said = "" if measure is None else f"{measure} {verdict['value']:.4g} against {verdict['threshold']:g}, "
    survivor = verdict["detail"]
    if survivor.startswith(PREFIX):
        place = survivor.removeprefix(PREFIX)
        text = _accepted_text(con, run, place)
        return f"{said}duplicate of what is {terminal.safe(survivor).plain}{text}"
    for row in _records(con, _ROW, id=survivor):
        return f"{said}duplicate of {survivor} ({_place(row)}), which is {fate}"
    return f"{said}duplicate of {survivor}"


def dropped_for(con: duckdb.DuckDBPyConnection, row_id: str) -> Iterator[str]:
    """A line on how many rows this one stays for, and one for each of the first."""
    found = _records(con, _DROPPED_FOR, id=row_id)
    if not found:
        return
    counts = [(check, sum(row["check_name"] == check for row in found)) for check in CHECKS]
    kinds = ", ".join(f"{n:,} {check}" for check, n in counts if n)
    yield f"cluster    {len(found):,} {'row was' if len(found) == 1 else 'rows were'} dropped for this one: {kinds}"
    for row in found[:SHOWN]:
        value = "" if row["value"] is None else f" {row['value']:.4g}"
        yield f"           {row['row_id']} {row['check_name']}{value} ({_place(row)})"
    if len(found) > SHOWN:
        yield f"           and {len(found) - SHOWN:,} more: select row_id from verdicts where detail = '{row_id}'"


def benchmark_hits(con: duckdb.DuckDBPyConnection, row_id: str) -> Iterator[str]:
    """A line on each benchmark and rule that found something in this row."""
    for hit in _records(con, _HITS, id=row_id):
        place = terminal.safe(f"{hit['benchmark']}, {hit['benchmark_file']}, row {hit['benchmark_row']:,}").plain
        yield (
            f"benchmark  {place} (prompt {hit['benchmark_prompt_id']}): {hit['rule']} {hit['value']:.4g},"
            f" {'drops it' if hit['action'] == 'drop' else 'only flagged'}"
        )


def _accepted_text(con: duckdb.DuckDBPyConnection, run: Run, place: str) -> str:
    """The text of a prompt that is accepted elsewhere, as far as it can be had and was not purged here."""
    try:
        rows = run.earlier.rows()
    except PromptforgeError as exc:
        return f" (its text cannot be read: {terminal.safe(str(exc)).plain})"
    gone = {name for names in con.sql("SELECT prompt_id, fold_key FROM tombstones").fetchall() for name in names}
    for row in rows.to_pylist():
        if row["place"] == place:
            purged = row["prompt_id"] in gone or row["fold_key"] in gone
            return " (no text is shown)" if purged else f" ({terminal.safe(row['text_clean']).plain})"
    return " (which it holds no more)"


def _place(row: Mapping[str, Any]) -> str:
    if row["withheld"]:
        text = "text withheld"
    else:
        text = "no text is kept" if row["text"] is None else terminal.safe(row["text"]).plain
    return f"{terminal.safe(row['source_part']).plain}, row {row['source_row']:,}: {text}"


def _records(con: duckdb.DuckDBPyConnection, sql: str, **values: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = con.sql(sql, params=values).to_arrow_table().to_pylist()
    return rows
