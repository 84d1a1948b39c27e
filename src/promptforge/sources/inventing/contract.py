"""What a rewrite must keep of its parent: the things with number and colour, what bears text, the text to be drawn.

Both sides are read by the same rules that the scorers' questions come from, so what is checked is what is asked later.
Not covered: things that the lexicon does not know, the colour of what bears text, relations, actions; they are left to
the wording and to the judge.
"""

from __future__ import annotations

import re
from collections import Counter

from promptforge.records import SceneObject
from promptforge.scenes import parse
from promptforge.targets import parse as parse_targets
from promptforge.texts import clean

VERSION = 2

_TWO = re.compile(r"\b(?:two|2|pair|both|couple)\b", re.IGNORECASE)


def lost(parent: str, rewrite: str) -> tuple[str, ...]:
    """What of the parent the rewrite lacks or adds, in lexicon words and numbers alone; () where it keeps everything.

    A thing is kept where the rewrite has one of the same noun and number, of the same colour where the parent says
    one. A bare plural reads as two, so two is exact only where the parent says it. Text is the same, to the letter.
    """
    parent, rewrite = clean(parent).text, clean(rewrite).text
    scene, other_scene = parse(parent), parse(rewrite)
    here = other_scene.objects
    says_two = _TWO.search(parent) is not None
    broken = [_named(thing) for thing in scene.objects if not any(_keeps(thing, other, says_two) for other in here)]
    if scene.carrier is not None and other_scene.carrier != scene.carrier:
        broken.append(scene.carrier)
    wanted, written = Counter(parse_targets(parent).strings), Counter(parse_targets(rewrite).strings)
    if missing := wanted - written:
        broken.append(f"{missing.total()} of {wanted.total()} texts")
    if added := written - wanted:
        broken.append(f"{added.total()} texts added")
    return tuple(broken)


def _keeps(thing: SceneObject, other: SceneObject, says_two: bool) -> bool:
    if thing.noun != other.noun or thing.colour not in (None, other.colour):
        return False
    return thing.count == other.count or (thing.count == 2 and not says_two and other.count > 2)


def _named(thing: SceneObject) -> str:
    number = [str(thing.count)] if thing.count > 1 else []
    return " ".join([*number, *filter(None, [thing.colour]), thing.noun])
