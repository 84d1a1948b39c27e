"""Reads tokens as a scene: one pass, phrase by phrase, with a little memory.

What is being described, who did it last, which relation waits for its second thing. No grammar of English: clauses
are told apart by punctuation, "and" and "is". What is unsure is left out rather than guessed: a relation with an
unknown end, an attribute of an unknown thing.
"""

from __future__ import annotations

from collections.abc import Callable

from promptforge.lexicon.memory import Phrase, Thing
from promptforge.lexicon.phrases import ENDING, PARTS, PLACING, QUOTE, ROLES, Match, Matcher, Sense, can_do, transitive
from promptforge.lexicon.tables import load
from promptforge.records import Relation, Scene, SceneObject

#: Things in a plural without a number: more than one, so two are drawn.
BARE_PLURAL = 2
#: Figures above this are years and sizes, not counts.
MAX_COUNT = 20
#: How many tokens an adjective looks ahead for its noun ("a round, red and white striped cup").
LOOK_AHEAD = 7

_ATTRIBUTES = ("colour", "shape", "texture")


class SceneReader:
    """State of one pass. `here` is the thing named last; `heads` are the clause's things joined by "and"."""

    def __init__(self, tokens: list[str], phrases: Matcher, bears_text: bool) -> None:
        self.tokens, self.phrases, self.bears_text = tokens, phrases, bears_text
        self.things: list[Thing] = []
        self.by_noun: dict[str, list[int]] = {}
        self.named: list[int] = []  # things in the order of their mentions
        self.relations: dict[Relation, None] = {}
        self.fields: dict[str, str] = {}  # carrier, setting, light, medium, style
        self.unknown: list[str] = []
        self.sides: list[tuple[int, str]] = []
        self.side: str | None = None
        self.bearer: tuple[str, int | None] | None = None  # carrier named last, and its thing
        self.pure_bearer: str | None = None
        self.bearer_due = self.said = False
        self._new_clause()

    def _new_clause(self) -> None:
        """Forgets everything but what has been named."""
        self.phrase = Phrase()
        self.heads: list[int] = []
        self.waiting: tuple[str, list[int] | None] | None = None  # predicate, its subjects (None: still to come)
        self.landmark: tuple[str, int] | None = None  # "behind the sofa is a ...": predicate, sofa
        self.subjects: list[int] = []  # of the last relation
        self.actor: list[int] = []
        self.be = ""  # is, are, ... directly before
        self.said_be = False
        self.strange_be = False  # "is" stands behind a thing that the lexicon does not know
        self.stranger = False  # the last thing named is none that the lexicon knows
        self.placing = False
        self.n_named = 0

    def read(self) -> Scene:
        """The scene of all tokens."""
        acts: dict[str, Callable[[Sense, int], None]] = {
            "noun": self._on_noun,
            "carrier": self._on_carrier,
            "number": self._on_number,
            "after": self._on_after,
            "relation": self._on_relation,
            "side": self._on_side,
            "action": self._on_action,
            "setting": self._on_setting,
            "join": lambda _sense, after: self._on_join(after - 1),
            "say": self._on_say,
            "on": self._on_on,
            **dict.fromkeys(_ATTRIBUTES, self._on_attribute),
            **dict.fromkeys(("light", "medium", "style"), self._on_manner),
        }
        self.prev, at = "", 0
        while at < len(self.tokens):
            match = self.phrases.at(self.tokens, at)
            if match is None:
                self.prev = self._on_word(self.tokens[at], at)
                at += 1
                continue
            sense = self._choose(match, at)
            at += match.length
            if (act := acts.get(sense.kind)) is not None:
                act(sense, at)
            if sense.kind not in ("number", *_ATTRIBUTES):
                self.be = ""
            self.prev = sense.kind
        return self._scene()

    def _choose(self, match: Match, at: int) -> Sense:
        """One of several senses by what stands around it; each kind occurs once."""
        senses = {sense.kind: sense for sense in match.senses}
        if len(senses) == 1:
            return match.senses[0]
        after = self.tokens[at + match.length] if at + match.length < len(self.tokens) else ""
        if "say" in senses and (after == QUOTE or self.prev == "carrier"):
            return senses["say"]
        if "on" in senses and self.prev in ("quote", "say", "quiet") and self.said and "carrier" not in self.fields:
            return senses["on"]
        if "carrier" in senses:
            return senses["carrier"]
        if {"action", "noun"} <= senses.keys():
            return senses["action" if self.named and not self.phrase.open else "noun"]
        rest = [sense for kind, sense in senses.items() if kind not in ("say", "on", "quiet")]
        return rest[0] if rest else match.senses[0]

    def _on_word(self, word: str, at: int) -> str:
        """A token that begins no phrase; the answer is what it was."""
        role = ROLES.get(word)
        if role is None or (role == "made" and self.phrase.open):
            return self._on_plain(word, at)
        if role == "quote":
            self._bear()
        elif role == "pause":
            self._new_clause()
        elif role == "join":
            self._on_join(at)
        elif role == "article":
            self.phrase = Phrase(definite=word == "the", open=True)
        elif role == "made":
            self.be = "is"
        elif role == "be":
            self.be, self.said_be, self.strange_be = word, True, self.phrase.strange
            if self.prev == "article" or self.phrase.strange:  # "a cup that is red"
                self.phrase = Phrase()
        return role

    def _on_plain(self, word: str, at: int) -> str:
        """A token without a role: figures, a preposition, a word to pass over, or one that is not understood."""
        lexicon = load()
        if word == "with":
            self.phrase, self.waiting = Phrase(), None
        elif self.phrase.strange and word == "of":  # "two red cartons of eggs": two, but not red
            if self.tokens[at - 1].removesuffix("s") not in PARTS:
                self.phrase.looks.clear()
        elif self.phrase.strange and word in ENDING:  # "two brown heaps in snow": the snow is neither
            self.phrase = Phrase()
        self.placing = word in PLACING or (self.placing and word not in lexicon.stop_words)
        if word.isdecimal() and len(word) <= 2 and 0 < int(word) <= MAX_COUNT and self._noun_ahead(at + 1):
            self.phrase = Phrase(open=True, count=int(word))
            return "number"
        if word not in lexicon.stop_words and word not in lexicon.framing_words:
            self.unknown.append(word)
            self.stranger = not word.endswith(("ly", "ed", "ing"))
            self.phrase.strange |= self.phrase.open and self.stranger
            return "unknown"
        return "glue"

    def _on_join(self, at: int) -> None:
        """And, comma: ends the noun phrase, unless another adjective of it follows."""
        match = self.phrases.at(self.tokens, at + 1) if at + 1 < len(self.tokens) else None
        if match is None or match.senses[0].kind not in _ATTRIBUTES:
            self.phrase = Phrase()
            self.waiting = None

    def _noun_ahead(self, at: int) -> bool:
        """Whether only adjectives and joins stand between here and a noun."""
        for _ in range(LOOK_AHEAD):
            if at >= len(self.tokens):
                return False
            match = self.phrases.at(self.tokens, at)
            if match is None:
                if ROLES.get(self.tokens[at]) != "join":
                    return False
                at += 1
                continue
            kinds = {sense.kind for sense in match.senses}
            if kinds & {"noun", "carrier"}:
                return True
            if not kinds <= {*_ATTRIBUTES, "quiet", "action"}:
                return False
            at += match.length
        return False

    def _on_number(self, sense: Sense, _at: int) -> None:
        self.phrase = Phrase(
            open=True, definite=self.phrase.definite, count=int(sense.value), vague=sense.mark == "vague"
        )

    def _on_attribute(self, sense: Sense, at: int) -> None:
        """Before its noun, or after "is"; whether "the woman in the dress is red" tells of her is not known."""
        if self.be and self.strange_be and not self.phrase.open and not self._noun_ahead(at):
            return
        if self.be and not self.phrase.open and self.heads and not self._noun_ahead(at):
            for index in self._about(self.be):
                self.things[index].looks.setdefault(sense.kind, sense.value)
            return
        self.phrase.open = True
        self.phrase.looks.setdefault(sense.kind, sense.value)

    def _on_after(self, sense: Sense, _at: int) -> None:
        if self.named and not self.stranger:
            self.things[self.named[-1]].looks.setdefault(sense.mark, sense.value)

    def _about(self, be: str) -> list[int]:
        """Whom a predicate is about: all joined things after "are", else the last of them."""
        return list(self.heads) if be in ("are", "were") else self.heads[-1:]

    def _on_action(self, sense: Sense, at: int) -> None:
        strange = self.phrase.strange and sense.value in transitive()  # "a red robot feeding birds"
        if strange:
            self.phrase = Phrase()
        if (strange or (self.be and self.strange_be)) and not self.heads:
            return
        looks = self.phrase.looks
        if (self.phrase.open and self._noun_ahead(at)) or not self.named or self.prev in ("pause", ""):
            self.phrase.open = True
            looks.setdefault("action", sense.value)
            return
        if self.be and self.heads:
            self.actor = self._about(self.be)
        elif self.prev != "join" or not self.actor:
            self.actor = [] if self.stranger else self.named[-1:]
        for index in self.actor:
            if can_do(self.things[index].noun, sense.value):  # "a man at a table eating": not the table
                self.things[index].looks.setdefault("action", sense.value)

    def _on_manner(self, sense: Sense, _at: int) -> None:
        self.fields.setdefault(sense.kind, sense.value)
        self.phrase = Phrase()

    def _on_setting(self, sense: Sense, _at: int) -> None:
        if sense.mark == "free" or self.placing or self.waiting is not None:
            self.fields.setdefault("setting", sense.value)
        self.phrase, self.waiting, self.placing = Phrase(), None, False

    def _on_relation(self, sense: Sense, at: int) -> None:
        """Tells which things the relation is about; its other end is the next thing named."""
        self.phrase, self.placing = Phrase(), True
        joined = self.prev == "join"
        if at < len(self.tokens) and self.tokens[at] == "it":
            self._on_it(sense.value, joined)
        elif self.stranger:
            self.waiting = None
        elif self.n_named == 0:
            self.waiting = (sense.value, None)
        elif joined and self.subjects:
            self.waiting = (sense.value, self.subjects)
        else:
            self.waiting = (sense.value, self._about(self.be) if self.be and self.heads else self.named[-1:])

    def _on_it(self, predicate: str, joined: bool) -> None:
        """The last thing but one ("a dog with a chair behind it") or the last ("a dog, and behind it a chair")."""
        if self.n_named >= 2 and not joined:
            self._relate([self.named[-1]], predicate, self.named[-2])
        elif self.named:
            self.landmark = (predicate, self.named[-1])

    def _on_side(self, sense: Sense, _at: int) -> None:
        if self.stranger:
            return
        if self.n_named == 0 or self.prev == "join":
            self.side = sense.value
        else:
            self._place((self._about(self.be) if self.be and self.heads else self.named)[-1], sense.value)

    def _place(self, index: int, side: str) -> None:
        """Remembers a side of the picture; two opposite sides are a relation."""
        opposite = load().relations[side].inverse
        for other, taken in self.sides:
            if taken == opposite and other != index:
                self._relate([other], taken, index)
                self.sides.remove((other, taken))
                return
        self.sides.append((index, side))

    def _relate(self, subjects: list[int], predicate: str, other: int) -> None:
        """Notes the relation; nothing is beside itself."""
        for subject in subjects:
            if subject != other:
                self.relations.setdefault(Relation(subject, predicate, other))
        self.subjects = subjects

    def _on_say(self, _sense: Sense, _at: int) -> None:
        self._bear()

    def _on_on(self, _sense: Sense, _at: int) -> None:
        self.bearer_due = self.said and "carrier" not in self.fields

    def _bear(self) -> None:
        """The text begins: the carrier named last bears it."""
        self.said = True
        if "carrier" in self.fields:
            return
        if self.bearer is not None:
            word, index = self.bearer
            self.fields["carrier"] = word
            if index is not None:
                self.things[index].bears = True
        elif self.pure_bearer is not None:
            self.fields["carrier"] = self.pure_bearer

    def _on_carrier(self, sense: Sense, at: int) -> None:
        index, due, n_named = None, self.bearer_due, len(self.named)
        if sense.mark:
            self._on_noun(Sense("noun", sense.mark, "singular"), at)
            index = self.named[-1] if len(self.named) > n_named else None  # a bare "box" names no thing
        else:
            self.pure_bearer = sense.value
            self.phrase, self.waiting, self.placing, self.stranger = Phrase(), None, False, True
        self.bearer = (sense.value, index)
        if due:
            self._bear()
        self.bearer_due = False

    def _on_noun(self, sense: Sense, at: int) -> None:
        """A thing is named: an old one after "the", else a new one."""
        phrase, noun = self.phrase, load().nouns[sense.value]
        if not noun.bare and not phrase.open and sense.mark != "plural":
            self.unknown.append(self.tokens[at - 1])
            return
        if sense.mark != "plural" and self._noun_next(at):  # a dog basket: not a dog
            self.unknown.append(self.tokens[at - 1])
            return
        index = self._known(sense.value, phrase) if phrase.definite else None
        if index is None:
            index = len(self.things)
            self.things.append(Thing(sense.value, self._count(phrase, sense.mark), {}))
            self.by_noun.setdefault(sense.value, []).append(index)
        for kind, look in phrase.looks.items():
            self.things[index].looks.setdefault(kind, look)
        self._mention(index)

    def _count(self, phrase: Phrase, mark: str) -> int:
        """How many; "several" counts before a plural only ("some bread")."""
        if phrase.count is not None and not (phrase.vague and mark == "singular"):
            return phrase.count
        return BARE_PLURAL if mark == "plural" else 1

    def _noun_next(self, at: int) -> bool:
        """Whether the next phrase is a noun too, so that this one only describes it."""
        match = self.phrases.at(self.tokens, at) if at < len(self.tokens) else None
        return match is not None and all(sense.kind == "noun" for sense in match.senses)

    def _known(self, noun: str, phrase: Phrase) -> int | None:
        """The thing that "the red cup" means: the latest of that noun whose looks agree."""
        for index in reversed(self.by_noun.get(noun, ())[-8:]):
            looks = self.things[index].looks
            if all(looks.get(kind, look) == look for kind, look in phrase.looks.items()):
                return index
        return None

    def _mention(self, index: int) -> None:
        """Links a thing just named to what waited for it."""
        placed = True
        if self.waiting is not None:
            predicate, subjects = self.waiting
            if subjects is None:
                self.landmark = (predicate, index)
            else:
                self._relate(subjects, predicate, index)
        elif self.landmark is not None:
            self._relate([index], *self.landmark)
            self.landmark, placed = None, False
        else:
            placed = False
        if not placed:
            self.heads = [index] if self.said_be else [*self.heads, index]
            self.said_be = False
        if self.side is not None:
            self._place(index, self.side)
            self.side = None
        self.named.append(index)
        self.n_named += 1
        self.phrase, self.waiting, self.stranger = Phrase(), None, False
        self.placing = self.bearer_due = False
        self.bearer = None

    def _scene(self) -> Scene:
        """The scene without what bears the text."""
        kept = [index for index, thing in enumerate(self.things) if not thing.bears]
        place = {old: new for new, old in enumerate(kept)}
        return Scene(
            objects=tuple(
                SceneObject(thing.noun, thing.count, **thing.looks) for thing in (self.things[index] for index in kept)
            ),
            relations=tuple(
                Relation(place[r.subject], r.predicate, place[r.object])
                for r in self.relations
                if r.subject in place and r.object in place
            ),
            carrier=self.fields.get("carrier"),
            setting=self.fields.get("setting"),
            light=self.fields.get("light"),
            style=self.fields.get("medium", self.fields.get("style")),
            unknown=tuple(self.unknown),
        )
