"""purge: remove a text from every table and file of a run folder; hash and reason stay.

Every record of the folder is looked at, in force or not. A purged row of prompts keeps where it came from and loses the
rest; its verdicts, scores, pictures, selection and publication go. That is what generate makes of the row from then on,
so a rerun brings nothing back, in whatever spelling. Selection and data set are then made anew; rendered and scored is
only what moves up into the quota. Where a language model wrote the text, the reason takes its place in the answer, so
that it is never asked for anew; what one said about it goes.

The tombstone is committed first, so a call that was cut off is finished by any later one. dataset/ goes before the new
one is made: where that fails (an input file is gone), there is no data set rather than one with the text.

Outside of its reach: the person's input files, a data set that the run adds to (its own run's purge does that one; here
its row only goes from what is published), copies and uploads of the data set, backups, freed disk blocks.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from promptforge.errors import ConfigError
from promptforge.lock import Lock
from promptforge.records import digest_of
from promptforge.schema import arrow_schema
from promptforge.stages import pipeline
from promptforge.stages.answers import emptied
from promptforge.stages.run import DATASET, Tally, open_run
from promptforge.store import Commit, Store, TableFile

_REASON = re.compile(r"[a-z][a-z0-9_]*")
# What depends goes first: scores are found through images, everything through prompts.
_ORDER = (
    *("publish", "select", "lookalikes", "label", "score", "respond", "questions"),
    *("arrange", "decontaminate", "dedup", "embed", "filter", "plan", "render", "generate", "ask"),
)
_BY_PROMPT = (
    *("verdicts", "render_plan", "images", "selection", "published", "prompt_nouns"),
    *("questions", "embeddings", "prompt_scores", "sentence_vectors", "contamination", "arrangement"),
    *("take_outcomes", "teachability"),
)
_BY_IMAGE = ("pixels", "scores", "measured", "latents", "labels", "label_sample")
_KEPT = ("row_id", "source", "source_part", "source_row", "stream_order", "licence")


@dataclass(frozen=True, slots=True)
class Purged:
    """What a call did: new tombstones, records rewritten, and the stages run to make the data set anew."""

    prompts: tuple[str, ...]
    rewritten: int
    tallies: tuple[Tally, ...]


def purge(root: Path, ids: Sequence[str], reason: str) -> Purged:
    """Remove the texts that these prompt_ids or row_ids name, and every other spelling of them.

    `reason` is a snake_case code. Without ids it finishes what an earlier call left. Raises ConfigError for an unknown
    id, before anything is changed.
    """
    if not _REASON.fullmatch(reason):
        raise ConfigError(f"reason {reason!r}: expected a snake_case code, for example personal_data")
    with Lock(root) as lock:
        store = Store(root)
        store.sweep()
        fresh = _bury(store, ids, reason)
        gone = _Gone.read(store)
        concerned = [commit for commit in _dependents_first(store) if _concerned(store, commit, gone)]
        # Before the records: what a cut leaves of these would be taken for the work of a call that was finished.
        if fresh or concerned or not (root / DATASET).is_dir():
            _remove_derived(root)
        for commit in concerned:
            _rewrite(store, commit, gone)
        store.sweep()
        head = store.head()
        published = head is not None and "publish" in head.commits
        tallies = pipeline.make_all(root, lock.epoch, demanding=False) if published else []
    return Purged(tuple(fresh), len(concerned), tuple(tallies))


@dataclass(frozen=True)
class _Gone:
    """The names of everything that was purged in this folder, by this call or before."""

    reasons: Mapping[str, str]  # fold_key -> reason
    folds: pa.Array  # its keys
    prompts: pa.Array
    images: pa.Array

    @cached_property
    def names(self) -> frozenset[str]:
        """The prompt_ids."""
        return frozenset(self.prompts.to_pylist())

    @classmethod
    def read(cls, store: Store) -> _Gone:
        stones = [row for item in _files(store, "tombstones") for row in store.read(item).to_pylist()]
        prompts = pa.array(sorted({row["prompt_id"] for row in stones}), pa.string())
        images: set[str] = set()
        for item in (*_files(store, "images"), *_files(store, "render_plan")):
            rows = store.read(item, ["image_id", "prompt_id"])
            images.update(rows.filter(pc.is_in(rows["prompt_id"], value_set=prompts))["image_id"].to_pylist())
        reasons = {row["fold_key"]: row["reason"] for row in stones}
        folds = pa.array(sorted(reasons), pa.string())
        return cls(reasons, folds, prompts, pa.array(sorted(images), pa.string()))


def _files(store: Store, table: str) -> list[TableFile]:
    return [item for commit in store.all_commits() for item in commit.files if item.table == table]


def _dependents_first(store: Store) -> list[Commit]:
    return [commit for stage in _ORDER for commit in store.commits(stage)]


def _bury(store: Store, ids: Sequence[str], reason: str) -> list[str]:
    """Commit the tombstones of these ids; returns the prompt_ids that had none yet."""
    names: dict[str, set[str]] = {}  # fold_key -> prompt_ids
    keys: dict[str, str | None] = {}  # row_id or prompt_id -> fold_key; None where there is no text (any more)
    for item in _files(store, "prompts"):
        columns = store.read(item, ["row_id", "prompt_id", "fold_key"]).to_pydict()
        for row, prompt, key in zip(columns["row_id"], columns["prompt_id"], columns["fold_key"], strict=True):
            keys[row] = key or keys.get(row)
            if prompt is not None:
                keys[prompt] = key
                names.setdefault(key, set()).add(prompt)
    for prompt, key in _taken_over(store.root, frozenset(ids) - keys.keys()).items():
        keys[prompt] = key
        names.setdefault(key, set()).add(prompt)
    buried = {row["prompt_id"] for item in _files(store, "tombstones") for row in store.read(item).to_pylist()}
    for name in ids:
        if name not in keys and name not in buried:
            raise ConfigError(_unknown(store.root, name, keys, buried.union(*names.values())))
        if name in keys and keys[name] is None and name not in _purged_rows(store):
            raise ConfigError(f"{store.root}: row {name} was never readable, so nothing of it is kept")
    wanted = {key for name in ids if (key := keys.get(name))}
    stones = [
        {"prompt_id": prompt, "fold_key": key, "reason": reason}
        for key in sorted(wanted)
        for prompt in sorted(names[key] - buried)
    ]
    if stones:
        table = pa.Table.from_pylist(stones, schema=arrow_schema("tombstones"))
        store.commit("purge", "all", digest_of(stones), {"tombstones": table}, {"prompts": len(stones)})
    return [row["prompt_id"] for row in stones]


def _taken_over(root: Path, names: frozenset[str]) -> dict[str, str]:
    """prompt_id -> fold_key of those of these prompts that stand in the set which the run adds to."""
    extended = open_run(root).extended if names and (root / "_run.json").is_file() else None
    return {} if extended is None else extended.fold_keys(names)


def _unknown(root: Path, name: str, known: Iterable[str], prompts: set[str]) -> str:
    """Why an id is refused. A beginning names one text today and two tomorrow, so it is not enough to remove one by."""
    found = sorted(other for other in prompts.union(known) if name and other.startswith(name))
    if len(found) != 1:
        return f"{root}: no prompt_id or row_id {name!r}; find it with: promptforge show"
    kind = "prompt_id" if found[0] in prompts else "row_id"
    return f"purge takes whole ids; {name} begins {kind} {found[0]}: give that"


def _purged_rows(store: Store) -> set[str]:
    """row_ids whose text an earlier call removed."""
    found: set[str] = set()
    for item in _files(store, "verdicts"):
        rows = store.read(item, ["row_id", "check_name"])
        found.update(rows.filter(pc.equal(rows["check_name"], "tombstone"))["row_id"].to_pylist())
    return found


def _rewrite(store: Store, commit: Commit, gone: _Gone) -> None:
    """Write the tables of one record without what is gone."""
    tables = {item.table: store.read(item) for item in commit.files}
    for table, rows in tables.items():
        if table in _BY_PROMPT:
            tables[table] = _without(rows, "prompt_id", gone.prompts)
        elif table in _BY_IMAGE:
            tables[table] = _without(rows, "image_id", gone.images)
        elif table == "responses":
            tables[table] = emptied(rows, gone.reasons, gone.names)
        elif table == "lookalikes":
            tables[table] = _without(_without(rows, "image_id", gone.images), "other_id", gone.images)
    if "prompts" in tables:
        tables["prompts"], verdicts = _emptied(tables["prompts"], gone)
        tables["verdicts"] = _in_row_order(pa.concat_tables([tables["verdicts"], verdicts]), tables["prompts"])
    store.rewrite(commit, tables)


def _concerned(store: Store, commit: Commit, gone: _Gone) -> bool:
    """Whether a record holds anything that is gone. Pixels lie beside their images, so these are asked instead."""
    keys = dict.fromkeys(_BY_PROMPT, ("prompt_id", gone.prompts))
    keys |= {"scores": ("image_id", gone.images), "prompts": ("fold_key", gone.folds)}
    if commit.stage in ("label", "lookalikes"):
        return True  # small tables; either picture of a pair may be gone
    for item in commit.files:
        if item.table in keys:
            column, names = keys[item.table]
            if pc.any(pc.is_in(store.read(item, [column])[column], value_set=names)).as_py():
                return True
        elif item.table == "responses":
            rows = store.read(item)
            if emptied(rows, gone.reasons, gone.names) is not rows:
                return True
    return False


def _without(rows: pa.Table, column: str, gone: pa.Array) -> pa.Table:
    return rows.filter(pc.invert(pc.is_in(rows[column], value_set=gone)))


def _emptied(rows: pa.Table, gone: _Gone) -> tuple[pa.Table, pa.Table]:
    """The same rows of prompts with the purged ones as generate leaves them, and the verdicts on those."""
    hit = pc.is_in(rows["fold_key"], value_set=gone.folds)
    places = pc.indices_nonzero(hit)
    bare: list[dict[str, Any]] = []
    verdicts: list[dict[str, Any]] = []
    for row in rows.take(places).to_pylist():
        said = row["axis_origin"] == "source"  # an axis told from the text is gone with it
        bare.append(
            dict.fromkeys(rows.column_names)
            | {name: row[name] for name in _KEPT}
            | {"repairs": [], "axis": row["axis"] if said else None, "axis_origin": "source" if said else None}
        )
        verdicts.append(
            {
                "row_id": row["row_id"],
                "stage": "generate",
                "check_name": "tombstone",
                "verdict": "drop",
                "reason": gone.reasons[row["fold_key"]],
            }
        )
    left = rows.filter(pc.invert(hit))
    order = pa.concat_arrays([pc.indices_nonzero(pc.invert(hit)), places])
    mixed = pa.concat_tables([left, pa.Table.from_pylist(bare, schema=rows.schema)])
    return mixed.take(pc.array_sort_indices(order)), pa.Table.from_pylist(verdicts, schema=arrow_schema("verdicts"))


def _in_row_order(verdicts: pa.Table, prompts: pa.Table) -> pa.Table:
    """Verdicts in the order of their rows: so generate writes them, and equal output has equal digests."""
    place = pc.index_in(verdicts["row_id"], value_set=prompts["row_id"].combine_chunks())
    return verdicts.take(pc.sort_indices(place))


def _remove_derived(root: Path) -> None:
    """Remove the data set, half-made ones, and the reports, which quote prompts and show pictures."""
    for path in _leftovers(root):
        shutil.rmtree(path)
    for name in ("rejects.md", "report.html"):
        (root / name).unlink(missing_ok=True)


def _leftovers(root: Path) -> Iterable[Path]:
    patterns = (DATASET, f"{DATASET}.tmp-*", f"{DATASET}.old-*")
    return sorted(path for pattern in patterns for path in root.glob(pattern) if path.is_dir())
