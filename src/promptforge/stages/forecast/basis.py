"""What an earlier run or a pilot has measured that says something about a run to come.

Text counts hold exactly where the folder has done the very work that the recipe asks for (same inputs, checks, order:
the digests of its commits say so); else they are shares. Pictures are judged by the planned recipe's own gates, on the
scores that lie there; they say nothing where another teacher drew or other scorers measured them. Bytes and seconds are
read from file sizes and the table cost. Not covered: what the machine of an earlier run was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq

from promptforge import catalog
from promptforge.errors import ConfigError, DataFault, StoreFault
from promptforge.stages import arrange, decontaminate, dedup, filter, generate
from promptforge.stages.goals import ELIGIBLE, assign
from promptforge.stages.judging.reference import fitted_to_sample
from promptforge.stages.judging.takes import judge
from promptforge.stages.rounds.spending import spending
from promptforge.stages.run import DATASET, Run
from promptforge.store import Commit, Head, Store, TableFile

#: Parts of a published set by which its bytes are told.
DATASET_PARTS = ("data", "prompts", "index.parquet", "other")

PILOT = "-pilot"  # behind a run folder's name

#: Files of pixels that are opened to see how large a picture of each axis is: 64 pictures each, so 2,048 in all.
MOST_FILES = 32


@dataclass(frozen=True)
class Text:
    """Rows of an axis: all, kept by the checks, those of the first half of the stream, and those that may be taken."""

    rows: int
    kept: int
    kept_early: int
    eligible: int


@dataclass(frozen=True)
class Judged:
    """Prompts of an axis whose pictures are there, under the planned gates.

    `passed` (no gate that decides keep_prompt refuses it), `usable` of those (a take that fails no gate), takes up to
    the first that fails none with their squares, pictures drawn, and failed ones.
    """

    prompts: int = 0
    passed: int = 0
    usable: int = 0
    needed: float = 0.0
    needed_squares: float = 0.0
    pictures: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Files:
    """Bytes of a table's files as `each` a file and `a_row` a row; `size` is what they take together."""

    n_files: int
    rows: int
    size: int
    each: float
    a_row: float


@dataclass(frozen=True)
class Measured:
    """All of it. `text` without a key for an axis means that no row of it was there."""

    root: Path
    basis: str
    whole_text: bool
    text: Mapping[str, Text]
    goals: Mapping[str, Sequence[tuple[int | None, int]]]  # axis -> (wanted, eligible) of each cell and the rest
    judged: Mapping[str, Judged] | None
    pictures: Mapping[str, tuple[int, float, float]]  # axis -> pictures looked at, their bytes, squares of those
    files: Mapping[str, Files]
    seconds: Mapping[str, tuple[float, int]]  # stage -> clock seconds, rows
    a_picture_s: float | None  # of one rank, loading the teacher included
    workers: int
    dataset: Mapping[str, int]  # data, prompts, index.parquet, other -> bytes
    published: tuple[int, int]  # rows, with a picture
    notes: tuple[str, ...] = ()
    records: int = 0  # bytes of commit records and heads
    n_records: int = 1
    other_teacher: bool = field(default=False)


def planned_text(run: Run) -> list[Commit] | None:
    """The commits of every stage of the text that this recipe asks for, where the run's folder has them all."""
    found: list[Commit] = []

    def done(unit: Any) -> Commit | None:
        commit: Commit | None = run.store.committed(unit.stage, unit.shard, unit.digest)
        if commit is not None:
            found.append(commit)
        return commit

    for shard in generate.shards(run):
        made = done(generate.unit(run, shard))
        if made is None or done(filter.unit(run, made)) is None:
            return None
    if done(dedup.unit(run, found)) is None:
        return None
    if run.decontaminate is not None and done(decontaminate.unit(run, found)) is None:
        return None
    if run.order is not None and done(arrange.unit(run, found)) is None:
        return None
    return found


