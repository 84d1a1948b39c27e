"""Prompts that a language model writes: invented for cells of an axis, or rewritten from prompts that exist.

Row i is a place in a block of a lane (sources/inventing/lanes.py), by i alone: a longer run begins with the rows of a
shorter one. Blocks are asked for in waves of growing number, all lanes together, and each is shown what the waves
before it gave in its lane. A row for which nothing useable came has no text, but a fault that says why.

Not covered: prompts of other sources among those to avoid (deduplication drops what comes twice).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from promptforge.protocols import Answer, Ask, Source, SourcePart
from promptforge.records import Axis, Candidate, digest_of
from promptforge.sources.inventing import contract
from promptforge.sources.inventing.lanes import (
    NO_STYLE,
    REQUESTS,
    Cell,
    Inventions,
    Lanes,
    Plan,
    Rewrites,
    Written,
    cells,
    told_of,
    wording_of,
)
from promptforge.sources.readers.parents import Parents, read_parents
from promptforge.sources.readers.rows import Fault
from promptforge.wording import briefs

VERSION = 1
ASKS = True

_OUTSIDE_REQUESTS = {"n", "name", "licence", "llm", "parents"}  # parameters that no request depends on
_REWRITTEN_LENGTHS = ((15, 28), (29, 45))


class Params(BaseModel):
    """What to ask for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    llm: str = Field(description="language model of the recipe that writes")
    task: Literal["invent", "rewrite"] = Field(
        "invent", description="invent: for cells of an axis; rewrite: say more about each parent and change nothing"
    )
    axis: Axis | None = Field(None, description="axis of the prompts; only rewrites can do without: told from the text")
    n: int | None = Field(
        None,
        ge=1,
        le=100_000_000,
        description="rows; a larger n keeps the rows of a smaller one; rewrite: one for each parent where left out",
    )
    name: str | None = Field(
        None,
        pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        description="name of the source; default llm-<axis> or llm-rewrite",
    )
    licence: str = Field(
        "unstated", min_length=1, description="licence of what the model writes, as the card states it"
    )
    parents: tuple[str, ...] = Field(
        (), description="rewrite: .txt files, a prompt a line, or .jsonl files with a field text"
    )
    categories: tuple[str, ...] = Field((), description="invent: categories; default all that the axis has")
    briefs: dict[str, str] = Field(
        default_factory=dict, description="category -> what belongs in it; needed for categories of your own"
    )
    lengths: tuple[tuple[int, int], ...] = Field(
        (), description="lengths in words, [from, to] with both ends; default three for invent, two for rewrite"
    )
    styles: tuple[str, ...] = Field(
        (), description="styles to ask for; 'none' asks for none; default by axis, rewrite: none"
    )
    per_request: int | None = Field(
        None, ge=1, le=50, description="prompts that one request asks for; default 10 to invent, 1 to rewrite"
    )
    first_wave: int = Field(
        1, ge=1, le=1000, description="blocks of a lane asked at first; each later wave is twice as large"
    )
    n_ban: int = Field(30, ge=0, le=1000, description="earlier prompts of the lane that a request shows as taken")
    n_hints: int = Field(6, ge=0, le=50, description="invent: nouns that a request offers to start from")
    examples: StrictBool | tuple[str, ...] = Field(
        True, description="invent: true: those of promptforge; false: none; a list: these, for every category"
    )
    max_tokens: int = Field(2048, ge=16, le=65_536, description="tokens of an answer at most")
    temperature: float = Field(0.9, ge=0, le=2, description="of the model's sampling; 0 writes much of the same")

    @model_validator(mode="after")
    def _fits_the_task(self) -> Self:
        if self.task == "invent":
            if self.axis is None or self.n is None:
                raise ValueError("task 'invent' needs axis and n")
            if self.parents:
                raise ValueError("parents are for task 'rewrite'; leave them out, or change the task")
            known = {**briefs()[self.axis].categories, **self.briefs}
            for category in self.categories:
                if category not in known:
                    raise ValueError(
                        f"{self.axis.value} has no category {category!r}; it has {', '.join(known)}; say in briefs what"
                        " belongs in one of your own"
                    )
        elif not self.parents:
            raise ValueError("task 'rewrite' needs parents: files with the prompts to rewrite")
        elif self.categories or self.briefs:
            raise ValueError("categories and briefs are for task 'invent'; a rewrite has its parent")
        return self

    @model_validator(mode="after")
    def _cells_are_distinct(self) -> Self:
        for low, high in self.lengths:
            if not 1 <= low <= high <= 400:
                raise ValueError(f"length [{low}, {high}]; expected 1 <= from <= to <= 400 words")
        for name in ("categories", "lengths", "styles"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} has an entry twice: {', '.join(map(str, values))}")
        return self

    @property
    def block(self) -> int:
        """Prompts that one request asks for."""
        return self.per_request or (10 if self.task == "invent" else 1)


