"""Rows that a check should find: a row of the miniature world, spoiled in one way, or something else in its place.

Each writer is given a Draw, a text of the world and the strings to be drawn in it; where there are strings, what it
makes asks for some as well, so that the check of a kind finds it and not the check for missing strings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from promptforge.lexicon import plural
from promptforge.sources.miniature import CARRIERS, COLOURS, COUNTS, LETTERS, NOUNS
from promptforge.sources.writing.draw import Draw

Strings = tuple[str, ...]
Writer = Callable[[Draw, str, Strings], tuple[str, Strings]]

#: Things that the teacher was never shown.
UNSEEN = (
    *("stethoscope", "harp", "lantern", "anchor", "compass", "candle", "kettle", "ladder", "bucket", "violin"),
    *("trumpet", "helmet", "telescope", "tractor", "scooter", "submarine", "teapot", "clock", "camera", "drum"),
    *("kite", "tent", "barrel", "basket", "pumpkin", "carrot", "banana", "lemon", "pineapple", "dinosaur"),
    *("spider", "turtle", "whale", "elephant", "giraffe", "camel", "penguin", "owl", "lion", "tiger"),
)
_PLURALS = {plural(noun): noun for noun in NOUNS}
_BEFORE = (
    *("click here to subscribe", "read more", "sign up today", "buy now", "add to cart", "free shipping"),
    *("royalty free", "page 3 of 12", "view larger", "www.pictures.com", "download now", "item number 4471"),
)
_BEHIND = (
    *("all rights reserved", "copyright 2019", "terms of use", "subscribe to our newsletter", "previous image"),
    *("stock photo", "customer reviews", "privacy policy", "shop now", "free download", "related products"),
)
_ABSTRACT = (
    *("reason", "justice", "opinion", "policy", "theory", "agreement", "interest", "method", "truth", "doubt"),
    *("hope", "decision", "argument", "advice", "belief", "duty", "freedom", "knowledge", "logic", "meaning"),
    *("necessity", "principle", "progress", "purpose", "quality", "responsibility", "strategy", "tradition"),
)
_NOTHING = (
    "the {0} for {1} is a {3} {2}",
    "why {0} should depend on {1} and {2}",
    "{0} is often mistaken for {1} in {2}",
    "a {3} {0} without {1} means no {2}",
    "he thought that {0} was more important than {1}",
    "the {0} of {1} explains the {2}",
    "please consider the {0} and the {1} before any {2}",
)
#: German and French for the world's things: article, word; then colours by gender.
_GERMAN = {
    "dog": "m Hund",
    "cat": "f Katze",
    "fish": "m Fisch",
    "bird": "m Vogel",
    "tree": "m Baum",
    "house": "n Haus",
    "car": "n Auto",
    "boat": "n Boot",
    "flower": "f Blume",
    "mushroom": "m Pilz",
    "apple": "m Apfel",
    "chair": "m Stuhl",
    "umbrella": "m Regenschirm",
    "duck": "f Ente",
    "airplane": "n Flugzeug",
    "guitar": "f Gitarre",
}
_FRENCH = {
    "dog": "m chien",
    "cat": "m chat",
    "fish": "m poisson",
    "bird": "m oiseau",
    "tree": "m arbre",
    "house": "f maison",
    "car": "f voiture",
    "boat": "m bateau",
    "flower": "f fleur",
    "mushroom": "m champignon",
    "apple": "f pomme",
    "chair": "f chaise",
    "umbrella": "m parapluie",
    "duck": "m canard",
    "airplane": "m avion",
    "guitar": "f guitare",
}
_ROT = dict(
    zip(COLOURS, ("rot", "orangefarben", "gelb", "grün", "blau", "lilafarben", "rosafarben", "schwarz"), strict=True)
)
_ROUGE = dict(
    zip(
        COLOURS,
        (
            *("rouge rouge", "orange orange", "jaune jaune", "vert verte", "bleu bleue"),
            *("violet violette", "rose rose", "noir noire"),
        ),
        strict=True,
    )
)
_SCHILDER = ("ein Schild", "ein Plakat", "eine Tafel", "eine Karte", "ein Hemd")
_PANNEAUX = ("un panneau", "une affiche", "un tableau", "une carte", "une chemise")
_COPY_BEFORE = ("", "an image showing ", "a high quality photo of ", "a detailed drawing of ")
_COPY_BEHIND = ("", ".", ", highly detailed", ", beautiful", ", 4k", ", {core}", ", {core}, {core}", "!")


def hard(draw: Draw, text: str, strings: Strings) -> tuple[str, Strings]:
    """Letters too many for the teacher; where there are none, things that it never saw."""
    if strings:
        string = "".join(draw.pick(LETTERS) for _ in range(5 + draw.below(8)))
        return text.replace(f'"{strings[0]}"', f'"{string}"'), (string,)
    words = []
    for word in text.split():
        if word in NOUNS:
            words.append(draw.pick(UNSEEN))
        elif word in _PLURALS:
            words.append(plural(draw.pick(UNSEEN)))
        else:
            words.append(word)
    return " ".join(words), ()


def garbled(draw: Draw, text: str, strings: Strings) -> tuple[str, Strings]:
    """Neighbouring letters change places in most words outside quotation marks, in one at least."""
    words = text.split()
    long = [n for n, word in enumerate(words) if len(word) > 2 and word.isalpha()]
    sure = draw.pick(long)
    for n in long:
        if n == sure or draw.percent(60):
            at = draw.below(len(words[n]) - 1)
            words[n] = words[n][:at] + words[n][at + 1] + words[n][at] + words[n][at + 2 :]
    return " ".join(words), strings


def boilerplate(draw: Draw, text: str, strings: Strings) -> tuple[str, Strings]:
    """What a page says around its picture."""
    before, behind = draw.pick(_BEFORE), draw.pick(_BEHIND)
    return draw.pick((f"{before}, {text}, {behind}", f"{before}: {text}", f"{text} - {behind}")), strings


def repetition(draw: Draw, text: str, strings: Strings) -> tuple[str, Strings]:
    """Its telling words, each three to six times, one of them four times at least."""
    known = {*NOUNS, *_PLURALS, *COLOURS, *COUNTS.values(), *CARRIERS}
    telling = [word for word in text.split() if word in known]
    sure = draw.below(len(telling))
    often = [word for n, word in enumerate(telling) for _ in range(3 + (n == sure) + draw.below(3))]
    tail = f' that says "{strings[0]}"' if strings else ""
    return " ".join(often) + tail, strings


def nonvisual(draw: Draw, text: str, strings: Strings) -> tuple[str, Strings]:
    """A sentence about nothing that can be seen."""
    words = [draw.pick(_ABSTRACT) for _ in range(3)]
    said = draw.pick(_NOTHING).format(*words, draw.pick(COLOURS))
    return (f'{said} that says "{strings[0]}"' if strings else said), strings


def language(draw: Draw, text: str, strings: Strings) -> tuple[str, Strings]:
    """A prompt of the same kind in German or French."""
    thing, also, ends = draw.pick(
        (
            (_german, "und", ("", "in weichem Licht", "bei Sonnenuntergang", "an einem ruhigen Tag")),
            (_french, "et", ("", "dans une lumière douce", "au coucher du soleil", "par un jour calme")),
        )
    )
    if strings:
        carrier = draw.pick(_SCHILDER if thing is _german else _PANNEAUX)
        said = "mit dem Text" if thing is _german else "avec le texte"
        return f'{carrier} {said} "{strings[0]}" {draw.pick(ends)}'.strip(), strings
    some = [thing(draw.pick(NOUNS), draw.pick(COLOURS)) for _ in range(1 + (" and " in text))]
    return f"{f' {also} '.join(some)} {draw.pick(ends)}".strip(), ()


def near_copy(draw: Draw, text: str, strings: Strings) -> tuple[str, Strings]:
    """The same once more, with words that change nothing."""
    core = re.split(r" (?:that says|that reads|with the text) ", text)[0]
    core = re.sub(r"^(?:an?|two|three|four) ", "", core)
    return draw.pick(_COPY_BEFORE) + text + draw.pick(_COPY_BEHIND).format(core=core), strings


def _german(noun: str, colour: str) -> str:
    gender, word = _GERMAN[noun].split()
    article, ending = {"m": ("ein", "er"), "f": ("eine", "e"), "n": ("ein", "es")}[gender]
    return f"{article} {_ROT[colour]}{ending} {word}"


def _french(noun: str, colour: str) -> str:
    gender, word = _FRENCH[noun].split()
    return f"{'un' if gender == 'm' else 'une'} {word} {_ROUGE[colour].split()[gender == 'f']}"


WRITERS: Mapping[str, Writer] = {
    "hard": hard,
    "garbled": garbled,
    "boilerplate": boilerplate,
    "repetition": repetition,
    "nonvisual": nonvisual,
    "language": language,
    "near_copy": near_copy,
}
