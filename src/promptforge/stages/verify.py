"""verify: is every file of a run folder what its record says, and does everything refer to something that is there?

Three passes: each file by itself (there, SHA-256, version, constraints, rows, pictures), the folder (nothing that no
record names, nothing half done), and the tables together (no id twice, no reference into nothing, every input row
accounted for). A pass over several tables is left out where a file of one of them is already at fault: what is wrong
would only be said again for every row.

Reads without the lock: beside a run at work, its unfinished files are told as faults. Not covered: whether a picture is
what its teacher would draw, and the person's input files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from promptforge import catalog, schema
from promptforge.errors import DataFault
from promptforge.files import TEMPORARY, sha256_file
from promptforge.stages.dataset_faults import verify_dataset
from promptforge.stages.publish import is_whole
from promptforge.stages.relations import CHECKS, Check
from promptforge.stages.render import decode
from promptforge.stages.run import DATASET
from promptforge.store import Commit, Head, Store, TableFile, column_digests

MOST = 20  # rows named for one kind of fault; the rest is counted

_FAULTS = (OSError, ValueError, KeyError, TypeError, AttributeError, DataFault, pa.ArrowException, duckdb.Error)


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """A file of the folder (its path inside it) and what is wrong with it."""

    file: str
    fault: str


def verify(root: Path) -> list[Fault]:
    """Every fault of a run folder, sorted by file; an empty list is a clean bill. Raises nothing for bad data."""
    look = _Look(Store(root))
    head = look.heads()
    records = look.records()
    for commit in records.values():
        look.commit(commit)
    look.orphans(records.values())
    if head is not None:
        in_force = look.in_force(head, records)
        look.relations(head, "head", in_force)
        look.relations(head, "all", list(records.values()))
        look.listing(in_force)
        look.dataset(head, in_force)
    return sorted(look.faults)


@dataclass
class _Look:
    """One inspection: the faults found so far, and the files that turned out sound or bad."""

    store: Store
    faults: set[Fault] = field(default_factory=set)
    _seen: dict[str, bool] = field(default_factory=dict)

    def _tell(self, path: Path | str, fault: object) -> None:
        name = path if isinstance(path, str) else path.relative_to(self.store.root).as_posix()
        text = str(fault).replace(f"{self.store.root}/{name}: ", "").split("\n", 1)[0]
        self.faults.add(Fault(name, text or type(fault).__name__))

    def heads(self) -> Head | None:
        """The newest head; every head is read."""
        newest: Head | None = None
        paths = _files(self.store.root / "heads")
        if not paths:
            self._tell("heads", "no head: nothing was finished in this folder")
        for path in paths:
            if path.name.startswith(TEMPORARY):
                continue
            try:
                newest = self.store.load_head(path)
                if path.name != f"{newest.number:06d}.json":
                    self._tell(path, f"holds head {newest.number}; it was renamed")
            except _FAULTS as exc:
                newest = None
                self._tell(path, exc)
        return newest

    def records(self) -> dict[str, Commit]:
        """Key -> newest revision of each readable record."""
        found: dict[str, Commit] = {}
        for path in _files(self.store.root / "_commits"):
            if path.name.startswith(TEMPORARY):
                continue
            try:
                commit = Commit.from_json(path.read_text("utf-8"))
                if path != self.store.record_path(commit):
                    self._tell(path, f"holds the record {commit.key} revision {commit.revision}; it was renamed")
                    continue
                older, newer = sorted(
                    (commit, found.get(commit.key, replace(commit, revision=-1))), key=lambda item: item.revision
                )
                found[commit.key] = newer
                if older.revision >= 0:
                    self._tell(self.store.record_path(older), "superseded by a rewrite that was cut off; run again")
            except _FAULTS as exc:
                self._tell(path, f"not a commit record ({exc})")
        return found

    def commit(self, commit: Commit) -> None:
        """Each file of a record, and its pictures against their sums."""
        for item in commit.files:
            self._seen[item.name] = self._seen.get(item.name, True) and self._file(commit, item)
        images, pixels = commit.file("images"), commit.file("pixels")
        if images and pixels and self._seen[images.name] and self._seen[pixels.name]:
            try:
                self._pictures(images, pixels)
            except _FAULTS as exc:
                self._tell(pixels.name, exc)

    def _file(self, commit: Commit, item: TableFile) -> bool:
        path = self.store.root / item.name
        if item.name != f"{item.table}/{commit.stage}-{commit.shard}-{item.sha256[:16]}.parquet":
            self._tell(self.store.record_path(commit), f"names a file {item.name!r}, which is not one of its own")
            return False
        before = len(self.faults)
        try:
            if not path.is_file():
                self._tell(path, f"missing, though record {commit.key} names it")
            elif (seen := sha256_file(path)) != item.sha256:
                self._tell(path, f"sha256 is {seen[:16]}..., record {commit.key} says {item.sha256[:16]}...")
            else:
                table = pq.ParquetFile(path).read()
                schema.require_version(item.table, table.schema.metadata, str(path))
                table = schema.conform(item.table, table)
                if table.num_rows != item.rows:
                    self._tell(path, f"{table.num_rows} rows, record {commit.key} says {item.rows}")
                if column_digests(table) != item.columns:
                    self._tell(path, f"values are not those whose digests record {commit.key} holds")
        except _FAULTS as exc:
            self._tell(path, exc)
        return len(self.faults) == before

    def _pictures(self, images: TableFile, pixels: TableFile) -> None:
        """Every picture that was rendered is there, once, is what its sum says, and can be decoded."""
        stated = {row["image_id"]: row for row in pq.read_table(self.store.root / images.name).to_pylist()}
        wanted = {name for name, row in stated.items() if row["error"] is None}
        for batch in pq.ParquetFile(self.store.root / pixels.name).iter_batches(64):
            for image_id, encoded in zip(batch["image_id"].to_pylist(), batch["encoded"].to_pylist(), strict=True):
                if image_id not in wanted:
                    self._tell(pixels.name, f"pixels of {image_id}, which is twice here or not in {images.name}")
                    continue
                wanted.remove(image_id)
                if fault := _picture_fault(encoded, stated[image_id]):
                    self._tell(pixels.name, f"picture {image_id}: {fault}")
        for image_id in wanted:
            self._tell(pixels.name, f"no pixels of {image_id}, which {images.name} says was rendered")

    def orphans(self, records: Iterable[Commit]) -> None:
        """Files that are half done, or that no record names."""
        named = {item.name for commit in records for item in commit.files}
        for path in _files(self.store.root):
            name = path.relative_to(self.store.root)
            if path.name.startswith(TEMPORARY):
                self._tell(path, "unfinished: a run was cut off here; the next one removes it")
            elif name.parts[0].startswith((f"{DATASET}.tmp-", f"{DATASET}.old-")):
                self._tell(name.parts[0], "unfinished: publish was cut off here; the next one removes it")
            elif name.parts[0] in schema.ddl() and name.as_posix() not in named:
                self._tell(path, "no record names this file; the next run removes it")

    def in_force(self, head: Head, records: dict[str, Commit]) -> list[Commit]:
        """The records that the newest head names."""
        keys = [key for stage in head.commits.values() for key in stage]
        for key in keys:
            if key not in records:
                self._tell(f"heads/{head.number:06d}.json", f"names record {key}, and there is no such record")
        return [records[key] for key in keys if key in records]

    def relations(self, head: Head, scope: str, commits: Sequence[Commit]) -> None:
        """Ask every question of this scope whose tables are sound."""
        bad = {item.table for commit in commits for item in commit.files if not self._seen[item.name]}
        if scope == "head" and len(commits) < sum(map(len, head.commits.values())):
            return
        sound = [replace(commit, files=tuple(i for i in commit.files if i.table not in bad)) for commit in commits]
        try:
            with catalog.connect(self.store, sound, check=()) as con:
                for check in CHECKS:
                    if check.scope == scope and check.stage in head.commits and not bad.intersection(check.tables):
                        self._ask(con, check, catalog.files_by_table(sound)[check.tables[0]])
        except _FAULTS as exc:
            self._tell("tables.sql", exc)

    def _ask(self, con: duckdb.DuckDBPyConnection, check: Check, files: Sequence[TableFile]) -> None:
        rows = con.sql(check.sql).fetchall()
        for key, fault in sorted(rows, key=repr)[:MOST]:
            for name in _holding(con, self.store.root, check.key, key, files) or [check.tables[0]]:
                self._tell(name, fault.replace("{}", str(key)))
        if len(rows) > MOST:
            self._tell(check.tables[0], f"{len(rows) - MOST} more like: {rows[0][1].replace('{}', '...')}")

    def listing(self, in_force: Iterable[Commit]) -> None:
        """tables.sql names the files in force."""
        try:
            text = (self.store.root / "tables.sql").read_text("utf-8")
            lost = [item.name for commit in in_force for item in commit.files if item.name not in text]
        except _FAULTS as exc:
            self._tell("tables.sql", exc)
            return
        if lost:
            self._tell("tables.sql", f"does not name {lost[0]} (and {len(lost) - 1} more); run again to renew it")

    def dataset(self, head: Head, in_force: Iterable[Commit]) -> None:
        """dataset/ against its manifest, and the manifest against the head."""
        folder = self.store.root / DATASET
        digest = next((commit.digest for commit in in_force if commit.stage == "publish"), None)
        if digest is None:
            return
        if not folder.is_dir():
            self._tell(DATASET, f"missing, though head {head.number} says that it was published; run again")
            return
        try:
            for fault in verify_dataset(folder):
                self._tell(f"dataset/{fault.file}", f"{fault.kind}: {fault.detail}")
            if not is_whole(folder, digest):
                self._tell(
                    "dataset/manifest.json", f"is not of digest {digest[:16]}..., which head {head.number} names"
                )
        except _FAULTS as exc:
            self._tell("dataset/manifest.json", exc)


def _files(folder: Path) -> list[Path]:
    """Every file below a folder, sorted; none where there is no folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink())


def _holding(
    con: duckdb.DuckDBPyConnection, root: Path, column: str, key: object, files: Sequence[TableFile]
) -> Iterator[str] | list[str]:
    """Names of the files that hold a row with this key."""
    paths = {str(root / item.name): item.name for item in files}
    if not paths or key is None:
        return []
    found = con.execute(
        "SELECT DISTINCT filename FROM read_parquet(?, filename = true, hive_partitioning = false)"
        f" WHERE {column} = ? ORDER BY 1",
        [list(paths), key],
    ).fetchall()
    return [paths[name] for (name,) in found]


def _picture_fault(encoded: bytes, stated: dict[str, object]) -> str | None:
    if hashlib.sha256(encoded).hexdigest() != stated["sha256"]:
        return "sha256 is not the one in images"
    try:
        height, width, _ = decode(encoded).shape
    except Exception as exc:  # decoders raise what they like for bytes that are no picture
        return f"cannot be decoded ({exc})"
    if (width, height) != (stated["width"], stated["height"]):
        return f"is {width} x {height}, images says {stated['width']} x {stated['height']}"
    return None
