"""Draws a stream of jobs in order: batches, look-ahead, and what happens where memory ends.

At batch 1 a picture's bits follow from text, seed, teacher and provenance alone. In larger batches its neighbours
choose the kernels; on a CPU no level of 255 was seen to change by more than one.

On a GPU a picture is decoded and copied to the host beside the denoising of the next one, so one more batch than asked
for is in flight. Where text encoders are parked, prompts are encoded ENCODED_TOGETHER at a time, one by one.

Out of memory is an error of the row at batch 1; above it the batch is halved, for the rest of the stream too, and the
pictures say so in their notes. Not covered: other faults of the device, after which a process is of no use: they end
the run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from promptforge.models.diffusion.artists import Artist, artist_of
from promptforge.models.diffusion.loading import Loaded
from promptforge.models.diffusion.memory import ENCODED_TOGETHER, ORDER
from promptforge.models.diffusion.speed import compiled
from promptforge.models.torch_setup import computing, load_torch
from promptforge.protocols import Rendering, RenderJob

T = TypeVar("T")


class Drawer:
    """Draws with one loaded pipeline; `artist` stands in for the pipeline's own way of drawing."""

    def __init__(self, loaded: Loaded, artist: Artist | None = None) -> None:
        self._loaded = loaded
        self._artist = artist or artist_of(loaded)
        self._batch = loaded.settings.batch
        self._on_gpu = loaded.device != "cpu"

    def draw(self, jobs: Iterable[RenderJob]) -> Iterator[Rendering]:
        """One rendering for each job, in order."""
        source = iter(jobs)
        in_flight: deque[tuple[Any, int]] = deque()
        while group := list(islice(source, self._together())):
            texts = self._try(partial(self._artist.prepare, group))
            if texts is None and in_flight:
                yield from self._landed(in_flight)
                texts = self._try(partial(self._artist.prepare, group))
            if texts is None:
                yield from self._landed(in_flight)
                yield from (Rendering(None, self._remedy("the text encoders")) for _ in group)
                continue
            yield from self._group(group, texts, in_flight)
        yield from self._landed(in_flight)

    def _group(
        self, jobs: Sequence[RenderJob], texts: Sequence[Any], in_flight: deque[tuple[Any, int]]
    ) -> Iterator[Rendering]:
        place = 0
        while place < len(jobs):
            stop = min(place + self._batch, len(jobs))
            flight = self._try(partial(self._artist.launch, jobs[place:stop], texts[place:stop]))
            if flight is not None:
                in_flight.append((flight, stop - place))
                place = stop
                yield from self._landed(in_flight, keep=1 if self._on_gpu else 0)
            elif in_flight:
                yield from self._landed(in_flight)  # its memory may be all that was lacking
            elif stop - place > 1:
                self._batch = (stop - place + 1) // 2
            else:
                yield Rendering(None, self._remedy("the denoiser"))
                place = stop

    def _landed(self, in_flight: deque[tuple[Any, int]], keep: int = 0) -> Iterator[Rendering]:
        """Renderings of all flights but the newest `keep`."""
        while len(in_flight) > keep:
            flight, n = in_flight.popleft()
            # a second time after the first has emptied the cache, which another stream's tensors had filled
            land = partial(self._artist.land, flight)
            found = self._try(land) or self._try(land)
            if found is None:
                found = [Rendering(None, self._remedy("the second decoding")) for _ in range(n)]
            halved = {"batch": self._batch} if self._batch < self._loaded.settings.batch else {}
            yield from (replace(each, notes={**each.notes, **halved}) for each in found)

    def _together(self) -> int:
        """Jobs whose texts are prepared at once."""
        return self._batch if self._loaded.encoders is None else max(self._batch, ENCODED_TOGETHER)

    def _try(self, work: Callable[[], T]) -> T | None:
        """What the work gives, or None where the device's memory does not hold it."""
        torch = load_torch()
        try:
            with computing(), compiled(self._loaded.settings.model):
                return work()
        except torch.OutOfMemoryError:
            pass  # the traceback holds tensors: let go of it before the cache is emptied
        if self._on_gpu:
            torch.cuda.empty_cache()
        return None

    def _remedy(self, what: str) -> str:
        settings, mode = self._loaded.settings, self._loaded.mode
        smaller = ORDER[ORDER.index(mode) + 1 :]
        if settings.pipeline == "auto":
            smaller = tuple(each for each in smaller if each == "model_offload")
        moves = [f"memory = {smaller[0]!r}"] if smaller else []
        return (
            f"out_of_memory: {what} at {settings.size} px, batch 1, memory {mode!r}; set"
            f" {' or '.join([*moves, f'a size under {settings.size}', 'fp8_weights = true (lossy)'])}"
        )
