"""DuckDB over the commits in force: every table and view of schemas/, read-only by construction.

The database lives in memory; the Parquet files are the truth. `tables.sql` gives plain DuckDB the same tables from
literal file lists. A file that no commit names is never read.

Several runs open as one: each has a schema of its own name with its tables and views, and the main schema has their
union under the same names with a column `run` in front. So a view is worked out within each run, never across: what one
run dropped says nothing about another's rows, and a fact that two runs hold stands there once for each.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from promptforge import schema
from promptforge.errors import ConfigError
from promptforge.files import SPILL, put
from promptforge.store import Commit, Store, TableFile

#: Schemas and databases of DuckDB itself; a run folder of this name goes by its folder and its own.
_OWN_NAMES = ("main", "pg_catalog", "information_schema", "memory", "system", "temp")


def files_by_table(commits: Iterable[Commit]) -> dict[str, list[TableFile]]:
    """Every table of schemas/ -> its files in these commits, in commit order."""
    found: dict[str, list[TableFile]] = {name: [] for name in schema.ddl()}
    for commit in commits:
        for item in commit.files:
            found[item.table].append(item)
    return found


def connect(
    store: Store, commits: Iterable[Commit], *, check: Sequence[str] | None = None
) -> duckdb.DuckDBPyConnection:
    """A database with every table and view over these commits.

    `check` names the tables whose files' SHA-256 is compared first; None means all but pixels.
    """
    con = _database(store.root)
    for table, files in files_by_table(commits).items():
        if (check is None and table != "pixels") or (check is not None and table in check):
            for item in files:
                store.check(item)
        con.execute(_table_sql(table, [str(store.root / item.name) for item in files]))
    con.execute(schema.views_sql())
    return con


def _database(root: Path) -> duckdb.DuckDBPyConnection:
    """An empty one that spills into this run folder."""
    con = duckdb.connect(":memory:")
    con.execute("SET enable_progress_bar = false")
    # By default it is .tmp in the folder that the person is in, where no sweep or purge would find it after a kill.
    # The folder goes when the database is closed.
    con.execute(f"SET temp_directory = '{_quoted(str(root / SPILL))}'")
    con.execute(f"SET memory_limit = '{memory_limit() >> 20}MiB'")
    return con


def memory_limit() -> int:
    """Bytes that a query may hold before it spills to disk: two fifths of what this process may have, 4 GiB at most.

    That is the machine's memory, or the limit of its control group (a container, a batch job) where that is less. By
    default DuckDB takes 80% of the machine, which leaves no room for the arrays of the stage that asks. Never under
    256 MiB, which windows and sorts over millions of rows need to make progress.
    """
    have = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _limit_files():
        try:
            said = path.read_text("ascii").strip()
        except OSError:
            continue
        if said.isdigit():  # "max" is none
            have = min(have, int(said))
    return min(max(have * 2 // 5, 256 << 20), 4 << 30)


def _limit_files() -> Iterator[Path]:
    """Where the kernel may state a limit for this process: control groups of version 2 and 1, and those above it."""
    try:
        lines = Path("/proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base, name = ("memory", "memory.limit_in_bytes") if controllers else ("", "memory.max")
        folder = Path("/sys/fs/cgroup") / base / group.lstrip("/")
        yield from (place / name for place in (folder, *folder.parents) if place.is_relative_to("/sys/fs/cgroup"))


def open_run(root: Path) -> duckdb.DuckDBPyConnection:
    """The catalog of a run folder's newest head, for a person's queries: files are not compared with their sums.

    Raises ConfigError where the folder holds no finished work.
    """
    store = Store(root)
    return connect(store, _in_force(store), check=())


def _in_force(store: Store) -> list[Commit]:
    head = store.head()
    if head is None:
        raise ConfigError(
            f"{store.root}: no finished work here (no heads/*.json); make some with: promptforge run mini"
        )
    return list(store.in_force(head))


def open_runs(roots: Sequence[Path]) -> duckdb.DuckDBPyConnection:
    """The catalogs of several run folders as one, each table and view with the column `run`; as `open_run` else.

    Raises ConfigError for a folder without finished work or one that is given twice, SchemaFault for a table of
    another major version. A column that an older run's table lacks is null there.
    """
    text = runs_sql(roots)
    con = _database(roots[0])
    con.execute(text)
    return con


def runs_sql(roots: Sequence[Path]) -> str:
    """The statements that open several runs as one in plain DuckDB, with whole paths; faults as `open_runs`."""
    lines: list[str] = []
    called = run_names(roots)
    for name, root in called.items():
        store = Store(root.resolve())
        lines += [f"CREATE SCHEMA {_name(name)};", f"USE {_name(name)};"]
        for table, files in files_by_table(_in_force(store)).items():
            paths = [str(store.root / item.name) for item in files]
            lines.append(_table_sql(table, paths, _missing(table, paths[0]) if paths else ""))
        lines.append(schema.views_sql())
    lines.append("USE main;")
    for name in schema.names():
        each = [f"SELECT '{_quoted(run)}' AS run, * FROM {_name(run)}.{_name(name)}" for run in called]
        lines.append(f"CREATE VIEW {_name(name)} AS\n" + "\nUNION ALL BY NAME ".join(each) + ";")
    return "\n".join(lines) + "\n"


def run_names(roots: Sequence[Path]) -> dict[str, Path]:
    """Run folder by name: its last part, with the folders above it where two would be called alike."""
    whole = [root.resolve() for root in roots]
    twice = next((root for place, root in enumerate(roots) if whole[place] in whole[:place]), None)
    if twice is not None:
        raise ConfigError(f"{twice}: given twice as a run; give each once")
    names: dict[str, Path] = {}
    for root, path in zip(roots, whole, strict=True):
        parts = range(1, len(path.parts) + 1)
        ends = ("/".join(path.parts[-n:]) for n in parts)
        others = [other for other in whole if other != path]
        names[next(end for n, end in zip(parts, ends, strict=True) if _alone(path, n, others))] = root
    return names


def _alone(path: Path, n: int, others: Sequence[Path]) -> bool:
    """Whether no other path ends in the same n parts, in whatever case: DuckDB does not tell schemas by it.

    Names of DuckDB's own schemas and databases are taken: USE would not know which is meant.
    """
    last = [part.casefold() for part in path.parts[-n:]]
    if n == 1 and last[0] in _OWN_NAMES:
        return len(path.parts) == 1
    return all([part.casefold() for part in other.parts[-n:]] != last for other in others) or n == len(path.parts)


def _missing(table: str, path: str) -> str:
    """SQL for the columns that this version's table has and an older file lacks."""
    seen = pq.read_schema(path)
    schema.require_version(table, seen.metadata, path)
    lost = [column for column in schema.describe(table).columns if column.name not in seen.names]
    return "".join(f", NULL::{column.type} AS {_name(column.name)}" for column in lost)


