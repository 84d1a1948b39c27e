"""What keeps two resembling prompts apart: another scene, or one minimal pair.

Two scenes differ where they say different things of what both name: another count, colour, shape, texture or action
of the same noun, or another relation between the same nouns. A thing that only one of them names is no difference: the
parser may have missed it, and the words decide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from promptforge.records import Scene
from promptforge.stages.resemblance.words import I64, U64, Mask


def scenes_differ(one: Scene, other: Scene) -> bool:
    """Whether two scenes contradict each other."""
    first, second = _looks(one), _looks(other)
    shared = first.keys() & second.keys()
    if any(first[noun] != second[noun] for noun in shared):
        return True
    return _relations(one, shared) != _relations(other, shared)


def _looks(scene: Scene) -> dict[str, Counter[tuple[object, ...]]]:
    found: dict[str, Counter[tuple[object, ...]]] = {}
    for item in scene.objects:
        look = (item.count, item.colour, item.shape, item.texture, item.action)
        found.setdefault(item.noun, Counter())[look] += 1
    return found


def _relations(scene: Scene, nouns: set[str]) -> Counter[tuple[str, str, str]]:
    triples = (
        (scene.objects[item.subject].noun, item.predicate, scene.objects[item.object].noun) for item in scene.relations
    )
    return Counter(triple for triple in triples if triple[0] in nouns and triple[2] in nouns)


@lru_cache(maxsize=4096)
def _scene(text: str) -> Scene:
    return Scene.from_json(text)


def agree(scenes: pa.Array, pair: U64, a: I64, b: I64) -> Mask:
    """Which pairs of rows may be near duplicates: `scenes` as JSON, `pair` a hash of the minimal pair, 0 for none."""
    fine: Mask = (pair[a] == 0) | (pair[a] != pair[b])
    left, right = scenes.take(pa.array(a)), scenes.take(pa.array(b))
    other = pc.fill_null(pc.not_equal(left, right), False).to_numpy(zero_copy_only=False)
    for number in np.flatnonzero(fine & other):
        fine[number] = not scenes_differ(_scene(left[number].as_py()), _scene(right[number].as_py()))
    return fine


def agree_on(scenes: Sequence[Scene], a: I64, b: I64) -> Mask:
    """The same for scenes that were never written down."""
    return np.array(
        [not scenes_differ(scenes[i], scenes[j]) for i, j in zip(a.tolist(), b.tolist(), strict=True)], bool
    )
