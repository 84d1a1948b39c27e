"""rejects.md: what is not in the set, counted by axis, check and reason, with examples, for a person to read.

The figures are queries over the views funnel and rejects. A prompt is text of a stranger: control characters are
shown as escapes, markup is taken apart, so that nothing in it can act in a terminal, a Markdown viewer or a browser.
Of rows in the view withheld only hash and reason are shown.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from promptforge.files import put
from promptforge.texts import show

REJECTS = "rejects.md"  #: name in the run folder
EXAMPLES = 5
MAX_CHARS = 240  # of one example; the rest is one query away

_LINE_FILE = re.compile(r"\.(txt|jsonl)( \(\d+\))?\Z", re.IGNORECASE)  # a second file of one name is "x.txt (2)"
_MARKUP = re.compile(r"[\\`*_{}\[\]#|~:@]|(?<=www)\.", re.IGNORECASE)

_REASONS = """
SELECT coalesce(axis, '(axis unknown)') AS axis, stage, coalesce(check_name, fate) AS check_name, reason, count(*) AS n
FROM rejects GROUP BY ALL ORDER BY axis, n DESC, stage, check_name, reason
"""

# The first in the stream, so that the report of the same rows is the same report.
_EXAMPLES = """
SELECT coalesce(r.axis, '(axis unknown)') AS axis, r.stage, coalesce(r.check_name, r.fate) AS check_name, r.reason,
    r.row_id, r.prompt_id, h.row_id IS NOT NULL AS withheld, r.source_part, r.source_row, r.text, r.value,
    r.threshold, r.detail,
    w.source_part AS kept_part, w.source_row AS kept_row, w.text AS kept_text
FROM rejects r JOIN prompts p USING (row_id)
LEFT JOIN withheld h ON h.row_id = r.row_id
LEFT JOIN prompts w ON r.check_name = 'exact_duplicate' AND w.row_id = r.detail
QUALIFY row_number() OVER (
    PARTITION BY r.axis, r.stage, coalesce(r.check_name, r.fate), r.reason ORDER BY p.stream_order, r.row_id
) <= $n
ORDER BY p.stream_order, r.row_id
"""

# What stands behind a colon (letters) differs from picture to picture.
_UNREADABLE = """
SELECT split_part(coalesce(json_extract_string(reading, '$.faults[0]'), json_extract_string(reading, '$.doubt'),
    'the readings contradict each other'), ':', 1) AS why, count(*) AS n
FROM ocr_misreads WHERE verdict = 'unreadable' GROUP BY ALL ORDER BY n DESC, why
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
        "Rows of a source count from 0, lines of a file from 1.",
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
    for row in con.sql(_EXAMPLES, params={"n": EXAMPLES}).to_arrow_table().to_pylist():
        group = (row["axis"], row["stage"], row["check_name"], row["reason"])
        examples.setdefault(group, []).append(_example(row))
    for axis, stage, check, reason, n in groups:
        because = check if check == reason else f"{check}, {reason}"
        lines += [f"## {axis}: {because} ({n:,})", "", *examples[axis, stage, check, reason], ""]
    unreadable = con.sql(_UNREADABLE).fetchall()
    if unreadable:
        lines += ["## Pictures whose text could not be judged", ""]
        lines += ["Neither right nor wrong: the reader does not know, and the picture is not blamed.", ""]
        lines += _table(("why", "pictures"), [(escaped(why), f"{n:,}") for why, n in unreadable])
    path = root / REJECTS
    put(path, ("\n".join(lines).rstrip("\n") + "\n").encode("utf-8"))
    return path


def _example(row: Mapping[str, Any]) -> str:
    if row["withheld"]:
        return f"- `{row['prompt_id']}`, withheld"
    said = [f"`{row['row_id'][:12]}`", _text(row["text"]), f"from {place(row['source_part'], row['source_row'])}"]
    if row["value"] is not None:
        against = "" if row["threshold"] is None else f" against {row['threshold']:g}"
        said.append(f"measured {row['value']:g}{against}")
    if row["kept_part"] is not None:
        said.append(f"kept: {_text(row['kept_text'])}, {place(row['kept_part'], row['kept_row'])}")
    elif row["detail"]:
        said.append(escaped(row["detail"]))
    return "- " + " — ".join(said)


def _text(text: str | None) -> str:
    return "(no text could be read)" if text is None else escaped(text)


def place(part: str, row: int) -> str:
    """A row by its number, and by its line where a row of such a file is a line."""
    line = f" (line {row + 1:,})" if _LINE_FILE.search(part) else ""
    return f"{escaped(part)} row {row:,}{line}"


def _table(names: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    cells = [names, tuple("---" for _ in names), *rows]
    return ["| " + " | ".join(row) + " |" for row in cells] + [""]
