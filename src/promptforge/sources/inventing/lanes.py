"""Lanes: numbered sequences of blocks, each block one request to a language model for a few prompts.

A lane is a cell (category, length, style) to invent for, or a parent to rewrite. Row i of a source belongs to lane
i modulo their number, so that every prefix is balanced, and to the block and place that follow from i alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol

from promptforge import lexicon
from promptforge.protocols import Request
from promptforge.records import Axis, content_id, prompt_id
from promptforge.sources.inventing.contract import lost
from promptforge.sources.readers.rows import Fault, text_fault
from promptforge.texts import clean
from promptforge.wording import AxisBriefs, Brief, Wording, briefs

REQUESTS = 1  # raised where other requests are to be asked for the same parameters: every answer is asked for anew
NO_STYLE = "none"
_CHARS_PER_WORD = 12  # a blank included: twice the usual, so that the bound only stops what runs away


@dataclass(frozen=True, slots=True)
class Cell:
    """What the prompts of a block have in common. `length` in words, both ends included."""

    category: str | None
    length: tuple[int, int]
    style: str

    @property
    def label(self) -> str:
        """Its name in requests."""
        return f"{self.category or '-'}/{self.length[0]}-{self.length[1]}/{self.style}"

    @property
    def asked_style(self) -> str | None:
        """The style, or None where none is asked for."""
        return None if self.style == NO_STYLE else self.style


def cells(
    categories: Sequence[str | None], lengths: Sequence[tuple[int, int]], styles: Sequence[str]
) -> tuple[Cell, ...]:
    """Every combination once, in an order in which each of the three changes from cell to cell.

    Any run of as many cells as there are categories has each of them once, and lengths and styles in turn.
    """
    found = []
    for number in range(len(categories) * len(lengths) * len(styles)):
        turn, category = divmod(number, len(categories))
        round_, shift = divmod(turn, len(lengths))
        length = (shift + category) % len(lengths)
        style = (round_ + shift + category) % len(styles)
        found.append(Cell(categories[category], lengths[length], styles[style]))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the requests of a source have in common. `variant` is the digest of all that decides them."""

    task: str
    variant: str
    seed: int
    per_request: int
    n_ban: int
    max_tokens: int
    temperature: float


@dataclass(frozen=True, slots=True)
class Written:
    """One prompt of an answer, or why there is none in this place."""

    text: str | None
    strings: tuple[str, ...] | None = None
    fault: Fault | None = None


class Lanes(Protocol):
    """The lanes of a source, numbered from 0."""

    n: int
    plan: Plan

    def fault(self, lane: int) -> Fault | None:
        """Why nothing can be asked for this lane, if so."""
        ...

    def request(self, lane: int, block: int, seen: Sequence[str]) -> Request:
        """The request for a block; `seen` are the prompts that earlier blocks of the lane gave."""
        ...

    def written(self, lane: int, block: int, item: Any) -> Written:
        """One item of the answer."""
        ...

    def origin(self, lane: int, block: int) -> dict[str, Any]:
        """Fields of the Candidate that lane and block decide: category, style, parent_id."""
        ...


class Inventions:
    """A lane a cell of an axis."""

    def __init__(self, plan: Plan, axis: Axis, wanted: Sequence[Cell], told: Mapping[str, Brief], n_hints: int) -> None:
        self.plan = plan
        self.n = len(wanted)
        self._axis, self._cells, self._told, self._n_hints = axis, wanted, told, n_hints
        self._goal = briefs()[axis].goal
        self._wording = wording_of(plan.task, axis)
        self._nouns = sorted(noun.word for noun in lexicon.load().nouns.values() if noun.written) if n_hints else []

    def fault(self, lane: int) -> Fault | None:
        """Every cell can be asked for."""
        return None

    def request(self, lane: int, block: int, seen: Sequence[str]) -> Request:
        """`hints` are nouns drawn by cell and block: without them blocks of one cell are much alike."""
        cell = self._cells[lane]
        subject = f"{self._axis}/{cell.label}#{block}"
        brief = self._told[cell.category or ""]
        data = {
            "count": self.plan.per_request,
            "goal": self._goal,
            "category": cell.category,
            "what": brief.what,
            "words": list(cell.length),
            "style": cell.asked_style,
            "examples": list(brief.examples),
            "hints": self._hints(subject),
            "avoid": _ban(seen, self.plan.n_ban),
        }
        return _request(self.plan, self._wording, subject, data, cell.length[1])

    def _hints(self, subject: str) -> list[str]:
        draws = (content_id("hint", self.plan.seed, subject, number) for number in range(self._n_hints))
        return list(dict.fromkeys(self._nouns[int(draw[:8], 16) % len(self._nouns)] for draw in draws))

    def written(self, lane: int, block: int, item: Any) -> Written:
        """The text; on the text axis with the strings that it asks to be drawn."""
        if isinstance(item, Mapping):
            return _written(item["prompt"], tuple(item["strings"]))
        return _written(item)

    def origin(self, lane: int, block: int) -> dict[str, Any]:
        """What the cell says."""
        cell = self._cells[lane]
        return {"category": cell.category, "style": cell.asked_style}


