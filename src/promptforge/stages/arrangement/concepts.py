"""What a prompt is about, as numbers: each word of its text, and what its scene, template and cell say.

A concept is named by 22 bits of a hash, so that counters need 16 MiB an axis however many prompts there are; of 100,000
concepts about 1 in 40 shares its counter with another. There is no list of common words: what many prompts say
is soon worth nothing in greedy.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from promptforge.stages.contamination.words import read_words
from promptforge.stages.hashing import I64

VERSION = 1  # raised whenever any prompt has other concepts or a concept another weight
BITS = 22

#: What a concept is worth when it is first taken. A binding is a thing with its look, a placing a relation with both
#: its things.
WEIGHTS = {
    "word": 2,
    "noun": 4,
    "look": 1,
    "binding": 2,
    "relation": 2,
    "placing": 2,
    "setting": 2,
    "template": 4,
    "cell": 4,
}
_LOOKS = ("colour", "shape", "texture", "action")


@dataclass(frozen=True, slots=True)
class Concepts:
    """The distinct concepts of some rows, flat: those of row i are [offsets[i], offsets[i + 1]) of both arrays."""

    bucket: npt.NDArray[np.int32]
    weight: npt.NDArray[np.int8]
    offsets: I64

    def __len__(self) -> int:
        return len(self.offsets) - 1


def concepts(rows: pa.Table, owner: I64) -> Concepts:
    """Concepts of the units that rows belong to: row i to unit owner[i], numbered from 0 without gaps.

    Reads text_clean, scene, template and cell.
    """
    words = read_words(rows["text_clean"].combine_chunks())
    found: list[int] = []
    weights: list[int] = []
    sizes: list[int] = []
    columns = (rows[name].to_pylist() for name in ("scene", "template", "cell"))
    for scene, template, cell in zip(*columns, strict=True):
        before = len(found)
        for kind, value in _said(scene, template, cell):
            found.append(_bucket(kind, value))
            weights.append(WEIGHTS[kind])
        sizes.append(len(found) - before)
    bucket = np.concatenate([(words.hashes >> np.uint64(64 - BITS)).astype(np.int64), np.array(found, np.int64)])
    weight = np.concatenate([np.full(len(words.hashes), WEIGHTS["word"], np.int8), np.array(weights, np.int8)])
    unit = np.concatenate([owner[words.rows()], np.repeat(owner, sizes)])
    order = np.lexsort((-weight, (unit << BITS) | bucket))
    key = ((unit << BITS) | bucket)[order]
    first = order[np.append(True, key[1:] != key[:-1])] if len(key) else order
    n_units = int(owner[-1]) + 1 if len(owner) else 0
    offsets = np.searchsorted(unit[first], np.arange(n_units + 1)).astype(np.int64)
    return Concepts(bucket[first].astype(np.int32), weight[first], offsets)


def _said(scene: str | None, template: str | None, cell: str) -> Iterator[tuple[str, str]]:
    yield "cell", cell
    if template is not None:
        yield "template", template
    if scene is None:
        return
    raw = json.loads(scene)
    things = raw["objects"]
    for thing in things:
        noun = thing["noun"]
        yield "noun", noun
        looks = [thing[name] for name in _LOOKS if thing[name] is not None]
        if thing["count"] != 1:
            looks.append(str(thing["count"]))
        for look in looks:
            yield "look", look
            yield "binding", f"{look} {noun}"
    for relation in raw["relations"]:
        predicate = relation["predicate"]
        yield "relation", predicate
        ends = (things[relation["subject"]]["noun"], things[relation["object"]]["noun"])
        yield "placing", f"{ends[0]} {predicate} {ends[1]}"
    for name in ("carrier", "setting", "light", "style"):
        if raw[name] is not None:
            yield "setting", raw[name]


@lru_cache(maxsize=1 << 16)
def _bucket(kind: str, value: str) -> int:
    digest = blake2b(f"{kind} {value}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - BITS)
