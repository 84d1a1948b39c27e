"""Writes the text-rendering axis: somebody or something, a carrier, and the words on it.

Target words are all reserved or all open, never mixed, so that every row fits one split. Case, figures and marks are
part of the target: the picture must show it exactly so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from string import Formatter
from typing import Any

from promptforge.lexicon import Carrier, Setting, TargetWords, article, plural
from promptforge.sources.writing.draw import Draw
from promptforge.sources.writing.nounphrases import Draft, NounPhrase
from promptforge.sources.writing.pools import Pools, pools, templates, thing

CATEGORIES = ("word", "phrase", "sentence", "figures", "marks")
#: Rows in a round of those that have not just one.
WEIGHTS: Mapping[str, int] = {}

#: Shares of rows in per cent. Reserved rows are what test_words is made of.
RESERVED = 6
CURLY, SINGLE = 10, 10
DRESSED, DRESSED_KINDS = 40, ("colour", "texture")
LETTER_CASES = ("lower",) * 7 + ("title",) * 5 + ("upper",) * 5 + ("sentence",) * 3 + ("one_upper",) * 2
CASES = (*LETTER_CASES, "camel")

_LETTER = re.compile(r"[^\W\d_]")
_PARSED = Formatter().parse
_SMALL = frozenset(("a", "an", "the", "of", "and", "in", "at", "to", "by", "for", "with"))


class LetteringWriter:
    """Drafts of one row in a category."""

    def __init__(self, stock: Pools, table: Mapping[str, Any]) -> None:
        self.stock = stock
        self.targets: Mapping[str, Sequence[str]] = table["targets"]
        self.wordless = {
            category: tuple(form for form in rows if self._is_wordless(form)) for category, rows in self.targets.items()
        }
        self.prompts = [row for row in table["prompt"] for _ in range(row["weight"])]
        lexicon = stock.lexicon
        self.open, self.kept = lexicon.open_words, lexicon.kept_words
        self.plurals = {word: plural(word) for words in (self.open, self.kept) for word in words.countable}
        self.carriers: dict[str, list[Carrier]] = {
            need: [row for row in lexicon.carriers if getattr(row, need)] for need in ("held", "worn", "set")
        }
        settings = stock.settings
        self.places: Mapping[str | None, Sequence[Setting]] = {
            None: (*settings["indoors"], *settings["outdoors"]),
            "indoors": settings["indoors"],
            "outdoors": [lexicon.settings[word] for word in table["street_settings"]],
        }
        self.words = lexicon.carrier_words
        self.actions = frozenset(action.word for action in lexicon.actions)
        holders = stock.group("walkers")
        self.people = tuple(dict.fromkeys((*stock.persons, *stock.group("subjects"))))
        self.holders = (*self.people, *self.people, *holders)
        self.near = tuple(w for size in (2, 3, 4) for w in stock.beside[size])

    @staticmethod
    def _is_wordless(form: str) -> bool:
        """Whether only drawn words stand in a target, none of its own; "a" of {a_noun} is one of its own."""
        parts = list(_PARSED(form))
        return not any(_LETTER.search(text) or slot in ("a_noun", "other") for text, slot, *_ in parts)

    def write(self, category: str, draw: Draw) -> Draft:
        """The draft of one row."""
        target = self._target(category, draw)
        row = draw.pick(self.prompts)
        carrier = draw.pick(self.carriers[row["needs"]])
        name = draw.pick(carrier.names)
        setting = None
        if "{place}" in row["text"]:
            setting = draw.pick(self.places[carrier.place])
        hold = draw.pick(self.words["held"])
        words = "the words" if " " in target else "the word"
        objects: list[NounPhrase] = []
        if "{who}" in row["text"]:
            does = hold if "{hold}" in row["text"] and hold in self.actions else None
            objects.append(self._who(draw, row["needs"], does))
        if "{thing}" in row["text"]:
            objects.append(self._thing(draw, carrier))
        text = row["text"].format(
            who=objects[0] if objects else "",
            thing=objects[0] if objects else "",
            hold=hold,
            carrier=f"{article(name.split(' ', 1)[0])} {name}",
            say=draw.pick(self.words["say"]).replace("the words", words),
            words=words,
            text=self._quoted(draw, target),
            beside=draw.pick(self.words["beside"]),
            place=setting.phrase if setting else "",
        )
        return Draft(
            template=f"{category}.{row['id']}",
            text=text,
            objects=tuple(part.item for part in objects),
            carrier=carrier.word,
            setting=setting.word if setting else None,
            style="photograph" if row["id"] == "photo" else None,
            expected_text=(target,),
        )

    def _who(self, draw: Draw, need: str, does: str | None) -> NounPhrase:
        noun = draw.pick(self.people if need == "worn" else self.holders)
        return thing(noun, {"action": does} if does else None)

    def _thing(self, draw: Draw, carrier: Carrier) -> NounPhrase:
        """Something that is not itself of the carrier's kind."""
        taken = {name.split(" ")[-1] for name in carrier.names}
        noun = draw.pick(self.near)
        while noun in taken:
            noun = draw.pick(self.near)
        looks = self.stock.looks(draw, noun, draw.pick(DRESSED_KINDS)) if draw.percent(DRESSED) else None
        return thing(noun, looks)

    def _target(self, category: str, draw: Draw) -> str:
        """The string to be drawn."""
        kept = draw.percent(RESERVED)
        words = self.kept if kept else self.open
        form = draw.pick(self.wordless[category] if kept else self.targets[category])
        parts: list[str] = []
        for before, slot, *_ in _PARSED(form):
            filled = self._slot(draw, slot, words) if slot else ""
            while filled and filled in parts:
                filled = self._slot(draw, slot or "", words)
            parts += [before, filled]
        # Words run together would hide a reserved word from split_of.
        return _cased(draw, "".join(parts), LETTER_CASES if kept else CASES)

    def _slot(self, draw: Draw, slot: str, words: TargetWords) -> str:
        if slot in _FIGURES:
            return _FIGURES[slot](draw)
        if slot == "plural":
            return self.plurals[draw.pick(words.countable)]
        if slot == "a_noun":
            word = draw.pick(words.countable)
            return f"{article(word)} {word}"
        lists = {"noun": words.nouns, "adj": words.adjectives, "verb": words.verbs, "other": words.others}
        return draw.pick(lists[slot])

    def _quoted(self, draw: Draw, target: str) -> str:
        """Straight double quotes mostly; single ones only where the target has no apostrophe."""
        style = draw.below(100)
        if style < CURLY:
            return f"“{target}”"
        if style < CURLY + SINGLE and "'" not in target:
            return f"'{target}'"
        return f'"{target}"'


