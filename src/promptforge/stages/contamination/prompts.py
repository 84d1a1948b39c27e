"""The benchmarks' prompts: read and cleaned as a run's own rows are, each folded text once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from promptforge.errors import SourceFault
from promptforge.records import digest_of
from promptforge.sources import files
from promptforge.stages.contamination.settings import Benchmark
from promptforge.texts import clean, fold


@dataclass(frozen=True, slots=True)
class Member:
    """Where a prompt stands: number of the benchmark in the recipe, file, row in it from 0."""

    benchmark: int
    file: str
    row: int


@dataclass(frozen=True, slots=True)
class Prompts:
    """Every distinct prompt of the benchmarks, in their order; `members` says where each stands, at least once."""

    texts: tuple[str, ...]
    members: tuple[tuple[Member, ...], ...]

    @classmethod
    def of(cls, sets: Sequence[Sequence[str]]) -> Prompts:
        """The prompts of some benchmarks that are at hand, by number."""
        numbered = [
            (clean(text).text, Member(number, "", row))
            for number, one in enumerate(sets)
            for row, text in enumerate(one)
        ]
        return _distinct([(text, member) for text, member in numbered if text])


def _distinct(found: Sequence[tuple[str, Member]]) -> Prompts:
    places: dict[str, int] = {}
    texts: list[str] = []
    members: list[list[Member]] = []
    for text, member in found:
        place = places.setdefault(fold(text), len(texts))
        if place == len(texts):
            texts.append(text)
            members.append([])
        members[place].append(member)
    return Prompts(tuple(texts), tuple(map(tuple, members)))


def _source(benchmark: Benchmark) -> files.Files:
    columns = {} if benchmark.column is None else {"text": benchmark.column}
    params = {"paths": [benchmark.path], "name": benchmark.name, "columns": columns}
    return files.Files(files.Params.model_validate(params))


def digest(benchmarks: Sequence[Benchmark]) -> str:
    """A digest of the content of every file, never of its path. Raises SourceFault for one that cannot be read."""
    return digest_of([[item.name, [[p.label, p.digest] for p in _source(item).parts()]] for item in benchmarks])


def read(benchmarks: Sequence[Benchmark]) -> Prompts:
    """The prompts of all files. Raises SourceFault for a file without the column, or a benchmark without a prompt."""
    found: list[tuple[str, Member]] = []
    for number, item in enumerate(benchmarks):
        source, before = _source(item), len(found)
        for part in source.parts():
            for candidate in source.read(part, 0, part.n_rows):
                text = clean(candidate.text).text if candidate.text is not None else ""
                if text:
                    found.append((text, Member(number, part.label, candidate.row)))
        if len(found) == before:
            raise SourceFault(f"{item.path}: benchmark {item.name!r} has no readable prompt; expected at least one")
    return _distinct(found)
