"""DuckDB over the commits in force: every table and view of schemas/, read-only by construction.

The database lives in memory; the Parquet files are the truth. `tables.sql` gives plain DuckDB the same tables from
literal file lists. A file that no commit names is never read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import duckdb

from promptforge import schema
from promptforge.errors import ConfigError
from promptforge.files import SPILL, put
from promptforge.store import Commit, Store, TableFile


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
    con = duckdb.connect(":memory:")
    con.execute("SET enable_progress_bar = false")
    # By default it is .tmp in the folder that the person is in, where no sweep or purge would find it after a kill.
    # The folder goes when the database is closed.
    con.execute(f"SET temp_directory = '{_quoted(str(store.root / SPILL))}'")
    con.execute(f"SET memory_limit = '{memory_limit() >> 20}MiB'")
    for table, files in files_by_table(commits).items():
        if (check is None and table != "pixels") or (check is not None and table in check):
            for item in files:
                store.check(item)
        con.execute(_table_sql(table, [str(store.root / item.name) for item in files]))
    con.execute(schema.views_sql())
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
    head = store.head()
    if head is None:
        raise ConfigError(f"{root}: no finished work here (no heads/*.json); make some with: promptforge run mini")
    return connect(store, store.in_force(head), check=())


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


def _table_sql(table: str, paths: Sequence[str]) -> str:
    if not paths:
        return schema.ddl()[table]
    listed = ",\n    ".join(f"'{_quoted(path)}'" for path in paths)
    # DuckDB would take a folder called axis=x for a partition, and put x into every row.
    return f'CREATE VIEW "{table}" AS SELECT * FROM read_parquet([\n    {listed}\n], hive_partitioning = false);'


def _quoted(text: str) -> str:
    return text.replace("'", "''")
