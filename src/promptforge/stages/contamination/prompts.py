"""The benchmarks' prompts: read and cleaned as a run's own rows are, each folded text once.

A row that cannot be read is counted, since it proves nothing of the set; one without a visible character is no prompt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from promptforge.errors import SourceFault
from promptforge.protocols import Source, SourcePart
from promptforge.records import digest_of
from promptforge.sources import files, hub
from promptforge.sources.readers.columns import MappedField
from promptforge.stages.contamination.settings import Benchmark
from promptforge.texts import clean, fold

#: A folder with that many .txt files, that share of them of one line, holds a prompt a file: DPG-Bench's has 1,065.
#: Lists have a prompt a line and hundreds of lines, so a list among them is no such folder.
_MIN_FILES, _ONE_LINE = 10, 0.9
_TEXT_FILE = re.compile(r"\.txt(?: \(\d+\))?\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Member:
    """Where a prompt stands: number of the benchmark in the recipe, file, row in it from 0."""

    benchmark: int
    file: str
    row: int


@dataclass(frozen=True, slots=True)
class Prompts:
    """Every distinct prompt of the benchmarks, in their order; `members` says where each stands, at least once.

    `unreadable`: rows of each benchmark that could not be read.
    """

    texts: tuple[str, ...]
    members: tuple[tuple[Member, ...], ...]
    unreadable: tuple[int, ...] = ()

    @classmethod
    def of(cls, sets: Sequence[Sequence[str]]) -> Prompts:
        """The prompts of some benchmarks that are at hand, by number."""
        numbered = [
            (clean(text).text, Member(number, "", row))
            for number, one in enumerate(sets)
            for row, text in enumerate(one)
        ]
        return _distinct([(text, member) for text, member in numbered if text])


def _distinct(found: Sequence[tuple[str, Member]], unreadable: Sequence[int] = ()) -> Prompts:
    places: dict[str, int] = {}
    texts: list[str] = []
    members: list[list[Member]] = []
    for text, member in found:
        place = places.setdefault(fold(text), len(texts))
        if place == len(texts):
            texts.append(text)
            members.append([])
        members[place].append(member)
    return Prompts(tuple(texts), tuple(map(tuple, members)), tuple(unreadable))


def _source(benchmark: Benchmark) -> Source:
    """The prompts alone: what a benchmark says in other columns is no reason to leave a row out."""
    columns: dict[MappedField, str] = {field: "" for field in get_args(MappedField) if field != "text"}
    if benchmark.column is not None:
        columns["text"] = benchmark.column
    if benchmark.path is not None:
        return files.Files(files.Params(paths=(benchmark.path,), name=benchmark.name, columns=columns))
    asked = {name: getattr(benchmark, name) for name in ("dataset", "revision", "config", "split", "name")}
    return hub.Hub(hub.Params(**asked, columns=columns))


def check(benchmarks: Sequence[Benchmark]) -> None:
    """Look at every place. Raises SourceFault or EnvironmentFault for one that cannot be read, with the remedy."""
    for item in benchmarks:
        _source(item).parts()


def digest(benchmarks: Sequence[Benchmark]) -> str:
    """A digest of the content, never of a path; a pinned revision of the hub says it without a look at the hub.

    Raises SourceFault for a file that cannot be read.
    """
    return digest_of([[item.name, _content(item)] for item in benchmarks])


def _content(item: Benchmark) -> list[Any]:
    if item.revision is not None:
        return ["hub", item.dataset, item.revision, item.config, item.split]
    return [[part.label, part.digest] for part in _source(item).parts()]


def read(benchmarks: Sequence[Benchmark]) -> Prompts:
    """The prompts of all places. Raises SourceFault for a file without the column, or a benchmark without a prompt."""
    found: list[tuple[str, Member]] = []
    unreadable = [0] * len(benchmarks)
    for number, item in enumerate(benchmarks):
        source, before = _source(item), len(found)
        whole = _whole_files(item, source.parts())
        for part in source.parts():
            rows = list(source.read(part, 0, part.n_rows))
            unreadable[number] += sum(row.fault not in (None, "empty") for row in rows)
            said = [(row.row, row.text) for row in rows if row.text is not None]
            if part.label in whole and said:
                said = [(0, "\n".join(text for _, text in said))]
            cleaned = [(row, clean(text).text) for row, text in said]
            found += [(text, Member(number, part.label, row)) for row, text in cleaned if text]
        if len(found) == before:
            raise SourceFault(
                f"{item.path or item.dataset}: benchmark {item.name!r} has no readable prompt; expected at least one"
            )
    return _distinct(found, unreadable)


def _whole_files(item: Benchmark, parts: Sequence[SourcePart]) -> frozenset[str]:
    """Labels of the files that are one prompt each."""
    plain = [part for part in parts if _TEXT_FILE.search(part.label)] if item.path is not None else []
    one_line = sum(part.n_rows <= 1 for part in plain)
    told = len(plain) >= _MIN_FILES and one_line >= _ONE_LINE * len(plain)
    chosen = told if item.one_prompt_a_file is None else item.one_prompt_a_file
    return frozenset(part.label for part in plain) if chosen else frozenset()
