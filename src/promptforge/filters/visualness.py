"""How much of a prompt can be drawn? Diffusion models do not respond to what cannot.

The embedded scorer is a logistic model over the prompt's words (words/visual.py): the probability that a text with
these words describes a picture. It tells captions from mail, opinions and word problems; it cannot weigh a metaphor.
Strings to be drawn count for nothing where the rest can be drawn: a banner may say "to be or not to be".
A text with too few words that it knows passes: one word alone says little. Texts that are not English are not judged.
Not covered: scoring by a language model (the filter `judge`) or by the teacher's response.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from promptforge.filters.words.tokens import Floats, tokens_of, words_in
from promptforge.filters.words.visual import model
from promptforge.protocols import Filter, Finding

VERSION = 1


class Params(BaseModel):
    """The cut."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_visual: float = Field(
        0.1,
        ge=0,
        le=1,
        description="probability below which a prompt is dropped; see benchmarks/results for what each cut costs",
    )
    near: float = Field(0.1, ge=0, le=1, description="this little above it is recorded as a near miss")
    min_words: int = Field(4, ge=1, le=100, description="words of a text that is judged; shorter ones pass")


def build(params: Params) -> Filter:
    """The check."""
    return _Visualness(params)


class _Visualness:
    columns: tuple[str, ...] = ("text_clean", "expected_text")

    def __init__(self, params: Params) -> None:
        self._params = params

    def __call__(self, rows: pa.Table) -> Sequence[Finding]:
        """`value` and `threshold` are probabilities."""
        params = self._params
        tokens = tokens_of(rows["text_clean"])
        values = _probability(model().logits(tokens))
        low = (values < params.min_visual + params.near) & (tokens.counts >= params.min_words)
        places = np.flatnonzero(low)
        some = rows.select(list(self.columns)).take(pa.array(places)).to_pylist()
        found = []
        for row, each in zip(places.tolist(), some, strict=True):
            value = float(values[row])
            finding = _finding(row, max(value, _without(each["text_clean"], each["expected_text"] or ())), params)
            if finding is not None:
                found.append(finding)
        return found


def look(row: int, text: str, expected: Sequence[str], params: Params) -> Finding | None:
    """The word on one text, in plain Python; `expected` are its strings to be drawn."""
    if len(words_in(text)) < params.min_words:
        return None
    return _finding(row, max(_of_one(text), _without(text, expected)), params)


def _without(text: str, expected: Sequence[str]) -> float:
    """The probability of the text without its strings to be drawn; 0 where it has none."""
    rest = text
    for string in sorted(filter(None, expected), key=len, reverse=True):
        rest = rest.replace(string, " ")
    return _of_one(rest) if rest != text else 0.0


def _of_one(text: str) -> float:
    return float(_probability(np.array([model().logit(text)]))[0])


def score(texts: pa.ChunkedArray | pa.Array) -> Floats:
    """Probability in [0, 1] of each text that it can be drawn."""
    return _probability(model().logits(tokens_of(texts)))


def _probability(logits: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-np.clip(logits, -40, 40)))
    return found


def _finding(row: int, value: float, params: Params) -> Finding | None:
    value = round(value, 4)
    if value < params.min_visual:
        return Finding(row, "drop", "not_visual", value, params.min_visual)
    if value < round(params.min_visual + params.near, 6):
        return Finding(row, "near_miss", "not_visual", value, params.min_visual)
    return None
