"""Which pictures a person is asked about: a stratified draw, more of it near the bound of each gate.

Strata of a gate with numbers: those that pass and those that do not, each cut by distance from the bound at an eighth,
a quarter and a half of its pictures (with two bounds from the nearer one, with bounds by group from the picture's own);
so a stratum near the bound has few pictures, and each gets as many labels as any other. Of a gate of words: its words.
Of a predicate: those that pass and those that do not. Within a stratum the pictures with the smallest hash of seed and
image_id are drawn, so that a larger sample contains a smaller one, and gates draw the same pictures where they can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from promptforge.errors import ConfigError
from promptforge.records import digest_of
from promptforge.schema import arrow_schema
from promptforge.stages.calibration.estimates import F64, I64, Flags
from promptforge.stages.calibration.frame import Frame
from promptforge.stages.hashing import U64, mix
from promptforge.stages.labels import STAGE
from promptforge.store import Commit, Store

_CUTS = np.array([1 / 8, 1 / 4, 1 / 2])  # shares of the pictures of one side, nearest first
_SIDE = len(_CUTS) + 1  # strata of a side
_LEAST = 2  # labels of a stratum, for its variance
SHARD = "sample"


@dataclass(frozen=True, slots=True)
class Request:
    """A sample that is wanted: about one gate, with one question, of n pictures."""

    frame: Frame
    question: str
    n: int
    seed: int

    @property
    def digest(self) -> str:
        """What decides the sample, as its name; not the pictures there are, so that the same call goes on with it."""
        gate = self.frame.gate.model_dump(mode="json", exclude={"decision", "validated", "measured_on"})
        return digest_of({"gate": [self.frame.name, gate], "question": self.question, "n": self.n, "seed": self.seed})


def bands(distance: F64, passes: Flags) -> I64:
    """Stratum of each picture, 0 to 7: fails and is far, ..., fails and is near (3), passes and is near (4), ... far.

    Equal distances are in one stratum.
    """
    found = np.empty(len(distance), np.int64)
    for side in (False, True):
        chosen = passes == side
        own = distance[chosen]
        nearer = np.searchsorted(np.sort(own), own, side="left") / max(len(own), 1)
        band = np.searchsorted(_CUTS, nearer, side="right")
        found[chosen] = _SIDE + band if side else _SIDE - 1 - band
    return found


def allocate(sizes: I64, n: int, first: Sequence[int]) -> I64:
    """Pictures of each stratum when n are drawn: equally many of each as far as it has them, the odd ones as `first`.

    Never fewer for a larger n.
    """
    n = min(n, int(sizes.sum()))
    level = 0
    while np.minimum(sizes, level + 1).sum() <= n and level < sizes.max(initial=0):
        level += 1
    drawn = np.minimum(sizes, level)
    for place in first:
        if drawn.sum() < n and sizes[place] > drawn[place]:
            drawn[place] += 1
    return drawn


def share_out(n: int, frames: Sequence[Frame]) -> list[int]:
    """How many of n each gate gets: equal numbers, the odd ones to the first. Raises ConfigError where it is too few.

    Each stratum needs two labels, so that its spread can be told.
    """
    given = [n // len(frames) + (place < n % len(frames)) for place in range(len(frames))]
    for frame, own in zip(frames, given, strict=True):
        _, codes = strata(frame)
        least = int(np.minimum(np.bincount(codes), _LEAST).sum())
        if own < least:
            wanted = least * len(frames)
            raise ConfigError(
                f"--n {n}: {own} pictures for gate {frame.name}, which needs {least}, {_LEAST} of each of its strata;"
                f" give --n {wanted} or more, or fewer gates with --gate"
            )
    return given


def strata(frame: Frame) -> tuple[list[str], I64]:
    """Names of the strata of a gate, and the place of each picture's among them."""
    if frame.distance is not None:
        names = [f"{side} {band}" for side, order in (("fail", (4, 3, 2, 1)), ("pass", (1, 2, 3, 4))) for band in order]
        return names, bands(frame.distance, frame.passes)
    if frame.gate.one_of is not None:
        words = sorted({word or "" for word in frame.words})
        place = {word: number for number, word in enumerate(words)}
        return [f"word {word}" for word in words], np.array([place[word or ""] for word in frame.words], np.int64)
    return ["fail", "pass"], frame.passes.astype(np.int64)


def draw(request: Request) -> pa.Table:
    """Rows of label_sample, in the order in which they are asked: one of each stratum in turn, by hash.

    So what a person has answered is a sample of each stratum whenever they stop.
    """
    frame = request.frame
    names, codes = strata(frame)
    sizes = np.bincount(codes, minlength=len(names))
    middle = (len(names) - 1) / 2
    first = sorted(range(len(names)), key=lambda place: (abs(place - middle), place))
    drawn = allocate(sizes, request.n, first)
    order = np.lexsort((_marks(frame.images, request.seed), codes))
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    turn = np.empty(len(codes), np.int64)
    turn[order] = np.arange(len(codes)) - starts[codes[order]]
    taken = np.flatnonzero(turn < drawn[codes])
    taken = taken[np.lexsort((np.argsort(first)[codes[taken]], turn[taken]))]
    place = codes[taken]
    return pa.table(
        {
            "sample": [request.digest] * len(taken),
            "image_id": [frame.images[number] for number in taken],
            "question": [request.question] * len(taken),
            "gate": [frame.name] * len(taken),
            "stratum": [names[number] for number in place],
            "n_stratum": sizes[place],
            "n_drawn": drawn[place],
            "probability": drawn[place] / sizes[place],
        },
        schema=arrow_schema("label_sample"),
    )


def _marks(images: Sequence[str], seed: int) -> U64:
    """A hash of each image_id, which is one itself, with the seed."""
    words = np.frombuffer(bytes.fromhex("".join(images)), ">u8").reshape(-1, 2)[:, 0]
    return mix(words.astype(np.uint64) ^ mix(np.array([seed], np.uint64)))


def commit_sample(store: Store, request: Request) -> Commit:
    """The committed sample of a request, drawn now or found: more pictures in the run do not change it."""
    found = store.committed(STAGE, SHARD, request.digest)
    if found is not None:
        return found
    rows = draw(request)
    return store.commit(STAGE, SHARD, request.digest, {"label_sample": rows}, {"rows": rows.num_rows})