def measure(run: Run, root: Path, basis: str) -> Measured:
    """What the folder `root` says about the planned run; `basis` is pilot or earlier_run.

    Raises ConfigError where no finished work is there.
    """
    there = replace(run, root=root, store=Store(root))
    head = there.store.head()
    if head is None:
        raise ConfigError(
            f"{root}: no finished work here (no heads/*.json) that a plan could rest on; leave --from out"
        )
    commits = there.store.in_force(head)
    whole = planned_text(there)
    notes = [] if whole else _differences(run, root, head)
    with catalog.connect(there.store, whole if whole else commits, check=()) as con:
        text = _text(con)
        pieces = _goals(con, run) if whole else {}
    with catalog.connect(there.store, commits, check=()) as con:
        seconds = {
            stage: (spent, rows)
            for stage, spent, rows in con.sql(
                "SELECT stage, sum(seconds), sum(n_rows)::BIGINT FROM cost GROUP BY stage ORDER BY stage"
            ).fetchall()
        }
        ((drawn, same),) = con.execute(
            "SELECT count(*), count(*) FILTER (teacher = ?) FROM render_plan", [run.teacher_fingerprint]
        ).fetchall()
        published = con.sql("SELECT count(*), count(*) FILTER (keep_image) FROM published").fetchall()[0]
        judged, other = None, bool(drawn and drawn != same)
        if other:
            notes.append("its pictures are of another teacher or regime: they say nothing about these")
        elif drawn and run.recipe.render.sample > 0:
            try:
                judged = _judged(con, _sampled(there, con) if basis == "pilot" else there)
            except StoreFault:
                notes.append("its pictures were not measured by these scorers: they say nothing about acceptance")
            except DataFault as fault:
                notes.append(f"its pictures are too few to judge by: {fault}")
        pictures = _picture_bytes(con, there.store, commits) if drawn and not other else {}
    return Measured(
        root=root,
        basis=basis,
        whole_text=whole is not None,
        text=text,
        goals=pieces,
        judged=judged,
        pictures=pictures,
        files=_files(there.store, commits),
        seconds=seconds,
        a_picture_s=None if other else spending(there.store).each_s,
        workers=_workers(root),
        dataset=dataset_bytes(root / DATASET),
        published=(published[0], published[1]),
        notes=tuple(notes),
        records=sum(path.stat().st_size for name in ("_commits", "heads") for path in (root / name).rglob("*.json")),
        n_records=max(1, len(commits)),
        other_teacher=other,
    )


def _differences(run: Run, root: Path, head: Head) -> list[str]:
    """In which parts of the recipe that decide about texts the folder's run was another."""
    parts = ("sources", "filters", "dedup", "decontaminate", "order", "seed")
    mine = json.loads(json.dumps(run.resolved))
    other = [name for name in parts if mine.get(name) != head.recipe.get(name)]
    which = f"other {', '.join(other)}" if other else "other input files"
    return [f"{root} had {which}: its shares of the text are taken, not its counts"]


_TEXT = f"""
WITH halves AS (SELECT axis, median(stream_order) AS middle FROM prompts GROUP BY axis), fit AS (
    SELECT row_id FROM ({ELIGIBLE}) WHERE NOT left_over
)
SELECT p.axis, count(*), count(k.row_id), count(k.row_id) FILTER (p.stream_order <= h.middle), count(f.row_id)
FROM prompts p JOIN halves h ON h.axis = p.axis
LEFT JOIN kept k ON k.row_id = p.row_id LEFT JOIN fit f ON f.row_id = p.row_id
WHERE p.axis IS NOT NULL GROUP BY p.axis ORDER BY p.axis
"""


def _text(con: duckdb.DuckDBPyConnection) -> dict[str, Text]:
    return {axis: Text(*counts) for axis, *counts in con.sql(_TEXT).fetchall()}


def _goals(con: duckdb.DuckDBPyConnection, run: Run) -> dict[str, list[tuple[int | None, int]]]:
    """Of each axis, what every cell and the rest want, and how many prompts each has."""
    assign(con, run.recipe)
    rows = con.sql(
        "SELECT g.axis, g.wanted, count(e.row_id) FILTER (NOT e.left_over) FROM goals g"
        " LEFT JOIN eligible e ON e.goal = g.goal GROUP BY g.goal, g.axis, g.wanted ORDER BY g.goal"
    ).fetchall()
    found: dict[str, list[tuple[int | None, int]]] = {}
    for axis, wanted, n in rows:
        found.setdefault(axis, []).append((wanted, n))
    return found


# A prompt needs takes up to its first that fails no gate, or all that it has.
_JUDGED = """
WITH firsts AS (
    SELECT prompt_id, count(*) AS n, count(error) AS failed,
        coalesce(min(take + 1) FILTER (error IS NULL AND n_failed = 0), count(*)) AS needed
    FROM takes GROUP BY prompt_id
)
SELECT k.axis, count(*), count(*) FILTER (b.refusal IS NULL),
    count(*) FILTER ((b.refusal IS NULL OR NOT $refusing) AND b.n_passed > 0),
    sum(f.needed)::DOUBLE, sum(f.needed ** 2)::DOUBLE, sum(f.n)::BIGINT, sum(f.failed)::BIGINT
FROM firsts f JOIN best b USING (prompt_id) JOIN kept k USING (prompt_id)
GROUP BY k.axis ORDER BY k.axis
"""


