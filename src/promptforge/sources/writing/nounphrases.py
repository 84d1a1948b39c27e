"""Noun phrases: a scene object and the ways to name it.

`str.format` templates reach them by attribute: {a} a round red table, {a.the} the table, {a.bare} a table,
{a.look} round red, {a.be} is, {a.after} in the shape of a star.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from promptforge.lexicon import article, load
from promptforge.records import SceneObject


@dataclass(frozen=True, slots=True)
class NounPhrase:
    """One object in words; `extra` is an adjective that the scene does not hold, `after` one behind the noun."""

    item: SceneObject
    extra: str = ""
    after: str = ""

    def __str__(self) -> str:
        return self._named(self.extra, self.look)

    def __format__(self, spec: str) -> str:
        return str(self)

    @property
    def look(self) -> str:
        """Adjectives in the order of English: shape, pattern, colour, material."""
        item = self.item
        texture = item.texture or ""
        material = bool(texture) and load().textures[texture].kind == "material"
        words = (item.shape, None if material else texture, item.colour, texture if material else None)
        return " ".join(word for word in words if word)

    @property
    def noun(self) -> str:
        """The noun in its number."""
        noun = load().nouns[self.item.noun]
        return noun.word if self.item.count == 1 else noun.plural

    @property
    def the(self) -> str:
        """The thing, without its looks."""
        return f"the {self.noun}"

    @property
    def bare(self) -> str:
        """A thing, without its looks."""
        return self._named(self.extra)

    @property
    def number(self) -> str:
        """The count in words before the noun, also for one: one cat, three cats."""
        return " ".join(part for part in (load().number_word(self.item.count), self.look, self.noun) if part)

    @property
    def be(self) -> str:
        """The verb that agrees."""
        return "is" if self.item.count == 1 else "are"

    def _named(self, *before: str) -> str:
        words = " ".join(part for part in (*before, self.noun) if part)
        if self.item.count == 1:
            return f"{article(words.split(' ', 1)[0])} {words}"
        return f"{load().number_word(self.item.count)} {words}"


@dataclass(frozen=True, slots=True)
class Draft:
    """What a writer gives for one row; the source adds row number, axis and the final form.

    `place` is where it may be: indoors, outdoors, any, or none where no place may be added. `whole`: sentences with
    capitals and full stops, which need no final form.
    """

    template: str
    text: str
    objects: tuple[SceneObject, ...] = ()
    relations: tuple[tuple[int, str, int], ...] = ()
    carrier: str | None = None
    setting: str | None = None
    light: str | None = None
    style: str | None = None
    expected_text: tuple[str, ...] = ()
    place: str = "any"
    whole: bool = False


def carried(objects: Sequence[SceneObject]) -> list[int]:
    """Indices of what somebody holds: named right behind who acts."""
    pairs = enumerate(pairwise(objects), start=1)
    return [n for n, (who, what) in pairs if who.action is not None and what.action is None]
