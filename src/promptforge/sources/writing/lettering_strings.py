"""The strings to be drawn: words in three bands of frequency, names, figures, lines, and signs of other languages.

Words of a string are all reserved or all open, never mixed, and all of one band, so that a row fits one split and
the band can be told. A string that holds a reserved word by accident (butter and cup run together) is drawn anew.
Case, figures and marks are part of a string: the picture must show it exactly so.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any, Final

from promptforge.lexicon import Lexicon, TargetWords, article, is_reserved_word, plural
from promptforge.lexicon.reserved import words_of
from promptforge.sources.writing.draw import Draw
from promptforge.sources.writing.lettering_figures import DATES, KINDS, figure_of
from promptforge.sources.writing.pools import templates

#: Categories of words, of which some are reserved; of figures; of other languages; and the rest.
WORDED: Final = ("word", "phrase", "sentence", "figures", "marks", "rare")
FIGURED: Final = tuple(KINDS)
#: With the alphabets that the embedded reader does not read: their weight is 0 unless a recipe gives them one.
LANGUAGES: Final = ("german", "french", "spanish", "italian", "portuguese", "polish", "czech", "turkish")
UNREAD_LANGUAGES: Final = ("vietnamese", "russian", "greek")
CATEGORIES: Final = (*WORDED, "mixed", "lines", "name", "place", *FIGURED, *LANGUAGES, *UNREAD_LANGUAGES)

#: Shares of rows in per cent. Reserved rows are what test_words is made of; they are medium or rare words.
RESERVED = 6
COMMON = 55
KEPT_MEDIUM = 40
#: What rows of rare words are: words, phrases, else sentences.
RARE_WORDS, RARE_PHRASES = 40, 40
LETTER_CASES = ("lower",) * 7 + ("title",) * 5 + ("upper",) * 5 + ("sentence",) * 3 + ("one_upper",) * 2
CASES = (*LETTER_CASES, "camel")
#: "lower" leaves a string as it is written.
LANGUAGE_CASES = ("lower",) * 11 + ("upper",) * 5 + ("sentence",) * 4
NAME_CASES = ("lower",) * 8 + ("upper",) * 2
LINE_CASES = ("lower",) * 5 + ("title",) * 5 + ("upper",) * 6 + ("sentence",) * 4

_LETTER = re.compile(r"[^\W\d_]")
_PARSED = Formatter().parse
_SMALL = frozenset(("a", "an", "the", "of", "and", "in", "at", "to", "by", "for", "with"))
_TURKISH_UPPER = {ord("i"): "İ", ord("ı"): "I"}
_TONOS = "\u0301"
# ά and ι are two vowels, αι is one: without the accent the ι takes a diaeresis to say so (ΤΣΑΪ).
_HIATUS = re.compile("(?<=[άέόύ])[ιυ](?![\u0301\u0308])")
_INITIALS = "ABCDEFGHJKLMNPRSTW"

Slots = Mapping[str, Callable[[Draw], str]]


@dataclass(frozen=True, slots=True)
class Lettering:
    """Strings to be drawn, one a line where there are several, and the band of their words, if they have one."""

    strings: tuple[str, ...]
    band: str | None = None


class Strings:
    """Strings of one row in a category."""

    def __init__(self, lexicon: Lexicon, forms: Mapping[str, Any], signs: Mapping[str, Any]) -> None:
        table = templates("target_words.toml")
        self.open, self.kept = _banded(lexicon, table)
        self.plurals = {
            word: plural(word) for words in (*self.open.values(), *self.kept.values()) for word in words.countable
        }
        self.lines: Sequence[Sequence[str]] = signs["lines"]
        self.forms = {
            (band, kept, category): tuple(form for form in rows if _fits(form, words, kept))
            for kept, bands in ((False, self.open), (True, self.kept))
            for band, words in bands.items()
            for category, rows in forms.items()
        }
        self.signs = {name: tuple(text.split("\n")[1:-1]) for name, text in templates("target_languages.toml").items()}
        self.names = _Names(templates("target_names.toml"))

    def write(self, category: str, draw: Draw) -> Lettering:
        """What to draw in a row of a category."""
        if category in WORDED:
            kept = draw.percent(RESERVED)
            return self._honest(lambda: self._worded(category, draw, kept), kept)
        make: Callable[[], Lettering] = {
            "mixed": lambda: self._mixed(draw),
            "lines": lambda: self._lines(draw),
            "name": lambda: self._named(self.names.forms, draw),
            "place": lambda: self._named(self.names.places, draw),
        }.get(category) or (
            lambda: Lettering((figure_of(category, draw),) if category in KINDS else (self._sign(category, draw),))
        )
        return self._honest(make, kept=False)

    @staticmethod
    def _honest(make: Callable[[], Lettering], kept: bool) -> Lettering:
        """The first that holds no reserved word, where none should be held."""
        made = make()
        while not kept and any(is_reserved_word(word) for text in made.strings for word in words_of(text)):
            made = make()
        return made

    def _worded(self, category: str, draw: Draw, kept: bool) -> Lettering:
        if category == "rare":
            band, share = "rare", draw.below(100)
            category = "word" if share < RARE_WORDS else "phrase" if share < RARE_WORDS + RARE_PHRASES else "sentence"
        elif kept:
            band = "medium" if draw.percent(KEPT_MEDIUM) else "rare"
        else:
            band = "common" if draw.percent(COMMON) else "medium"
        form = draw.pick(self.forms[band, kept, category])
        text = self._filled(form, self._slots(self.kept[band] if kept else self.open[band]), draw)
        # Words run together would hide a reserved word from split_of.
        cases = LETTER_CASES if kept else CASES
        return Lettering((cased(text, draw.pick(cases), draw),), band)

    def _slots(self, words: TargetWords) -> Slots:
        return {
            "noun": lambda draw: draw.pick(words.nouns),
            "adj": lambda draw: draw.pick(words.adjectives),
            "verb": lambda draw: draw.pick(words.verbs),
            "other": lambda draw: draw.pick(words.others),
            "plural": lambda draw: self.plurals[draw.pick(words.countable)],
            "a_noun": lambda draw: (lambda word: f"{article(word)} {word}")(draw.pick(words.countable)),  # noqa: PLC3002
            **_FIGURES,
        }

    @staticmethod
    def _filled(form: str, slots: Slots, draw: Draw, taken: Sequence[str] = ()) -> str:
        """The form with its slots filled, no slot with what was used before."""
        parts: list[str] = []
        for before, slot, *_ in _PARSED(form):
            filled = slots[slot](draw) if slot else ""
            while filled and (filled in parts or filled in taken):
                filled = slots[slot or ""](draw)
            parts += [before, filled]
        return "".join(parts)

    def _mixed(self, draw: Draw) -> Lettering:
        """Capitals where English has none: inside a word, alternating, on one word of several."""
        band = "common" if draw.percent(COMMON) else "medium"
        words = self.open[band]
        noun, adjective, verb = draw.pick(words.nouns), draw.pick(words.adjectives), draw.pick(words.verbs)
        return Lettering((draw.pick(_MIXES)(noun, adjective, verb),), band)

    def _lines(self, draw: Draw) -> Lettering:
        """Two to four lines, no two alike."""
        band = "common" if draw.percent(COMMON) else "medium"
        slots = {**self._slots(self.open[band]), **self.names.slots, "date": lambda draw: draw.pick(_DATES)(draw)}
        case = draw.pick(LINE_CASES)
        found: list[str] = []
        for form in draw.pick(self.lines):
            line = cased(self._filled(form, slots, draw), case, draw)
            while line.casefold() in (other.casefold() for other in found):
                line = cased(self._filled(form, slots, draw), case, draw)
            found.append(line)
        return Lettering(tuple(found), band)

    def _named(self, forms: Sequence[str], draw: Draw) -> Lettering:
        text = self._filled(draw.pick(forms), {**self.names.slots, **_FIGURES}, draw)
        return Lettering((cased(text, draw.pick(NAME_CASES), draw),))

    def _sign(self, language: str, draw: Draw) -> str:
        return cased(draw.pick(self.signs[language]), draw.pick(LANGUAGE_CASES), draw, language)

    def characters(self) -> frozenset[str]:
        """Every character that a string in another language or a name may hold, in every case."""
        texts = [*(sign for signs in self.signs.values() for sign in signs), *self.names.accented]
        found = {c for text in texts for c in text}
        for language, signs in self.signs.items():
            found |= {c for text in signs for c in upper(text, language)}
        return frozenset(found | {c for text in self.names.accented for c in text.upper()}) - {" "}


class _Names:
    """Names of people and places."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self.forms: Sequence[str] = table["names"]
        self.places: Sequence[str] = table["places"]
        self.accented: Sequence[str] = table["accented"].split()
        given, heads, tails = (table[key].split() for key in ("given", "heads", "tails"))
        streets = table["streets"].split()
        cities = [name.strip() for name in table["cities"].split("|")]

        def made(draw: Draw) -> str:
            head, tail = draw.pick(heads), draw.pick(tails)
            while head.lower().endswith(tail[0]) or head.lower() == tail:
                tail = draw.pick(tails)
            return f"{head}{tail}"

        self.slots: Slots = {
            "given": lambda draw: draw.pick(given),
            "second": lambda draw: draw.pick(given),
            "accented": lambda draw: draw.pick(self.accented),
            "letter": lambda draw: draw.pick(_INITIALS),
            "street": lambda draw: draw.pick(streets),
            "city": lambda draw: draw.pick(cities),
            **dict.fromkeys(("family", "relative", "place", "other"), made),
        }


