"""What goes with what: lists that the writers pick from, made once from the lexicon's traits."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from promptforge.lexicon import Action, Lexicon, Noun, Setting, load
from promptforge.records import SceneObject
from promptforge.sources.writing.draw import Draw
from promptforge.sources.writing.nounphrases import NounPhrase

_PACKAGE = "promptforge.sources.writing"
#: Things this many sizes apart still stand beside each other: a cup and a cat, not a cup and a house.
SIZE_GAP = 1

Nouns = tuple[str, ...]


def template_names() -> list[str]:
    """Names of the template files, for the source's digest."""
    return sorted(item.name for item in files(_PACKAGE).iterdir() if item.name.endswith(".toml"))


def template_bytes(name: str) -> bytes:
    """One template file as it is on disk."""
    return files(_PACKAGE).joinpath(name).read_bytes()


def templates(name: str) -> Mapping[str, Any]:
    """One template file, parsed."""
    return tomllib.loads(template_bytes(name).decode("utf-8"))


class Pools:
    """Nouns by what can be said of them."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self.written = [noun for noun in lexicon.nouns.values() if noun.written]
        self.persons = self.of_kind("person")
        self.animals = self.of_kind("animal")
        self.things: Nouns = tuple(
            noun.word for noun in self.written if noun.kind not in ("person", "nature") and noun.size < 6
        )
        sky = lexicon.groups["sky"]
        self.placed: Nouns = tuple(noun.word for noun in self.written if noun.word not in sky and noun.size < 6)
        self.colours = tuple(colour.word for colour in lexicon.colours.values() if colour.same_as is None)
        self.shapes = _by_noun(self.things, lexicon.shapes.values())
        self.textures = _by_noun(self.things, lexicon.textures.values())
        self.shaped, self.textured = tuple(self.shapes), tuple(self.textures)
        self.beside = {
            size: tuple(w for w in self.placed if abs(lexicon.nouns[w].size - size) <= SIZE_GAP) for size in range(1, 6)
        }
        self.smaller = {
            size: tuple(w for w in self.placed if lexicon.nouns[w].size < size and self._lies(lexicon.nouns[w]))
            for size in range(1, 7)
        }
        self.no_bigger = {size: tuple(w for w in self.placed if lexicon.nouns[w].size <= size) for size in range(1, 6)}
        self.supports = self.group("support", lambda noun: bool(self.smaller[noun.size]))
        self.roofs = self.group("roof")
        self.aloft = self.group("aloft")
        self.settings = {
            place: tuple(s for s in lexicon.settings.values() if s.written and s.place == place)
            for place in ("indoors", "outdoors")
        }
        self.actions = [action for action in lexicon.actions if self.agents(action) and self._has_patients(action)]

    def of_kind(self, kind: str) -> Nouns:
        """Written nouns of a kind."""
        return tuple(noun.word for noun in self.written if noun.kind == kind)

    def group(self, name: str, accept: Any = None) -> Nouns:
        """Written nouns of a group of traits.toml, in the order of nouns.toml."""
        members = self.lexicon.groups[name]
        return tuple(n.word for n in self.written if n.word in members and (accept is None or accept(n)))

    def agents(self, action: Action) -> Nouns:
        """Who may do it."""
        return tuple(noun.word for noun in self.written if noun.word in action.agents)

    def patients(self, action: Action) -> Nouns:
        """What it may be done to."""
        return tuple(noun.word for noun in self.written if noun.word in action.patients)

    def setting(self, draw: Draw, nouns: Iterable[str], wanted: str = "any") -> Setting | None:
        """A place, indoors, outdoors or any, where all these things may be; None where they never meet."""
        place = self.place_of(nouns)
        if place is None or (place and wanted not in ("any", place)):
            return None
        place = place or ("" if wanted == "any" else wanted)
        return draw.pick(self.settings[place or draw.pick(("indoors", "outdoors"))])

    def place_of(self, nouns: Iterable[str]) -> str | None:
        """Where things belong: indoors, outdoors, "" for either, None for nowhere together."""
        groups, found = self.lexicon.groups, set()
        for word in nouns:
            noun = self.lexicon.nouns[word]
            if word in groups["indoors"]:
                found.add("indoors")
            elif word in groups["outdoors"] or noun.kind in ("building", "vehicle", "nature") or noun.size > 3:
                found.add("outdoors")
        return None if len(found) > 1 else next(iter(found), "")

    def looks(self, draw: Draw, noun: str, *kinds: str) -> dict[str, str]:
        """A colour, shape, texture for a noun, of those kinds that suit it; a glass thing gets no colour."""
        found: dict[str, str] = {}
        if "shape" in kinds and noun in self.shapes:
            found["shape"] = draw.pick(self.shapes[noun])
        if "texture" in kinds and noun in self.textures:
            found["texture"] = draw.pick(self.textures[noun])
        if "colour" in kinds and self.lexicon.nouns[noun].kind not in ("person", "nature"):
            found["colour"] = draw.pick(self.colours)
        if found.get("texture") == "transparent":
            found.pop("colour", None)
        return found

    @staticmethod
    def _lies(noun: Noun) -> bool:
        """Whether it lies on something."""
        return noun.kind not in ("person", "vehicle", "building", "furniture", "nature") and noun.size <= 2

    def _has_patients(self, action: Action) -> bool:
        return not action.patients or bool(self.patients(action))


def _by_noun(nouns: Nouns, rows: Iterable[Any]) -> dict[str, Nouns]:
    listed = list(rows)
    found = {noun: tuple(row.word for row in listed if noun in row.nouns) for noun in nouns}
    return {noun: words for noun, words in found.items() if words}


@lru_cache(maxsize=1)
def pools() -> Pools:
    """The pools of the whole lexicon, made once."""
    return Pools(load())


def thing(
    noun: str, looks: Mapping[str, str] | None = None, count: int = 1, extra: str = "", after: str = ""
) -> NounPhrase:
    """A noun phrase for one kind of thing; `looks` are fields of SceneObject."""
    return NounPhrase(SceneObject(noun, count, **(looks or {})), extra, after)
