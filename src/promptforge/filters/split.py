"""Rows that fit neither train nor test: with reserved and open words or combinations, or with words of a test set.

The lexicon's own reserved words are split off by generate. `test_prompts` names a further test set whose strings to be
drawn must not be learnt from: a row of train that asks for one of them, for a form of a word of it, or for a longer
string that holds it, is dropped. Rows that belong to a test split anyway stay there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from promptforge import targets
from promptforge.errors import EnvironmentFault
from promptforge.files import sha256_file
from promptforge.lexicon.reserved import inflections
from promptforge.protocols import Filter, Finding
from promptforge.texts import clean, fold

VERSION = 1
PLACES = ("test_prompts",)


class Params(BaseModel):
    """What is a test besides the lexicon's reserved words; a leak has no right amount, so there is no threshold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    test_prompts: str | None = Field(
        None,
        description="file of a test set, a JSON list of strings or .txt lines: prompts with the words to be drawn in"
        " quotes, or these words alone; null: none",
    )


def identity(params: Params) -> dict[str, str]:
    """The test set by its content. Raises EnvironmentFault where it is not there."""
    return {} if params.test_prompts is None else {"test_prompts": sha256_file(_there(params.test_prompts))}


def build(params: Params) -> Filter:
    """The check; reads the test set. Raises EnvironmentFault where that cannot be read."""
    return _Split(_Kept.of(_read(_there(params.test_prompts))) if params.test_prompts is not None else None)


class _Kept:
    """Strings of a test set, folded, as tuples of words: every form of single words, longer ones as they are."""

    def __init__(self, words: frozenset[str], phrases: frozenset[tuple[str, ...]]) -> None:
        self._words = words
        self._phrases = phrases
        self._lengths = sorted({len(phrase) for phrase in phrases})

    @classmethod
    def of(cls, strings: Sequence[str]) -> _Kept:
        folded = {tuple(fold(string).split()) for string in strings}
        single = {words[0] for words in folded if len(words) == 1}
        forms = {fold(form) for word in single for form in inflections(word)} | single
        # A possessive folds to two words.
        phrases = {tuple(form.split()) for form in forms if " " in form} | {words for words in folded if len(words) > 1}
        return cls(frozenset(form for form in forms if " " not in form), frozenset(phrases))

    def found_in(self, string: str) -> str | None:
        """The test string that a string holds, folded."""
        words = fold(string).split()
        for word in words:
            if word in self._words:
                return word
        for length in self._lengths:
            for at in range(len(words) - length + 1):
                if tuple(words[at : at + length]) in self._phrases:
                    return " ".join(words[at : at + length])
        return None


class _Split:
    def __init__(self, kept: _Kept | None) -> None:
        self.columns: tuple[str, ...] = ("split",) if kept is None else ("split", "expected_text")
        self._kept = kept

    def __call__(self, rows: pa.Table) -> Sequence[Finding]:
        """Drops what generate marked as mixed, and rows of train with the words of a test set."""
        mixed = pc.indices_nonzero(pc.fill_null(pc.equal(rows["split"], "mixed"), False))
        found = [Finding(row, "drop", "split_straddle") for row in mixed.to_pylist()]
        if self._kept is not None:
            found = sorted([*found, *self._test_words(rows)], key=lambda finding: finding.row)
        return found

    def _test_words(self, rows: pa.Table) -> list[Finding]:
        assert self._kept is not None
        look = lru_cache(maxsize=1 << 16)(self._kept.found_in)  # few strings are drawn by many prompts
        found = []
        for row, (split, strings) in enumerate(
            zip(rows["split"].to_pylist(), rows["expected_text"].to_pylist(), strict=True)
        ):
            if split != "train" or not strings:
                continue
            word = next((word for word in map(look, strings) if word is not None), None)
            if word is not None:
                found.append(Finding(row, "drop", "test_word", detail=word))
        return found


def _there(name: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        whence = "" if path.is_absolute() else f" in {Path.cwd()}, where relative paths start"
        raise EnvironmentFault(f"{path}: no such file{whence}; check filters.split.test_prompts")
    return path


def _read(path: Path) -> list[str]:
    """The strings of each prompt, or the whole line where it asks for none."""
    try:
        text = path.read_text("utf-8-sig")
        lines = json.loads(text) if path.suffix.lower() == ".json" else text.splitlines()
    except (OSError, ValueError) as exc:
        raise EnvironmentFault(f"{path}: a test set that cannot be read: {exc}; expected UTF-8, .json or .txt") from exc
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise EnvironmentFault(f"{path}: expected a JSON list of strings, prompts or words to be drawn")
    cleaned = [clean(line).text for line in lines]
    strings = [string for line in cleaned if line for string in (targets.parse(line).strings or (line,))]
    if not strings:
        raise EnvironmentFault(f"{path}: a test set without a word; expected prompts or words to be drawn")
    return strings