def _banded(lexicon: Lexicon, table: Mapping[str, Any]) -> tuple[dict[str, TargetWords], dict[str, TargetWords]]:
    """Open and reserved words by band."""
    bands = {word: band for band in ("common", "rare") for word in table["bands"][band].split()}

    def part(words: TargetWords, band: str) -> TargetWords:
        lists = (words.nouns, words.countable, words.adjectives, words.verbs, words.others)
        return TargetWords(*(tuple(w for w in each if bands.get(w, "medium") == band) for each in lists))

    open_words = {band: part(lexicon.open_words, band) for band in ("common", "medium", "rare")}
    more = {key: tuple(text.split()) for key, text in table["rare"].items()}
    rare, mass = open_words["rare"], frozenset(more["mass"])
    open_words["rare"] = TargetWords(
        nouns=(*rare.nouns, *more["nouns"]),
        countable=(*rare.countable, *(word for word in more["nouns"] if word not in mass)),
        adjectives=(*rare.adjectives, *more["adjectives"]),
        verbs=(*rare.verbs, *more["verbs"]),
        others=rare.others,
    )
    # Too few reserved words are common to make a band.
    kept_words = {band: part(lexicon.kept_words, band) for band in ("medium", "rare")}
    return open_words, kept_words


def _fits(form: str, words: TargetWords, kept: bool) -> bool:
    """Whether a band has words for every slot, and, among reserved words, the form adds none of its own ("a" does)."""
    slots = {slot for _, slot, *_ in _PARSED(form) if slot}
    if ("other" in slots and not words.others) or (kept and slots & {"a_noun", "other"}):
        return False
    return not (kept and any(_LETTER.search(text) for text, *_ in _PARSED(form)))


