"""Near duplicates of the list's prompts, by the content that [dedup] compares: style and articles are no difference."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from promptforge.stages.contamination.overlap import Floats
from promptforge.stages.hashing import I64
from promptforge.stages.resemblance.features import features, hash_strings, joined
from promptforge.stages.resemblance.jaccard import similarities
from promptforge.stages.resemblance.settings import DedupSettings


class Contents:
    """The content of every prompt of the list, by the facts that a near duplicate must share.

    `expected`: the strings that each text wants drawn, joined by blanks; they are facts as well.
    """

    def __init__(self, texts: pa.Array, expected: pa.Array, threshold: float) -> None:
        self._settings = DedupSettings(threshold=threshold)
        self._found = features(texts, self._settings, hash_strings(expected))
        self._order = np.argsort(self._found.facts, kind="stable").astype(np.int64)
        self._facts = self._found.facts[self._order]

    def find(self, texts: pa.Array, expected: pa.Array) -> tuple[I64, I64, Floats]:
        """Text, prompt, Jaccard similarity of the n-grams of their content."""
        own = features(texts, self._settings, hash_strings(expected))
        low = np.searchsorted(self._facts, own.facts, side="left")
        size = np.searchsorted(self._facts, own.facts, side="right") - low
        row = np.repeat(np.arange(len(own)), size)
        ends = np.cumsum(size)
        at = np.arange(len(row)) - np.repeat(ends - size - low, size)
        prompt = self._order[at]
        share = similarities(joined([own, self._found]), row, prompt + len(own))
        media, others = own.media[row], self._found.media[prompt]
        both = media & others  # a photo is no copy of a painting
        good = (share >= self._settings.threshold) & ((both == media) | (both == others))
        return row[good], prompt[good], share[good]
