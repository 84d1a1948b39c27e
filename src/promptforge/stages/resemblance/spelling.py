"""Typing errors: an unknown word that is one edit from a single known word reads as that word.

Known are the words of the lexicon and of style.toml. The edit (a letter left out, doubled, put in, changed, or two
swapped) lies inside the word: ends carry grammar ("horse", "horses"). Words have 5 letters and more. It is a fact of
the word alone, so that what else is in a run changes no verdict.
Not covered: errors in words that the lexicon does not know, words of other scripts, two errors in one word.
"""

from __future__ import annotations

from functools import lru_cache

from promptforge import lexicon
from promptforge.stages.resemblance.vocabulary import kinds_of_words

_SHORTEST, _LONGEST = 5, 24


@lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    tables = lexicon.load()
    words = {part for phrase in kinds_of_words() for part in phrase.split()}
    for listed in (tables.open_words, tables.kept_words):
        words.update(listed.nouns, listed.countable, listed.adjectives, listed.verbs, listed.others)
        words.update(lexicon.plural(noun) for noun in listed.countable)
    for noun in tables.nouns.values():
        words.update(noun.word.split(), noun.plural.split())
    return frozenset(word for word in words if word.isascii() and word.isalpha() and word.islower())


def _one_left_out(word: str) -> set[str]:
    return {word[:at] + word[at + 1 :] for at in range(1, len(word) - 1)}


@lru_cache(maxsize=1)
def _by_remains() -> dict[str, tuple[str, ...]]:
    """Known words by what is left of them without one inner letter."""
    found: dict[str, tuple[str, ...]] = {}
    for word in sorted(_known()):
        if len(word) >= _SHORTEST:
            for remains in _one_left_out(word):
                found[remains] = (*found.get(remains, ()), word)
    return found


@lru_cache(maxsize=1 << 18)
def corrected(word: str) -> str | None:
    """The known word that was meant; None where the word is known itself or nothing single is near."""
    if not _SHORTEST <= len(word) <= _LONGEST or word in _known() or not (word.isascii() and word.isalpha()):
        return None
    from rapidfuzz.distance import OSA

    remains = _one_left_out(word)
    near = {known for known in remains if known in _known() and len(known) >= _SHORTEST}
    for each in (word, *remains):
        near.update(_by_remains().get(each, ()))
    fits = [
        known
        for known in near
        if known[0] == word[0] and known[-1] == word[-1] and OSA.distance(word, known, score_cutoff=1) == 1
    ]
    return fits[0] if len(fits) == 1 else None
