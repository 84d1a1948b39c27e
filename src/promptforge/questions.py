"""Writes yes/no questions whose right answer is yes: what a picture of a prompt must show, one fact at a time.

Facts and their order are those of a Davidsonian Scene Graph (Cho et al. 2024, arXiv 2310.18235): things first, then
how many, how they look, what they do and where they stand; a question requires those that it builds on. A key says
what is asked ("colour:cup:red"), so equal facts have equal keys in every prompt.

Two objects of one noun, a red cup and a blue one, are one thing to ask for, two to count, and "one of the cups is
red". A scene does not say whether three cups are three or several: with the prompt's text a number is asked for only
where it stands there, else "more than one".
Not covered: the words drawn in the picture (a text reader's matter), setting, light and style; which of several alike
things stands in a relation; the number of things that stand alone ("a cup"), unless the text says "one".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from promptforge.lexicon import Action, article, load, plural
from promptforge.lexicon.phrases import TOKEN
from promptforge.records import Question, Relation, Scene, SceneObject

VERSION = 1  # raised whenever the questions of any scene or answer change

KINDS = ("object", "count", "attribute", "action", "relation")  #: in the order in which they are asked

#: Predicate -> its words after "is"; "above" and "below" are also on and under something.
_PLACES = {
    "left of": "to the left of",
    "right of": "to the right of",
    "above": "on or above",
    "below": "under or below",
    "hidden by": "partly hidden by",
}
#: Material -> what a thing is made of, where that is another word.
_MATERIALS = {"wooden": "wood", "woollen": "wool"}
_LOOKS = ("colour", "shape", "texture")
#: Tokens between a number and its noun: "three large red and white striped cups".
_NUMBER_REACH = 7

_MAX_TEXT = 200  # characters of a question that a model wrote
_MAX_WORDS = 60  # characters of a noun, value or other thing that it names


def from_scene(scene: Scene, text: str | None = None) -> tuple[Question, ...]:
    """Questions in an order in which each comes after all that it requires; () for an empty scene.

    `text` is the prompt, which tells exact numbers from vague ones; without it every number of the scene is exact.
    """
    writer = _Writer(scene, _tokens(text) if text is not None else None)
    found: dict[str, Question] = {}
    for question in writer.write():
        found.setdefault(question.key, question)
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class _Phrase:
    """Some of a scene's things in words; `requires` are the keys of what the words take for granted."""

    words: str
    be: str
    requires: tuple[str, ...]

    @property
    def question(self) -> str:
        return f"{self.be} {self.words}"


