"""The runner: one run of a recipe in a folder, and the only place where work is skipped, committed and counted.

A unit of work is (stage, shard, digest). `work` looks for its commit record; only where there is none is the
function called and its tables committed. Everything that a task needs is in the folder (`_run.json`), so a task
carries the path and integers. The commits in force are found by asking each stage for its units, never by listing.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from promptforge import recipe as recipes
from promptforge.errors import ConfigError
from promptforge.files import put
from promptforge.protocols import Ask, Filter, Source
from promptforge.recipe import Recipe
from promptforge.records import digest_of
from promptforge.schema import arrow_schema
from promptforge.stages import parts as components
from promptforge.stages.arrangement.gaps import Gaps
from promptforge.stages.arrangement.settings import OrderSettings
from promptforge.stages.ask import STAGE as ASK
from promptforge.stages.ask import Asker
from promptforge.stages.contamination.settings import DecontaminateSettings
from promptforge.stages.coverage.demands import refuse_hopeless
from promptforge.stages.earlier import Earlier
from promptforge.stages.extension.published import Extended
from promptforge.stages.meaning.vectors import STAGE as EMBED
from promptforge.stages.parts import Part, Parts
from promptforge.stages.resemblance.settings import DedupSettings
from promptforge.store import Commit, Store

INCREMENT_S = 600.0  # facts are committed at least this often

Row = dict[str, Any]

DATASET = "dataset"  # folder inside the run folder that publish makes and replaces

STAGES = (
    *(ASK, EMBED),  # at work while another stage waits for it, several times in a run, and never done
    *("generate", "filter", "dedup", "decontaminate", "arrange", "questions", "plan", "render"),
    *("score", "respond", "lookalikes", "select", "publish"),
)
#: Stages of some recipes; the others show none of them.
OPTIONAL = frozenset({ASK, EMBED, "decontaminate", "arrange", "questions", "respond", "lookalikes"})


@dataclass(frozen=True, slots=True)
class Tally:
    """What a piece of a stage did; adds up. `ranks_s`: seconds of ranks that draw, loading the teacher included."""

    stage: str
    done: int = 0
    skipped: int = 0
    rows: int = 0
    seconds: float = 0.0
    ranks_s: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.stage,
            self.done + other.done,
            self.skipped + other.skipped,
            self.rows + other.rows,
            self.seconds + other.seconds,
            self.ranks_s + other.ranks_s,
        )


@dataclass(frozen=True)
class Unit:
    """One unit of work: where it is recorded, and how its tables are made if they are not there yet."""

    stage: str
    shard: str
    digest: str
    make: Callable[[], tuple[Mapping[str, pa.Table], Mapping[str, int]]]


@dataclass(frozen=True)
class Run:
    """A recipe at work in a folder; the same in every process, since it is read from the folder."""

    root: Path
    recipe: Recipe
    parts: Parts
    store: Store
    _sources: dict[int, Source] = field(default_factory=dict)
    _askers: dict[str, Asker] = field(default_factory=dict)
    _guard: threading.RLock = field(default_factory=threading.RLock)

    def source(self, position: int) -> Source:
        """The source at this place of the recipe, built once a process."""
        with self._guard:
            if position not in self._sources:
                part = self.parts.sources[position]
                self._sources[position] = components.build_source(part, self.recipe.seed, self.asker_of(part))
            return self._sources[position]

    def ask(self, name: str) -> Ask:
        """The language model of this name in the recipe, asked at most once for each request in this folder."""
        with self._guard:
            if name not in self._askers:
                part = next(part for part in self.parts.llms if part.name == name)
                prices = tuple(getattr(part.params, field, None) for field in ("price_in", "price_out"))
                self._askers[name] = Asker(
                    self.store,
                    name,
                    components.identity_of(part),
                    lambda: components.build_language_model(part),
                    increment=self.recipe.run.increment,
                    price=(prices[0], prices[1]),
                )
            return self._askers[name]

    def asker_of(self, part: Part) -> Ask | None:
        """What a component asks with, if it asks."""
        return None if part.asks is None else self.ask(part.asks)

    @cached_property
    def filters(self) -> tuple[Filter, ...]:
        """The recipe's checks in order, built once a process: some read lists and tokenizers; none keeps a state."""
        with self._guard:
            return tuple(components.build_filter(part, self.asker_of(part)) for part in self.parts.filters)

    def rest_models(self) -> None:
        """Let language models of this process give back the accelerator's memory, before a teacher takes it."""
        with self._guard:
            for asker in self._askers.values():
                asker.sleep()

    @cached_property
    def teacher_fingerprint(self) -> str:
        """Fingerprint of the recipe's teacher; no weights are loaded for it."""
        return self.parts.fingerprint

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """The recipe without [run], with every default filled in: what a head and the manifest state."""
        elsewhere = {"sources", "filters", "llm", "regime", "scorers", "run", "dedup", "decontaminate", "order"}
        made = self.recipe.model_dump(mode="json", exclude=elsewhere)
        if self.extended is None:
            del made["publish"]["extends"], made["publish"]["other_teacher"]
        else:
            made["publish"]["extends"] = self.extended.name
        return {
            **made,
            **self.parts.resolved(),
            "dedup": self.dedup and dict(self.dedup.resolved),
            "decontaminate": self.decontaminate and self.decontaminate.identity,
            "order": self.order and self.order.resolved,
        }

    @cached_property
    def dedup(self) -> DedupSettings | None:
        """The recipe's table [dedup]; None where there is none."""
        table = self.recipe.dedup
        return None if table is None else DedupSettings.model_validate(table)

    @cached_property
    def earlier(self) -> Earlier:
        """What [dedup] is to compare with besides the run's own rows, looked at once a process."""
        first = () if self.extended is None else (self.extended.against,)
        return Earlier([*first, *(self.dedup.against if self.dedup else ())], self.root)

    @cached_property
    def extended(self) -> Extended | None:
        """The data set that this run adds to; None where it makes one of its own."""
        given = self.recipe.publish.extends
        return None if given is None else Extended.open(given, self.root)

    @cached_property
    def decontaminate(self) -> DecontaminateSettings | None:
        """The recipe's table [decontaminate]; None where there is none."""
        table = self.recipe.decontaminate
        return None if table is None else DecontaminateSettings.model_validate(table)

    @cached_property
    def order(self) -> OrderSettings | None:
        """The recipe's table [order]; None where there is none."""
        table = self.recipe.order
        return None if table is None else OrderSettings.model_validate(table)

    @cached_property
    def gaps(self) -> Gaps:
        """The files of [order] student_gap, looked at once a process."""
        return Gaps(self.order.student_gap, self.order.gap_power) if self.order else Gaps((), 1.0)

    def work(self, unit: Unit) -> tuple[Commit, Tally]:
        """The commit of this unit, made now or found."""
        found = self.store.committed(unit.stage, unit.shard, unit.digest)
        if found is not None:
            return found, Tally(unit.stage, skipped=1)
        start = time.monotonic()
        tables, counts = unit.make()
        commit = self.store.commit(unit.stage, unit.shard, unit.digest, tables, counts)
        rows = sum(item.rows for item in commit.files if item.table != "pixels")
        return commit, Tally(unit.stage, done=1, rows=rows, seconds=time.monotonic() - start)

    def facts(self, stage: str, shard: str, rows: Sequence[Row], made: Iterable[Mapping[str, Sequence[Row]]]) -> Tally:
        """Commit the facts of each row every `increment` rows or 10 minutes: the most that a kill loses.

        `made` gives the rows of each table for one row, in the order of `rows`, and may work ahead; `rows` name facts
        that are known to be missing. How rows fall into increments names files only.
        """
        total = Tally(stage)
        waiting: list[Row] = []
        tables: dict[str, list[Row]] = {}
        start = time.monotonic()
        for number, (row, found) in enumerate(zip(rows, made, strict=True), 1):
            waiting.append(row)
            for table, lines in found.items():
                tables.setdefault(table, []).extend(lines)
            full = len(waiting) == self.recipe.run.increment or time.monotonic() - start > INCREMENT_S
            if full or number == len(rows):
                digest = digest_of({"stage": stage, "rows": waiting})
                arrow = {name: pa.Table.from_pylist(found, schema=arrow_schema(name)) for name, found in tables.items()}
                self.store.commit(stage, shard, digest, arrow, {"rows": len(waiting)})
                total += Tally(stage, done=1, rows=len(waiting), seconds=time.monotonic() - start)
                waiting, tables, start = [], {}, time.monotonic()
        return total


