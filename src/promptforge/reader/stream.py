"""An epoch in a fixed order, dealt out to ranks and workers, that goes on where it was.

The order of an epoch is one list of visits: every row once, or, with weights, floor or ceil of its weight times
(`sampling_order`), shuffled over the whole split by (seed, epoch). Weighted by teachability, visits of an axis are
those of its weight to within one in every epoch, and those of a row on average over epochs. The order depends on
neither ranks nor workers. Visit p goes to rank p mod world. Of a rank's visits, worker w of W takes the blocks of
`batch_size` number w, w + W, ...: a DataLoader asks its workers in turn, so that its batches come in the same order
with any number of workers.

    drop_last True    every rank has the same count: the last (visits mod world) of the order are left out, others
                      each epoch
    drop_last False   every visit is given, and the first (visits mod world) ranks have one more

A state is the number of visits that all ranks have been given, so it also serves another number of ranks or workers.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import KW_ONLY, dataclass
from multiprocessing import context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from promptforge.errors import ConfigError
from promptforge.reader.dataset import FLOOR, Weighed, sampling_order
from promptforge.reader.rows import DEFAULT_COLUMNS, IMAGE, Rows, Wanted

_CHUNK = 32  # visits taken at once: 25 MB of pixels at 512 px; two of them are held


@dataclass(eq=False)
class Stream:
    """An iterable that a torch DataLoader takes as such; columns as in `Pictures`.

    `weights` are visits by axis, 1 where unnamed; `weight_by` "teachability" shares them out among the rows of the
    axis, in proportion to weight_floor + (1 - weight_floor) x teachability (`weights_by_axis`). `batch_size` is that
    of the DataLoader (1 without one, or with batch_size=None); it orders the work of several workers. `worker` and
    `n_workers` are found out inside a DataLoader. `threads` decode within one process, by default as many as its share
    of the processors.
    """

    dataset_dir: str | Path
    split: str = "train"
    _: KW_ONLY
    columns: Sequence[str] = DEFAULT_COLUMNS
    decode: bool = True
    pictures: bool | None = None
    run: str | Path | None = None
    seed: int = 0
    shuffle: bool = True
    weights: Mapping[str, float] | None = None
    weight_by: str | None = None
    weight_floor: float = FLOOR
    rank: int = 0
    world: int = 1
    worker: int | None = None
    n_workers: int | None = None
    batch_size: int = 1
    epoch: int = 0
    drop_last: bool = True
    threads: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise ConfigError(f"rank {self.rank} of {self.world}: ranks are 0 to world - 1")
        if (self.worker is None) != (self.n_workers is None):
            raise ConfigError("worker and n_workers go together; leave both out inside a DataLoader")
        if self.worker is not None and self.n_workers is not None and not 0 <= self.worker < self.n_workers:
            raise ConfigError(f"worker {self.worker} of {self.n_workers}: workers are 0 to n_workers - 1")
        if self.batch_size < 1:
            raise ConfigError(f"batch_size is {self.batch_size}; it must be at least 1")
        self._rows = Rows(Wanted.by(self))
        self._weights: npt.NDArray[np.float64] | None = None
        self._axis: npt.NDArray[np.int64] | None = None
        self._n = len(self._rows)
        if self.weights is not None or self.weight_by is not None:
            self._weigh(self.weights or {})
        # Shared, since workers that a DataLoader keeps over epochs hear of set_epoch in no other way.
        self._epoch: Any = multiprocessing.RawValue("q", self.epoch)
        self._first = self._seen = 0  # visits of all ranks: where this pass began, and what was given
        self._fresh = True  # the next pass begins at _seen
        self._enrol()

    def _weigh(self, weights: Mapping[str, float]) -> None:
        found = Weighed.of(self.dataset_dir, weights, self.split, pictures=self._rows.wanted.of_pictures)
        self._n = round(float(found.weights.sum()))  # before it is shared out: that sum is only nearly the same
        if self.weight_by is not None:
            found = found.by(self.weight_by, self.weight_floor)
            self._axis = found.axis
        self._weights = found.weights

    def _enrol(self) -> None:
        """Let a DataLoader see an iterable; torch is not imported for it, only greeted where it is there."""
        data = sys.modules.get("torch.utils.data")
        if data is not None:
            data.IterableDataset.register(type(self))

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        if context.get_spawning_popen() is None:  # a copy of its own
            state["_epoch"] = int(self._epoch.value)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(self._epoch, int):
            self._epoch = multiprocessing.RawValue("q", self._epoch)
        self._enrol()

    def __getitem__(self, row: int) -> dict[str, Any]:
        raise TypeError("a Stream is iterated over, or import torch before it is made; Pictures gives row i")

    def __len__(self) -> int:
        """Visits of this rank in an epoch, over all its workers."""
        return self._n // self.world if self.drop_last else len(range(self.rank, self._n, self.world))

    def set_epoch(self, epoch: int) -> None:
        """The next pass is over this epoch, from its beginning; in the middle of it where a state said so."""
        if epoch != self._epoch.value:
            self._epoch.value = epoch
            self._first = self._seen = 0
        self._fresh = True

    def state_dict(self, given: int | None = None) -> dict[str, Any]:
        """Where this pass is. `given` says it from outside: visits that this rank was given in this epoch.

        Say it (batches taken x batch_size) where a DataLoader's workers iterate over copies of this object.
        """
        workers = self._share()[1] > 1
        first, seen = (self._first, self._seen) if given is None else (given * self.world,) * 2
        return {
            "digest": self._rows.digest,
            "order": self._order_name(),
            "epoch": int(self._epoch.value),
            "first": first if workers else seen,
            "seen": seen,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin the next pass where the state says. Raises ConfigError where it belongs to another order of rows."""
        for name, here in (("digest", self._rows.digest), ("order", self._order_name())):
            if state.get(name) != here:
                raise ConfigError(
                    f"the state's {name} is {state.get(name)!r}, this stream's {here!r}: not the same rows"
                )
        self._epoch.value = int(state["epoch"])
        self._first, self._seen, self._fresh = int(state["first"]), int(state["seen"]), True

    def _order_name(self) -> str:
        weights = "" if self.weights is None else f", weights {dict(sorted(self.weights.items()))}"
        if self.weight_by is not None:
            weights += f", by {self.weight_by} from {self.weight_floor}"
        return f"{self.split} of {self._n}, seed {self.seed}, shuffle {self.shuffle}{weights}"

    def _share(self) -> tuple[int, int]:
        """This worker's number, and how many there are."""
        if self.worker is not None and self.n_workers is not None:
            return self.worker, self.n_workers
        data = sys.modules.get("torch.utils.data")
        info = None if data is None else data.get_worker_info()
        return (0, 1) if info is None else (info.id, info.num_workers)

    def order(self) -> npt.NDArray[np.int64]:
        """Row numbers of all visits of the epoch, over all ranks."""
        rng = np.random.default_rng([self.seed, int(self._epoch.value)])
        if self._weights is not None:
            order = sampling_order(self._weights, rng, self._n, self._axis)
            return order if self.shuffle else np.sort(order)
        return rng.permutation(self._n) if self.shuffle else np.arange(self._n)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if not self._fresh:
            self._first = self._seen = 0
        self._fresh = False
        worker, n_workers = self._share()
        turns = np.arange(self._seen // self.world, len(self))
        blocks = (turns - self._first // self.world) // self.batch_size
        turns = turns[blocks % n_workers == worker]
        rows = self.order()[turns * self.world + self.rank]
        for turn, row in zip(turns.tolist(), self._read(rows, n_workers), strict=True):
            self._seen = (turn + 1) * self.world  # before the row is out: a state is asked for between two rows
            yield row

    def _read(self, rows: npt.NDArray[np.int64], n_workers: int) -> Iterator[dict[str, Any]]:
        threads = self.threads or max(1, len(os.sched_getaffinity(0)) // n_workers)
        chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
        if threads == 1 or not (self.decode and self._rows.has_image):
            for chunk in chunks:
                for row, number in zip(self._rows.plain(chunk), chunk, strict=True):
                    if self._rows.has_image:  # one at a time: a chunk of them would leave the processor's cache
                        row[IMAGE] = self._rows.picture(int(number))
                    yield row
            return
        with closing(_Ahead(self._rows, threads)) as ahead:
            yield from ahead.read(chunks)


class _Ahead:
    """Decodes the next chunk by threads while the last one is being used."""

    def __init__(self, rows: Rows, threads: int) -> None:
        self._rows, self._threads = rows, threads
        self._pool = ThreadPoolExecutor(threads)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def read(self, chunks: Sequence[npt.NDArray[np.int64]]) -> Iterator[dict[str, Any]]:
        waiting: deque[tuple[npt.NDArray[np.int64], list[Future[list[Any]]]]] = deque()
        for chunk in chunks:
            # A task is a part of the chunk, not a picture: handing one over costs 30 us.
            parts = [self._pool.submit(self._decode, chunk[n :: self._threads]) for n in range(self._threads)]
            waiting.append((chunk, parts))
            if len(waiting) == 2:
                yield from self._finish(*waiting.popleft())
        while waiting:
            yield from self._finish(*waiting.popleft())

    def _decode(self, rows: npt.NDArray[np.int64]) -> list[Any]:
        return [self._rows.picture(int(row)) for row in rows]

    def _finish(self, chunk: npt.NDArray[np.int64], parts: list[Future[list[Any]]]) -> Iterator[dict[str, Any]]:
        found = self._rows.plain(chunk)
        for n, part in enumerate(parts):
            for row, picture in zip(found[n :: self._threads], part.result(), strict=True):
                row[IMAGE] = picture
        yield from found
