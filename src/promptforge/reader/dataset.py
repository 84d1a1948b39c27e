"""The files of a published data set: its manifest, its rows as tables, their weights; each file checked before use."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from promptforge.errors import ConfigError, StoreFault
from promptforge.files import sha256_file
from promptforge.records import AXES

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

TEACHABILITY = "teachability"  #: column that rows of an axis may be weighted by
FLOOR = 0.1  #: what a row that the teacher never gets right counts beside one that it always does


def manifest(dataset_dir: str | Path) -> dict[str, Any]:
    """The data set's manifest. Raises StoreFault where the folder holds no published data set."""
    path = Path(dataset_dir) / "manifest.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as exc:
        raise StoreFault(f"{dataset_dir}: no manifest.json, so no published data set; run promptforge publish") from exc
    except ValueError as exc:
        raise StoreFault(f"{path}: not JSON ({exc}); publish the data set again") from exc
    return found


def prompts(dataset_dir: str | Path, split: str = "train", axes: Collection[str] | None = None) -> list[dict[str, Any]]:
    """Every accepted prompt of a split, sorted by prompt_id; `axes` keeps the prompts of these axes only.

    Whether a picture came of a prompt plays no part: a student must match its teacher's failures too.
    """
    table = _table(dataset_dir, split, None, pictures=False)
    if axes is not None:
        _known(axes)
        table = table.filter(pc.is_in(table["axis"], value_set=pa.array(sorted(axes), pa.string())))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def open_split(
    dataset_dir: str | Path, split: str = "train", *, pictures: bool = True, streaming: bool = False
) -> Dataset | IterableDataset:
    """A split as `datasets` sees it, pictures decoded on access. Without streaming it is first put into its cache.

    `pictures` False gives every accepted prompt, True those whose picture may be used. Raises ConfigError where the
    data set has no such split (or no pictures), StoreFault where a file was changed.
    """
    from datasets import Features, IterableDataset, NamedSplit, load_dataset

    files = [str(path) for path in split_files(dataset_dir, split, pictures=pictures)]
    if not streaming:
        return load_dataset("parquet", data_files={split: files}, split=split)
    # Not load_dataset: its stream, left before the end, hangs or aborts half of all processes at their exit
    # (apache/arrow#45214). Reading row groups one by one starts no threads that outlive the stream.
    return IterableDataset.from_generator(
        _stream,
        features=Features.from_arrow_schema(pq.read_schema(files[0])),
        gen_kwargs={"files": files},
        split=NamedSplit(split),
    )


