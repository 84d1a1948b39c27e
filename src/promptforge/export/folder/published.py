"""The data set that an export reads: rows out of index.parquet, pictures out of data/, each file checked first.

Needs no run: a dataset/ that was copied or fetched will do. A picture costs one read of its own bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from promptforge.errors import ConfigError, StoreFault
from promptforge.reader import checked, manifest
from promptforge.reader.places import value_places
from promptforge.records import Axis

Places = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]  #: offset and size of each picture in its file


class Chosen(BaseModel):
    """Which rows an export holds; the parameters of every format begin with these."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    splits: tuple[str, ...] = Field(("train",), min_length=1, description="splits to export")
    axes: tuple[Axis, ...] = Field(tuple(Axis), min_length=1, description="axes to export")


def in_files(rows: pa.Table, splits: Iterable[str], per_file: int) -> Iterator[tuple[str, int, int, pa.Table]]:
    """(split, number of the file, files of the split, its rows): each split cut into files of `per_file` rows."""
    for split in splits:
        mine = rows.filter(pc.equal(rows["split"], split))
        n_files = -(-mine.num_rows // per_file)
        for number in range(n_files):
            yield split, number, n_files, mine.slice(number * per_file, per_file)


@dataclass(frozen=True)
class Published:
    """A data set folder; `manifest` is its manifest.json."""

    root: Path
    manifest: Mapping[str, Any]
    _known: dict[Path, Places] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(cls, root: Path) -> Published:
        """Raises StoreFault where the folder holds no published data set."""
        return cls(root, manifest(root))

    @property
    def digest(self) -> str:
        """64 hex digits of what is published."""
        return str(self.manifest["digest"])

    def file(self, name: str) -> Path:
        """A file of the data set, compared with the manifest. Raises StoreFault where it is missing or changed."""
        return checked(self.root / name, self.manifest["files"][name]["sha256"])

    @cached_property
    def index(self) -> pa.Table:
        """Every accepted prompt, sorted by split and prompt_id."""
        return pq.ParquetFile(self.file("index.parquet")).read()

    def rows(self, chosen: Chosen, *, pictures: bool) -> pa.Table:
        """The chosen rows of index.parquet; `pictures` leaves out those whose picture may not be used.

        Raises ConfigError where there are none, which names the splits that there are.
        """
        there = sorted(pc.unique(self.index["split"]).to_pylist())
        unknown = sorted(set(chosen.splits) - set(there))
        if unknown:
            raise ConfigError(f"{self.root}: no split {', '.join(unknown)}; there are {', '.join(there) or 'none'}")
        table = self.index.filter(
            pc.and_(
                pc.is_in(self.index["split"], value_set=pa.array(chosen.splits, pa.string())),
                pc.is_in(self.index["axis"], value_set=pa.array(map(str, chosen.axes), pa.string())),
            )
        )
        if pictures:
            table = table.filter(table["keep_image"])
        if not table.num_rows:
            what = "pictures that may be used" if pictures else "prompts"
            raise ConfigError(
                f"{self.root}: no {what} of {', '.join(chosen.axes)} in {', '.join(chosen.splits)};"
                f" promptforge query 'from coverage' shows what there is"
            )
        return table

    def pictures(self, rows: pa.Table) -> Iterator[bytes]:
        """The encoded picture of each row, in the order of `rows`: each one read of its own bytes."""
        names, numbers, hashes = (rows[name].to_pylist() for name in ("file", "file_row", "sha256"))
        for name, of_file in groupby(zip(names, numbers, hashes, strict=True), key=itemgetter(0)):
            path = self.file(name)
            offsets, sizes = self._places(path)
            with path.open("rb") as stream:
                for _, number, sha256 in of_file:
                    if number >= len(offsets):
                        raise StoreFault(f"{path}: row {number} is not there; publish the data set again")
                    stream.seek(int(offsets[number]))
                    yield self._whole(stream.read(int(sizes[number])), sha256, name)

    def _places(self, path: Path) -> Places:
        if path not in self._known:
            self._known[path] = value_places(path, "image.bytes")
        return self._known[path]

    def _whole(self, encoded: bytes, sha256: str, name: str) -> bytes:
        """The picture; one that was published as rendered is compared with the hash of its render."""
        if self.suffix == "webp" and hashlib.sha256(encoded).hexdigest() != sha256:
            raise StoreFault(f"{self.root / name}: a picture is not what was rendered; publish the data set again")
        return encoded

    @cached_property
    def suffix(self) -> str:
        """Webp or png: how pictures are published."""
        return str(self.manifest["recipe"]["publish"]["format"])
