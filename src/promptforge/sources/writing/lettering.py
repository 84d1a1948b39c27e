"""Writes the text-rendering axis: somebody or something, a carrier, and the words on it.

Several lines are several quoted strings, each of which is drawn on lines of its own: "SOUP $5", "TEA $2" and "open
daily". Nothing in a prompt says line break. `template` is category, band of the words (common, medium, rare) where
they have one, and the prompt's form: word.rare.holds, date.stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from promptforge.lexicon import Carrier, Setting, article
from promptforge.sources.writing.draw import Draw
from promptforge.sources.writing.lettering_strings import CATEGORIES, UNREAD_LANGUAGES, Strings
from promptforge.sources.writing.nounphrases import Draft, NounPhrase
from promptforge.sources.writing.pools import Pools, pools, templates, thing

__all__ = ["CATEGORIES", "WEIGHTS", "LetteringWriter", "writer"]

#: Rows in a round of those that have not just one: English words make two thirds.
WEIGHTS: Mapping[str, int] = {
    **dict.fromkeys(("word", "phrase", "sentence"), 6),
    **dict.fromkeys(("figures", "marks", "rare", "lines"), 4),
    **dict.fromkeys(UNREAD_LANGUAGES, 0),
}

#: Shares of rows in per cent.
CURLY, SINGLE = 10, 10
#: Carriers that nobody paints on, and names of those that are not painted on or printed with something (again).
UNPAINTED: Final = ("cake", "screen")
PAINT: Final = re.compile(r"painted|printed|neon|departure")
PRINT: Final = re.compile(r"printed|neon|screen|departure")
DRESSED, DRESSED_KINDS = 40, ("colour", "texture")

#: Between the last two of several strings; commas stand between the others.
_JOINS: Final = (" and ", " and ", ", ", " above ")


class LetteringWriter:
    """Drafts of one row in a category."""

    def __init__(self, stock: Pools, table: Mapping[str, Any]) -> None:
        self.stock = stock
        self.prompts = [row for row in table["prompt"] for _ in range(row["weight"])]
        lexicon = stock.lexicon
        self.strings = Strings(lexicon, table["targets"], table["signs"])
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

    def write(self, category: str, draw: Draw) -> Draft:
        """The draft of one row."""
        target = self.strings.write(category, draw)
        row = draw.pick(self.prompts)
        carrier = draw.pick(self.carriers[row["needs"]])
        while row["id"] == "painted_on" and carrier.word in UNPAINTED:
            carrier = draw.pick(self.carriers[row["needs"]])
        names = [name for name in carrier.names if row["id"] != "painted_on" or not PAINT.search(name)]
        name = draw.pick(names)
        say = draw.pick([say for say in self.words["say"] if say != "printed with" or not PRINT.search(name)])
        setting = None
        if "{place}" in row["text"]:
            setting = draw.pick(self.places[carrier.place])
        hold = draw.pick(self.words["held"])
        words = "the words" if len(target.strings) > 1 or " " in target.strings[0] else "the word"
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
            say=say.replace("the words", words),
            words=words,
            text=self._quoted(draw, target.strings),
            beside=draw.pick(self.words["beside"]),
            place=setting.phrase if setting else "",
        )
        return Draft(
            template=".".join(part for part in (category, target.band, row["id"]) if part),
            text=text,
            objects=tuple(part.item for part in objects),
            carrier=carrier.word,
            setting=setting.word if setting else None,
            style="photograph" if row["id"] == "photo" else None,
            expected_text=target.strings,
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

    def _quoted(self, draw: Draw, strings: Sequence[str]) -> str:
        """Straight double quotes mostly; single ones only where no string has an apostrophe.

        A capital A with a tilde before a curly mark looks like broken UTF-8, and would be mended.
        """
        style = draw.below(100)
        before, after = '""'
        if style < CURLY and not any(text.endswith("Ã") for text in strings):
            before, after = "“”"
        elif style < CURLY + SINGLE and not any("'" in text for text in strings):
            before = after = "'"
        quoted = [f"{before}{text}{after}" for text in strings]
        if len(quoted) == 1:
            return quoted[0]
        return ", ".join(quoted[:-1]) + draw.pick(_JOINS) + quoted[-1]


@lru_cache(maxsize=1)
def writer() -> LetteringWriter:
    """The writer of the text-rendering axis, made once."""
    return LetteringWriter(pools(), templates("lettering.toml"))
