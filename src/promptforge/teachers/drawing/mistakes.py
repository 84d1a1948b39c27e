"""What the teacher does wrong, at most one kind in a picture, drawn from the picture's seed.

Text: `misspelling` (a letter substituted, dropped, swapped or doubled), `missing_word`, `wrong_word`. Things:
`wrong_colour`, `wrong_count`. Frame: `blur`, `dark` (near black), `flat` (one plain colour), `black`.
A text mistake always changes the string under NFKC and case folding, and never trades a letter for one that looks
like it: a slip that nobody could see would not be one.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, get_args

import numpy as np
from PIL import Image, ImageFilter

from promptforge.teachers.drawing.paint import Rgb, distance

Kind = Literal[
    "misspelling",
    "missing_word",
    "wrong_word",
    "wrong_colour",
    "wrong_count",
    "blur",
    "dark",
    "flat",
    "black",
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
TEXT_KINDS: Final[tuple[Kind, ...]] = ("misspelling", "missing_word", "wrong_word")
FRAME_KINDS: Final[tuple[Kind, ...]] = ("blur", "dark", "flat", "black")

#: Letters that a substitute is taken from, by the first word of the Unicode name of what it stands for.
_LETTERS: Final[Mapping[str, str]] = {
    "LATIN": "abcdefghijklmnopqrstuvwxyz",
    "CYRILLIC": "абвгдежзиклмнопрстуфхцчшэюя",
    "GREEK": "αβγδεζηθικλμνξοπρστυφχψω",
}
_DIGITS = "0123456789"
_STRUCK = str.maketrans("łøđı", "lodi")
#: Letters and digits that a reader may take for each other; a substitute never comes from the same group.
_ALIKE: Final[tuple[str, ...]] = (
    "iljtf1",
    "oceaqgdp09",
    "uvwyn",
    "nmhrku",
    "bdpqgh68",
    "s5z2",
    "xkyz",
    "b83",
    "g9q6",
    "a4",
    "t7",
    "зэеосбв",
    "ийлпнцкх",
    "шщцмж",
    "гтр",
    "ъьыяб",
    "чу",
    "αδσοθφερ",
    "ιτγζξς",
    "νυκχλ",
    "ημπβ",
    "ψωφ",
)
_WORDS: Final[tuple[str, ...]] = (
    "apple", "river", "garden", "window", "silver", "market", "orange", "summer", "bridge", "yellow",
    "castle", "planet", "monday", "bread", "happy", "north",
)  # fmt: skip
_TRIES = 24


def fold(text: str) -> str:
    """NFKC, case-folded, white space collapsed: strings with equal folds count as the same."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def choose(
    rate: float, weights: Mapping[Kind, float], applicable: Iterable[Kind], rng: np.random.Generator
) -> Kind | None:
    """The mistake of a picture, or None; a mistake is made with probability `rate` where any is applicable."""
    draw, pick = rng.random(2)
    open_kinds = [kind for kind in KINDS if kind in set(applicable) and weights.get(kind, 0) > 0]
    if draw >= rate or not open_kinds:
        return None
    shares = np.cumsum([weights[kind] for kind in open_kinds])
    return open_kinds[min(len(open_kinds) - 1, int(np.searchsorted(shares, pick * shares[-1], side="right")))]


def text_kinds(strings: Sequence[str]) -> list[Kind]:
    """The text mistakes that these strings allow."""
    kinds: list[Kind] = []
    if any(_spellable(word) for text in strings for word in text.split()):
        kinds += ["misspelling", "wrong_word"]
    if any(len(text.split()) > 1 for text in strings):
        kinds.append("missing_word")
    return kinds


