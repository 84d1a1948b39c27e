"""Which strings does a prompt ask to be drawn?

`parse` pairs quotation marks of every style that people use, leaves out quotes that name or colour something (film
titles, nicknames, scare quotes, the whole prompt in quotes) and, where none is left, reads said-forms ("a sign that
says Welcome"). Rules alone, in one pass over the marks: time grows with the length, nothing raises.
Not covered: strings that a prompt only describes ("a birthday greeting"), said-forms in other languages than English.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from promptforge import quotes
from promptforge.targets import quoted, said
from promptforge.texts import fold

__all__ = ["VERSION", "Targets", "parse"]

VERSION = 3

_GLUED = re.compile(r"(\w)('[^']{1,60}')(written)\b")  # a wall with'Hello'written on it, as some lists have it


@dataclass(frozen=True, slots=True)
class Targets:
    """The strings in order of their first mention, each once, and how they were found; None where there is none."""

    strings: tuple[str, ...] = ()
    origin: Literal["quoted", "said"] | None = None


def parse(text: str) -> Targets:
    """The strings that a cleaned prompt wants to see drawn; () where it wants none.

    Equal strings count once, case and punctuation aside: a second mention mostly refers to the first.
    """
    text = _GLUED.sub(r"\1 \2 \3", quotes.unwrapped(text)) if "'written" in text else quotes.unwrapped(text)
    strings = _once(quoted.find(text))
    if strings:
        return Targets(strings, "quoted")
    strings = _once(said.find(text))
    return Targets(strings, "said") if strings else Targets()


def _once(strings: list[str]) -> tuple[str, ...]:
    first: dict[str, str] = {}
    for string in strings:
        first.setdefault(fold(string), string)
    return tuple(string for key, string in first.items() if len(first) < 3 or not _is_sum(key, first))


def _is_sum(folded: str, others: dict[str, str]) -> bool:
    """Is every word a string of its own? Then "FITNESS IN" names what "FITNESS" and "IN" draw."""
    words = folded.split()
    return len(words) > 1 and all(word in others for word in words)
