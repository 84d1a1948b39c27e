"""Skeletons: a prompt with its things, looks, numbers and quoted texts as blanks to be filled in.

Two prompts of one template share a skeleton, as the grammar's and T2I-CompBench's do with benchmarks by nature: worth
a flag, never a drop.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from promptforge import lexicon
from promptforge.stages.contamination.words import Mask, Words, read_words
from promptforge.stages.hashing import I64, U64, mix

_BITS = 22
_STEP = 0x9E3779B97F4A7C15
_BACK = np.uint64(pow(_STEP, -1, 1 << 64))
_QUOTED = r'“[^”]*”|"[^"]*"|(?:^|\s)\'[^\']+\'(?:$|[\s.,;!?])'
_TEXT = "qqquotedqqq"
#: A skeleton needs words of its own around its blanks: "a [thing]" is nobody's template.
MIN_LITERAL, MIN_SLOTS = 2, 2


def _forms() -> dict[str, str]:
    """Word -> the blank that it fills; only words without blanks and hyphens."""
    tables = lexicon.load()
    found: dict[str, str] = {}
    for noun in tables.nouns.values():
        found |= {noun.word: "thing", noun.plural: "thing"}
    for word in tables.open_words.nouns:
        found |= {word: "thing", lexicon.plural(word): "thing"}
    for carrier in tables.carriers:
        found |= dict.fromkeys((carrier.word, *carrier.names), "thing")
    for kind in (tables.shapes, tables.textures):
        for look in kind.values():
            found |= dict.fromkeys((look.word, *look.also), "look")
    found |= dict.fromkeys(tables.colours, "look")
    found |= {number.word: "number" for number in tables.numbers}
    found |= {str(number): "number" for number in range(2, 100)}
    found |= {"an": "a", _TEXT: "text"}
    return {
        word: slot for word, slot in found.items() if word.isalnum() and (slot == "a" or word not in tables.stop_words)
    }


@lru_cache(maxsize=1)
def _slots() -> tuple[npt.NDArray[np.uint8], U64]:
    """Kind of blank by the top bits of a word's hash (0: none), and the hash that stands for each kind.

    Words are not compared themselves: one unknown word in a thousand counts as a blank by chance, the same everywhere.
    """
    forms = _forms()
    kinds = sorted(set(forms.values()))
    stand_in = [read_words(pa.array(["a" if kind == "a" else f"blank{kind}"])).hashes[0] for kind in kinds]
    table = np.zeros(1 << _BITS, np.uint8)
    words = sorted(forms)
    places = (read_words(pa.array(words, pa.string())).hashes >> np.uint64(64 - _BITS)).astype(np.int64)
    for word, place in zip(words, places.tolist(), strict=True):
        table[place] = kinds.index(forms[word]) + 1
    return table, np.array([0, *stand_in], np.uint64)


def _filled(words: Words) -> tuple[U64, Mask]:
    """The words with blanks for what fills one, and which they are."""
    table, stand_in = _slots()
    kind = table[(words.hashes >> np.uint64(64 - _BITS)).astype(np.int64)]
    kind[words.quoted] = table[_place(_TEXT)]
    found = np.where(kind > 0, stand_in[kind], words.hashes)
    blank: Mask = (kind > 0) & (kind != table[_place("an")])
    return found, blank


@lru_cache(maxsize=4)
def _place(word: str) -> int:
    return int(read_words(pa.array([word])).hashes[0] >> np.uint64(64 - _BITS))


def skeletons(texts: pa.Array, words: Words) -> U64:
    """64 bits a text: equal for texts of one skeleton, 0 for those that are hardly a template.

    Neighbouring blanks of one kind count as one, so "a golden retriever" is as good as "a dog".
    """
    found = _of_words(words)
    marked = _with_odd_marks(texts)
    if len(marked):  # read again with one blank for each quoted text
        bare = pc.replace_substring_regex(texts.take(pa.array(marked)), _QUOTED, f" {_TEXT} ")
        found[marked] = _of_words(read_words(bare))
    return found


def _of_words(words: Words) -> U64:
    if not len(words.hashes):
        return np.zeros(len(words), np.uint64)
    found, blank = _filled(words)
    heads = np.zeros(len(found) + 1, bool)
    heads[words.offsets] = True
    keep = np.ones(len(found), bool)
    keep[1:] = (found[1:] != found[:-1]) | ~blank[1:] | heads[1:-1]
    kept = np.zeros(len(found) + 1, np.int64)
    np.cumsum(keep, out=kept[1:])
    offsets = kept[words.offsets]
    ends = np.zeros(len(found) + 1, np.int64)
    np.cumsum(blank & keep, out=ends[1:])
    n_slots = ends[words.offsets[1:]] - ends[words.offsets[:-1]]
    n_literal = np.diff(offsets) - n_slots
    total = _in_order(found[keep], offsets)
    total[(n_slots < MIN_SLOTS) | (n_literal < MIN_LITERAL)] = 0
    return total


def _in_order(hashes: U64, offsets: I64) -> U64:
    """Order-sensitive hash of each text's words."""
    steps = np.full(len(hashes) + 1, _STEP, np.uint64)
    steps[0] = 1
    power = np.multiply.accumulate(steps)
    total = np.zeros(len(hashes) + 1, np.uint64)
    np.cumsum(hashes * power[:-1], out=total[1:])
    size = np.diff(offsets)
    back = np.full(len(hashes) + 1, _BACK, np.uint64)
    back[0] = 1
    back = np.multiply.accumulate(back)
    found: U64 = mix((total[offsets[1:]] - total[offsets[:-1]]) * back[offsets[:-1]] + size.astype(np.uint64))
    return found


def _with_odd_marks(texts: pa.Array) -> I64:
    """Texts that may hold curly or single quotation marks."""
    if not len(texts):
        return np.empty(0, np.int64)
    texts = pc.fill_null(texts, "").cast(pa.large_string())
    _, place, data = texts.buffers()
    offsets = np.frombuffer(place, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    body = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    at = offsets[0] + np.flatnonzero(body[offsets[0] : offsets[-1]] == ord("'"))
    row = np.searchsorted(offsets, at, side="right") - 1
    opens = (at == offsets[row]) | (body[at - 1] == ord(" "))
    some = pc.invert(pc.string_is_ascii(texts)).to_numpy(zero_copy_only=False)
    some[row[opens]] = True
    return np.flatnonzero(some)
