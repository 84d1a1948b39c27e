"""What keeps two resembling prompts apart: another scene, or one minimal pair.

Two scenes differ where both say something of the same thing and not the same: another count, colour, shape, texture or
action of a noun, another relation between two nouns. What only one of them says is no difference: the parser may have
missed it, and the words decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from promptforge.records import Scene
from promptforge.stages.hashing import I64, U64
from promptforge.stages.resemblance.words import Mask


def scenes_differ(one: Scene, other: Scene) -> bool:
    """Whether two scenes contradict each other."""
    first, second = _looks(one), _looks(other)
    if any(first[key] != second[key] for key in first.keys() & second.keys()):
        return True
    stands, stood = _relations(one), _relations(other)
    return any(stands[key] != stood[key] for key in stands.keys() & stood.keys())


def _looks(scene: Scene) -> dict[tuple[str, str], list[object]]:
    """(noun, what of it) -> what is said, sorted; 1 is no count, since "cat" may be one that the parser half read."""
    found: dict[tuple[str, str], list[object]] = {}
    for item in scene.objects:
        said = {
            "count": item.count if item.count > 1 else None,
            "colour": item.colour,
            "shape": item.shape,
            "texture": item.texture,
            "action": item.action,
        }
        for what, value in said.items():
            if value is not None:
                found.setdefault((item.noun, what), []).append(value)
    return {key: sorted(values, key=str) for key, values in found.items()}


def _relations(scene: Scene) -> dict[frozenset[str], set[tuple[str, str, str]]]:
    """Pair of nouns -> what stands how to what."""
    found: dict[frozenset[str], set[tuple[str, str, str]]] = {}
    for item in scene.relations:
        triple = (scene.objects[item.subject].noun, item.predicate, scene.objects[item.object].noun)
        found.setdefault(frozenset((triple[0], triple[2])), set()).add(triple)
    return found


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
