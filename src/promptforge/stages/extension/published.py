"""The published data set that a run adds to: its rows keep ids, splits, scores and the bytes of their pictures.

Taken is only a set whose files are those of its manifest, by SHA-256. Its rows are held as index.parquet holds them,
some 1 KB each; of its pictures each is read when it is wanted, out of the file that holds it.

Refused: other columns, another encoding of pictures, rows in another split than today's reserved words demand, and
pictures of another teacher, unless [publish] other_teacher takes them. Carried: its scores, gates and policy as they
were, stated in the manifest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from promptforge import texts
from promptforge.errors import ConfigError, SourceFault
from promptforge.files import differences, sha256_file
from promptforge.reader.dataset import checked
from promptforge.reader.places import value_places
from promptforge.stages.resemblance.settings import Against
from promptforge.store import Store

MANIFEST = "manifest.json"
_KEYS = ("backends", "columns", "counts", "digest", "files", "promptforge", "recipe")


@dataclass(frozen=True)
class Extended:
    """A folder with a published data set; `name` is what verdicts, card and manifest call it, never a path."""

    root: Path
    name: str
    manifest: Mapping[str, Any]
    sha256: str  # of the manifest's bytes, and so of every file

    @classmethod
    def open(cls, given: str, own: Path) -> Extended:
        """The data set in a folder, or in dataset/ of a run folder; `own` is the run that adds to it.

        Raises ConfigError where there is none, or where it is what this run itself publishes.
        """
        path = Path(given).expanduser()
        if not (path / MANIFEST).is_file() and (path / "dataset" / MANIFEST).is_file():
            path = path / "dataset"
        if not (path / MANIFEST).is_file():
            whence = "" if path.is_absolute() else f" in {Path.cwd()}, where relative paths start"
            raise ConfigError(
                f"publish.extends: {path}: no published data set{whence} (no {MANIFEST}); expected a run that has"
                " published, or its dataset/"
            )
        if own.resolve() in path.resolve().parents:
            raise ConfigError(
                f"publish.extends: {path} is what this run itself publishes, and would be replaced; give the new set a"
                " run folder of its own with --out"
            )
        return cls(path, Against(path=str(path)).label, *_read(path / MANIFEST))

    @property
    def against(self) -> Against:
        """The same as a set that [dedup] compares with."""
        return Against(path=str(self.root), name=self.name)

    def require_whole(self) -> None:
        """Raise SourceFault where a file is not what the manifest says. Reads every byte."""
        sums = {name: item["sha256"] for name, item in self.manifest["files"].items()}
        faults = [
            f"{name} is {what}" for name, what, _ in differences(self.root, sums) if (name, what) != (MANIFEST, "extra")
        ]
        if sha256_file(self.root / MANIFEST) != self.sha256:
            faults.append(f"{MANIFEST} is changed since this run began")
        if faults:
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            raise SourceFault(f"{self.root}: {faults[0]}{more}, so it is not the set of its manifest; fetch it again")

    @cached_property
    def index(self) -> pa.Table:
        """Every row of index.parquet, sorted by split and prompt_id."""
        path = checked(self.root / "index.parquet", self.manifest["files"]["index.parquet"]["sha256"])
        return pq.ParquetFile(path).read()

    def rows(self, gone: frozenset[str]) -> pa.Table:
        """The rows that are not purged; `gone` holds prompt_ids and fold_keys of tombstones, here or there."""
        gone = gone.union(self.tombstones)
        if not gone:
            return self.index
        names, written = self.index["prompt_id"].to_pylist(), self.index["text"].to_pylist()
        kept = [
            name not in gone and texts.fold_key(text) not in gone for name, text in zip(names, written, strict=True)
        ]
        return self.index.filter(pa.array(kept, pa.bool_()))

    @cached_property
    def stones(self) -> tuple[dict[str, str], ...]:
        """Rows of the table tombstones in the run that made the set, with those that it took over; () for a copy."""
        if not (self.root.parent / "_commits").is_dir():
            return ()
        store = Store(self.root.parent)
        files = [item for commit in store.commits("purge") if (item := commit.file("tombstones"))]
        return tuple(row for item in files for row in store.read(item).to_pylist())

    @cached_property
    def tombstones(self) -> Mapping[str, str]:
        """prompt_id and fold_key -> reason, of `stones`."""
        return {row[name]: row["reason"] for row in self.stones for name in ("prompt_id", "fold_key")}

    def fold_keys(self, prompts: frozenset[str]) -> dict[str, str]:
        """prompt_id -> fold_key of those of these prompts that stand here."""
        some = self.index.filter(pc.is_in(self.index["prompt_id"], value_set=pa.array(sorted(prompts), pa.string())))
        names, written = some["prompt_id"].to_pylist(), some["text"].to_pylist()
        return {name: texts.fold_key(text) for name, text in zip(names, written, strict=True)}

    def pictures(self, prompts: pa.ChunkedArray) -> Pictures:
        """The pictures of these prompts by their number among them, as they were published."""
        rows = self.index.take(pc.index_in(prompts, value_set=self.index["prompt_id"].combine_chunks()))
        return Pictures(self, rows)

    def statement(self, taken: pa.Table) -> dict[str, Any]:
        """What the manifest and the card say of it; `taken` are the rows that were taken over."""
        counts: dict[str, dict[str, dict[str, int]]] = {}
        grouped = taken.select(["split", "axis", "keep_image"]).group_by(["split", "axis"])
        for row in grouped.aggregate([("keep_image", "count"), ("keep_image", "sum")]).to_pylist():
            found = {"prompts": row["keep_image_count"], "pictures": row["keep_image_sum"]}
            counts.setdefault(row["split"], {})[row["axis"]] = found
        shown = taken.filter(taken["keep_image"])
        sources = taken.select(["source", "licence"]).group_by(["source", "licence"]).aggregate([([], "count_all")])
        return {
            "name": self.name,
            "digest": self.manifest["digest"],
            "manifest_sha256": self.sha256,
            "promptforge": self.manifest["promptforge"],
            "rows": taken.num_rows,
            "left_out": self.index.num_rows - taken.num_rows,
            "counts": counts,
            "sources": sorted([row["source"], row["licence"], row["count_all"]] for row in sources.to_pylist()),
            "teachers": sorted(set(shown["teacher"].to_pylist())),
            "picture_licences": sorted(set(shown["teacher_licence"].to_pylist())),
            "recipe": self.manifest["recipe"],
            "backends": self.manifest["backends"],
            "extends": self.manifest.get("extends"),
        }


def _read(path: Path) -> tuple[Mapping[str, Any], str]:
    sha256 = sha256_file(path)
    try:
        found = json.loads(path.read_text("utf-8"))
        lost = [key for key in _KEYS if key not in found]
        lost += [] if lost else [name for name in ("index.parquet",) if name not in found["files"]]
    except (OSError, ValueError, TypeError) as exc:
        raise SourceFault(f"{path}: not the manifest of a published data set ({exc!r}); fetch it again") from exc
    if lost:
        raise SourceFault(f"{path}: not the manifest of a published data set, it lacks {lost[0]!r}; fetch it again")
    return found, sha256


class Pictures:
    """Encoded pictures out of published files, each file checked once; 16 bytes a picture are kept. For any thread."""

    def __init__(self, published: Extended, rows: pa.Table) -> None:
        within = rows["file_row"].to_numpy()
        names = rows["file"].combine_chunks().dictionary_encode()
        self._file = names.indices.to_numpy()
        self._paths: list[Path] = []
        self._offset = np.zeros(rows.num_rows, dtype=np.int64)
        self._size = np.zeros(rows.num_rows, dtype=np.int32)
        for number, name in enumerate(names.dictionary.to_pylist()):
            path = checked(published.root / name, published.manifest["files"][name]["sha256"])
            offsets, sizes = value_places(path, "image.bytes")
            here = self._file == number
            self._paths.append(path)
            self._offset[here], self._size[here] = offsets[within[here]], sizes[within[here]]

    def __getitem__(self, number: int) -> bytes:
        """The picture of the n-th row that this was made for."""
        with self._paths[int(self._file[number])].open("rb") as stream:
            stream.seek(int(self._offset[number]))
            return stream.read(int(self._size[number]))
