"""What the teacher says of a prompt: its response, how often its pictures are right, how sharp they are.

Measured by promptforge's own code, and kept a batch at a time, so that a killed call loses one batch. Seconds of
processor time are kept with the values: they are what a render is worth in optimiser steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa

from gates.plan import Experiment
from gates.pools import Row
from promptforge import scenes
from promptforge.distill.evaluation.judges import Judge, parts_of
from promptforge.distill.evaluation.pieces import Pieces
from promptforge.models.diffusion import response
from promptforge.models.diffusion.response import ResponseSettings
from promptforge.protocols import Picture, Pixels, Rendering, RenderJob
from promptforge.records import noise_seed
from promptforge.stages.parts import build_scorer
from promptforge.teachers import diffusers

#: The prompt's own measure; the comparisons with shuffles, sentences and clauses play no part in the arm.
RESPONSE = ResponseSettings(sample=1.0, shuffles=0, nonvisual=0, clauses=0)
_VALUES = pa.schema([("prompt_id", pa.string()), ("value", pa.float64()), ("seconds", pa.float64())])
_TAKES = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("take", pa.int32()),
        ("right", pa.float64()),  # null where the judge has no say, or there is no picture
        ("sharpness", pa.float64()),
        ("seconds", pa.float64()),  # of the drawing
    ]
)


class Measures:
    """The measurements of a seed's prompts; models are loaded when first needed."""

    def __init__(self, experiment: Experiment, seed: int) -> None:
        self._experiment, self._seed = experiment, seed
        self._pieces = Pieces(experiment.out / f"seed-{seed}" / "measured")

    def responses(self, rows: Sequence[Row]) -> pa.Table:
        """prompt_id, value, seconds."""

        def make(group: Sequence[Row]) -> pa.Table:
            found = []
            for row in group:
                start = time.process_time()
                (value,) = (each.value for each in self._responder.response(row.text) if each.metric == "response")
                found.append({"prompt_id": row.prompt_id, "value": value, "seconds": time.process_time() - start})
            return pa.Table.from_pylist(found, schema=_VALUES)

        return self._kept("response", [RESPONSE.model_dump(mode="json")], rows, make)

    def takes(self, rows: Sequence[Row], numbers: Sequence[int]) -> pa.Table:
        """prompt_id, take, right, sharpness, seconds of these takes of each prompt."""
        tables = [
            self._kept("takes", [take, self._seed], rows, lambda group, take=take: self._drawn(group, take))  # type: ignore[misc]
            for take in numbers
        ]
        return pa.concat_tables(tables)

    def _drawn(self, group: Sequence[Row], take: int) -> pa.Table:
        jobs = [RenderJob(row.text, noise_seed(row.prompt_id, take, self._seed), take) for row in group]
        _ = self._teacher  # loading is no part of a render's price
        start = time.process_time()
        found = list(self._teacher.render_all(jobs))
        seconds = (time.process_time() - start) / len(jobs)
        lines = [
            {"prompt_id": row.prompt_id, "take": take, "seconds": seconds, **self._looked_at(row, each)}
            for row, each in zip(group, found, strict=True)
        ]
        return pa.Table.from_pylist(lines, schema=_TAKES)

    def _looked_at(self, row: Row, drawn: Rendering) -> dict[str, float | None]:
        if drawn.pixels is None:
            return {"right": None, "sharpness": None}
        picture = picture_of(row, drawn.pixels)
        right, sharp = (
            next(score.value for score in self._scorers[name].score(picture) if score.metric == metric)
            for name, metric in (("miniature", "right"), ("technical", "sharpness"))
        )
        return {"right": right, "sharpness": sharp}

    def _kept(
        self, kind: str, identity: list[Any], rows: Sequence[Row], make: Callable[[Sequence[Row]], pa.Table]
    ) -> pa.Table:
        size = self._experiment.scale.batch
        groups = [rows[at : at + size] for at in range(0, len(rows), size)]
        tables = [
            self._pieces.table(kind, [*identity, [row.text for row in group]], lambda group=group: make(group))  # type: ignore[misc]
            for group in groups
        ]
        return pa.concat_tables(tables)

    @cached_property
    def _teacher(self) -> Any:
        return diffusers.build(self._experiment.settings)

    @cached_property
    def _responder(self) -> Any:
        return response.build(self._experiment.settings, RESPONSE)

    @cached_property
    def _scorers(self) -> dict[str, Any]:
        parts = parts_of({"miniature": Judge.model_validate({"judge": self._experiment.select}), "technical": Judge()})
        return {name: build_scorer(part) for name, part in parts.items()}


def picture_of(row: Row, pixels: Pixels) -> Picture:
    """What a scorer sees of a row, with the scene that promptforge's parser reads from its text."""
    return Picture(pixels, row.text, row.axis, row.expected, scenes.parse(row.text))