def spoil(kind: Kind, strings: Sequence[str], rng: np.random.Generator) -> list[str] | None:
    """The strings with one mistake of this kind in one of them; None where none changes them."""
    for _ in range(_TRIES):
        number = int(rng.integers(len(strings)))
        words = strings[number].split()
        place = int(rng.integers(len(words))) if words else 0
        changed = _changed(kind, words, place, rng)
        if changed is None:
            continue
        spoilt = " ".join(changed)
        if fold(spoilt) != fold(strings[number]):
            return [spoilt if i == number else text for i, text in enumerate(strings)]
    return None


def other_colour(rgb: Rgb, palette: Mapping[str, Rgb], used: Iterable[Rgb], rng: np.random.Generator) -> str | None:
    """A colour word far from `rgb` (130 in RGB) and not in use; None where the palette has none."""
    taken = set(used)
    free = [word for word in sorted(palette) if palette[word] not in taken and distance(palette[word], rgb) >= 130]
    return free[int(rng.integers(len(free)))] if free else None


def other_count(count: int, most: int, rng: np.random.Generator) -> int:
    """One more or one less, in [1, most]."""
    more = bool(rng.integers(2))
    if count <= 1:
        return count + 1
    return count - 1 if count >= most or not more else count + 1


def spoil_frame(kind: Kind, image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The picture blurred, darkened, replaced by one plain colour, or black."""
    px = image.width
    if kind == "blur":
        return image.filter(ImageFilter.GaussianBlur(float(rng.uniform(4, 8)) * px / 512))
    if kind == "dark":
        factor = float(rng.uniform(0.04, 0.1))
        return image.point(lambda v: round(v * factor))
    if kind == "flat":
        level = [int(v) for v in rng.integers(90, 230, 3)]
        return Image.new("RGB", image.size, (level[0], level[1], level[2]))
    return Image.new("RGB", image.size, (0, 0, 0))


def _changed(kind: Kind, words: list[str], place: int, rng: np.random.Generator) -> list[str] | None:
    if kind == "missing_word":
        return words[:place] + words[place + 1 :] if len(words) > 1 else None
    if not words or not _spellable(words[place]):
        return None
    if kind == "wrong_word":
        return [*words[:place], _another(words[place], rng), *words[place + 1 :]]
    return [*words[:place], _misspelt(words[place], rng), *words[place + 1 :]]


def _spellable(word: str) -> bool:
    return any(c.isalnum() for c in word)


def _another(word: str, rng: np.random.Generator) -> str:
    """A different word in the same case, its trailing punctuation kept."""
    core = word.rstrip(".,!?:;")
    new = _WORDS[int(rng.integers(len(_WORDS)))]
    if core.isupper():
        new = new.upper()
    elif core[:1].isupper():
        new = new.capitalize()
    return new + word[len(core) :]


def _misspelt(word: str, rng: np.random.Generator) -> str:
    places = [i for i, c in enumerate(word) if c.isalnum()]
    i = places[int(rng.integers(len(places)))]
    way = int(rng.integers(4))
    if way == 0:
        return word[:i] + _substitute(word[i], rng) + word[i + 1 :]
    if way == 1 and len(places) > 2:
        return word[:i] + word[i + 1 :]
    if way == 2 and i + 1 < len(word) and word[i + 1].isalnum() and not _look_alike(word[i], word[i + 1]):
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    return word[:i] + word[i] + word[i:]


def _substitute(character: str, rng: np.random.Generator) -> str:
    script = unicodedata.name(character, "").split(" ")[0]
    pool = _DIGITS if character.isdigit() else _LETTERS.get(script, _LETTERS["LATIN"])
    free = [c for c in pool if not _look_alike(c, character)]
    new = free[int(rng.integers(len(free)))]
    return new.upper() if character.isupper() else new


def _bare(character: str) -> str:
    """The small letter without its accents: a lost accent is too small a slip."""
    return unicodedata.normalize("NFD", character.lower())[0].translate(_STRUCK)


def _look_alike(a: str, b: str) -> bool:
    a, b = _bare(a), _bare(b)
    return a == b or any(a in group and b in group for group in _ALIKE)
