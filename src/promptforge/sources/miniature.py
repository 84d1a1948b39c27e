"""Prompts of the miniature world: 16 things, 8 colours, counts to four, four relations, strings of one to four letters.

The world is small enough for a text-to-image model of three million parameters to learn (promptforge.distill.
miniature), and every word of it is read by the canvas teacher. It tests the mechanism; it is no set to train on.

    image_quality            one thing, in the words that captions have: a photo of a red boat in soft light
    semantic_understanding   color, numeracy, spatial: a blue cat to the left of a red chair
    text_rendering           letters, in capitals and digits: a sign that says "B4"

Row k is a pure function of (seed, axis, k). A share of all rows by publish.natural_test_share, drawn by a hash of their
text, is held out as test_natural, as with files: a world without a word that the lexicon reserves has no test_words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

from promptforge.lexicon import digest, plural
from promptforge.protocols import Source, SourcePart
from promptforge.records import Axis, Candidate, digest_of
from promptforge.sources.writing.draw import Draw

VERSION = 1
LICENCE = "CC0-1.0"

NOUNS = (
    *("dog", "cat", "fish", "bird", "tree", "house", "car", "boat", "flower", "mushroom", "apple", "chair"),
    *("umbrella", "duck", "airplane", "guitar"),
)
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black")
COUNTS = {2: "two", 3: "three", 4: "four"}
RELATIONS = ("to the left of", "to the right of", "above", "below")
OPENINGS = ("", "a photo of", "a picture of", "a painting of", "a close view of", "a calm image of")
LOOKS = ("", "lovely", "small", "large", "old", "new")
ENDINGS = ("", "in soft light", "at sunset", "on a quiet day", "in fine detail")
CARRIERS = ("sign", "poster", "board", "card", "shirt")
SAYINGS = ("that says", "that reads", "with the text")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#: Strings of one to four letters, in per cent.
LENGTHS = (30, 30, 25, 15)

CATEGORIES: Mapping[str, tuple[str, ...]] = {
    Axis.IMAGE_QUALITY: ("thing",),
    Axis.SEMANTIC_UNDERSTANDING: ("color", "numeracy", "spatial"),
    Axis.TEXT_RENDERING: ("letters",),
}


class Params(BaseModel):
    """What to write."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    axis: Axis = Field(description="axis that the prompts are for")
    n: int = Field(ge=1, le=10_000_000, description="rows; a larger n keeps the rows of a smaller one")
    name: str | None = Field(
        default=None,
        pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        description="name of the source; default miniature-<axis>",
    )


def words() -> tuple[str, ...]:
    """Every word that a prompt may hold outside quotation marks, sorted; the world's tokenizer is made of them."""
    phrases = (*RELATIONS, *OPENINGS, *LOOKS, *ENDINGS, *CARRIERS, *SAYINGS, *COUNTS.values(), "a an and")
    plurals = [plural(noun) for noun in NOUNS]
    return tuple(sorted({word for phrase in (*NOUNS, *plurals, *COLOURS, *phrases) for word in phrase.split()}))


def build(params: Params, seed: int) -> Source:
    """The source of one axis."""
    return Miniature(params, seed)


class Miniature:
    """One virtual part of n rows."""

    def __init__(self, params: Params, seed: int) -> None:
        self.axis = params.axis.value
        self.name = params.name or f"miniature-{self.axis}"
        self.licence = LICENCE
        self._n, self._seed = params.n, seed
        self._digest = digest_of({"version": VERSION, "lexicon": digest(), "seed": seed, "axis": self.axis})

    def parts(self) -> Sequence[SourcePart]:
        """The one part; called grammar, since a machine wrote it."""
        return (SourcePart("grammar", self._digest, self._n),)

    def read(self, part: SourcePart, start: int, stop: int) -> Iterator[Candidate]:
        """Rows start to stop - 1."""
        if part.digest != self._digest:
            raise ValueError(f"part {part.label} has digest {part.digest[:12]}, this world {self._digest[:12]}")
        for row in range(start, min(stop, self._n)):
            categories = CATEGORIES[self.axis]
            category = categories[row % len(categories)]
            draw = Draw(self._seed, f"miniature/{self.axis}", row)
            if self.axis == Axis.TEXT_RENDERING:
                text, strings = _letters(draw)
            else:
                text, strings = _WRITERS[category](draw), ()
            yield Candidate(row=row, text=text, axis=self.axis, category=category, expected_text=strings)


def _with_article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _said(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _thing(draw: Draw) -> str:
    phrase = _with_article(_said(draw.pick(LOOKS), draw.pick(COLOURS), draw.pick(NOUNS)))
    return _said(draw.pick(OPENINGS), phrase, draw.pick(ENDINGS))


def _two(draw: Draw) -> tuple[str, str]:
    """Two things of different kind and colour."""
    first, colour = draw.below(len(NOUNS)), draw.below(len(COLOURS))
    second = (first + 1 + draw.below(len(NOUNS) - 1)) % len(NOUNS)
    other = (colour + 1 + draw.below(len(COLOURS) - 1)) % len(COLOURS)
    return _with_article(f"{COLOURS[colour]} {NOUNS[first]}"), _with_article(f"{COLOURS[other]} {NOUNS[second]}")


def _color(draw: Draw) -> str:
    return " and ".join(_two(draw))


def _numeracy(draw: Draw) -> str:
    return f"{COUNTS[2 + draw.below(3)]} {draw.pick(COLOURS)} {plural(draw.pick(NOUNS))}"


def _spatial(draw: Draw) -> str:
    first, second = _two(draw)
    return f"{first} {draw.pick(RELATIONS)} {second}"


def _letters(draw: Draw) -> tuple[str, tuple[str, ...]]:
    chance = draw.below(100)
    length = 1 + sum(chance >= sum(LENGTHS[:n]) for n in (1, 2, 3))
    string = "".join(draw.pick(LETTERS) for _ in range(length))
    colour = draw.pick(COLOURS) if draw.percent(50) else ""
    return f'{_with_article(_said(colour, draw.pick(CARRIERS)))} {draw.pick(SAYINGS)} "{string}"', (string,)


_WRITERS = {"thing": _thing, "color": _color, "numeracy": _numeracy, "spatial": _spatial}
