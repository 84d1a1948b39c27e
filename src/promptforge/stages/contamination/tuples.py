"""What two scenes say of each other: one scene in other words, other roles or other looks in the same words."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import Any

from promptforge import lexicon
from promptforge.records import Scene
from promptforge.texts import fold

Thing = tuple[Any, ...]


def tuples_of(scene: Scene) -> tuple[Any, ...] | None:
    """What a scene says, whatever the order: things with their looks, relations with their ends, the place.

    A relation and its inverse say the same. None where the scene is only half understood, or says so little (no
    relation, fewer than two things with a look) that others say it too.
    """
    looks = [item for item in scene.objects if item.colour or item.shape or item.texture or item.action]
    if scene.unknown or not (scene.relations or len(looks) > 1):
        return None
    things = [_thing(scene, number) for number in range(len(scene.objects))]
    known = lexicon.load().relations
    relations = []
    for item in scene.relations:
        one, other = things[item.subject], things[item.object]
        relation = known.get(item.predicate)
        inverse = relation.inverse if relation is not None else None
        written = [(one, item.predicate, other)] + ([(other, inverse, one)] if inverse else [])
        relations.append(min(written))
    return tuple(sorted(things)), tuple(sorted(relations)), scene.setting or "", scene.carrier or ""


def _thing(scene: Scene, number: int) -> Thing:
    item = scene.objects[number]
    looks = (item.colour, item.shape, item.texture, item.action)
    return (item.noun, item.count, *(look or "" for look in looks))


def nouns_of(scene: Scene) -> tuple[str, ...]:
    """The nouns of all things, sorted: cheap to have, and equal where the tuples are."""
    return tuple(sorted(item.noun for item in scene.objects))


def other_things(one: Scene, other: Scene) -> bool:
    """Whether both name things that are known, and none in common."""
    return bool(one.objects) and bool(other.objects) and not set(nouns_of(one)) & set(nouns_of(other))


def looks_exchanged(text: str, prompt: str) -> bool:
    """Whether the text lacks nothing of the prompt but looks, and has others instead.

    Words alone decide, so also where a thing is unknown and the scene does not say what it looks like.
    """
    own, wanted = Counter(fold(text).split()), Counter(fold(prompt).split())
    lacks, looks = wanted - own, _looks()
    return bool(lacks) and looks.issuperset(lacks) and not looks.isdisjoint(own - wanted)


@lru_cache(maxsize=1)
def _looks() -> frozenset[str]:
    """Colours, shapes and textures of one word."""
    tables = lexicon.load()
    found = set(tables.colours)
    for kind in (tables.shapes, tables.textures):
        for look in kind.values():
            found.update((look.word, *look.also))
    return frozenset(fold(word) for word in found)