def _stream(files: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows of these files, a row group in memory at a time; datasets deals the files out to nodes and workers."""
    for path in files:
        file = pq.ParquetFile(path)
        for number in range(file.num_row_groups):
            yield from file.read_row_group(number, use_threads=False).to_pylist()


def weights_by_axis(
    dataset_dir: str | Path,
    weights: Mapping[str, float],
    split: str = "train",
    *,
    pictures: bool = False,
    weight_by: str | None = None,
    weight_floor: float = FLOOR,
) -> npt.NDArray[np.float64]:
    """A weight for each row of the split, in the order of `prompts` (or of data/, with pictures); 1 where unnamed.

    The paper repeats its semantic prompts ten times: here that is a weight of 10, and no row is there twice.
    `weight_by` "teachability" shares the weight of an axis out among its rows, whose sum stays: a row's is that of its
    axis times f over the axis mean of f, with f = weight_floor + (1 - weight_floor) x teachability. A row without
    teachability has the axis mean; the least teachable row is visited too, so the floor is above 0. Raises ConfigError
    where no row of the split has a teachability.
    """
    found = Weighed.of(dataset_dir, weights, split, pictures=pictures)
    return found.weights if weight_by is None else found.by(weight_by, weight_floor).weights


@dataclass(frozen=True)
class Weighed:
    """Rows of a split with their weights; `axis` is the number of each row's axis."""

    files: Sequence[Path]
    weights: npt.NDArray[np.float64]
    axis: npt.NDArray[np.int64]

    @classmethod
    def of(cls, dataset_dir: str | Path, weights: Mapping[str, float], split: str, *, pictures: bool) -> Weighed:
        """Each row with the weight of its axis."""
        _known(weights)
        wrong = {axis: weight for axis, weight in weights.items() if not 0 <= weight < np.inf}
        if wrong:
            raise ConfigError(f"weights {wrong}: each must be a number of at least 0")
        files = split_files(dataset_dir, split, pictures=pictures)
        axes = pa.concat_tables(pq.ParquetFile(path).read(["axis"]) for path in files)["axis"]
        number = pc.index_in(axes, value_set=pa.array(AXES, pa.string())).to_numpy().astype(np.int64)
        return cls(files, np.array([weights.get(axis, 1.0) for axis in AXES], dtype=np.float64)[number], number)

    def by(self, column: str, floor: float) -> Weighed:
        """The weight of each axis shared out among its rows."""
        factor = self._factors(column, floor)
        for axis in range(len(AXES)):
            mine = self.axis == axis
            measured = mine & np.isfinite(factor)
            factor[mine] /= factor[measured].mean() if measured.any() else 1.0
        return replace(self, weights=self.weights * np.where(np.isfinite(factor), factor, 1.0))

    def _factors(self, column: str, floor: float) -> npt.NDArray[np.float64]:
        if column != TEACHABILITY:
            raise ConfigError(f"weight_by is {column!r}; expected {TEACHABILITY!r} or None")
        if not 0 < floor <= 1:
            raise ConfigError(f"weight_floor is {floor}; expected a number above 0, so that no row is dropped, up to 1")
        shares = pa.nulls(0, pa.float64())
        if all(column in pq.read_schema(path).names for path in self.files):
            shares = pa.concat_tables(pq.ParquetFile(path).read([column]) for path in self.files)[column]
        if shares.null_count == len(shares):
            raise ConfigError(
                f"{self.files[0].parent.parent}: no row of {self.files[0].name.split('-')[0]} has a {column}; a run"
                " with render.takes of at least 2, all of them drawn (render.fixed_share of the prompts at least),"
                " measures it; or leave weight_by out"
            )
        found: npt.NDArray[np.float64] = floor + (1 - floor) * pc.fill_null(shares, np.nan).to_numpy()
        return found


def sampling_order(
    weights: Sequence[float] | npt.NDArray[np.float64],
    rng: np.random.Generator,
    n: int | None = None,
    groups: Sequence[int] | npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.int64]:
    """Row numbers of one epoch of `n` draws, shuffled; by default as many as the weights add up to, rounded.

    Systematic sampling: a row comes floor or ceil of n x its share of the weight times, so a weight of 10 is exactly
    ten visits in an epoch of the default length, and one of 0.1 a visit in one epoch of ten. `groups`, a number for
    each row, holds for the visits of all rows of a group too. Raises ConfigError where every weight is 0.
    """
    if groups is not None:
        together = np.argsort(np.asarray(groups), kind="stable")
        made: npt.NDArray[np.int64] = together[sampling_order(np.asarray(weights)[together], rng, n)]
        return made
    edges = np.cumsum(np.asarray(weights, dtype=np.float64))
    if not edges.size or not edges[-1] > 0:
        raise ConfigError("every weight is 0, so there is nothing to draw")
    draws = round(float(edges[-1])) if n is None else n
    points = (np.arange(draws) + rng.random()) * (edges[-1] / max(draws, 1))
    rows = np.minimum(np.searchsorted(edges, points, side="right"), np.flatnonzero(np.asarray(weights) > 0)[-1])
    return rng.permutation(rows.astype(np.int64))


def _known(axes: Collection[str]) -> None:
    unknown = sorted(set(axes) - set(AXES))
    if unknown:
        raise ConfigError(f"no axis {', '.join(map(repr, unknown))}; there are {', '.join(AXES)}")


def _table(dataset_dir: str | Path, split: str, columns: list[str] | None, *, pictures: bool) -> pa.Table:
    return pa.concat_tables(
        pq.ParquetFile(path).read(columns) for path in split_files(dataset_dir, split, pictures=pictures)
    )


def split_files(dataset_dir: str | Path, split: str, *, pictures: bool) -> list[Path]:
    """The checked Parquet files of a split in order."""
    root = Path(dataset_dir)
    stated: Mapping[str, Any] = manifest(root)["files"]
    folder = "data" if pictures else "prompts"
    names = sorted(name for name in stated if name.startswith(f"{folder}/{split}-"))
    if not names:
        there = sorted({name.split("/")[1].split("-")[0] for name in stated if name.startswith(f"{folder}/")})
        hint = "; pictures=False reads the prompts" if pictures else ""
        raise ConfigError(f"{root}: no split {split!r} in {folder}/; there are {', '.join(there) or 'none'}{hint}")
    return [checked(root / name, stated[name]["sha256"]) for name in names]


def checked(path: Path, sha256: str) -> Path:
    """The absolute path of a file whose bytes have this SHA-256; read once a process while it is unchanged.

    Raises StoreFault where it is missing or changed.
    """
    try:
        stat = path.stat()
    except FileNotFoundError as exc:
        raise StoreFault(f"{path}: missing, though manifest.json names it; publish the data set again") from exc
    key = (path.resolve(), stat.st_size, stat.st_mtime_ns)  # a changed file is read again
    if key not in _sums:
        _sums[key] = sha256_file(path)
    seen = _sums[key]
    if seen != sha256:
        raise StoreFault(
            f"{path}: sha256 is {seen[:16]}..., manifest.json says {sha256[:16]}...; the file was changed: publish the"
            " data set again, or copy it anew"
        )
    return key[0]


#: Path, size and time of change of every file that this process, or the one that it was made by, has read -> SHA-256.
_sums: dict[tuple[Path, int, int], str] = {}


def sums(paths: Collection[Path]) -> dict[tuple[Path, int, int], str]:
    """What is known of these files, for a worker process to `trust`: reading them all again would take it minutes."""
    wanted = set(paths)
    return {key: value for key, value in _sums.items() if key[0] in wanted}


def trust(known: Mapping[tuple[Path, int, int], str]) -> None:
    """Take the sums of files that another process of this program has read."""
    _sums.update(known)
