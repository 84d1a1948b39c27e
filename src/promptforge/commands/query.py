"""query: a person's SQL over the tables and views of one run or several; schema: what there is to query.

Read-only: one SELECT-like statement, in a database in memory, with no extension loaded from anywhere. CSV, JSON and
Parquet hold the values exactly; the table on the screen shows control characters as escapes.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import duckdb

from promptforge import catalog, schema
from promptforge.commands import terminal
from promptforge.errors import ConfigError

Format = Literal["table", "csv", "json", "parquet"]

MAX_ROWS = 200  # of a table on the screen
MAX_CHARS = 300  # of a cell of it

_READING = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
_COPY = {"csv": "FORMAT csv, HEADER", "json": "FORMAT json, ARRAY true", "parquet": "FORMAT parquet"}


def run_query(roots: Sequence[Path], sql: str | None, file: Path | None, form: Format, output: Path | None) -> None:
    """Answer one statement; of several runs each row says which it is of, in the column run.

    Raises ConfigError for what is not one readable statement.
    """
    text = _text(sql, file)
    if form == "parquet" and output is None:
        raise ConfigError("--format parquet is no text: name a file with --output")
    opened = catalog.open_run(roots[0]) if len(roots) == 1 else catalog.open_runs(roots)
    with opened as con, _told_in_one_line():
        # A query may read files of the person's own, but fetches nothing and sees nothing of this program.
        for setting in ("autoinstall_known_extensions", "autoload_known_extensions", "python_enable_replacements"):
            con.execute(f"SET {setting} = false")
        con.execute("SET lock_configuration = true")
        answer = con.sql(_one_statement(con, text))
        if answer is None:
            raise ConfigError("the statement gives no rows")
        if form == "table" and output is None:
            _show(answer)
        else:
            _write(con, answer, "csv" if form == "table" else form, output)


def _text(sql: str | None, file: Path | None) -> str:
    if (sql is None) == (file is None):
        raise ConfigError('query wants one of: SQL in quotes, for example "select * from funnel", or --file q.sql')
    if sql is not None:
        return sql
    assert file is not None
    try:
        return file.read_text("utf-8")
    except OSError as exc:
        raise ConfigError(f"{file}: {exc.strerror}") from exc


def _one_statement(con: duckdb.DuckDBPyConnection, text: str) -> duckdb.Statement:
    found = con.extract_statements(text)
    if len(found) != 1:
        raise ConfigError(f"query answers one statement at a time; seen: {len(found)}")
    if found[0].type not in _READING:
        raise ConfigError(
            f"query only reads, and this is {found[0].type.name}; for tables of your own: duckdb -init RUN/tables.sql"
        )
    return found[0]


@contextlib.contextmanager
def _told_in_one_line() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as exc:
        said = " ".join(str(exc).split("\n\nLINE", 1)[0].split())
        raise ConfigError(f"the query failed: {said}") from exc


def _show(answer: duckdb.DuckDBPyRelation) -> None:
    names = list(answer.columns)
    rows = answer.limit(MAX_ROWS + 1).fetchall()
    if names == ["explain_key", "explain_value"]:
        for line in "\n".join(str(plan) for _, plan in rows).splitlines():
            terminal.out().print(terminal.safe(line))
        return
    numeric = tuple(
        name for place, name in enumerate(names) if rows and isinstance(rows[0][place], int | float) is True
    )
    made = terminal.table(*names, numeric=numeric)
    for row in rows[:MAX_ROWS]:
        made.add_row(*(terminal.safe(_cell(value)) for value in row))
    terminal.out().print(made)
    if len(rows) > MAX_ROWS:
        terminal.err().print(f"only the first {MAX_ROWS} rows are shown; --format csv gives all of them")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return f"({len(value):,} bytes)"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}… ({len(text):,} characters)"


def _write(con: duckdb.DuckDBPyConnection, answer: duckdb.DuckDBPyRelation, form: str, output: Path | None) -> None:
    """Into a file under its final name only when whole, or to standard output."""
    answer.create_view("promptforge_answer")
    folder = output.resolve().parent if output else None
    if folder and not folder.is_dir():
        raise ConfigError(f"{output}: there is no folder {folder}")
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=folder) as temporary:
        whole = Path(temporary) / f"answer.{form}"
        con.execute(f"COPY promptforge_answer TO '{str(whole).replace(chr(39), chr(39) * 2)}' ({_COPY[form]})")
        if output:
            whole.replace(output)
            return
        sys.stdout.flush()
        with whole.open("r", encoding="utf-8", newline="") as text:
            shutil.copyfileobj(text, sys.stdout)
        sys.stdout.flush()


def show_schema(name: str | None) -> None:
    """List tables and views, or what one holds."""
    console = terminal.out()
    if name is None:
        made = terminal.table("name", "kind", "what it holds")
        for known in schema.names():
            doc = schema.describe(known)
            made.add_row(known, "table" if doc.version else "view", doc.comment)
        console.print(made)
        return
    doc = schema.describe(name)
    console.print(f"{doc.name}" + (f" (table, version {doc.version})" if doc.version else " (view)"))
    console.print(doc.comment)
    console.print()
    made = terminal.table("column", "type", "required", "meaning")
    for column in doc.columns:
        made.add_row(column.name, column.type, "yes" if column.required else "", column.comment)
    console.print(made)
    for check in doc.checks:
        console.print(f"check: {check.removeprefix('CHECK')}", style="dim")
