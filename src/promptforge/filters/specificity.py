"""Does a prompt name anything? Praise, media and function words alone leave a teacher free to draw what it likes.

"beautiful masterpiece, 8k, trending on artstation" names nothing; "a photo of a bench" names a bench. Counted are
different words outside words/vague.txt, numbers aside. Scripts other than Latin count as naming something.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from promptforge.filters.words.lists import load
from promptforge.filters.words.tokens import tokens_of, words_in
from promptforge.protocols import Filter, Finding

VERSION = 1

# Words that name something and are frequent in prompts: a row with one needs no further look.
_FREQUENT = (
    r"(?i)\b(?:m[ae]n|wom[ae]n|girls?|boys?|people|person|cats?|dogs?|birds?|horses?|cars?|trees?|houses?|cit(?:y|ies)|"
    r"streets?|mountains?|sky|sea|ocean|beach|water|river|lake|forest|flowers?|grass|sun|moon|space|rooms?|tables?|"
    r"chairs?|kitchen|windows?|doors?|walls?|buildings?|castles?|roads?|trains?|bus(?:es)?|bikes?|bicycles?|boats?|ships?|"
    r"signs?|books?|cups?|bottles?|plates?|food|fruits?|hair|eyes|face|hands?|head|dress|shirts?|hats?|robots?|dragons?|"
    r"armou?r|swords?|fire|light|lights|clouds?|snow|rain|night|sunset|red|blue|green|yellow|black|white|brown|pink|"
    r"purple|orange|wooden|glass|metal|leather|fabric|round|square|box|ball|clock|phone|bear|fish|sheep|cow|elephants?|"
    r"giraffes?|zebras?|umbrellas?|bench|skateboards?|surfboards?|field|park|garden|shop|store|desk|bed|"
    r"standing|sitting|walking|running|riding|holding|wearing|flying|eating|playing)\b"
)


class Params(BaseModel):
    """The cut."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_words: int = Field(1, ge=1, le=50, description="different words that name something")


def build(params: Params) -> Filter:
    """The check."""
    return _Specificity(params)


class _Specificity:
    columns: tuple[str, ...] = ("text_clean",)

    def __init__(self, params: Params) -> None:
        self._params = params

    def __call__(self, rows: pa.Table) -> Sequence[Finding]:
        """`value` and `threshold` count different words."""
        text, least = rows["text_clean"], self._params.min_words
        if least == 1:
            suspects = pc.indices_nonzero(pc.invert(pc.match_substring_regex(text, _FREQUENT)))
            text = text.take(suspects)
            places = suspects.to_numpy()
        else:
            places = np.arange(len(text))
        tokens = tokens_of(text)
        naming = _names(tokens.vocabulary)[tokens.codes]
        row_of = np.repeat(np.arange(len(places)), tokens.counts)[naming]
        if least == 1:
            counts = np.bincount(row_of, minlength=len(places))
        else:
            pairs = np.unique(row_of * (len(tokens.vocabulary) + 1) + tokens.codes[naming])
            counts = np.bincount(pairs // (len(tokens.vocabulary) + 1), minlength=len(places))
        low = np.flatnonzero(counts < least)
        return [_finding(int(places[row]), int(counts[row]), least) for row in low]


def look(row: int, text: str, params: Params) -> Finding | None:
    """The word on one text, in plain Python."""
    n = len({word for word in words_in(text) if word not in _vague() and not word[0].isdigit()})
    return _finding(row, n, params.min_words) if n < params.min_words else None


def _names(words: pa.Array) -> np.ndarray:
    if len(words) == 0:
        return np.zeros(0, bool)
    vague = pc.or_(pc.is_in(words, value_set=pa.array(sorted(_vague()))), pc.match_substring_regex(words, r"^\d"))
    found: np.ndarray = pc.invert(vague).to_numpy(zero_copy_only=False)
    return found


@cache
def _vague() -> frozenset[str]:
    return frozenset(word for line in load("vague") for word in line.split())


def _finding(row: int, n: int, least: int) -> Finding:
    return Finding(row, "drop", "names_nothing" if n == 0 else "too_vague", float(n), float(least))
