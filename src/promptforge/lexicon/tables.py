"""The lexicon's rows as frozen dataclasses, read from the package's *.toml files.

Traits (size, groups, what is never written) live in traits.toml, so that nouns.toml says only what a noun is
and how it is drawn. Reading everything takes about 35 ms; `load` does it once.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any

from promptforge.errors import EnvironmentFault

_PACKAGE = "promptforge.lexicon"
_VOWELS = ("a", "e", "i", "o", "u")
#: A noun that traits.toml gives no size is as big as a person.
DEFAULT_SIZE = 3


@dataclass(frozen=True, slots=True)
class Noun:
    """A thing that can be drawn. `size` is 1 (held in a hand) to 6 (a mountain); `written`: by the grammar.

    `bare` says whether the word counts as a noun in free text without an article before it.
    """

    word: str
    plural: str
    article: str
    kind: str
    icon: str
    size: int
    written: bool
    bare: bool


@dataclass(frozen=True, slots=True)
class Colour:
    """A colour word; `same_as` is the canonical word where this one is only another spelling."""

    word: str
    rgb: tuple[int, int, int]
    same_as: str | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """An outline, and the nouns that the grammar gives it to."""

    word: str
    nouns: frozenset[str]
    also: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Texture:
    """A material (stands behind the colour word) or a surface (before it), and its nouns."""

    word: str
    nouns: frozenset[str]
    kind: str
    also: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Number:
    """A count; a `vague` one ("several") stands for more than one, and only before a plural."""

    word: str
    value: int
    written: bool
    vague: bool = False


@dataclass(frozen=True, slots=True)
class Relation:
    """A predicate between two things, in the picture plane (2) or in depth (3).

    `inverse` is the predicate with both ends swapped; its own word where it is symmetric, None where none exists.
    `written` are the grammar's phrases by what suits the pair: any, on, over, under.
    """

    word: str
    dimensions: int
    inverse: str | None
    phrases: tuple[str, ...]
    written: Mapping[str, tuple[str, ...]]
    side: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Action:
    """What `agents` do (nouns), to one of `patients` where there are any; `place` is indoors, outdoors, any or none."""

    word: str
    agents: frozenset[str]
    patients: frozenset[str] = frozenset()
    plural: bool = False
    together: bool = False
    place: str = "any"


@dataclass(frozen=True, slots=True)
class Setting:
    """A place. `phrase` is preposition, article, word; `view`: can be a picture's whole subject."""

    word: str
    phrase: str
    place: str
    view: bool
    written: bool


@dataclass(frozen=True, slots=True)
class Light:
    """A light or weather; `place` is indoors, outdoors or any."""

    word: str
    place: str
    phrases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Medium:
    """What a picture is made with; `view` ones suit places only."""

    word: str
    kind: str
    also: tuple[str, ...]
    view: bool
    written: bool


@dataclass(frozen=True, slots=True)
class Style:
    """A manner of picturing."""

    word: str
    phrases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Carrier:
    """What bears text: `word` is the canonical one, `names` its written forms, `also` forms that are only read."""

    word: str
    names: tuple[str, ...]
    also: tuple[str, ...] = ()
    held: bool = False
    worn: bool = False
    set: bool = False
    place: str | None = None


@dataclass(frozen=True, slots=True)
class TargetWords:
    """Words to be drawn, by part of speech; `countable` are the nouns that have a plural."""

    nouns: tuple[str, ...]
    countable: tuple[str, ...]
    adjectives: tuple[str, ...]
    verbs: tuple[str, ...]
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lexicon:
    """All tables; mappings are keyed by canonical word, in the order of the files."""

    nouns: Mapping[str, Noun]
    groups: Mapping[str, frozenset[str]]
    colours: Mapping[str, Colour]
    shapes: Mapping[str, Shape]
    textures: Mapping[str, Texture]
    numbers: tuple[Number, ...]
    relations: Mapping[str, Relation]
    actions: tuple[Action, ...]
    settings: Mapping[str, Setting]
    lights: Mapping[str, Light]
    mediums: Mapping[str, Medium]
    styles: Mapping[str, Style]
    carriers: tuple[Carrier, ...]
    carrier_words: Mapping[str, tuple[str, ...]]  # say, say_also, on, behind, held, worn, beside
    captions: Mapping[str, tuple[str, ...]]  # lens, composition, finish, being, thing, dish, view, ...
    stop_words: frozenset[str]
    framing_words: frozenset[str]
    open_words: TargetWords
    kept_words: TargetWords = field(repr=False)  # the reserved ones

    def number_word(self, value: int) -> str:
        """The word of a count, or its figures where there is no word."""
        return next((n.word for n in self.numbers if n.value == value), str(value))


