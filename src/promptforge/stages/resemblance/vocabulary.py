"""What each word is to the comparison of prompts: a table of hashes, made once from style.toml and the lexicon."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from promptforge import lexicon
from promptforge.stages.hashing import U64
from promptforge.stages.resemblance.kinds import IGNORED, KNOWN, MANNER, MEDIUM, OF, OPENER, POLISH, TELLING
from promptforge.stages.resemblance.words import read_words

__all__ = ["IGNORED", "MANNER", "MEDIUM", "OF", "OPENER", "POLISH", "TELLING", "Vocabulary", "digest", "hash_words"]
__all__ += ["kinds_of_words", "vocabulary"]

_BITS = 16  # 2**16 slots for some 3,000 words: nearly all at their first


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Open-addressed table with linear probing: `keys` by the low bits of a word's hash; 0 is an empty slot."""

    keys: U64
    kinds: npt.NDArray[np.uint8]
    same: U64
    media: U64

    def look_up(self, hashes: U64) -> tuple[npt.NDArray[np.uint8], U64, U64]:
        """Kind (bits), canonical hash, and medium (one bit of 64) of each word; an unknown word is itself."""
        slot = (hashes & np.uint64((1 << _BITS) - 1)).astype(np.int64)
        at = self.keys[slot]
        hit = at == hashes
        left = np.flatnonzero(~hit & (at != 0))
        while len(left):  # the few whose slot holds another word: look into the next
            slot[left] = (slot[left] + 1) & ((1 << _BITS) - 1)
            at = self.keys[slot[left]]
            hit[left] = at == hashes[left]
            left = left[(at != hashes[left]) & (at != 0)]
        kinds = np.where(hit, self.kinds[slot], np.uint8(0))
        return kinds, np.where(hit, self.same[slot], hashes), np.where(hit, self.media[slot], np.uint64(0))


def _style() -> dict[str, object]:
    return tomllib.loads(files("promptforge.stages.resemblance").joinpath("style.toml").read_text("utf-8"))


@lru_cache(maxsize=1)
def digest() -> str:
    """SHA-256 over everything that the table is made from."""
    own = files("promptforge.stages.resemblance").joinpath("style.toml").read_bytes()
    return hashlib.sha256(own + lexicon.digest().encode()).hexdigest()


def hash_words(words: list[str]) -> U64:
    """Hash of each word, as `read_words` hashes it. The words have no blanks and no punctuation."""
    found = read_words(pa.array(words, pa.string()))
    assert len(found.hashes) == len(words)
    return found.hashes


@lru_cache(maxsize=1)
def vocabulary() -> Vocabulary:
    """The table; the same object on every call."""
    kinds, media, same = _kinds()
    words = sorted(set(kinds) | set(same) | set(same.values()))
    hashes = dict(zip(words, hash_words(words).tolist(), strict=True))
    size = 1 << _BITS
    keys = np.zeros(size, np.uint64)
    kind_of = np.zeros(size, np.uint8)
    same_of = np.zeros(size, np.uint64)
    medium_of = np.zeros(size, np.uint64)
    for word in words:
        slot = hashes[word] & (size - 1)
        while keys[slot]:
            slot = (slot + 1) & (size - 1)
        keys[slot] = hashes[word]
        kind_of[slot] = KNOWN | (kinds.get(word, 0) or kinds.get(same.get(word, ""), 0))
        same_of[slot] = hashes[same.get(word, word)]
        medium_of[slot] = 1 << media[word] if word in media else 0
    return Vocabulary(keys, kind_of, same_of, medium_of)


def kinds_of_words() -> dict[str, int]:
    """Bits of every word of the table."""
    return _kinds()[0]


def _kinds() -> tuple[dict[str, int], dict[str, int], dict[str, str]]:
    """Bits of each word, place of each medium, and spellings of the same word."""
    style = _style()
    lists = {name: str(style[name]).split() for name in ("ignored", "polish", "manner", "media", "openers", "telling")}
    kinds: dict[str, int] = {}
    for word in (*lists["telling"], *_lexicon_words()):
        kinds[word] = TELLING
    loose = (("ignored", IGNORED), ("polish", POLISH), ("manner", MANNER), ("media", MEDIUM))
    for name, bit in loose:  # a word of style tells nothing, except where it stands among content
        for word in lists[name]:
            kinds[word] = kinds.get(word, 0) | bit
    for word in lists["openers"]:
        kinds[word] = kinds.get(word, 0) | OPENER
    kinds["of"] |= OF
    media = {word: number for number, word in enumerate(sorted(lists["media"]))}
    media |= dict.fromkeys(str(style["photo"]).split(), len(media))  # one medium in several words
    same = style["same"]
    assert isinstance(same, dict)
    spellings = {str(key): str(value) for key, value in same.items()}
    return kinds, media, _verb_forms(kinds) | spellings


def _verb_forms(kinds: dict[str, int]) -> dict[str, str]:
    """Forms of the lexicon's verbs -> one of them, but for those that are also something else."""
    tables = lexicon.load()
    nouns = {form for noun in (*tables.open_words.nouns, *tables.nouns) for form in (noun, lexicon.plural(noun))}
    found: dict[str, str] = {}
    for verb in sorted({*tables.open_words.verbs, *tables.kept_words.verbs, "wear", "sit", "ride", "stand"}):
        stem = verb[:-1] if verb.endswith("e") and not verb.endswith("ee") else verb
        doubled = len(verb) <= 4 and verb[-1] not in "aeiouwxy" and verb[-2] in "aeiou" and verb[-3] not in "aeiou"
        ing = f"{verb}{verb[-1]}ing" if doubled else f"{stem}ing"
        target = ing if kinds.get(ing, 0) == TELLING else verb  # actions of the lexicon are in this form
        for form in {verb, lexicon.plural(verb), ing} - {target}:
            if form not in nouns and form not in kinds:
                found[form] = target
    return found


def _lexicon_words() -> set[str]:
    tables = lexicon.load()
    phrases: set[str] = set()
    for noun in tables.nouns.values():
        phrases |= {noun.word, noun.plural}
    phrases |= set(tables.colours) | set(tables.shapes) | set(tables.textures)
    phrases |= {number.word for number in tables.numbers if number.value > 1}
    phrases |= {action.word for action in tables.actions}
    return {phrase for phrase in phrases if phrase.isalnum()}
