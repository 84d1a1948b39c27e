"""Latents and embeddings of a run, found by the ids of a data set's rows.

NumPy has no bfloat16: such a tensor comes as its 16 bits (uint16), with torch's name of its type beside it; in torch,
torch.from_numpy(value).view(torch.bfloat16) is the tensor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from promptforge.errors import ConfigError
from promptforge.reader.dataset import checked
from promptforge.reader.places import value_places

LATENTS = "latents"
EMBEDDINGS = ("prompt_embeds", "pooled_prompt_embeds")


@dataclass(frozen=True)
class TensorFiles:
    """The files of the tables latents and embeddings that a run's newest head names, with their SHA-256."""

    latents: tuple[tuple[Path, str], ...]
    embeddings: tuple[tuple[Path, str], ...]

    @classmethod
    def of_run(cls, run: Path) -> TensorFiles:
        """Raises ConfigError where the folder is no run."""
        from promptforge.store import Store  # here: it loads DuckDB, which a reader of pictures does without

        store = Store(run)
        head = store.head()
        if head is None:
            raise ConfigError(f"{run}: no run (no heads/*.json), and so no latents or embeddings; name it with run=")
        found: dict[str, list[tuple[Path, str]]] = {LATENTS: [], "embeddings": []}
        for commit in store.in_force(head):
            for item in commit.files:
                if item.table in found:
                    found[item.table].append((run / item.name, item.sha256))
        return cls(tuple(found[LATENTS]), tuple(found["embeddings"]))


@dataclass(frozen=True)
class Tensors:
    """One tensor for each row, or none: where it lies, its type and its shape."""

    paths: tuple[Path, ...]
    file: npt.NDArray[np.int64]  # -1 where the row has none
    offset: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    dtypes: tuple[str, ...]
    dtype: npt.NDArray[np.int64]  # place in `dtypes`
    shapes: tuple[tuple[int, ...], ...]
    shape: npt.NDArray[np.int64]

    def place(self, row: int) -> tuple[Path, int, int] | None:
        """File, offset and size in bytes."""
        number = int(self.file[row])
        return None if number < 0 else (self.paths[number], int(self.offset[row]), int(self.size[row]))

    def dtype_of(self, row: int) -> str | None:
        """Torch's name, e.g. bfloat16."""
        return None if self.file[row] < 0 else self.dtypes[int(self.dtype[row])]

    def array(self, row: int, data: bytes) -> npt.NDArray[Any]:
        """The tensor of these bytes; it may be written to."""
        shape, name = self.shapes[int(self.shape[row])], self.dtypes[int(self.dtype[row])]
        return np.frombuffer(bytearray(data), dtype=_numpy_type(name, len(data), shape)).reshape(shape)


def locate(files: tuple[tuple[Path, str], ...], name: str, ids: pa.Array, teachers: pa.Array | None) -> Tensors:
    """The tensors called `name` of these ids: image_id for latents, prompt_id for embeddings.

    `teachers` says for each row whose embedding is wanted. Raises ConfigError where there are none at all, and where
    a prompt has embeddings of several teachers and nothing says which is meant.
    """
    key = "image_id" if name == LATENTS else "prompt_id"
    columns = [key, "dtype", "shape"] + ([] if name == LATENTS else ["teacher", "name"])
    tables = []
    for number, (path, sha256) in enumerate(files):
        part = pq.ParquetFile(checked(path, sha256)).read(columns)
        offset, size = value_places(path, "data") if part.num_rows else (np.empty(0, int), np.empty(0, int))
        places = {"file": np.full(part.num_rows, number), "offset": offset, "size": size.astype(np.int64)}
        for column, values in places.items():
            part = part.append_column(column, pa.array(values, pa.int64()))
        tables.append(part.filter(pc.equal(part["name"], name)) if name != LATENTS else part)
    table = pa.concat_tables(tables).combine_chunks() if tables else None
    if table is None or not table.num_rows:
        raise ConfigError(f"the run holds no {name}; set regime.store_{'latents' if name == LATENTS else 'embeddings'}")
    keys, wanted = table[key], ids
    if name != LATENTS and len(pc.unique(table["teacher"])) > 1:
        if teachers is None:
            several = ", ".join(sorted(pc.unique(table["teacher"]).to_pylist()))
            raise ConfigError(f"the run holds {name} of teachers {several}; with pictures=True, the picture's decides")
        keys = pc.binary_join_element_wise(keys, table["teacher"], "/")
        wanted = pc.binary_join_element_wise(ids, teachers, "/")
    found = pc.index_in(wanted, value_set=keys.combine_chunks() if isinstance(keys, pa.ChunkedArray) else keys)
    at = np.asarray(pc.fill_null(found, -1), dtype=np.int64)

    def of(column: str) -> npt.NDArray[np.int64]:
        return np.asarray(np.where(at < 0, -1, table[column].to_numpy()[at]), dtype=np.int64)

    names, dtype = np.unique(np.array(table["dtype"].to_pylist()), return_inverse=True)
    listed = [tuple(shape) for shape in table["shape"].to_pylist()]
    shapes = tuple(sorted(set(listed)))
    shape = np.array([shapes.index(each) for each in listed])
    return Tensors(
        tuple(path for path, _ in files),
        of("file"),
        of("offset"),
        of("size"),
        tuple(map(str, names)),
        dtype[at],
        shapes,
        shape[at],
    )


def _numpy_type(name: str, size: int, shape: tuple[int, ...]) -> np.dtype[Any]:
    try:
        return np.dtype(name).newbyteorder("<")
    except TypeError:  # bfloat16, float8_e4m3fn: as many bits, unsigned
        return np.dtype(f"<u{size // max(math.prod(shape), 1)}")
