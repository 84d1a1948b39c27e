"""schemas/*.sql turned into Arrow schemas, checks and documentation.

The SQL text is the single definition of every table: DuckDB executes it in memory and is asked what it made of it.
Not covered: migrations. A reader refuses a file of another version.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

import duckdb
import pyarrow as pa

from promptforge.errors import ConfigError, SchemaFault

TABLE_KEY = b"promptforge.table"
_CHECKED_ROWS = 200_000  # rows whose constraints are checked at once: they lie in memory a second time meanwhile
_VERSION = re.compile(r"\A-- version (\d+)\n")


@dataclass(frozen=True, slots=True)
class Column:
    """One column as the definition states it."""

    name: str
    type: str
    required: bool
    comment: str


@dataclass(frozen=True, slots=True)
class TableDoc:
    """What a person wants to know of a table or view; a view has version 0."""

    name: str
    version: int
    comment: str
    columns: tuple[Column, ...]
    checks: tuple[str, ...]


@cache
def ddl() -> dict[str, str]:
    """Table name -> the text of its file, sorted by name; views.sql is not among them."""
    folder = resources.files("promptforge") / "schemas"
    found = {
        item.name.removesuffix(".sql"): item.read_text("utf-8")
        for item in folder.iterdir()
        if item.name.endswith(".sql") and item.name != "views.sql"
    }
    return dict(sorted(found.items()))


@cache
def views_sql() -> str:
    """The text of views.sql."""
    return (resources.files("promptforge") / "schemas" / "views.sql").read_text("utf-8")


def version(table: str) -> int:
    """Major version of a table, from the first line of its file."""
    match = _VERSION.match(ddl()[table])
    if match is None:
        raise SchemaFault(f"schemas/{table}.sql: the first line must be '-- version N'")
    return int(match.group(1))


@cache
def _database() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(":memory:")
    for text in ddl().values():
        con.execute(text)
    con.execute(views_sql())
    return con


@cache
def arrow_schema(table: str) -> pa.Schema:
    """Arrow schema of a table, with NOT NULL as nullable=False and the name and version in the metadata."""
    if table not in ddl():
        raise ConfigError(f"no table {table!r}; there are {', '.join(ddl())}")
    cursor = _database().cursor()
    bare = cursor.sql(f'SELECT * FROM "{table}" LIMIT 0').to_arrow_table().schema
    required = {column.name for column in describe(table).columns if column.required}
    fields = [field.with_nullable(field.name not in required) for field in bare]
    return pa.schema(fields, metadata={TABLE_KEY: f"{table}/{version(table)}".encode()})


@cache
def describe(name: str) -> TableDoc:
    """Columns, types, comments and checks of a table or view.

    Raises ConfigError for an unknown name.
    """
    if name not in names():
        raise ConfigError(f"no table or view {name!r}; there are {', '.join(names())}")
    cursor = _database().cursor()
    columns = cursor.execute(
        "SELECT column_name, data_type, NOT is_nullable, coalesce(comment, '') FROM duckdb_columns()"
        " WHERE table_name = ? AND NOT internal ORDER BY column_index",
        [name],
    ).fetchall()
    checks = cursor.execute(
        "SELECT constraint_text FROM duckdb_constraints() WHERE table_name = ? AND constraint_type = 'CHECK'"
        " ORDER BY constraint_index",
        [name],
    ).fetchall()
    comment = cursor.execute(
        "SELECT coalesce(comment, '') FROM (SELECT table_name AS name, comment FROM duckdb_tables() UNION ALL"
        " SELECT view_name, comment FROM duckdb_views() WHERE NOT internal) WHERE name = ?",
        [name],
    ).fetchone()
    return TableDoc(
        name=name,
        version=version(name) if name in ddl() else 0,
        comment=comment[0] if comment else "",
        columns=tuple(Column(*row) for row in columns),
        checks=tuple(row[0] for row in checks),
    )


@cache
def view_names() -> tuple[str, ...]:
    """Names of the views in views.sql, sorted."""
    rows = _database().cursor().execute("SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY view_name")
    return tuple(row[0] for row in rows.fetchall())


def names() -> tuple[str, ...]:
    """Every table, then every view."""
    return (*ddl(), *view_names())


def conform(table: str, data: pa.Table, where: str = "") -> pa.Table:
    """The same rows under the table's own schema, after checking names, types, NOT NULL and every CHECK.

    `pa.Table.from_pylist` nulls missing and drops extra columns silently, so names are compared here.
    Raises SchemaFault naming the table, the column and what was seen.
    """
    schema = arrow_schema(table)
    place = f"{where}: " if where else ""
    if set(data.column_names) != set(schema.names):
        missing = sorted(set(schema.names) - set(data.column_names))
        extra = sorted(set(data.column_names) - set(schema.names))
        raise SchemaFault(
            f"{place}table {table} lacks {missing} and has {extra} too many; schemas/{table}.sql names its columns"
        )
    for field in schema:
        seen = data.schema.field(field.name).type
        if not pa.types.is_null(seen) and not _same_shape(seen, field.type):
            raise SchemaFault(
                f"{place}column {table}.{field.name} is {seen}, schemas/{table}.sql says {field.type};"
                " bump the table's version if that is meant"
            )
    arranged = data.select(schema.names)
    try:
        result = arranged.cast(schema).combine_chunks()
    except (pa.ArrowInvalid, ValueError) as exc:
        raise SchemaFault(f"{place}table {table}: {exc}") from exc
    for start in range(0, result.num_rows, _CHECKED_ROWS):  # constraints are of one row, never between rows
        _check_constraints(table, result.slice(start, _CHECKED_ROWS), place)
    return result


def _same_shape(seen: pa.DataType, wanted: pa.DataType) -> bool:
    """Types that differ only in a list's child name, or in width without loss, are one type."""
    if pa.types.is_list(seen) and pa.types.is_list(wanted):
        return pa.types.is_null(seen.value_type) or _same_shape(seen.value_type, wanted.value_type)
    if pa.types.is_integer(seen) and pa.types.is_integer(wanted):
        return bool(seen.bit_width <= wanted.bit_width)
    return bool(seen == wanted)


def _check_constraints(table: str, data: pa.Table, place: str) -> None:
    con = _database().cursor()  # rows go in and are rolled back: 4 ms, a database of its own takes 40
    try:
        con.execute("BEGIN")
        con.register("incoming", data)
        con.execute(f'INSERT INTO "{table}" SELECT * FROM incoming')
    except duckdb.ConstraintException as exc:
        first = str(exc).split("\n", 1)[0]
        raise SchemaFault(f"{place}table {table} breaks schemas/{table}.sql: {first}") from exc
    finally:
        con.execute("ROLLBACK")
        con.close()


def require_version(table: str, metadata: dict[bytes, bytes] | None, where: str) -> None:
    """Raise SchemaFault where a file's metadata names another table or another major version."""
    seen = (metadata or {}).get(TABLE_KEY, b"nothing").decode("utf-8", "replace")
    wanted = f"{table}/{version(table)}"
    if seen != wanted:
        raise SchemaFault(f"{where}: holds table {seen}, expected {wanted}; use the promptforge that wrote it")