class _Writer:
    def __init__(self, scene: Scene, tokens: Sequence[str] | None) -> None:
        self.scene, self.tokens = scene, tokens
        self.groups: dict[str, list[SceneObject]] = {}
        for item in scene.objects:
            self.groups.setdefault(item.noun, []).append(item)

    def write(self) -> Iterator[Question]:
        """All questions, kind by kind; equal facts more than once."""
        yield from self._things()
        for noun, items in self.groups.items():
            yield from self._count(noun, items)
        for noun, items in self.groups.items():
            for look in _LOOKS:
                yield from (self._attribute(noun, look, value) for value in _values(items, look))
        for noun, items in self.groups.items():
            yield from (self._action(noun, action) for action in _values(items, "action"))
        yield from (self._relation(relation) for relation in self.scene.relations)

    def _things(self) -> Iterator[Question]:
        for noun, items in self.groups.items():
            yield _object(noun, several=sum(item.count for item in items) > 1)
        carrier = self.scene.carrier
        if carrier is not None and carrier not in self.groups:
            yield _object(carrier, several=False)

    def _exact(self, item: SceneObject) -> bool:
        """Whether the number of this thing is meant as a number."""
        if item.count == 1:
            return True
        return self.tokens is None or _says(self.tokens, item.count, item.noun)

    def _count(self, noun: str, items: Sequence[SceneObject]) -> Iterator[Question]:
        exact = all(self._exact(item) for item in items)
        total = sum(item.count if self._exact(item) else 2 for item in items)
        if total == 1 and (self.tokens is None or not _says(self.tokens, 1, noun)):
            return
        number = load().number_word(total)
        if exact:
            be = "Is" if total == 1 else "Are"
            yield _count(noun, str(total), f"{be} there exactly {number} {_noun(noun, total)}?")
        elif total == 2:
            yield _count(noun, "2+", f"Is there more than one {noun}?")
        else:
            yield _count(noun, f"{total}+", f"Are there at least {number} {_noun(noun, total)}?")

    def _some(self, noun: str, chosen: Sequence[SceneObject]) -> _Phrase:
        """The things of a noun that something is said of: the cup, the cups, one of the cups, two of the cups."""
        items = self.groups[noun]
        n_chosen, n_all = (sum(item.count for item in group) for group in (chosen, items))
        several = _noun(noun, 2)
        requires = (_key("object", noun),)
        if len(chosen) == len(items):
            return _Phrase(f"the {_noun(noun, n_all)}", "Is" if n_all == 1 else "Are", requires)
        if n_chosen == 1:
            return _Phrase(f"one of the {several}", "Is", requires)
        exact = all(self._exact(item) for item in chosen)
        return _Phrase(f"{load().number_word(n_chosen) if exact else 'some'} of the {several}", "Are", requires)

    def _attribute(self, noun: str, look: str, value: str) -> Question:
        who = self._some(noun, [item for item in self.groups[noun] if getattr(item, look) == value])
        texture = load().textures.get(value) if look == "texture" else None
        made_of = texture is not None and texture.kind == "material"
        words = f"made of {_MATERIALS.get(value, value)}" if made_of else value
        text = f"{who.question} {words}?"
        return Question(_key(look, noun, value), "attribute", text, who.requires, noun, value)

    def _action(self, noun: str, action: str) -> Question:
        who = self._some(noun, [item for item in self.groups[noun] if item.action == action])
        patient = self._patient(noun, action)
        if patient is None:
            rows = _actions().get(action, ())
            what = " something" if rows and all(row.patients for row in rows) else ""
            key, requires = _key("action", noun, action), who.requires
        else:
            others = self.groups[patient]
            what = f" the {_noun(patient, sum(item.count for item in others))}"
            key, requires = _key("action", noun, action, patient), (*who.requires, _key("object", patient))
        return Question(key, "action", f"{who.question} {action}{what}?", requires, noun, action, patient, False)

    def _patient(self, noun: str, action: str) -> str | None:
        """What an action is done to: the first thing after the last one that does it, if it is fit for that."""
        fit = {word for row in _actions().get(action, ()) for word in row.patients}
        doing = [place for place, item in enumerate(self.scene.objects) if item.action == action]
        after = self.scene.objects[doing[-1] + 1 :] if doing else ()
        return next((item.noun for item in after if item.noun in fit and item.noun != noun), None)

    def _relation(self, relation: Relation) -> Question:
        first, second = self.scene.objects[relation.subject], self.scene.objects[relation.object]
        who, whom = self._one(first), self._one(second)
        words = whom.words
        if first.noun == second.noun and who.words == whom.words:
            words = "another" if second.count == 1 else "others"
        known = load().relations.get(relation.predicate)
        return Question(
            key=_key("relation", who.words.removeprefix("the "), relation.predicate, whom.words.removeprefix("the ")),
            kind="relation",
            text=f"{who.question} {_PLACES.get(relation.predicate, relation.predicate)} {words}?",
            requires=tuple(dict.fromkeys((*who.requires, *whom.requires))),
            noun=first.noun,
            value=relation.predicate,
            other=second.noun,
            verified=known is not None and known.dimensions == 2,
        )

    def _one(self, item: SceneObject) -> _Phrase:
        """One object of the scene, by a look that no other of its noun has, where there is one."""
        others = [other for other in self.groups[item.noun] if other is not item]
        if others:
            for look in _LOOKS:
                value = getattr(item, look)
                if value is not None and all(getattr(other, look) != value for other in others):
                    be = "Is" if item.count == 1 else "Are"
                    requires = (_key("object", item.noun), _key(look, item.noun, value))
                    return _Phrase(f"the {value} {_noun(item.noun, item.count)}", be, requires)
        return self._some(item.noun, [item])


def _values(items: Sequence[SceneObject], look: str) -> tuple[str, ...]:
    """What these things have of a look, each value once, in the order of the scene."""
    return tuple(dict.fromkeys(value for item in items if (value := getattr(item, look)) is not None))


def _key(*parts: str) -> str:
    return ":".join(parts)


def _noun(word: str, count: int) -> str:
    if count == 1:
        return word
    known = load().nouns.get(word)
    return known.plural if known is not None else plural(word)


def _object(noun: str, *, several: bool) -> Question:
    there = f"Are there any {_noun(noun, 2)}?" if several else f"Is there {article(noun)} {noun}?"
    return Question(_key("object", noun), "object", there, noun=noun)


def _count(noun: str, value: str, text: str) -> Question:
    return Question(_key("count", noun, value), "count", text, (_key("object", noun),), noun, value)


@cache
def _actions() -> Mapping[str, tuple[Action, ...]]:
    """Rows of the lexicon by their words."""
    found: dict[str, tuple[Action, ...]] = {}
    for row in load().actions:
        found[row.word] = (*found.get(row.word, ()), row)
    return found


@cache
def _number_phrases() -> Mapping[int, tuple[tuple[str, ...], ...]]:
    """Count -> the ways to write it, in tokens; vague ones are left out."""
    found: dict[int, list[tuple[str, ...]]] = {}
    for row in load().numbers:
        if not row.vague:
            found.setdefault(row.value, []).append(tuple(row.word.split()))
    return {value: tuple(phrases) for value, phrases in found.items()}


