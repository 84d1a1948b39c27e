"""What another policy would keep: a head's selection beside that of the stored scores under changed settings.

Nothing is rendered or measured, and nothing is written into the run folder: what DuckDB cannot hold goes to the
system's folder for temporary files. Of a prompt that is accepted but whose picture is refused, the reason is that of
the picture; accepted with a picture has none.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from pydantic import ValidationError

from promptforge import catalog
from promptforge import recipe as recipes
from promptforge.errors import ConfigError
from promptforge.lexicon.style_kinds import kinds_sql
from promptforge.policy import Select
from promptforge.stages import parts, select
from promptforge.stages.run import Row, Run
from promptforge.store import Commit, Head, Store

_DECIDING = ("select", "publish")

#: What is told of each axis, category and move. `other_takes`: pictures kept as before, but from another take.
COUNTS = ("gained", "lost", "pictures_gained", "pictures_lost", "other_takes")

# state 'absent': a row that only one of the two selections has, since another head checked the texts otherwise.
_SIDE = """
CREATE TEMP VIEW {side} AS
SELECT row_id, prompt_id, axis, state, keep_prompt, keep_image, image_id AS best, n_takes,
    CASE WHEN keep_image THEN image_id END AS image,
    CASE WHEN keep_prompt AND NOT keep_image THEN image_reason ELSE reason END AS reason
FROM {table}
"""
_CHANGED = """
CREATE TEMP TABLE changed AS
SELECT row_id, coalesce(a.prompt_id, b.prompt_id) AS prompt_id, coalesce(a.axis, b.axis) AS axis,
    coalesce(b.state, 'absent') AS before, coalesce(a.state, 'absent') AS after,
    b.reason AS reason_before, a.reason AS reason_after, b.image AS image_before, a.image AS image_after,
    b.best AS best_before, a.best AS best_after,
    CASE WHEN before <> 'accepted' AND after = 'accepted' THEN 'gained'
         WHEN before = 'accepted' AND after <> 'accepted' THEN 'lost'
         WHEN before <> 'accepted' THEN 'reason'
         WHEN image_before IS NULL AND image_after IS NOT NULL THEN 'picture_gained'
         WHEN image_before IS NOT NULL AND image_after IS NULL THEN 'picture_lost'
         WHEN image_before IS NOT NULL AND image_before <> image_after THEN 'other_take' ELSE 'reason' END AS kind
FROM before b FULL JOIN after a USING (row_id)
WHERE b.state IS DISTINCT FROM a.state OR b.reason IS DISTINCT FROM a.reason OR b.image IS DISTINCT FROM a.image
"""
_COUNTED = """
    count(*) FILTER (kind = 'gained') AS gained, count(*) FILTER (kind = 'lost') AS lost,
    count(*) FILTER (image_before IS NULL AND image_after IS NOT NULL) AS pictures_gained,
    count(*) FILTER (image_before IS NOT NULL AND image_after IS NULL) AS pictures_lost,
    count(*) FILTER (image_before <> image_after) AS other_takes
"""
_COUNTED_BY_SIDE = ("before", "after", "pictures_before", "pictures_after", "unrendered")
_AXES = f"""
WITH sides AS (
    SELECT axis, count(*) FILTER (keep_prompt) AS before, count(*) FILTER (keep_image) AS pictures_before, 0 AS after,
        0 AS pictures_after, 0 AS unrendered FROM before GROUP BY axis
    UNION ALL
    SELECT axis, 0, 0, count(*) FILTER (keep_prompt), count(*) FILTER (keep_image),
        count(*) FILTER (keep_prompt AND n_takes = 0)
    FROM after GROUP BY axis
)
SELECT axis,
    {", ".join(f"sum({name})::BIGINT AS {name}" for name in _COUNTED_BY_SIDE)},
    {", ".join(f"coalesce(any_value(c.{name}), 0) AS {name}" for name in COUNTS)}
FROM sides LEFT JOIN (SELECT axis, {_COUNTED} FROM changed GROUP BY axis) c USING (axis)
GROUP BY axis ORDER BY axis
"""
_CATEGORIES = f"""
SELECT c.axis, p.category, {_COUNTED}
FROM changed c LEFT JOIN prompts p USING (row_id) WHERE c.kind <> 'reason' GROUP BY ALL
ORDER BY count(*) DESC, c.axis, p.category
"""
_MOVES = """
SELECT axis, before, reason_before, after, reason_after, count(*) AS n FROM changed
WHERE kind <> 'other_take' GROUP BY ALL ORDER BY n DESC, axis, before, reason_before, after, reason_after
"""
# prompt_id is a hash: the first are a fair sample. Each gate has its turn before one has its second.
_EXAMPLES = """
WITH turns AS (
    SELECT *, row_number() OVER (PARTITION BY kind, reason_before, reason_after ORDER BY prompt_id) AS turn
    FROM changed c WHERE kind <> 'reason'
        AND NOT EXISTS (FROM withheld w WHERE w.prompt_id = c.prompt_id OR w.row_id = c.row_id)
), chosen AS (
    SELECT * FROM turns WHERE turn <= $k
    QUALIFY row_number() OVER (PARTITION BY kind ORDER BY turn, reason_before, reason_after, prompt_id) <= $k
)
SELECT s.*, p.category, p.style, p.scene_origin, p.text_clean AS text, b.take AS take_before, a.take AS take_after
FROM chosen s LEFT JOIN prompts p USING (row_id)
LEFT JOIN images b ON b.image_id = s.image_before LEFT JOIN images a ON a.image_id = s.image_after
ORDER BY kind, turn, reason_before, reason_after, prompt_id
"""
# Without cells a goal is an axis.
_SHORT = """
SELECT g.axis, CASE WHEN g.cell <> 'rest' THEN g.axis || '/' || g.cell
    WHEN g.axis IN (SELECT axis FROM goals WHERE cell <> 'rest') THEN 'the rest of ' || g.axis
    ELSE g.axis END AS cell, g.wanted,
    count(*) FILTER (a.keep_prompt) AS accepted,
    count(*) FILTER (a.n_takes = 0 AND NOT a.keep_prompt AND a.reason <> 'split_group_straddles') AS unrendered
