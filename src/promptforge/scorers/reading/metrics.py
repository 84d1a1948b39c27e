"""Distances between a reading and the wanted text.

Each function first applies NFKC and collapses white space, and folds case unless it says otherwise.
"""

from __future__ import annotations

import unicodedata
from collections import Counter

from rapidfuzz.distance import Levenshtein


def collapsed(text: str) -> str:
    """NFKC, and every run of white space as one blank, none at the ends."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def folded(text: str) -> str:
    """`collapsed`, then full Unicode case folding, then NFKC again (folding can leave it)."""
    return collapsed(collapsed(text).casefold())


def exact_match(read: str, wanted: str) -> bool:
    """Equality with case, after `collapsed`: the accuracy of AnyText (Tuo et al. 2023)."""
    return collapsed(read) == collapsed(wanted)


def folded_match(read: str, wanted: str) -> bool:
    """Equality without case."""
    return folded(read) == folded(wanted)


def edit_distance(read: str, wanted: str) -> int:
    """Insertions, deletions and substitutions of code points, one each, between the folded sides."""
    return Levenshtein.distance(folded(read), folded(wanted))


def character_error_rate(read: str, wanted: str) -> float:
    """Edit distance per wanted character, in [0, inf); 0 is exact.

    Raises ValueError where `wanted` is empty. Source: Morris et al. 2004, eq. 2, on characters.
    """
    length = len(folded(wanted))
    if length == 0:
        raise ValueError("the wanted text is empty: an error rate per wanted character is not defined")
    return edit_distance(read, wanted) / length


def normalized_edit_similarity(read: str, wanted: str) -> float:
    """1 less the edit distance over the longer side's length, in [0, 1]; 1 is exact, symmetric.

    What AnyText and ICDAR call NED, although it grows with likeness. Two empty sides give 1.
    """
    return Levenshtein.normalized_similarity(folded(read), folded(wanted))


def words(text: str) -> Counter[str]:
    """Folded words with their counts; punctuation at a word's ends does not belong to it, unless it is all of it."""
    return Counter(_bare(word) for word in folded(text).split())


def word_recall(read: str, wanted: str) -> float:
    """Share of the wanted words, counted with repetitions, that were read, in [0, 1]; 1 where none is wanted."""
    want = words(wanted)
    return _share((words(read) & want).total(), want.total())


def word_precision(read: str, wanted: str) -> float:
    """Share of the read words, counted with repetitions, that were wanted, in [0, 1]; 1 where none was read."""
    have = words(read)
    return _share((have & words(wanted)).total(), have.total())


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _bare(word: str) -> str:
    start, stop = 0, len(word)
    while start < stop and unicodedata.category(word[start])[0] == "P":
        start += 1
    while stop > start and unicodedata.category(word[stop - 1])[0] == "P":
        stop -= 1
    return word[start:stop] or word
