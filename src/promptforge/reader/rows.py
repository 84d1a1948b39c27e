"""The rows of a split with the columns asked for, any of them at any time: what Pictures and Stream stand on.

The plain columns lie in memory as Arrow (choose few: a million prompts with id, text and axis are some 250 MB, with
scene and scores a gigabyte). A picture or tensor costs one read of its own bytes, at a place found by one walk over
the file's page headers (places.py); nothing is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from promptforge.errors import ConfigError, StoreFault
from promptforge.reader.allocation import keep_freed_memory
from promptforge.reader.dataset import manifest, split_files, sums, trust
from promptforge.reader.decoding import decode
from promptforge.reader.places import value_places
from promptforge.reader.tensors import EMBEDDINGS, LATENTS, TensorFiles, Tensors, locate

IMAGE = "image"
DEFAULT_COLUMNS = ("prompt_id", "text", "axis", IMAGE)


class Given(Protocol):
    """The arguments that Pictures and Stream share."""

    dataset_dir: str | Path
    split: str
    columns: Sequence[str]
    decode: bool
    pictures: bool | None
    run: str | Path | None


@dataclass(frozen=True)
class Wanted:
    """What of which rows; `run` holds latents and embeddings, by default the folder that the data set lies in.

    With `image`, `latents` or `pictures` the rows are those of data/, whose picture may be used; otherwise those of
    prompts/. Undecoded pictures come as their bytes in the file, WebP or PNG.
    """

    dataset_dir: Path
    split: str
    columns: tuple[str, ...]
    decode: bool = True
    pictures: bool | None = None
    run: Path | None = None

    @classmethod
    def by(cls, given: Given) -> Wanted:
        """What a Pictures or a Stream was made with."""
        run = None if given.run is None else Path(given.run)
        columns = tuple(given.columns)
        return cls(Path(given.dataset_dir), given.split, columns, given.decode, given.pictures, run)

    @property
    def of_pictures(self) -> bool:
        """Whether rows are those of data/."""
        return IMAGE in self.columns or LATENTS in self.columns if self.pictures is None else self.pictures


@dataclass
class Rows:
    """Picklable: a worker process opens the same files again, and takes their sums from the process that made it."""

    wanted: Wanted
    _known: dict[tuple[Path, int, int], str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        wanted = self.wanted
        if not wanted.of_pictures and {IMAGE, LATENTS} & set(wanted.columns):
            raise ConfigError("pictures=False gives the rows of prompts/, which have neither image nor latents")
        there = pq.read_schema(self._files[0]).names
        special = (*EMBEDDINGS, *([LATENTS] if wanted.of_pictures else []))
        unknown = [name for name in wanted.columns if name not in there and name not in special]
        if unknown:
            hint = "" if wanted.of_pictures else "; pictures=True has those of data/"
            raise ConfigError(
                f"no column {', '.join(map(repr, unknown))}; there are {', '.join((*there, *special))}{hint}"
            )
        _ = self.table, self._tensors  # faults show here, not in a worker

    def __getstate__(self) -> dict[str, Any]:
        paths = [*self._files, *(path for each in self._tensors.values() for path in each.paths)]
        return {"wanted": self.wanted, "_known": sums([path.resolve() for path in paths])}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        trust(self._known)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def digest(self) -> str:
        """What is published, as the manifest names it."""
        return str(manifest(self.wanted.dataset_dir)["digest"])

    @cached_property
    def _files(self) -> list[Path]:
        return split_files(self.wanted.dataset_dir, self.wanted.split, pictures=self.wanted.of_pictures)

    @cached_property
    def table(self) -> pa.Table:
        """The plain columns asked for, in order, then those that find pictures and tensors."""
        names = [name for name in self.wanted.columns if name not in (IMAGE, LATENTS, *EMBEDDINGS)]
        hidden = ["image_id"] if LATENTS in self.wanted.columns else []
        if set(EMBEDDINGS) & set(self.wanted.columns):
            hidden += ["prompt_id", *(["teacher"] if self.wanted.of_pictures else [])]
        names += [name for name in hidden if name not in names]
        parts = [pq.ParquetFile(path) for path in self._files]
        if names:
            return pa.concat_tables([part.read(names) for part in parts]).combine_chunks()
        return pa.table({"": pa.nulls(sum(part.metadata.num_rows for part in parts))})

    @cached_property
    def _pictures(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """File, offset and size of each picture: 20 bytes a row."""
        keep_freed_memory()
        found = [value_places(path, "image.bytes") for path in self._files]
        files = np.repeat(np.arange(len(found)), [len(offset) for offset, _ in found])
        return files, np.concatenate([o for o, _ in found]), np.concatenate([s for _, s in found])

    @cached_property
    def _tensors(self) -> dict[str, Tensors]:
        names = [name for name in self.wanted.columns if name in (LATENTS, *EMBEDDINGS)]
        if not names:
            return {}
        files = TensorFiles.of_run(self.wanted.run or self.wanted.dataset_dir.resolve().parent)
        found = {}
        for name in names:
            ids = self.table["image_id" if name == LATENTS else "prompt_id"].combine_chunks()
            teachers = self.table["teacher"].combine_chunks() if "teacher" in self.table.column_names else None
            found[name] = locate(files.latents if name == LATENTS else files.embeddings, name, ids, teachers)
        return found

    def plain(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> list[dict[str, Any]]:
        """These rows with every column but the picture, which `picture` gives."""
        if len(rows) == 1:  # an eighth of the time of taking a table apart
            columns = {name: [self.table[name][int(rows[0])].as_py()] for name in self._plain_names}
        else:
            taken = self.table.select(self._plain_names).take(pa.array(rows, pa.int64()))
            columns = {name: taken[name].to_pylist() for name in self._plain_names}
        found: list[dict[str, Any]] = [{} for _ in rows]
        for name in self.wanted.columns:
            if name in columns:
                for row, value in zip(found, columns[name], strict=True):
                    row[name] = value
            elif name in self._tensors:
                tensors = self._tensors[name]
                for row, number in zip(found, rows, strict=True):
                    place = tensors.place(int(number))
                    row[name] = place and tensors.array(int(number), _read(*place))
                    row[f"{name}_dtype"] = tensors.dtype_of(int(number))
        return found

    @cached_property
    def _plain_names(self) -> list[str]:
        return [name for name in self.table.column_names if name in self.wanted.columns]

    @property
    def has_image(self) -> bool:
        """Whether the picture was asked for."""
        return IMAGE in self.wanted.columns

    def picture(self, row: int) -> bytes | npt.NDArray[np.uint8]:
        """One picture: RGB pixels, height x width x 3, or its bytes. Raises StoreFault where it cannot be decoded."""
        files, offset, size = self._pictures
        path = self._files[files[row]]
        encoded = _read(path, int(offset[row]), int(size[row]))
        if not self.wanted.decode:
            return encoded
        try:
            return decode(encoded)
        except ValueError as exc:
            raise StoreFault(f"{path}: the picture at byte {offset[row]} cannot be decoded ({exc})") from exc

    def get(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> list[dict[str, Any]]:
        """These rows, whole."""
        found = self.plain(rows)
        if self.has_image:
            for row, number in zip(found, rows, strict=True):
                row[IMAGE] = self.picture(int(number))
        return found


@lru_cache(maxsize=256)
def _opened(path: Path) -> pa.OSFile:
    # Positioned reads: threads and forked processes may share it.
    return pa.OSFile(str(path))


def _read(path: Path, offset: int, size: int) -> bytes:
    data: bytes = _opened(path).read_at(size, offset)
    return data