class Rewrites:
    """A lane a parent; cells take turns over parents and blocks."""

    def __init__(self, plan: Plan, parents: Sequence[str | Fault], wanted: Sequence[Cell]) -> None:
        self.plan = plan
        self.n = len(parents)
        self._parents, self._cells = parents, wanted
        self._wording = wording_of(plan.task, None)

    def _parent(self, lane: int) -> str:
        parent = self._parents[lane]
        assert isinstance(parent, str)
        return parent

    def _cell(self, lane: int, block: int) -> Cell:
        return self._cells[(lane + block) % len(self._cells)]

    def fault(self, lane: int) -> Fault | None:
        """A parent that could not be read."""
        parent = self._parents[lane]
        return Fault("bad_parent", f"{parent.code}: {parent.detail}") if isinstance(parent, Fault) else None

    def request(self, lane: int, block: int, seen: Sequence[str]) -> Request:
        """One parent at a time: with several in a request models mix them up."""
        parent, cell = self._parent(lane), self._cell(lane, block)
        data = {
            "count": self.plan.per_request,
            "prompt": parent,
            "words": list(cell.length),
            "style": cell.asked_style,
            "avoid": _ban(seen, self.plan.n_ban),
        }
        subject = f"{prompt_id(parent)}/{cell.label}#{block}"
        return _request(self.plan, self._wording, subject, data, cell.length[1])

    def written(self, lane: int, block: int, item: Any) -> Written:
        """The rewrite, where it keeps what its parent says."""
        found = _written(item)
        if found.text is not None and (broken := lost(self._parent(lane), found.text)):
            return Written(None, fault=Fault("contract_broken", f"lost {', '.join(broken)}"))
        return found

    def origin(self, lane: int, block: int) -> dict[str, Any]:
        """The rewrites of a parent are one family."""
        return {"style": self._cell(lane, block).asked_style, "parent_id": prompt_id(self._parent(lane))}


def wording_of(task: str, axis: Axis | None) -> Wording:
    """The wording of a task."""
    from promptforge.wording import load

    return load("invent_text" if (task, axis) == ("invent", Axis.TEXT_RENDERING) else task)


def told_of(axis: Axis, own: Mapping[str, str], examples: bool | Sequence[str]) -> dict[str, Brief]:
    """Category -> what the model is told of it, with its own examples, the recipe's, or none."""
    known: AxisBriefs = briefs()[axis]
    told = {**known.categories, **{name: Brief(what, ()) for name, what in own.items()}}
    if examples is True:
        return told
    return {name: Brief(brief.what, tuple(examples or ())) for name, brief in told.items()}


def _ban(seen: Sequence[str], n_ban: int) -> list[str]:
    return list(seen[-n_ban:]) if n_ban else []


def _request(plan: Plan, wording: Wording, subject: str, data: Mapping[str, Any], words: int) -> Request:
    schema = deepcopy(dict(wording.schema))
    prompts = schema["properties"]["prompts"]
    prompts["maxItems"] = plan.per_request
    item = prompts["items"]
    text = item["properties"]["prompt"] if item["type"] == "object" else item
    text["maxLength"] = words * _CHARS_PER_WORD
    return Request(
        task=plan.task,
        variant=plan.variant,
        subject=subject,
        system=wording.system,
        user=wording.about(data),
        schema=schema,
        max_tokens=plan.max_tokens,
        temperature=plan.temperature,
    )


def _written(text: str, strings: tuple[str, ...] | None = None) -> Written:
    fault = text_fault(text, escapes=False)
    for string in strings or ():
        fault = fault or text_fault(string, escapes=False)
    if fault is None and not clean(text).text:
        fault = Fault("empty", f"{len(text)} characters, none of them visible")
    return Written(None, fault=fault) if fault else Written(text, strings)
