"""Lists of words and phrases, and the patterns that find them as whole words.

Substrings would flag thousands of harmless prompts: glass, grass, skyscraper. One list makes one pattern for RE2, which
reads every prompt in a single pass whatever the list's length, and one for Python, which looks closer at what it left.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from importlib import resources
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

_BETWEEN = "[ _-]+"  # blanks of a phrase, as people write them


@cache
def load(name: str) -> tuple[str, ...]:
    """The lines of `name`.txt in this package, without comments."""
    lines = (resources.files(__package__) / f"{name}.txt").read_text("utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


def whole_words(words: Iterable[str], *, plural: bool = True) -> re.Pattern[str]:
    """Finds each of the words or phrases, lower-case, with or without a plural s, in a text made `plain`.

    The longest comes first where two begin alike.
    """
    return re.compile(rf"(?<![a-z0-9])(?:{_any_of(words)}){'(?:s|es)?' if plural else ''}(?![a-z0-9])")


def screen(words: Iterable[str], *, plural: bool = True) -> str:
    """The same for RE2, which has no look-around: it takes the neighbours of the word with it."""
    return rf"(?:^|[^a-z0-9])(?:{_any_of(words)}){'(?:s|es)?' if plural else ''}(?:[^a-z0-9]|$)"


def _any_of(words: Iterable[str]) -> str:
    """Alternatives by first letter: Python's re tries them one after the other, and this spares it 19 of 20."""
    ordered = sorted(words, key=lambda word: (word[0], -len(word), word))
    groups = (
        (re.escape(first), "|".join(_BETWEEN.join(map(re.escape, re.split("[ -]", word[1:]))) for word in group))
        for first, group in groupby(ordered, key=lambda word: word[0])
    )
    return "|".join(f"{first}(?:{rest})" for first, rest in groups)


def plain(texts: pa.ChunkedArray | pa.Array) -> pa.Array:
    """The texts lower-case, and those with other than ASCII letters NFKC-folded: full-width letters are letters."""
    column = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    foreign = pc.invert(pc.string_is_ascii(column))
    lowered = pc.ascii_lower(column)
    if not pc.any(foreign, min_count=0).as_py():
        return lowered
    folded = pa.array([plain_text(text) for text in column.filter(foreign).to_pylist()], pa.string())
    return pc.replace_with_mask(lowered, foreign, folded)


def plain_text(text: str) -> str:
    """One text made plain."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).lower()