def _sampled(run: Run, con: duckdb.DuckDBPyConnection) -> Run:
    """The run with quantile gates fitted to all that a pilot drew, since few of those are the first of their axes."""
    ((count, every),) = con.sql(
        "SELECT min(n), (SELECT count(*) FROM kept) FROM (SELECT count(DISTINCT prompt_id) AS n FROM render_plan"
        " JOIN kept k USING (prompt_id) GROUP BY k.axis)"
    ).fetchall()
    gates = run.recipe.select.gates
    fitted = {
        name: gates[name].model_copy(update={"reference": every, "least": least})
        for name, least in fitted_to_sample(gates, count).items()
    }
    select = run.recipe.select.model_copy(update={"gates": {**gates, **fitted}})
    return replace(run, recipe=run.recipe.model_copy(update={"select": select}))


def _judged(con: duckdb.DuckDBPyConnection, run: Run) -> dict[str, Judged]:
    judge(con, run)
    rows = con.execute(_JUDGED, {"refusing": run.recipe.select.policy == "images"}).fetchall()
    return {axis: Judged(*values) for axis, *values in rows}


def _picture_bytes(
    con: duckdb.DuckDBPyConnection, store: Store, commits: Sequence[Commit]
) -> dict[str, tuple[int, float, float]]:
    """Encoded bytes by axis, from evenly spread files: a run of 30,000 pictures has 40 GB of them."""
    files = [item for commit in commits for item in commit.files if item.table == "pixels" and item.rows]
    chosen = files[:: -(-len(files) // MOST_FILES)] if files else []
    if not chosen:
        return {}
    rows = con.execute(
        "SELECT k.axis, count(*), sum(octet_length(x.encoded))::DOUBLE, sum(octet_length(x.encoded)::DOUBLE ** 2)"
        " FROM read_parquet(?, hive_partitioning = false) x JOIN render_plan r USING (image_id)"
        " JOIN kept k ON k.prompt_id = r.prompt_id GROUP BY k.axis ORDER BY k.axis",
        [[str(store.root / item.name) for item in chosen]],
    ).fetchall()
    return {axis: (n, size, squares) for axis, n, size, squares in rows}


def _files(store: Store, commits: Sequence[Commit]) -> dict[str, Files]:
    """Tables by the bytes of their files in force."""
    by_table: dict[str, dict[str, TableFile]] = {}
    for commit in commits:
        for item in commit.files:
            by_table.setdefault(item.table, {})[item.name] = item
    return {
        table: _fitted(
            [(item.rows, (store.root / item.name).stat().st_size) for item in files.values()],
            pq.read_metadata(store.root / next(iter(files))).serialized_size,
        )
        for table, files in sorted(by_table.items())
    }


def _fitted(files: Sequence[tuple[int, int]], footer: int) -> Files:
    """Bytes of a file as a fixed part and a part by row: least squares where files differ in length.

    The fixed part matters: a file of the table images has 18 kB of it, and a row 125 bytes. Files of one length show
    nothing of it but their `footer`.
    """
    rows, sizes = np.array(files, dtype=float).T
    size, n_rows = int(sizes.sum()), int(rows.sum())
    plain = float(footer), max(0.0, size - footer * len(files)) / n_rows if n_rows else 0.0
    each, a_row = plain
    if len(set(rows)) >= 2:
        a_row, each = np.polynomial.Polynomial.fit(rows, sizes, 1).convert().coef[::-1]
        if a_row < 0 or each < 0:  # files of few rows that differ in content: only the sum is to be trusted
            each, a_row = plain
    elif not n_rows:
        each = size / len(files)
    return Files(len(files), n_rows, size, float(each), float(a_row))


def _workers(root: Path) -> int:
    """Ranks of the folder's run."""
    try:
        said = json.loads((root / "_run.json").read_text("utf-8"))
        return max(1, int(said.get("run", {}).get("workers", 2)))
    except (OSError, ValueError, AttributeError):
        return 1


def dataset_bytes(folder: Path) -> dict[str, int]:
    """Bytes of the published set by part."""
    found = dict.fromkeys(DATASET_PARTS, 0)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            part = path.relative_to(folder).parts[0]
            found[part if part in found else "other"] += path.stat().st_size
    return found


def text_bytes(folder: Path) -> tuple[int, int]:
    """Bytes of the strings in prompts/ of a published set (uncompressed), and rows."""
    size = rows = 0
    for path in sorted((folder / "prompts").glob("*.parquet")):
        column = pq.read_table(path, columns=["text"])["text"]
        size, rows = size + column.nbytes, rows + len(column)
    return size, rows
