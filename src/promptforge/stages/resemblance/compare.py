"""Near duplicates among prompts, from features to survivors.

Memory, without the caller's: 4 bytes an n-gram and 24 a row for the features; for the rows that share their facts with
another row (with the view `text`, all) 4 bytes a band on top, and the pairs. With 25 words a prompt that is 130 bytes a
row, or 230.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from promptforge.stages.hashing import I64
from promptforge.stages.resemblance import jaccard, minhash
from promptforge.stages.resemblance.compiled import loops
from promptforge.stages.resemblance.features import Features
from promptforge.stages.resemblance.jaccard import Floats
from promptforge.stages.resemblance.settings import DedupSettings
from promptforge.stages.resemblance.stars import stars
from promptforge.stages.resemblance.words import Mask

VERSION = 2  # raised whenever another pair or survivor comes out
_EPSILON = 1e-9
_ASKED_PAIRS = 1 << 16  # pairs whose scenes are fetched at a time

#: Which pairs of rows (a, b) nothing else keeps apart, asked of pairs that are near.
Agree = Callable[[I64, I64], Mask]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of rows (a < b) and their similarity."""

    a: I64
    b: I64
    similarity: Floats

    def __len__(self) -> int:
        return len(self.a)


def near_pairs(found: Features, settings: DedupSettings, agree: Agree | None = None) -> Pairs:
    """Verified pairs of near duplicates, of rows in order of survival."""
    rows = minhash.meeting(found)
    keys = minhash.band_keys(found, rows, settings)
    left, right = minhash.bucket_pairs(keys, settings.bucket_guard)
    a, b = rows[left], rows[right]
    fits = found.facts[a] == found.facts[b]  # band keys have 32 bits
    media = found.media[a] & found.media[b]
    fits &= (media == found.media[a]) | (media == found.media[b])
    size = np.diff(found.offsets)
    fits &= np.minimum(size[a], size[b]) >= 0.5 * settings.threshold * np.maximum(size[a], size[b])
    a, b = a[fits], b[fits]
    value = jaccard.similarities(found, a, b, loops(settings.compiled))
    near = value >= settings.threshold - _EPSILON
    if agree is not None:
        places = np.flatnonzero(near)
        for start in range(0, len(places), _ASKED_PAIRS):
            some = places[start : start + _ASKED_PAIRS]
            near[some] = agree(a[some], b[some])
    return Pairs(a[near], b[near], value[near])


def survivors(found: Features, settings: DedupSettings, agree: Agree | None = None) -> tuple[I64, Floats]:
    """For each row, in order of survival, the row that stays for it, and their similarity."""
    pairs = near_pairs(found, settings, agree)
    return stars(len(found), pairs.a, pairs.b, pairs.similarity, settings.max_cluster)
