"""What a word says about whether its text can be drawn: weights of a logistic model over a text's words.

    logit = bias + sum of the words' weights / sqrt(number of words)

A word that the table lacks has the weight of its class: a number, or an ending (-tion and -ness are seldom seen, -ing
often). The weights and how they were fitted are in visual.toml; benchmarks/fit_visualness.py writes it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from promptforge.filters.words.tokens import Floats, Tokens, words_in

#: Endings in the order in which they are looked for; at least three letters stand before one.
ENDINGS = tuple("tion sion ness ity ism ment ance ence ship ly ing ed er able ible al ous ful less s".split())  # noqa: SIM905
NUMBER, OTHER = "<number>", "<other>"


@dataclass(frozen=True)
class Model:
    """Weights of words and classes; a class is written in angle brackets."""

    bias: float
    weights: Mapping[str, float]

    def weights_of(self, words: pa.Array) -> Floats:
        """The weight of each word, those of classes where the table lacks it."""
        known = pa.array(list(self.weights), pa.string())
        values = np.fromiter(self.weights.values(), np.float64, len(self.weights))
        places = pc.index_in(words, value_set=known)
        found: Floats = values[pc.fill_null(places, 0).to_numpy(zero_copy_only=False)]
        unknown = np.flatnonzero(pc.is_null(places).to_numpy(zero_copy_only=False))
        found[unknown] = self._of_classes(words.take(pa.array(unknown)))
        return found

    def _of_classes(self, words: pa.Array) -> Floats:
        """Weights of the classes that `class_of` gives."""
        found = np.full(len(words), self.weights[OTHER])
        lengths = pc.utf8_length(words).to_numpy(zero_copy_only=False)
        for ending in reversed(ENDINGS):  # the first that fits is written last
            fits = pc.ends_with(words, ending).to_numpy(zero_copy_only=False) & (lengths > len(ending) + 2)
            found[fits] = self._of_class(f"<-{ending}>")
        starts = pc.match_substring_regex(words, r"^\p{Nd}").to_numpy(zero_copy_only=False)
        found[starts] = self._of_class(NUMBER)
        return found

    def logits(self, tokens: Tokens) -> Floats:
        """One a row; a row without words has the bias alone."""
        counts = np.maximum(tokens.counts, 1)
        found: Floats = self.bias + tokens.sums(self.weights_of(tokens.vocabulary)) / np.sqrt(counts)
        return found

    def logit(self, text: str) -> float:
        """Of one text, in plain Python; `logits` gives the same but for the last digits."""
        words = words_in(text)
        total = sum(self.weights.get(word, self._of_class(class_of(word))) for word in words)
        return float(self.bias + total / max(len(words), 1) ** 0.5)

    def _of_class(self, name: str) -> float:
        return self.weights.get(name, self.weights[OTHER])


def class_of(word: str) -> str:
    """The class of a word that the table lacks."""
    if word[0].isdecimal():
        return NUMBER
    ending = next((end for end in ENDINGS if len(word) > len(end) + 2 and word.endswith(end)), None)
    return OTHER if ending is None else f"<-{ending}>"


@cache
def model() -> Model:
    """The model of the package."""
    table = tomllib.loads((resources.files(__package__) / "visual.toml").read_text("utf-8"))
    return Model(table["bias"], {word: weight for weight, words in _by_weight(table["words"]) for word in words})


def _by_weight(table: Mapping[str, str]) -> Sequence[tuple[float, list[str]]]:
    return [(float(weight), words.split()) for weight, words in table.items()]