@lru_cache(maxsize=1)
def _forms() -> dict[str, Any]:
    return _table("forms.toml")


def article(word: str) -> str:
    """`a` or `an` before a word of the lexicon, by the sound of its beginning (an hourglass, an 85mm lens)."""
    forms = _forms()
    if word in forms["an_before_a_consonant"] or word.startswith("8"):
        return "an"
    return "an" if word[:1].lower() in _VOWELS and word.lower() not in forms["a_before_a_vowel"] else "a"


def plural(word: str) -> str:
    """Plural of a singular noun of the lexicon."""
    irregular: str | None = _forms()["plural"].get(word)
    if irregular is not None:
        return irregular
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return f"{word}es"
    if word.endswith("y") and word[-2:-1] not in _VOWELS:
        return f"{word[:-1]}ies"
    return f"{word}s"


@lru_cache(maxsize=1)
def digest() -> str:
    """SHA-256 over the names and bytes of all data files, in name order."""
    total = hashlib.sha256()
    for name in _data_names():
        data = files(_PACKAGE).joinpath(name).read_bytes()
        total.update(f"{name}\0{len(data)}\0".encode())
        total.update(data)
    return total.hexdigest()


def _data_names() -> list[str]:
    return sorted(item.name for item in files(_PACKAGE).iterdir() if item.name.endswith(".toml"))