def _price(draw: Draw) -> str:
    currency, amount = draw.pick("$€£"), 1 + draw.below(99)
    return f"{currency}{amount}" if draw.percent(50) else f"{currency}{amount}.{draw.pick((25, 50, 75, 95, 99))}"


_FIGURES: Final[Slots] = {
    "digit": lambda draw: str(2 + draw.below(8)),
    "figure": lambda draw: str(2 + draw.below(98)),
    "number": lambda draw: str(100 + draw.below(900)),
    "year": lambda draw: str(1900 + draw.below(131)),
    "price": _price,
    "time": lambda draw: f"{1 + draw.below(23)}:{draw.pick(('00', '10', '15', '20', '30', '40', '45', '50'))}",
    "share": lambda draw: f"{5 * (1 + draw.below(19))}%",
    "phone": lambda draw: f"555-01{draw.below(100):02d}",
}
_DATES: Final = tuple(DATES[name] for name in ("day_month_year", "month_day", "weekday", "dotted", "day_month"))

_MIXES: Final[tuple[Callable[[str, str, str], str], ...]] = (
    lambda noun, adj, verb: capital(adj) + capital(noun),
    lambda noun, adj, verb: adj + capital(noun),
    lambda noun, adj, verb: capital(verb) + capital(adj) + capital(noun),
    lambda noun, adj, verb: "".join(c.upper() if n % 2 else c for n, c in enumerate(noun)),
    lambda noun, adj, verb: f"{adj.upper()} {noun}",
    lambda noun, adj, verb: f"{adj} {noun.upper()}",
    lambda noun, adj, verb: noun[0] + noun[1:].upper(),
    lambda noun, adj, verb: f"e{capital(noun)}",
    lambda noun, adj, verb: f"My{capital(noun)}",
    lambda noun, adj, verb: f"{capital(noun)}2Go",
    lambda noun, adj, verb: f"{verb.upper()} the {adj} {capital(noun)}",
    lambda noun, adj, verb: f"{capital(verb)} and {verb.upper()} Again",
    lambda noun, adj, verb: f"#{capital(verb)}{capital(noun)}",
)


def cased(text: str, case: str, draw: Draw, language: str = "english") -> str:
    """Lower, Title, UPPER, Sentence case, one WORD in capitals, or CamelCase for two or three words."""
    words = text.split(" ")
    if case == "upper":
        return upper(text, language)
    if case == "title":
        return " ".join(w if w in _SMALL and n else capital(w) for n, w in enumerate(words))
    if case == "sentence":
        return capital(text, language)
    if case == "one_upper":
        chosen = draw.below(len(words))
        return " ".join(w.upper() if n == chosen else w for n, w in enumerate(words))
    if case == "camel" and 1 < len(words) < 4 and text.replace(" ", "").isalpha():
        return "".join(capital(w) for w in words)
    return text


def upper(text: str, language: str = "english") -> str:
    """In capitals: Turkish keeps the dot of i, Greek drops its accents but parts its vowels, German writes SS."""
    if language == "turkish":
        text = text.translate(_TURKISH_UPPER)
    if language == "greek":
        text = _HIATUS.sub(lambda found: f"{found[0]}\u0308", unicodedata.normalize("NFC", text))
        text = unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).replace(_TONOS, ""))
    return text.upper()


def capital(word: str, language: str = "english") -> str:
    """The first letter upper case, whatever mark stands before it; a Greek one keeps its accent."""
    found = _LETTER.search(word)
    if found is None:
        return word
    first = word[found.start()]
    first = first.upper() if language == "greek" else upper(first, language)
    return word[: found.start()] + first + word[found.end() :]