def prepare(root: Path, raw: Mapping[str, Any], where: str) -> Run:
    """Check a recipe whole, then put it into the folder for every task to read; raises ConfigError before that."""
    recipe = recipes.validate(raw, where)
    parts = components.resolve(recipe, where)
    refuse_hopeless(recipe, where)
    if (root / DATASET).exists() and not (root / "_run.json").exists():
        raise ConfigError(
            f"{root}: holds a {DATASET} that no run made, and publishing would replace it; choose another folder with"
            " --out"
        )
    root.mkdir(parents=True, exist_ok=True)
    # Keys as the recipe has them: checks and gates are in its order. Equal recipes still give equal bytes.
    text = json.dumps(recipe.model_dump(mode="json", exclude_unset=True), separators=(",", ":"))
    put(root / "_run.json", text.encode())
    _opened.cache_clear()  # an earlier run of this process looked at its input files as they were then
    return Run(root, recipe, parts, Store(root))


def open_run(root: Path) -> Run:
    """The run that `prepare` put into the folder. Raises ConfigError where there is none."""
    path = root / "_run.json"
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError as exc:
        raise ConfigError(f"{root}: no run here (no _run.json); start one with: promptforge run mini") from exc
    return _opened(root, text)


@lru_cache(maxsize=4)
def _opened(root: Path, text: str) -> Run:
    recipe = recipes.validate(json.loads(text), str(root / "_run.json"))
    return Run(root, recipe, components.resolve(recipe, str(root / "_run.json")), Store(root))


def digest_columns(commits: Iterable[Commit], columns: Mapping[str, Iterable[str]]) -> str:
    """A digest of the named columns of the named tables, over these commits in order: equal values, equal digest."""
    wanted = {table: sorted(names) for table, names in columns.items()}
    return digest_of(
        [
            [item.table, item.rows, [item.columns[name] for name in wanted[item.table]]]
            for commit in commits
            for item in commit.files
            if item.table in wanted
        ]
    )
