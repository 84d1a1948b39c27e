"""What two scenes say of each other: one scene in other words, or other roles in the same words."""

from __future__ import annotations

from typing import Any

from promptforge import lexicon
from promptforge.records import Scene

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
