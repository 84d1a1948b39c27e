"""Finds the lexicon's phrases in a list of tokens: a trie of words, longest match first.

There are two tries. Where a prompt has text to draw, "a cardboard box" may bear it; elsewhere it is a box of paper.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

from promptforge.lexicon.tables import Lexicon, load, plural

#: A word with inner hyphens and apostrophes, or one mark that ends or parts a clause.
TOKEN = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*|[,.;:!?]")

#: Stands for a quoted span among the tokens.
QUOTE = "\0"
#: Prepositions of place.
PLACING = frozenset(
    ("in", "on", "at", "by", "through", "along", "across", "into", "under", "over", "near", "to", "inside", "beside")
)
#: What no adjective stands before: behind one that is not understood, that one was the noun.
ENDING = PLACING | {
    *("from", "for", "against", "around", "between", "during", "off", "onto", "toward", "towards", "within"),
    *("without", "has", "have", "had", "who", "which", "whose", "where", "when", "as", "like", "but", "or"),
}
#: A part that looks as the whole does: "a triangular slice of pizza" shows triangular pizza.
PARTS = frozenset(("slice", "piece", "block", "chunk", "lump", "cube", "wedge", "sheet", "strip", "bar"))
#: Words that part or join; "painted" as in "a cup painted red", which describes as "a cup is red" does.
ROLES = {
    QUOTE: "quote",
    "it": "it",
    **dict.fromkeys((".", ";", ":", "!", "?", "while", "whereas"), "pause"),
    **dict.fromkeys((",", "and", "plus"), "join"),
    **dict.fromkeys(("is", "are", "was", "were", "be", "being"), "be"),
    **dict.fromkeys(("painted", "coloured", "colored", "dyed"), "made"),
    **dict.fromkeys(("a", "an", "the", "this", "that", "these", "those", "his", "her", "its", "another"), "article"),
}

_END = ""  # never a token


class Sense(NamedTuple):
    """One meaning of a phrase.

    kind: noun, colour, shape, texture, after (an attribute behind its noun), number, relation, side, action,
    setting, light, medium, style, carrier, say, on, join, quiet (understood, but no field of Scene holds it).
    `value` is the canonical word, or the count as figures; `mark` is what the kind needs besides: for a noun
    singular, plural or same; for `after` the kind of attribute; for a number vague or exact; for a setting free
    (any preposition will do) or place (only one of place); for a carrier the noun that it is, if it is one.
    """

    kind: str
    value: str
    mark: str = ""


class Match(NamedTuple):
    """Senses of the longest phrase at a place, and how many tokens it has."""

    senses: tuple[Sense, ...]
    length: int


class Matcher:
    """A trie over tokens; at most as many steps a place as the longest phrase has words (seven)."""

    def __init__(self, phrases: dict[tuple[str, ...], tuple[Sense, ...]]) -> None:
        self._root: dict[str, Any] = {}
        for words, senses in phrases.items():
            node = self._root
            for word in words:
                node = node.setdefault(word, {})
            node[_END] = Match(senses, len(words))

    def at(self, tokens: Sequence[str], start: int) -> Match | None:
        """The longest phrase that begins at `start`."""
        node = self._root.get(tokens[start])
        found = None
        end = start + 1
        while node is not None:
            found = node.get(_END, found)
            if end == len(tokens):
                break
            node = node.get(tokens[end])
            end += 1
        return found


@lru_cache(maxsize=2)
def matcher(with_carriers: bool) -> Matcher:
    """The trie for prompts with text to draw, or the one for all others."""
    table: dict[tuple[str, ...], tuple[Sense, ...]] = {}
    for phrase, sense in _phrases(load(), with_carriers):
        words = tuple(TOKEN.findall(phrase.lower()))
        senses = table.get(words, ())
        if sense.kind not in {s.kind for s in senses}:  # the first row of a kind wins
            table[words] = (*senses, sense)
    return Matcher(table)


@cache
def transitive() -> frozenset[str]:
    """Actions that are always done to something, and so never stand before a noun as "a sleeping cat" does."""
    actions = load().actions
    return frozenset(row.word for row in actions) - {row.word for row in actions if not row.patients}


@cache
def can_do(noun: str, action: str) -> bool:
    """Whether a thing may be who acts: a living one, one that moves, or one of which the lexicon says so."""
    lexicon = load()
    if lexicon.nouns[noun].kind in ("animal", "person", "vehicle", "toy"):
        return True
    return any(row.word == action and noun in row.agents for row in lexicon.actions)


def _phrases(lexicon: Lexicon, with_carriers: bool) -> list[tuple[str, Sense]]:
    found = [*_things(lexicon), *_looks(lexicon), *_places(lexicon), *_manner(lexicon)]
    if with_carriers:
        found += _carriers(lexicon)
    return found


def _things(lexicon: Lexicon) -> list[tuple[str, Sense]]:
    found = []
    for noun in lexicon.nouns.values():
        same = noun.word == noun.plural
        found.append((noun.word, Sense("noun", noun.word, "same" if same else "singular")))
        if not same:
            found.append((noun.plural, Sense("noun", noun.word, "plural")))
    found += [(action.word, Sense("action", action.word)) for action in lexicon.actions]
    found += [
        (number.word, Sense("number", str(number.value), "vague" if number.vague else "exact"))
        for number in lexicon.numbers
    ]
    found += [(phrase, Sense("join", "and")) for phrase in ("as well as", "along with", "together with")]
    return found


def _looks(lexicon: Lexicon) -> list[tuple[str, Sense]]:
    found = [(c.word, Sense("colour", c.same_as or c.word)) for c in lexicon.colours.values()]
    found.append(("golden", Sense("colour", "gold")))
    for kind, rows in (("shape", lexicon.shapes.values()), ("texture", lexicon.textures.values())):
        for row in rows:
            found += [(phrase, Sense(kind, row.word)) for phrase in (row.word, *row.also)]
            found += [(phrase, Sense("after", row.word, kind)) for phrase in row.after]
    return found


def _places(lexicon: Lexicon) -> list[tuple[str, Sense]]:
    found = []
    for relation in lexicon.relations.values():
        found += [(phrase, Sense("relation", relation.word)) for phrase in relation.phrases]
        found += [(phrase, Sense("side", relation.word)) for phrase in relation.side]
    for setting in lexicon.settings.values():
        found.append((setting.word, Sense("setting", setting.word, "free" if setting.written else "place")))
    return found


def _manner(lexicon: Lexicon) -> list[tuple[str, Sense]]:
    found = [
        (phrase, Sense("light", light.word))
        for light in lexicon.lights.values()
        for phrase in (light.word, *light.phrases)
    ]
    for medium in lexicon.mediums.values():
        names = [name for name in (medium.word, *medium.also) if name not in lexicon.nouns]
        found += [(name, Sense("medium", medium.word)) for name in names]
    found += [
        (phrase, Sense("style", style.word))
        for style in lexicon.styles.values()
        for phrase in (style.word, *style.phrases)
    ]
    found += [(phrase, Sense("quiet", phrase)) for phrases in lexicon.captions.values() for phrase in phrases]
    actions = {action.word for action in lexicon.actions}
    holds = [phrase for key in ("held", "worn") for phrase in lexicon.carrier_words[key]]
    found += [(phrase, Sense("quiet", phrase)) for phrase in holds if phrase not in actions]
    return found


def _carriers(lexicon: Lexicon) -> list[tuple[str, Sense]]:
    found = []
    for carrier in lexicon.carriers:
        for name in (*carrier.names, *carrier.also):
            head = name.split(" ")[-1]
            noun = head if head in lexicon.nouns else ""
            found.append((name, Sense("carrier", carrier.word, noun)))
            found += [(plural(name), Sense("carrier", carrier.word, noun))] if not name.endswith("s") else []
    words = lexicon.carrier_words
    found += [(phrase, Sense("say", phrase)) for key in ("say", "say_also") for phrase in words[key]]
    found += [(phrase, Sense("on", phrase)) for phrase in words["on"]]
    found += [(phrase, Sense("quiet", phrase)) for phrase in words["behind"]]
    return found
