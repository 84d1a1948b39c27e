"""Which prompts a batch holds, with which noise and guidance: a function of the seed and the batch's number alone.

A phase goes through its prompts in epochs. In an epoch a prompt of weight w comes floor(w) or ceil(w) times
(reader.sampling_order); what is left over at its end is dropped, so that every batch is full. Ranks take their
batches side by side out of one order: two ranks with batch 4 see what one with batch 8 sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from promptforge import reader, records
from promptforge.distill.settings import DistillSettings, Phase
from promptforge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Batch:
    """Prompts of one drawing, a noise seed and a guidance scale for each."""

    prompt_ids: tuple[str, ...]
    texts: tuple[str, ...]
    axes: tuple[str, ...]
    seeds: tuple[int, ...]
    guidance: tuple[float, ...]


class Batches:
    """The batches of a run. Raises ConfigError where a phase has fewer prompts than a batch takes."""

    def __init__(self, settings: DistillSettings, world: int = 1) -> None:
        self._settings, self._taken = settings, settings.batch * world
        self._rows: list[dict[str, Any]] = reader.prompts(settings.dataset, settings.split)
        self._axes = np.array([row["axis"] for row in self._rows])
        self._order = lru_cache(maxsize=2)(self._order_of)  # the epoch in hand, and the one before it
        for phase in settings.phases:
            n = len(self._order(phase.name, 0))
            if n < self._taken:
                raise ConfigError(
                    f"phase {phase.name}: an epoch has {n:,} visits, a batch takes {self._taken:,}; take a smaller"
                    " batch or more prompts"
                )

    def batch(self, phase: Phase, number: int, rank: int = 0) -> Batch:
        """Batch `number` (from 0) of a phase, the part of this rank."""
        per_epoch = self._batches_in(phase)
        epoch, within = divmod(number, per_epoch)
        first = within * self._taken + rank * self._settings.batch
        chosen = self._order(phase.name, epoch)[first : first + self._settings.batch]
        rows = [self._rows[place] for place in chosen]
        scales = self._settings.guidance.scales
        draws = [(phase.name, number, rank * self._settings.batch + place) for place in range(len(rows))]
        return Batch(
            tuple(row["prompt_id"] for row in rows),
            tuple(row["text"] for row in rows),
            tuple(row["axis"] for row in rows),
            tuple(self._number("noise", *draw) >> 1 for draw in draws),
            tuple(scales[self._number("guidance", *draw) % len(scales)] for draw in draws),
        )

    def _batches_in(self, phase: Phase) -> int:
        # Every epoch has the same length: that of the weights' sum, rounded.
        return len(self._order(phase.name, 0)) // self._taken

    def _order_of(self, name: str, epoch: int) -> npt.NDArray[np.int64]:
        phase = next(each for each in self._settings.phases if each.name == name)
        weights = np.array([phase.weights.get(axis, 1.0) for axis in self._axes])
        if not weights.any():
            raise ConfigError(f"phase {name}: no prompt of an axis with a weight above 0 in {self._settings.dataset}")
        return reader.sampling_order(weights, np.random.default_rng([self._number("order", name, epoch)]))

    def _number(self, *parts: str | int) -> int:
        """64 bits that these parts decide, with the seed."""
        return int(records.content_id("distill", self._settings.seed, *parts)[:16], 16)
