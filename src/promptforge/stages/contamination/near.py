"""Near duplicates of the list's prompts, by the content that [dedup] compares: style and articles are no difference.

The strings that a text wants drawn are a fact as well, but reading them out of a prompt takes as long as all the rest
of its index. So they are read only where a text has every other fact of a prompt: 1 prompt in 100 of most lists.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from promptforge import targets
from promptforge.stages.contamination.overlap import Floats
from promptforge.stages.contamination.words import Mask
from promptforge.stages.hashing import I64, U64, mix
from promptforge.stages.resemblance.features import features, hash_strings, joined
from promptforge.stages.resemblance.jaccard import similarities
from promptforge.stages.resemblance.settings import DedupSettings


class Contents:
    """The content of every prompt of the list, by the facts that a near duplicate must share."""

    def __init__(self, texts: Sequence[str], column: pa.Array, threshold: float) -> None:
        self._settings = DedupSettings(threshold=threshold)
        self._texts = texts
        # Facts of the caller's own, though all the same: then quotation marks decide nothing.
        self._found = features(column, self._settings, np.zeros(len(texts), np.uint64))
        self._order = np.argsort(self._found.facts, kind="stable").astype(np.int64)
        self._facts = self._found.facts[self._order]
        self._read = np.zeros(len(texts), bool)  # prompts whose strings are known by now
        self._keys = np.zeros(len(texts), np.uint64)

    def find(self, texts: pa.Array, expected: pa.Array) -> tuple[I64, I64, Floats]:
        """Text, prompt, Jaccard similarity of the n-grams of their content.

        `expected`: the strings that each text wants drawn, joined by blanks.
        """
        own = features(texts, self._settings, np.zeros(len(texts), np.uint64))
        low = np.searchsorted(self._facts, own.facts, side="left")
        some = np.flatnonzero(np.searchsorted(self._facts, own.facts, side="right") > low)
        self._read_strings(np.isin(self._facts, own.facts[some]))
        known = np.flatnonzero(self._read)
        known = known[np.argsort(self._keys[known], kind="stable")]
        wanted = _with_strings(own.facts[some], expected.take(pa.array(some)))
        low = np.searchsorted(self._keys[known], wanted, side="left")
        size = np.searchsorted(self._keys[known], wanted, side="right") - low
        row = np.repeat(some, size)
        ends = np.cumsum(size)
        prompt = known[np.arange(len(row)) - np.repeat(ends - size - low, size)]
        share = similarities(joined([own, self._found]), row, prompt + len(own))
        media, others = own.media[row], self._found.media[prompt]
        both = media & others  # a photo is no copy of a painting
        good = (share >= self._settings.threshold) & ((both == media) | (both == others))
        return row[good], prompt[good], share[good]

    def _read_strings(self, asked: Mask) -> None:
        """Read the strings of the prompts at these places of `_facts`."""
        fresh = self._order[asked]
        fresh = fresh[~self._read[fresh]]
        if len(fresh):
            strings = [" ".join(targets.parse(self._texts[number]).strings) for number in fresh.tolist()]
            self._keys[fresh] = _with_strings(self._found.facts[fresh], pa.array(strings, pa.string()))
            self._read[fresh] = True


def _with_strings(facts: U64, expected: pa.Array) -> U64:
    return mix(facts ^ mix(hash_strings(expected)))
