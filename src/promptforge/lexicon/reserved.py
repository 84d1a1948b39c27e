"""What is kept for tests, decided by the lexicon alone, before any prompt exists.

Words: the list in words.toml with every inflection, so that training on "paddling" cannot give away "paddle".
Compositions: one in `SHARE` of all (noun, attribute) pairs and (noun, predicate, noun) triples, by a hash of the
words, so that the choice needs no list and survives new words. An attribute is a colour, shape, texture, action
or the word of a count above one. A triple and its inverse ("a left of b", "b right of a") are one composition.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from promptforge.lexicon.tables import load, plural

#: One composition in 25 is reserved: 4%.
SHARE = 25

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_VOWELS = "aeiou"


def inflections(word: str) -> frozenset[str]:
    """Lower-case forms of a word: itself, plural, -s, -ed, -ing, -er, -est, and the possessives of these nouns.

    Whatever the part of speech: "tidaler" is no word, and does no harm. Irregular verbs are not covered, so no
    reserved word is one.
    """
    word = word.casefold()
    forms = {word, plural(word).casefold(), f"{word}s"}
    for stem in _stems(word):
        forms |= {f"{stem}ed", f"{stem}er", f"{stem}est", f"{stem}ers"}
        # tie, tied, tying; carry, carrying
        forms.add(f"{word}ing" if word.endswith("y") else f"{stem}ing")
    if word.endswith(("s", "x", "z", "ch", "sh", "o")):
        forms.add(f"{word}es")
    if word.endswith("y") and word[-2:-1] not in _VOWELS:
        forms.add(f"{word[:-1]}ies")
    return frozenset(forms | {f"{form}'s" for form in forms} | {f"{form}'" for form in forms})


def _stems(word: str) -> list[str]:
    """What -ed, -er, -est are put to: bak(e), carri, stopp."""
    if word.endswith("e"):
        return [word[:-1]]
    if word.endswith("y") and word[-2:-1] not in _VOWELS:
        return [f"{word[:-1]}i"]
    closed = len(word) > 2 and word[-1] not in _VOWELS + "wxy" and word[-2] in _VOWELS
    return [word, word + word[-1]] if closed and word[-3] not in _VOWELS else [word]


@lru_cache(maxsize=1)
def reserved_words() -> frozenset[str]:
    """Every reserved word in every inflection, case-folded, with straight apostrophes."""
    kept = load().kept_words
    words = sorted({*kept.nouns, *kept.adjectives, *kept.verbs})
    return frozenset(form for word in words for form in inflections(word))


def is_reserved_word(word: str) -> bool:
    """Whether a word is reserved, in any case, width and kind of apostrophe."""
    return _folded(word) in reserved_words()


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).replace("’", "'").replace("‘", "'").casefold()


def words_of(text: str) -> list[str]:
    """The letter words of a text, folded; "2 Paddles, 7 pm" gives paddles, pm."""
    return _WORD.findall(_folded(text))


def _hit(*parts: str) -> bool:
    key = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") % SHARE == 0


@lru_cache(maxsize=262_144)
def is_reserved_pair(noun: str, attribute: str) -> bool:
    """Whether (noun, attribute), both canonical words, is kept for test_composition."""
    return _hit("pair", noun, attribute)


@lru_cache(maxsize=262_144)
def is_reserved_triple(subject: str, predicate: str, other: str) -> bool:
    """Whether `subject predicate other` is kept for test_composition; its inverse is answered alike."""
    relation = load().relations.get(predicate)
    inverse = relation.inverse if relation else None
    if inverse is not None:
        subject, predicate, other = min((subject, predicate, other), (other, inverse, subject))
    return _hit("triple", subject, predicate, other)


def reserved_pairs() -> Iterator[tuple[str, str]]:
    """Every reserved (noun, attribute) of the lexicon, in its order."""
    lexicon = load()
    attributes = [
        *(colour.word for colour in lexicon.colours.values() if colour.same_as is None),
        *lexicon.shapes,
        *lexicon.textures,
        *dict.fromkeys(action.word for action in lexicon.actions),
        *dict.fromkeys(lexicon.number_word(n.value) for n in lexicon.numbers if n.value > 1),
    ]
    for noun in lexicon.nouns:
        for attribute in attributes:
            if is_reserved_pair(noun, attribute):
                yield noun, attribute


def reserved_triples() -> Iterator[tuple[str, str, str]]:
    """Every reserved (noun, predicate, noun) of the lexicon; some 50,000."""
    lexicon = load()
    for subject in lexicon.nouns:
        for predicate in lexicon.relations:
            for other in lexicon.nouns:
                if is_reserved_triple(subject, predicate, other):
                    yield subject, predicate, other