def _tokens(text: str) -> tuple[str, ...]:
    return tuple(TOKEN.findall(text.lower()))


@cache
def _barriers() -> frozenset[str]:
    """Tokens behind which a number is no longer that of the next noun: marks, articles, numbers, other nouns."""
    lexicon = load()
    nouns = {token for noun in lexicon.nouns.values() for token in (noun.word, noun.plural)}
    looks = {word for rows in (lexicon.colours, lexicon.shapes, lexicon.textures) for word in rows}
    numbers = {phrase[-1] for rows in _number_phrases().values() for phrase in rows} - {"of", "single"}
    return frozenset((nouns - looks) | numbers | set(".;:!?") | {"a", "an", "the"})


def _says(tokens: Sequence[str], count: int, noun: str) -> bool:
    """Whether the number stands before the noun, with nothing between but adjectives."""
    heads = {_noun(noun, number).split()[0] for number in (1, 2)}
    for phrase in (*_number_phrases().get(count, ()), (str(count),)):
        for start in range(len(tokens) - len(phrase)):
            if tuple(tokens[start : start + len(phrase)]) != phrase:
                continue
            for token in tokens[start + len(phrase) :][:_NUMBER_REACH]:
                if token in heads:
                    return True
                if token in _barriers() or token.isdecimal():
                    break
    return False


# -- what a language model parses ----------------------------------------------------------------------------------


def from_answer(rows: Iterable[Mapping[str, Any]]) -> tuple[Question, ...]:
    """Questions out of a language model's rows {id, kind, text, noun, value, other, requires}, "" for none.

    Put into the same form and order as those of a scene: keys by content, numbers in figures, predicates as the lexicon
    has them, the thing asked for before its looks. A row is left out that says too little, is no question, or requires
    what is not there; with it go those that require it. A relation counts as verified where it is one of the plane.
    """
    rows = [row for row in rows if row["kind"] in KINDS]
    known: dict[int, str] = {}
    things: dict[str, str] = {}
    found: dict[str, Question] = {}
    for row in sorted(rows, key=lambda row: KINDS.index(row["kind"])):
        question = _read(row, known, things)
        if question is None or row["id"] in known:
            continue
        known[row["id"]] = question.key
        found.setdefault(question.key, question)
        if question.kind == "object" and question.noun is not None:
            things.setdefault(question.noun, question.key)
    return tuple(found.values())


def _read(row: Mapping[str, Any], known: Mapping[int, str], things: Mapping[str, str]) -> Question | None:
    kind, text = str(row["kind"]), " ".join(str(row["text"]).split())
    noun, value, other = (_plain(row[name]) for name in ("noun", "value", "other"))
    if not text.endswith("?") or len(text) > _MAX_TEXT or not noun or max(map(len, (noun, value, other))) > _MAX_WORDS:
        return None
    if any(needed not in known for needed in row["requires"]):
        return None
    requires = dict.fromkeys(known[needed] for needed in row["requires"])
    if kind == "object":
        return Question(_key("object", noun), kind, text, noun=noun) if not requires else None
    ends = (noun, other) if kind == "relation" or other in things else (noun,)
    if not value or any(end not in things for end in ends):
        return None
    requires = dict.fromkeys((*(things[end] for end in ends), *requires))
    if kind == "count":
        value = _figures(value)
        if not value:
            return None
    verified = kind in {"count", "attribute"}
    if kind == "relation":
        value = _predicates().get(value, value)
        known_one = load().relations.get(value)
        verified = known_one is not None and known_one.dimensions == 2
    held = other if kind in {"relation", "action"} and other else None
    key = _key(kind, *(part for part in (noun, value, held) if part))
    return Question(key, kind, text, tuple(requires), noun, value, held, verified)


def _plain(words: object) -> str:
    """Lower case, one blank between words, no article before them; a noun of the lexicon in the singular."""
    plain = re.sub(r"\A(?:a|an|the) ", "", " ".join(str(words).lower().split()))
    return _singulars().get(plain, plain)


def _figures(value: str) -> str:
    """A number in figures, with + where it is the least; "" where it is none from 1 up."""
    plus = "+" if value.endswith("+") else ""
    bare = value.removesuffix("+").strip()
    number = next((row.value for row in load().numbers if row.word == bare and not row.vague), None)
    if number is None and bare.isascii() and bare.isdecimal() and len(bare) <= 3:
        number = int(bare)
    return f"{number}{plus}" if number else ""


@cache
def _singulars() -> Mapping[str, str]:
    return {noun.plural: noun.word for noun in load().nouns.values()}


@cache
def _predicates() -> Mapping[str, str]:
    """Phrase -> the lexicon's predicate."""
    return {phrase: row.word for row in load().relations.values() for phrase in row.phrases}