def _table(name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(files(_PACKAGE).joinpath(name).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as exc:
        raise EnvironmentFault(f"lexicon file {name} cannot be read ({exc}); install promptforge again") from exc


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _phrases(text: str) -> list[str]:
    return [" ".join(part.split()) for part in text.split(";") if part.strip()]


@lru_cache(maxsize=1)
def load() -> Lexicon:
    """The whole lexicon; the same object on every call."""
    traits = _table("traits.toml")
    nouns = _nouns(traits)
    groups = {name: frozenset(_words(text)) for name, text in traits["groups"].items()}
    attributes, styles, carriers, glue = (
        _table(f"{name}.toml") for name in ("attributes", "styles", "carriers", "glue")
    )
    return Lexicon(
        nouns=nouns,
        groups=groups,
        colours=_colours(),
        shapes={row["word"]: _shape(row, groups) for row in attributes["shape"]},
        textures={row["word"]: _texture(row, groups) for row in attributes["texture"]},
        numbers=tuple(
            Number(row["word"], row["value"], key == "number", row.get("vague", False))
            for key in ("number", "read_only")
            for row in attributes[key]
        ),
        relations={row["word"]: _relation(row) for row in _table("relations.toml")["relation"]},
        actions=tuple(_actions(nouns, groups)),
        settings={
            row["word"]: Setting(
                row["word"], row["with"], row["place"], row.get("view", False), not row.get("read_only", False)
            )
            for row in _table("settings.toml")["setting"]
        },
        lights={row["word"]: Light(row["word"], row["place"], tuple(row["phrases"])) for row in styles["light"]},
        mediums={row["word"]: _medium(row) for row in styles["medium"]},
        styles={row["word"]: Style(row["word"], tuple(row["phrases"])) for row in styles["style"]},
        carriers=tuple(_carrier(row) for row in carriers["carrier"]),
        carrier_words={
            **{key: tuple(carriers[key]) for key in ("say", "say_also", "on", "behind")},
            **{key: tuple(value) for key, value in carriers["hold"].items()},
        },
        captions={key: tuple(rows) for key, rows in styles.items() if rows and isinstance(rows[0], str)},
        stop_words=frozenset(_words(glue["stop"])),
        framing_words=frozenset(_words(glue["framing"])),
        **_target_words(),
    )


def _nouns(traits: Mapping[str, Any]) -> dict[str, Noun]:
    sizes = {word: int(size) for size, text in traits["size"].items() for word in _words(text)}
    never, needy = set(_words(traits["never_written"])), set(_words(traits["needs_determiner"]))
    return {
        row["word"]: Noun(
            word=row["word"],
            plural=row.get("plural") or plural(row["word"]),
            article=article(row["word"]),
            kind=row["kind"],
            icon=row["icon"],
            size=sizes.get(row["word"], DEFAULT_SIZE),
            written=row["word"] not in never,
            bare=row["word"] not in needy,
        )
        for row in _table("nouns.toml")["noun"]
    }


def _colours() -> dict[str, Colour]:
    rows = _table("colours.toml")["colour"]
    rgb = {row["word"]: tuple(row["rgb"]) for row in rows if "rgb" in row}
    return {row["word"]: Colour(row["word"], rgb[row.get("same_as", row["word"])], row.get("same_as")) for row in rows}


def _members(names: Iterable[str], groups: Mapping[str, frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*(groups[name] for name in names))


def _shape(row: Mapping[str, Any], groups: Mapping[str, frozenset[str]]) -> Shape:
    return Shape(row["word"], _members(row["group"], groups), tuple(row.get("also", ())), tuple(row.get("after", ())))


def _texture(row: Mapping[str, Any], groups: Mapping[str, frozenset[str]]) -> Texture:
    also, after = tuple(row.get("also", ())), tuple(row.get("after", ()))
    return Texture(row["word"], _members(row["group"], groups), row["kind"], also, after)


def _relation(row: Mapping[str, Any]) -> Relation:
    written = {key: tuple(phrases) for key, phrases in row["written"].items()}
    every = [row["word"], *row["phrases"], *(phrase for phrases in written.values() for phrase in phrases)]
    inverse = row["word"] if row.get("symmetric") else row.get("inverse")
    return Relation(
        row["word"], row["dimensions"], inverse, tuple(dict.fromkeys(every)), written, tuple(row.get("side", ()))
    )


def _actions(nouns: Mapping[str, Noun], groups: Mapping[str, frozenset[str]]) -> Iterable[Action]:
    def expand(names: Iterable[str]) -> frozenset[str]:
        found: set[str] = set()
        for name in names:
            of_kind = {noun.word for noun in nouns.values() if noun.kind == name}
            found |= groups.get(name, of_kind or {name})
        return frozenset(found & set(nouns))

    for row in _table("actions.toml")["action"]:
        agents, patients = expand(row["agents"]), expand(_words(row.get("patients", "")))
        for word in _phrases(row["words"]):
            several, together = row.get("plural", False), row.get("together", False)
            yield Action(word, agents, patients, several, together, row.get("place", "any"))


def _medium(row: Mapping[str, Any]) -> Medium:
    return Medium(
        row["word"], row["kind"], tuple(row.get("also", ())), row.get("view", False), not row.get("read_only", False)
    )


def _carrier(row: Mapping[str, Any]) -> Carrier:
    return Carrier(
        row["word"],
        tuple(row["names"]),
        tuple(row.get("also", ())),
        row.get("held", False),
        row.get("worn", False),
        row.get("set", False),
        row.get("place"),
    )


def _target_words() -> dict[str, TargetWords]:
    table = _table("words.toml")
    mass = frozenset(_words(table["mass"]))
    nouns, kept = _words(table["nouns"]), table["reserved"]
    kept_nouns = _words(kept["nouns"])
    return {
        "open_words": TargetWords(
            nouns=nouns,
            countable=tuple(word for word in nouns if word not in mass),
            adjectives=_words(table["adjectives"]),
            verbs=_words(table["verbs"]),
            others=_words(table["others"]),
        ),
        "kept_words": TargetWords(
            nouns=kept_nouns,
            countable=tuple(word for word in kept_nouns if word not in mass),
            adjectives=_words(kept["adjectives"]),
            verbs=_words(kept["verbs"]),
        ),
    }
