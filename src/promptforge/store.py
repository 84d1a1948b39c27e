"""A run folder: immutable table files, commit records, heads.

    <table>/<stage>-<shard>-<sha16>.parquet     content-named, so never overwritten by other content
    _commits/<stage>/<shard>-<digest16>.json    created exclusively; says which files a piece of work made
    heads/000012.json                           created exclusively; which records are in force

Work is done when its commit record exists, never because a data file does. Readers take the files that a head
names, and check each file's SHA-256 before its rows are used. A rewrite (purge) writes record
`<shard>-<digest16>.r1.json`: the highest revision counts.

Not covered: object stores; more than one writer on different machines (see lock.py for what stops them).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from promptforge import schema
from promptforge.errors import LockedError, StoreFault
from promptforge.files import SPILL, TEMPORARY, put, put_new, sha256_file
from promptforge.records import canonical_json

_RECORD = re.compile(r"\A(?P<shard>[a-z0-9_.]+)-(?P<digest>[0-9a-f]{16})(?:\.r(?P<revision>\d+))?\.json\Z")
_TABLE_FILE = re.compile(r"\A[a-z]+-[a-z0-9_.]+-[0-9a-f]{16}\.parquet\Z")
# Stages whose records no run makes again. Without that of a purge, its text would come back; asked again, a language
# model would answer something else; a person would have to label anew.
NOT_REDONE = ("ask", "cost", "label", "purge")
# A second compression of what is dense already costs time and saves nothing.
_ENCODED_COLUMNS = {"pixels": ["encoded"], "latents": ["data"], "embeddings": ["data"]}


@dataclass(frozen=True, slots=True)
class TableFile:
    """One Parquet file of one table; `columns` holds a digest of each column's values."""

    table: str
    name: str
    rows: int
    sha256: str
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Commit:
    """The proof that a piece of work is done, and the files that it made."""

    stage: str
    shard: str
    digest: str
    files: tuple[TableFile, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    revision: int = 0

    @property
    def key(self) -> str:
        """Name in a head: stage/shard-digest16, whatever the revision."""
        return f"{self.stage}/{self.shard}-{self.digest[:16]}"

    def file(self, table: str) -> TableFile | None:
        """The file of a table, if this work made one."""
        return next((item for item in self.files if item.table == table), None)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The commit that a record file holds."""
        raw = json.loads(text)
        raw["files"] = tuple(TableFile(**item) for item in raw["files"])
        return cls(**raw)


@dataclass(frozen=True, slots=True)
class Head:
    """What is in force: the resolved recipe and the keys of the commits, sorted within each stage."""

    number: int
    epoch: int
    recipe: Mapping[str, Any]
    commits: Mapping[str, tuple[str, ...]]


class Store:
    """A run folder. Reading needs no lock; a writer holds `promptforge.lock.Lock`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._checked: dict[str, tuple[int, int]] = {}

    # -- writing ------------------------------------------------------------------------------------------

    def commit(
        self,
        stage: str,
        shard: str,
        digest: str,
        tables: Mapping[str, pa.Table],
        counts: Mapping[str, int] | None = None,
    ) -> Commit:
        """Check, write and record what a piece of work made; where another worker won, return theirs."""
        files = tuple(self._put_table(stage, shard, name, tables[name]) for name in sorted(tables))
        commit = Commit(stage, shard, digest, files, dict(sorted((counts or {}).items())))
        put_new(self.record_path(commit), canonical_json(asdict(commit)).encode())
        return self.load(commit.key, digest) or commit  # a rewrite outranks a worker that comes late

    def rewrite(self, old: Commit, tables: Mapping[str, pa.Table]) -> Commit:
        """Replace what a commit holds (dropped text or pixels); the work counts as done under its old digest."""
        files = tuple(self._put_table(old.stage, old.shard, name, tables[name]) for name in sorted(tables))
        new = Commit(old.stage, old.shard, old.digest, files, old.counts, old.revision + 1)
        put_new(self.record_path(new), canonical_json(asdict(new)).encode())
        self.record_path(old).unlink(missing_ok=True)
        # Equal output under two digests is one file: it stays while another record of the shard names it.
        others = (self.record_path(old).parent).glob(f"{old.shard}-*.json")
        keep = {item.name for path in others for item in self._load(path).files}
        for item in old.files:
            if item.name not in keep:
                (self.root / item.name).unlink(missing_ok=True)
        return new

    def _put_table(self, stage: str, shard: str, table: str, data: pa.Table) -> TableFile:
        data = schema.conform(table, data, f"{stage} {shard}")
        sink = pa.BufferOutputStream()
        plain = _ENCODED_COLUMNS.get(table, [])
        pq.write_table(
            data,
            sink,
            compression={name: "NONE" if name in plain else "ZSTD" for name in data.column_names},
            use_dictionary=[name for name in data.column_names if name not in plain],
            write_page_index=True,
        )
        content = sink.getvalue().to_pybytes()
        sha256 = hashlib.sha256(content).hexdigest()
        name = f"{table}/{stage}-{shard}-{sha256[:16]}.parquet"
        put(self.root / name, content)
        return TableFile(table, name, data.num_rows, sha256, column_digests(data))

    def record_path(self, commit: Commit) -> Path:
        """Where the record of a commit lies."""
        revision = f".r{commit.revision}" if commit.revision else ""
        return self.root / "_commits" / f"{commit.key}{revision}.json"

    def new_head(self, epoch: int, recipe: Mapping[str, Any], commits: Mapping[str, Iterable[str]]) -> Head:
        """Put these commits in force. No new head is made where the newest already says the same.

        Raises LockedError where another run has taken the store over meanwhile.
        """
        latest = self.head()
        wanted = {stage: tuple(sorted(keys)) for stage, keys in sorted(commits.items())}
        if latest and latest.commits == wanted and canonical_json(latest.recipe) == canonical_json(recipe):
            return latest
        if (owner := self.epoch()) != epoch:
            raise LockedError(f"{self.root}: run {epoch} was taken over by run {owner}; let that one finish")
        head = Head(latest.number + 1 if latest else 1, epoch, recipe, wanted)
        if not put_new(self.root / f"heads/{head.number:06d}.json", canonical_json(asdict(head)).encode()):
            raise LockedError(f"{self.root}: another run made head {head.number}; let that one finish")
        return head

    def sweep(self) -> int:
        """Remove what a killed run left: temporary files, superseded records, data without a record.

        Only for the holder of the lock; only files with names that a run gives. Returns the number of files removed.
        """
        named = {item.name for commit in self.all_commits() for item in commit.files}
        newest = {self.record_path(commit) for commit in self.all_commits()}
        doomed = [path for path in self.root.glob(f"**/{TEMPORARY}*") if path.is_file()]
        doomed += self.root.glob(f"{SPILL}/*")
        doomed += [path for path in self.root.glob("_commits/*/*.json") if path not in newest]
        doomed += [
            path
            for table in schema.ddl()
            for path in (self.root / table).glob("*.parquet")
            if _TABLE_FILE.match(path.name) and f"{table}/{path.name}" not in named
        ]
        for path in doomed:
            path.unlink(missing_ok=True)
        return len(doomed)

    # -- reading ------------------------------------------------------------------------------------------

    def epoch(self) -> int:
        """Number of the run that holds, or held last, the lock; 0 where none ever did."""
        try:
            return int(json.loads((self.root / "_lock.json").read_text("utf-8"))["epoch"])
        except FileNotFoundError:
            return 0
        except (ValueError, KeyError, TypeError) as exc:
            raise StoreFault(f"{self.root / '_lock.json'}: not a lock record ({exc})") from exc

    def committed(self, stage: str, shard: str, digest: str) -> Commit | None:
        """The record of exactly this work, or None: then it is to be done."""
        return self.load(f"{stage}/{shard}-{digest[:16]}", digest)

    def load(self, key: str, digest: str | None = None) -> Commit | None:
        """The newest revision of a record by its key."""
        path = self.root / "_commits" / f"{key}.json"
        revisions = sorted(
            path.parent.glob(f"{path.stem}.r*.json"), key=lambda item: int(item.stem.rpartition(".r")[2])
        )
        newest = revisions[-1] if revisions else path
        if not newest.exists():
            return None
        commit = self._load(newest)
        if digest is not None and commit.digest != digest:
            raise StoreFault(f"{newest}: two pieces of work share the first 16 digits of their digest")
        return commit

    def _load(self, path: Path) -> Commit:
        try:
            return Commit.from_json(path.read_text("utf-8"))
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise StoreFault(
                f"{path}: not a commit record ({exc}); remove it and run again, its work is redone"
            ) from exc

    def commits(self, stage: str) -> list[Commit]:
        """Every record of a stage, newest revisions only, sorted by key; also those no head names."""
        newest: dict[str, tuple[int, Path]] = {}  # in one pass: a stage may have a record for every 64 pictures
        for path in (self.root / "_commits" / stage).glob("*.json"):
            match = _RECORD.match(path.name)
            if match:
                key, revision = f"{match['shard']}-{match['digest']}", int(match["revision"] or 0)
                newest[key] = max(newest.get(key, (revision, path)), (revision, path))
        return [self._load(newest[key][1]) for key in sorted(newest)]

    def all_commits(self) -> list[Commit]:
        """Every record of every stage."""
        stages = sorted(path.name for path in (self.root / "_commits").glob("*") if path.is_dir())
        return [commit for stage in stages for commit in self.commits(stage)]

    def head(self) -> Head | None:
        """The newest head, or None in a folder where nothing was finished yet."""
        numbers = sorted((self.root / "heads").glob("[0-9]*.json"))
        if not numbers:
            return None
        return self.load_head(numbers[-1])

    def load_head(self, path: Path) -> Head:
        """The head that a file holds. Raises StoreFault where it holds none."""
        try:
            raw = json.loads(path.read_text("utf-8"))
            commits = {stage: tuple(keys) for stage, keys in raw["commits"].items()}
            return Head(int(raw["number"]), int(raw["epoch"]), dict(raw["recipe"]), commits)
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise StoreFault(f"{path}: not a head ({exc}); remove it and run again, its commits are all there") from exc

    def in_force(self, head: Head) -> list[Commit]:
        """The commits that a head names. Raises StoreFault where a record is missing."""
        found = []
        for stage, keys in head.commits.items():
            known = {commit.key: commit for commit in self.commits(stage)}
            for key in keys:
                if key not in known:
                    raise StoreFault(f"{self.root}: head {head.number} names {key}, and there is no such record")
                found.append(known[key])
        return found

    def check(self, item: TableFile) -> Path:
        """Path of a committed file whose SHA-256 is what the record says; read once a process while unchanged.

        Raises StoreFault naming the file where it is missing or changed.
        """
        path = self.root / item.name
        try:
            stat = path.stat()
        except FileNotFoundError as exc:
            raise StoreFault(f"{path}: missing, though a commit record names it; restore it from a copy") from exc
        state = (stat.st_size, stat.st_mtime_ns)
        if self._checked.get(item.name) != state:
            seen = sha256_file(path)
            if seen != item.sha256:
                remedy = "restore it, or remove its record under _commits and run again"
                if path.name.partition("-")[0] in NOT_REDONE:
                    remedy = "restore it from a copy, since no run makes it again"
                raise StoreFault(
                    f"{path}: sha256 is {seen[:16]}..., its record says {item.sha256[:16]}...; the file was"
                    f" changed or the disk is failing: {remedy}"
                )
            self._checked[item.name] = state
        return path

    def read(self, item: TableFile, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of a committed file, checked first."""
        path = self.check(item)
        table = pq.ParquetFile(path).read(columns=list(columns) if columns else None)
        schema.require_version(item.table, table.schema.metadata, str(path))
        return table


def column_digests(data: pa.Table) -> dict[str, str]:
    """A digest of each column's values, so that a stage is redone only where what it reads has changed."""
    digests = {}
    for name in data.column_names:
        sink = hashlib.sha256(str(data.schema.field(name).type).encode())
        _hash_values(sink, data[name].combine_chunks())
        digests[name] = sink.hexdigest()[:32]
    return digests


def _hash_values(sink: hashlib._Hash, values: pa.Array) -> None:
    """Hash values alone: what lies in memory under a null, or how far a slice reaches, is whatever it happens to be."""
    if pa.types.is_list(values.type):
        _hash_values(sink, pc.fill_null(pc.list_value_length(values), -1))
        _hash_values(sink, values.flatten())  # leaves out what lies under a null
        return
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    if values.null_count:
        _hash_values(sink, values.is_valid())
        values = values.fill_null(pa.scalar("" if pa.types.is_string(values.type) else 0).cast(values.type))
    batch = pa.record_batch({"": values})
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, batch.schema) as writer:
        writer.write_batch(batch)
    sink.update(stream.getvalue())
