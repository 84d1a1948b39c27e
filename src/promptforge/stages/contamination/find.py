"""Every rule over one batch of texts, and what the scenes make of what was found.

On the semantic axis the same words can say another thing: "a dog left of a cat" is no copy of "a cat left of a dog".
There a finding whose scene contradicts the prompt's becomes `other_scene`, a flag; words in another order only where
both have one skeleton, since the scene of a shuffled text says nothing. A part in common is one as well where both have
one skeleton, or only looks are exchanged: "a red bus by a wall" for "a green bus by a wall"; a passage also where the
two are about other things. One scene in other words is `scene`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from promptforge import scenes
from promptforge.records import Scene
from promptforge.stages.contamination import skeleton
from promptforge.stages.contamination.contained import wrapped_in_style
from promptforge.stages.contamination.equal import Letters
from promptforge.stages.contamination.grams import counted, grams_at, runs
from promptforge.stages.contamination.near import Contents
from promptforge.stages.contamination.overlap import Coverage, Floats, Held
from promptforge.stages.contamination.passages import Passages, Telling
from promptforge.stages.contamination.settings import RULES, DecontaminateSettings
from promptforge.stages.contamination.tuples import looks_exchanged, nouns_of, other_things, tuples_of
from promptforge.stages.contamination.words import Mask, Words, read_words
from promptforge.stages.hashing import I64, U64
from promptforge.stages.resemblance.apart import scenes_differ

VERSION = 2
BATCH_ROWS = 16_384  # arrays of a batch stay near the processor
#: Rules that find a part of a prompt: of two prompts of one template they find what the template says.
_BY_PASSAGE = frozenset({"run", "rare"})
_BY_PARTS = _BY_PASSAGE | {"ngrams"}
_NOUN = re.compile(r'"noun":"([^"]*)"')
_TINY_FIRST, _TINY_LAST = 5, 2  # where a prompt of one or two words is looked for: behind "a photo of a", or at the end


@dataclass(frozen=True, slots=True)
class Rows:
    """A batch of texts: the strings that they want drawn (joined by blanks), which are semantic, scenes as JSON."""

    texts: pa.Array
    expected: pa.Array
    semantic: Mask
    scenes: pa.Array


@dataclass(frozen=True, slots=True)
class Hits:
    """What was found: text, prompt, rule (place in RULES), value; sorted by text and rule, the largest value first.

    The value is a share or similarity in [0, 1], for `run` and `rare` the number of n-grams.
    """

    row: I64
    prompt: I64
    rule: I64
    value: Floats

    def of(self, rule: str) -> Hits:
        """Those of one rule."""
        return self.where(self.rule == RULES.index(rule))

    def where(self, wanted: Mask) -> Hits:
        """Those that are marked."""
        return Hits(self.row[wanted], self.prompt[wanted], self.rule[wanted], self.value[wanted])


class Index:
    """All that is looked for, of the distinct prompts of every benchmark."""

    def __init__(self, texts: tuple[str, ...], settings: DecontaminateSettings) -> None:
        self.texts, self.settings = texts, settings
        column = pa.array(texts, pa.string())
        self._words = words = read_words(column)
        self._size = np.diff(words.offsets)
        self._letters = Letters(words.letters, texts)
        self._coverage = Coverage(words, settings.ngram, settings.coverage)
        self._weights = Held(words, 1, weighted=True)
        telling = Telling(words, settings.passage)
        self._passages = {
            "run": Passages(words, settings.run, telling, settings.run, max(2, len(words) // 1000)),
            "rare": Passages(words, settings.rare_ngram, telling, settings.long_words, max(1, len(words) // 10_000)),
        }
        self._contents = Contents(texts, column, settings.near)
        self._skeletons = skeleton.skeletons(column, words)
        self._templates, self._template_of = np.unique(self._skeletons, return_index=True)
        self._tiny: dict[int, tuple[U64, I64]] = {}
        for n in (1, 2):  # shorter than an n-gram: found by their place
            own = np.flatnonzero(self._size == n)
            value = grams_at(words.hashes, n, words.offsets[:-1][own])
            order = np.argsort(value)
            if len(own) and n < settings.ngram:
                self._tiny[n] = value[order], own[order]
        self._parsed: dict[int, Scene] = {}

    def _scene_of(self, prompt: int) -> Scene:
        """Told when it is asked for the first time: texts of other axes need none of them."""
        if prompt not in self._parsed:
            self._parsed[prompt] = scenes.parse(self.texts[prompt])
        return self._parsed[prompt]

    @cached_property
    def _by_nouns(self) -> dict[tuple[str, ...], dict[Any, int]]:
        found: dict[tuple[str, ...], dict[Any, int]] = {}
        for number in range(len(self.texts)):
            said = tuples_of(self._scene_of(number))
            if said is not None:
                found.setdefault(nouns_of(self._scene_of(number)), {}).setdefault(said, number)
        return found

    def find(self, rows: Rows) -> Hits:
        """All hits of a batch."""
        words = read_words(rows.texts)
        own = skeleton.skeletons(rows.texts, words)
        found: list[tuple[str, I64, I64, npt.NDArray[Any]]] = []
        row, prompt, same = self._letters.find(words.letters, lambda at: str(rows.texts[at].as_py()))
        found.append(("exact", row[same == 1], prompt[same == 1], np.ones(int((same == 1).sum()))))
        found.append(("word_order", row[same == 0], prompt[same == 0], np.ones(int((same == 0).sum()))))
        row, prompt, share, marks = self._coverage.find(words)
        found.append(("ngrams", *self._covered(words, row, prompt, share)))
        tiny = self._tiny_in(words)
        found.append(("near", *self._near(rows, np.concatenate([row, tiny[0]]))))
        whole = (share > 1 - 1e-9) & (self._size[prompt] < self.settings.short_words)
        both = np.concatenate([row[whole], tiny[0]]), np.concatenate([prompt[whole], tiny[1]])
        found.append(("contained", *self._contained(rows, *both)))
        for rule, passages in self._passages.items():  # every n-gram of a passage is one of the list
            at = runs(marks, passages.n - self._coverage.n + 1)
            found.append((rule, *passages.find(words, at)))
        found = self._other_scenes(rows, found, own)
        found.append(("scene", *self._scenes(rows)))
        at = np.minimum(np.searchsorted(self._templates, own), len(self._templates) - 1)
        row = np.flatnonzero((self._templates[at] == own) & (own != 0))
        found.append(("skeleton", row, self._template_of[at[row]], np.ones(len(row))))
        return _sorted(found)

    def _covered(self, words: Words, row: I64, prompt: I64, share: Floats) -> tuple[I64, I64, Floats]:
        """Of the pairs with enough n-grams in common those that have the rare words in common as well."""
        size, settings = self._size[prompt], self.settings
        long = size >= settings.short_words
        row, prompt, share, size = row[long], prompt[long], share[long], size[long]
        least = np.where(size >= settings.long_words, settings.long_weight, settings.weight)
        good = self._weights.share(words, row, prompt, least) >= least - 1e-9
        return row[good], prompt[good], share[good]

    def _near(self, rows: Rows, screened: I64) -> tuple[I64, I64, Floats]:
        """Near duplicates among the texts that cover some prompt, or hold a tiny one where it could be the content."""
        some = counted(screened)[0]
        if not len(some):
            return some, some, np.empty(0, np.float64)
        chosen = pa.array(some)
        row, prompt, share = self._contents.find(rows.texts.take(chosen), rows.expected.take(chosen))
        return some[row], prompt, share

    def _contained(self, rows: Rows, row: I64, prompt: I64) -> tuple[I64, I64, Floats]:
        """Of the pairs in which the text has every word of a short prompt those in which the rest is style."""
        shares = np.array(
            [
                wrapped_in_style(str(rows.texts[a].as_py()), self.texts[b]) or 0.0
                for a, b in zip(row.tolist(), prompt.tolist(), strict=True)
            ]
        )
        good = (shares > 0) & (shares < 1)
        return row[good], prompt[good], shares[good]

    def _tiny_in(self, words: Words) -> tuple[I64, I64]:
        """Texts that have a prompt of one or two words where it could be the content, and that prompt."""
        found: list[tuple[I64, I64]] = [(np.empty(0, np.int64), np.empty(0, np.int64))]
        for n, (tiny, owner) in self._tiny.items():
            first, last = words.offsets[:-1], words.offsets[1:] - n
            for step in range(-_TINY_LAST, _TINY_FIRST):
                at = first + step if step >= 0 else last + step + 1
                rows = np.flatnonzero((at >= first) & (at <= last))
                value = grams_at(words.hashes, n, at[rows])
                key = np.minimum(np.searchsorted(tiny, value), len(tiny) - 1)
                hit = tiny[key] == value
                found.append((rows[hit], owner[key[hit]]))
        both = counted(np.concatenate([(row << 32) | prompt for row, prompt in found]))[0]
        return both >> 32, both & 0xFFFFFFFF

    def _other_scenes(
        self, rows: Rows, found: list[tuple[str, I64, I64, npt.NDArray[Any]]], own: U64
    ) -> list[tuple[str, I64, I64, npt.NDArray[Any]]]:
        """The same findings, of which those that say another thing are `other_scene`."""
        made = []
        for rule, row, prompt, value in found:
            other = np.zeros(len(row), bool)
            if rule != "exact":
                asked = rows.semantic[row]
                template = (own[row] == self._skeletons[prompt]) & (own[row] != 0)
                if rule == "word_order":
                    asked &= template
                if rule in _BY_PARTS:
                    other = asked & template
                for at in np.flatnonzero(asked & ~other).tolist():
                    other[at] = self._says_other(rule, rows, int(row[at]), int(prompt[at]))
            made.append((rule, row[~other], prompt[~other], value[~other]))
            made.append(("other_scene", row[other], prompt[other], np.ones(int(other.sum()))))
        return made

    def _says_other(self, rule: str, rows: Rows, row: int, prompt: int) -> bool:
        """Whether a text of the semantic axis says another thing than the prompt that a rule finds in it."""
        text = rows.scenes[row].as_py()
        scene = None if text is None else Scene.from_json(text)
        if scene is not None and scenes_differ(scene, self._scene_of(prompt)):
            return True
        if rule in _BY_PASSAGE and scene is not None and other_things(scene, self._scene_of(prompt)):
            return True
        return rule in _BY_PARTS and looks_exchanged(str(rows.texts[row].as_py()), self.texts[prompt])

    def _scenes(self, rows: Rows) -> tuple[I64, I64, Floats]:
        """Texts of the semantic axis that say one prompt's scene, in whatever words."""
        found = []
        for row in np.flatnonzero(rows.semantic).tolist():
            text = rows.scenes[row].as_py()
            if text is None or '"unknown":[]' not in text:
                continue
            prompts = self._by_nouns.get(tuple(sorted(_NOUN.findall(text))))
            said = tuples_of(Scene.from_json(text)) if prompts else None
            if prompts and said in prompts:
                found.append((row, prompts[said]))
        columns = np.array(found, np.int64).reshape(-1, 2)
        return columns[:, 0], columns[:, 1], np.ones(len(columns))


def _sorted(found: list[tuple[str, I64, I64, npt.NDArray[Any]]]) -> Hits:
    """One hit for each text and prompt, that of the strongest rule; the largest value first among those of a rule."""
    rule = np.repeat([RULES.index(name) for name, *_ in found], [len(row) for _, row, *_ in found]).astype(np.int64)
    row = np.concatenate([row for _, row, *_ in found]).astype(np.int64)
    prompt = np.concatenate([prompt for _, _, prompt, _ in found]).astype(np.int64)
    value = np.concatenate([value.astype(np.float64) for *_, value in found])
    order = np.lexsort((-value, rule, prompt, row))
    pair = (row << 32 | prompt)[order]
    fresh = np.ones(len(pair), bool)
    fresh[1:] = pair[1:] != pair[:-1]
    best = order[fresh]
    best = best[np.lexsort((prompt[best], -value[best], rule[best], row[best]))]
    return Hits(row[best], prompt[best], rule[best], value[best])