FROM goals g LEFT JOIN ({placed}) a USING (goal)
WHERE g.wanted IS NOT NULL GROUP BY ALL HAVING accepted < g.wanted ORDER BY g.axis, cell
"""
_BY_AXIS = "SELECT g.goal, a.* FROM after a JOIN goals g ON g.axis = a.axis"
_BY_CELL = "SELECT e.goal, a.* FROM after a JOIN eligible e USING (row_id)"
# The gates of both sides; an older version of the table policy had no groups.
_LIMITS = """
CREATE TEMP VIEW limits_of AS
SELECT 'before' AS side, gate, axis, scorer, metric, minimum, maximum, one_of, {older} FROM policy_before
UNION ALL SELECT 'after', gate, axis, scorer, metric, minimum, maximum, one_of, "by", key, predicate FROM gates
"""
_GROUPS = ("by", "key", "predicate")
# The gate that a reason names with the bound of the prompt's group on that side, and what it measured: on the best
# take of that side where it fails there, else on the first take that fails.
_MEASURED = f"""
WITH wanted AS (
    SELECT e.row_id, e.prompt_id, e.best, g.*
    FROM ({kinds_sql("SELECT *, text AS text_clean FROM examples")}) e
    JOIN limits_of g ON g.gate = e.gate AND g.axis = e.axis AND g.side = e.side
    AND (g.key IS NULL OR g.key = CASE g.by WHEN 'category' THEN e.category ELSE e.style_kind END)
    QUALIFY row_number() OVER (PARTITION BY e.row_id ORDER BY g.key NULLS LAST) = 1
), found AS (
    SELECT w.*, r.image_id, r.take, s.value, s.detail,
        coalesce(s.value < w.minimum, false) OR coalesce(s.value > w.maximum, false)
            OR (w.one_of IS NOT NULL AND NOT coalesce(list_contains(w.one_of, s.detail), false)) AS fails
    FROM wanted w JOIN render_plan r ON r.prompt_id = w.prompt_id
    JOIN scores s ON s.image_id = r.image_id AND s.scorer = w.scorer AND s.metric = w.metric
    JOIN in_force f ON f.image_id = s.image_id AND f.scorer = s.scorer AND f.digest = s.digest
)
SELECT w.row_id, w.scorer, w.metric, w.minimum, w.maximum, w.one_of, w.key, w.predicate, f.take, f.value, f.detail
FROM wanted w LEFT JOIN found f USING (row_id)
QUALIFY row_number() OVER (PARTITION BY row_id ORDER BY f.fails DESC, f.image_id IS DISTINCT FROM w.best, f.take) = 1
"""
_SHOWN = (
    *("kind", "row_id", "prompt_id", "axis", "category", "text", "before", "after", "reason_before", "reason_after"),
    *("image_before", "image_after", "take_before", "take_after", "gate"),
)


@dataclass(frozen=True)
class Replay:
    """A catalog with the two selections: views `before` and `after`, and the table `changed` of rows that differ."""

    con: duckdb.DuckDBPyConnection
    run: Run
    against: Head

    def rows(self, sql: str, **values: Any) -> list[Row]:
        """Rows of a query as dictionaries."""
        found: list[Row] = self.con.sql(sql, params=values or None).to_arrow_table().to_pylist()
        return found

    def settings(self) -> list[tuple[str, Any, Any]]:
        """(path, before, after) of each setting of [select] that differs from what the head was made with."""
        try:  # as this version would write it: what it added since is no difference
            old = Select.model_validate(self.against.recipe["select"]).model_dump(mode="json")
        except (KeyError, ValidationError):
            old = dict(self.against.recipe.get("select", {}))
        return list(_differing(old, self.run.recipe.select.model_dump(mode="json"), "select"))

    def axes(self) -> list[Row]:
        """By axis: accepted prompts and kept pictures on both sides, COUNTS, accepted prompts without a picture."""
        return self.rows(_AXES)

    def categories(self) -> list[Row]:
        """COUNTS of every axis and category in which something is gained or lost, most changed first."""
        return self.rows(_CATEGORIES)

    def moves(self) -> list[Row]:
        """How many rows went from which state and reason to which, by axis."""
        return self.rows(_MOVES)

    def examples(self, k: int) -> list[Row]:
        """`k` of each kind (gained, lost, picture_gained, picture_lost, other_take), with text, gate, score and bound.

        What was withheld is never among them.
        """
        found = self.rows(_EXAMPLES, k=k)
        for row in found:
            side = "before" if row["kind"].endswith("gained") else "after"
            row |= {"side": side, "gate": row[f"reason_{side}"], "best": row[f"best_{side}"]}
        if not found:
            return []
        self.con.register("examples", pa.Table.from_pylist(found))
        measured = {row["row_id"]: row for row in self.rows(_MEASURED)}
        return [{name: row[name] for name in _SHOWN} | measured.get(row["row_id"], {}) for row in found]

    def short(self) -> list[Row]:
        """Axes and cells that the changed policy leaves short: wanted, accepted, and kept prompts without a picture."""
        return self.rows(_SHORT.format(placed=_BY_CELL if self.run.recipe.select.cells else _BY_AXIS))

    def changed(self) -> duckdb.DuckDBPyRelation:
        """Every row that differs, by row_id."""
        return self.con.sql(
            "SELECT row_id, prompt_id, axis, before, after, reason_before, reason_after, image_before, image_after"
            " FROM changed ORDER BY row_id"
        )


def _differing(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted(old.keys() | new.keys()):
            yield from _differing(old.get(name), new.get(name), f"{path}.{name}")
    elif old != new:
        yield path, old, new


@contextmanager
def replayed(root: Path, settings: Sequence[str], against: int | None = None) -> Iterator[Replay]:
    """The selection of a head (the newest, or `against`) beside that of the newest head's scores under `settings`.

    Raises ConfigError where nothing was selected, there is no such head, or a setting reaches beyond [select].
    """
    store = Store(root)
    newest, other = _heads(store, against)
    run = changed_run(root, settings)
    commits = store.in_force(newest)
    older = commits if other.number == newest.number else store.in_force(other)
    deciding = [commit for commit in older if commit.stage == "select"]
    facts = [commit for commit in commits if commit.stage not in _DECIDING]
    with (
        tempfile.TemporaryDirectory(prefix="promptforge-select-") as spill,
        catalog.connect(store, facts, check=()) as con,
    ):
        con.execute(f"SET temp_directory = '{spill}'")
        con.execute("SET preserve_insertion_order = false")  # tables are made on every core; all that is told is sorted
        _load(con, "selected", store, deciding, "selection")
        select.make_decided(con, run)
        for side, table in (("before", "selected"), ("after", "decided")):
            con.execute(_SIDE.format(side=side, table=table))
        _load(con, "policy_before", store, deciding, "policy")
        has = con.table("policy_before").columns
        con.execute(_LIMITS.format(older=", ".join(f'"{n}"' if n in has else f'NULL AS "{n}"' for n in _GROUPS)))
        con.execute(_CHANGED)
        yield Replay(con, run, other)


def _heads(store: Store, against: int | None) -> tuple[Head, Head]:
    """The newest head, and the one to compare with."""
    newest = store.head()
    if newest is None or "select" not in newest.commits:
        raise ConfigError(f"{store.root}: nothing has been selected here yet; finish it with: promptforge run")
    if against is None or against == newest.number:
        return newest, newest
    path = store.root / f"heads/{against:06d}.json"
    if not path.is_file():
        there = sorted(int(each.stem) for each in (store.root / "heads").glob("[0-9]*.json"))
        raise ConfigError(f"--against {against}: {store.root} has the heads {', '.join(map(str, there))}")
    other = store.load_head(path)
    if "select" not in other.commits:
        raise ConfigError(f"--against {against}: nothing was selected in that head; take a later one")
    return newest, other


def changed_run(root: Path, settings: Sequence[str]) -> Run:
    """The folder's run under changed settings of [select]. Raises ConfigError where one reaches beyond it."""
    where = str(root / "_run.json")
    raw = json.loads(Path(where).read_text("utf-8"))
    changed = recipes.override(raw, settings)
    for item in settings:
        if _besides_select(recipes.override(raw, [item])) != _besides_select(raw):
            raise ConfigError(f"--set {item!r}: select changes select.* alone; anything else is a run: promptforge run")
    recipe = recipes.validate(changed, where)
    return Run(root, recipe, parts.resolve(recipe, where), Store(root))


def _besides_select(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in raw.items() if name != "select"}


def _load(con: duckdb.DuckDBPyConnection, name: str, store: Store, commits: Sequence[Commit], table: str) -> None:
    """A view over a table's files of these commits, under another name than the catalog's."""
    paths = [str(store.root / item.name) for item in catalog.files_by_table(commits)[table]]
    con.read_parquet(paths, hive_partitioning=False).create_view(name)