def identity(params: Params) -> dict[str, Any]:
    """The words that the model is told."""
    return {"wording": wording_of(params.task, params.axis).digest}


def build(params: Params, seed: int, *, ask: Ask) -> Source:
    """The source; nothing is read or asked before `parts()` or `read()`."""
    return LlmSource(params, seed, ask)


@dataclass(frozen=True, slots=True)
class _Block:
    """An answer's prompts, or the fault that stands for all of them."""

    items: tuple[Written, ...] = ()
    fault: Fault | None = None

    def at(self, place: int) -> Written:
        if self.fault is None and place < len(self.items):
            return self.items[place]
        return Written(None, fault=self.fault or Fault("llm_short", f"{len(self.items)} prompts in the answer"))


class LlmSource:
    """One virtual part of n rows."""

    def __init__(self, params: Params, seed: int, ask: Ask) -> None:
        self.name = params.name or f"llm-{params.axis.value if params.task == 'invent' and params.axis else 'rewrite'}"
        self.licence = params.licence
        self._params, self._seed, self._ask = params, seed, ask
        self._opening = threading.Lock()
        self._fetching = threading.Lock()  # for as long as the model writes; whoever counts rows does not wait for it
        self._lanes: Lanes | None = None
        self._part: SourcePart | None = None
        self._blocks: dict[tuple[int, int], _Block] = {}  # (lane, block); kept, since later blocks show them

    def parts(self) -> Sequence[SourcePart]:
        """The one part; its digest leaves out n, so that more rows orphan none. Raises SourceFault for bad parents."""
        self._open()
        assert self._part is not None
        return (self._part,)

    def read(self, part: SourcePart, start: int, stop: int) -> Iterator[Candidate]:
        """Rows start to stop - 1; asks for what is missing of their blocks and of those before them.

        Raises EnvironmentFault where the model is lost; what it answered is kept.
        """
        lanes = self._open()
        assert self._part is not None
        if part.digest != self._part.digest:
            raise ValueError(f"part {part.label} has digest {part.digest[:12]}, this source {self._part.digest[:12]}")
        stop = min(stop, self._part.n_rows)
        with self._fetching:  # what one shard asks for, the next finds
            self._fetch(lanes, start, stop)
        for row in range(start, stop):
            yield self._candidate(lanes, row)

    def _open(self) -> Lanes:
        with self._opening:
            if self._lanes is None:
                parents = read_parents(self._params.parents) if self._params.task == "rewrite" else None
                self._lanes = _lanes(self._params, self._seed, parents)
                n_rows = self._params.n or self._lanes.n
                kept = [contract.VERSION, parents.digests] if parents else None
                digest = digest_of([VERSION, self._lanes.plan.variant, kept])
                self._part = SourcePart(self._params.task, digest, n_rows)
            return self._lanes

    def _fetch(self, lanes: Lanes, start: int, stop: int) -> None:
        n, size = lanes.n, lanes.plan.per_request
        concerned = range(n) if stop - start >= n else sorted({row % n for row in range(start, stop)})
        # The last row of a lane below `stop` is its (stop - 1 - lane) // n -th.
        last = {lane: (stop - 1 - lane) // n // size for lane in concerned if stop > lane and not lanes.fault(lane)}
        first, width = 0, self._params.first_wave
        while any(block >= first for block in last.values()):
            wave = [
                (lane, block)
                for lane in last
                for block in range(first, min(first + width, last[lane] + 1))
                if (lane, block) not in self._blocks
            ]
            requests = [lanes.request(lane, block, self._seen(lane, first)) for lane, block in wave]
            for (lane, block), answer in zip(wave, self._ask(requests) if requests else (), strict=True):
                self._blocks[lane, block] = _block(lanes, lane, block, answer)
            first, width = first + width, width * 2

    def _seen(self, lane: int, before: int) -> list[str]:
        """The newest texts of the blocks before one, oldest first."""
        found: list[str] = []
        for block in range(before - 1, -1, -1):
            if len(found) >= self._params.n_ban:
                break
            found += [item.text for item in reversed(self._blocks[lane, block].items) if item.text is not None]
        return found[: self._params.n_ban][::-1]

    def _candidate(self, lanes: Lanes, row: int) -> Candidate:
        number, lane = divmod(row, lanes.n)
        block, place = divmod(number, lanes.plan.per_request)
        axis = self._params.axis.value if self._params.axis else None
        fault = lanes.fault(lane)
        item = Written(None, fault=fault) if fault else self._blocks[lane, block].at(place)
        if item.fault is not None:
            return Candidate(row, None, axis=axis, fault=item.fault.code, fault_detail=item.fault.detail)
        return Candidate(row, item.text, axis=axis, expected_text=item.strings, **lanes.origin(lane, block))


def _block(lanes: Lanes, lane: int, block: int, answer: Answer) -> _Block:
    if answer.error is not None:
        code = "llm_refused" if _is_refusal(answer.error) else "llm_malformed"
        return _Block(fault=Fault(code, answer.error))
    return _Block(tuple(_item(lanes, lane, block, item) for item in answer.value["prompts"]))


def _is_refusal(error: str) -> bool:
    return error.partition(":")[0] not in ("malformed_json", "wrong_schema", "too_long")


def _item(lanes: Lanes, lane: int, block: int, item: Any) -> Written:
    if isinstance(item, Mapping) and "purged" in item:
        return Written(None, fault=Fault("purged", str(item["purged"])))
    return lanes.written(lane, block, item)


def _lanes(params: Params, seed: int, parents: Parents | None) -> Lanes:
    wanted = _cells(params)
    told = told_of(params.axis, params.briefs, params.examples) if params.task == "invent" and params.axis else {}
    decided = params.model_dump(mode="json", exclude=_OUTSIDE_REQUESTS)
    variant = digest_of(
        {
            "version": REQUESTS,
            "wording": wording_of(params.task, params.axis).digest,
            "briefs": {name: [brief.what, brief.examples] for name, brief in told.items()},
            "cells": [cell.label for cell in wanted],
            "params": decided,
            "seed": seed,
        }
    )
    plan = Plan(params.task, variant, seed, params.block, params.n_ban, params.max_tokens, params.temperature)
    if parents is not None:
        return Rewrites(plan, parents.texts, wanted)
    assert params.axis is not None
    return Inventions(plan, params.axis, wanted, told, params.n_hints)


def _cells(params: Params) -> tuple[Cell, ...]:
    if params.task == "rewrite" or params.axis is None:
        return cells((None,), params.lengths or _REWRITTEN_LENGTHS, params.styles or (NO_STYLE,))
    known = briefs()[params.axis]
    categories = params.categories or tuple(dict.fromkeys((*known.categories, *params.briefs)))
    return cells(categories, params.lengths or known.lengths, params.styles or known.styles)