def _price(draw: Draw) -> str:
    currency, amount = draw.pick("$€£"), 1 + draw.below(99)
    return f"{currency}{amount}" if draw.percent(50) else f"{currency}{amount}.{draw.pick((25, 50, 75, 95, 99))}"


_FIGURES: Mapping[str, Callable[[Draw], str]] = {
    "digit": lambda draw: str(2 + draw.below(8)),
    "figure": lambda draw: str(2 + draw.below(98)),
    "number": lambda draw: str(100 + draw.below(900)),
    "year": lambda draw: str(1900 + draw.below(131)),
    "price": _price,
    "time": lambda draw: f"{1 + draw.below(23)}:{draw.pick(('00', '10', '15', '20', '30', '40', '45', '50'))}",
    "share": lambda draw: f"{5 * (1 + draw.below(19))}%",
    "phone": lambda draw: f"555-{draw.below(10_000):04d}",
}


def _cased(draw: Draw, text: str, cases: Sequence[str]) -> str:
    """Lower, Title, UPPER, Sentence case, one WORD in capitals, or CamelCase for two or three words."""
    case = draw.pick(cases)
    words = text.split(" ")
    if case == "upper":
        return text.upper()
    if case == "title":
        return " ".join(w if w in _SMALL and n else _capital(w) for n, w in enumerate(words))
    if case == "sentence":
        return _capital(text)
    if case == "one_upper":
        chosen = draw.below(len(words))
        return " ".join(w.upper() if n == chosen else w for n, w in enumerate(words))
    if case == "camel" and 1 < len(words) < 4 and text.replace(" ", "").isalpha():
        return "".join(_capital(w) for w in words)
    return text


def _capital(word: str) -> str:
    """The first letter upper case, whatever mark stands before it."""
    found = _LETTER.search(word)
    return word if found is None else word[: found.start()] + word[found.start()].upper() + word[found.end() :]


@lru_cache(maxsize=1)
def writer() -> LetteringWriter:
    """The writer of the text-rendering axis, made once."""
    return LetteringWriter(pools(), templates("lettering.toml"))
