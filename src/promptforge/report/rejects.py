"""rejects.md: what is not in the set, counted by axis, check and reason, with examples, for a person to read.

The figures are queries over the views funnel and rejects. A prompt is text of a stranger: control characters are
shown as escapes, markup is taken apart, so that nothing in it can act in a terminal, a Markdown viewer or a browser.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

import duckdb

from promptforge.files import put
from promptforge.texts import show

REJECTS = "rejects.md"  #: name in the run folder
EXAMPLES = 5
MAX_CHARS = 240  # of one example; the rest is one query away

_MARKUP = re.compile(r"[\\`*_{}\[\]#|~:@]|(?<=www)\.", re.IGNORECASE)

_REASONS = """
SELECT coalesce(axis, '(axis unknown)') AS axis, stage, coalesce(check_name, fate) AS check_name, reason, count(*) AS n
FROM rejects GROUP BY ALL ORDER BY axis, n DESC, stage, check_name, reason
"""

# The first in the stream, so that the report of the same rows is the same report.
_EXAMPLES = """
SELECT coalesce(r.axis, '(axis unknown)') AS axis, r.stage, coalesce(r.check_name, r.fate) AS check_name, r.reason,
    r.row_id, r.source_part, r.source_row, r.text, r.value, r.threshold, r.detail
FROM rejects r JOIN prompts p USING (row_id)
QUALIFY row_number() OVER (
    PARTITION BY r.axis, r.stage, coalesce(r.check_name, r.fate), r.reason ORDER BY p.stream_order, r.row_id
) <= $n
ORDER BY p.stream_order, r.row_id
"""

_TOTALS = "SELECT fate, count(*) AS n FROM fates GROUP BY fate ORDER BY n DESC, fate"


def escaped(text: str, limit: int = MAX_CHARS) -> str:
    """One line of plain text for Markdown, HTML and a terminal; the end of a long one is left out."""
    shown = show(text[:limit]) + (f"… ({len(text):,} characters)" if len(text) > limit else "")
    # Entities, so that a browser that takes the file for HTML is safe too; a backslash is Markdown's own escape.
    return _MARKUP.sub(r"\\\g<0>", html.escape(shown, quote=False))


def write_rejects(root: Path, con: duckdb.DuckDBPyConnection) -> Path:
    """Write rejects.md into a run folder from its catalog; returns its path."""
    lines = ["# What is not in the set", ""]
    lines += [
        "Every input row has one fate. The same by SQL:"
        ' `promptforge query "select * from rejects"`; one row: `promptforge why ID`.',
        "",
    ]
    lines += _table(("fate", "rows"), [(fate, f"{n:,}") for fate, n in con.sql(_TOTALS).fetchall()])
    groups = con.sql(_REASONS).fetchall()
    if not groups:
        lines += ["Every row was accepted.", ""]
    else:
        lines += ["## By axis, check and reason", ""]
        lines += _table(
            ("axis", "stage", "check", "reason", "rows"), [(a, s, c, r, f"{n:,}") for a, s, c, r, n in groups]
        )
    examples: dict[tuple[str, ...], list[str]] = {}
    for *group, row_id, part, row, text, value, threshold, detail in con.execute(_EXAMPLES, {"n": EXAMPLES}).fetchall():
        examples.setdefault(tuple(group), []).append(_example(row_id, (part, row), text, (value, threshold, detail)))
    for axis, stage, check, reason, n in groups:
        lines += [f"## {axis}: {check}, {reason} ({n:,})", "", *examples[axis, stage, check, reason], ""]
    path = root / REJECTS
    put(path, ("\n".join(lines).rstrip("\n") + "\n").encode("utf-8"))
    return path


def _example(
    row_id: str, place: tuple[str, int], text: str | None, measure: tuple[float | None, float | None, str | None]
) -> str:
    value, threshold, detail = measure
    said = [f"`{row_id[:12]}`", escaped(text) if text is not None else "(no text could be read)"]
    said.append(f"from {escaped(place[0])} row {place[1]:,}")
    if value is not None:
        said.append(f"measured {value:g}" + (f" against {threshold:g}" if threshold is not None else ""))
    if detail:
        said.append(escaped(detail))
    return "- " + " — ".join(said)


def _table(names: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    cells = [names, tuple("---" for _ in names), *rows]
    return ["| " + " | ".join(row) + " |" for row in cells] + [""]