def write_tables_sql(store: Store, commits: Sequence[Commit]) -> Path:
    """Write tables.sql, so that `duckdb -init tables.sql` opens the run from any folder."""
    root = str(store.root.resolve())  # file_search_path is split at commas: then every path is written whole
    lines = [
        "-- Made by promptforge with each new head: the files in force, for plain DuckDB.",
        "-- It does not compare files with their SHA-256; `promptforge verify` does.",
        f"SET file_search_path = '{_quoted(root)}';",
    ]
    for table, files in files_by_table(commits).items():
        names = [item.name if "," not in root else f"{root}/{item.name}" for item in files]
        lines.append(_table_sql(table, names))
    path = store.root / "tables.sql"
    put(path, ("\n".join(lines) + "\n" + schema.views_sql()).encode())
    return path


def _table_sql(table: str, paths: Sequence[str], more: str = "") -> str:
    """The table over these files; `more` are further columns."""
    if not paths:
        return schema.ddl()[table]
    listed = ",\n    ".join(f"'{_quoted(path)}'" for path in paths)
    # DuckDB would take a folder called axis=x for a partition, and put x into every row.
    return f'CREATE VIEW "{table}" AS SELECT *{more} FROM read_parquet([\n    {listed}\n], hive_partitioning = false);'


def _name(text: str) -> str:
    quoted = text.replace('"', '""')
    return f'"{quoted}"'


def _quoted(text: str) -> str:
    return text.replace("'", "''")
