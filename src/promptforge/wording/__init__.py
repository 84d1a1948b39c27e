"""What language models are told: a *.toml file a task, with its version, the two messages and the schema of answers.

What a request is about goes into the user message as one line of JSON between two marks, after the words that call it
data. JSON has no raw line end, so nothing in a prompt can close the marks. Every file is part of the digest of what is
asked with it; answers that are there are kept as long as that digest stays.
Not covered: other languages than English.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from promptforge.errors import EnvironmentFault
from promptforge.records import digest_of

VERSION = 1  # raised whenever the same file gives other messages
_BRIEFS = "briefs"
_DATA = "{data}"
_LINE_END = re.compile("[\x85\u2028\u2029]")  # JSON leaves these as they are


@dataclass(frozen=True, slots=True)
class Wording:
    """One task's messages and the JSON schema of its answer. `digest` covers the file and how it is filled in."""

    name: str
    version: int
    system: str
    user: str
    schema: Mapping[str, Any]
    digest: str

    def about(self, data: Mapping[str, Any]) -> str:
        """The user message about this data, its keys in the order given."""
        line = json.dumps(data, ensure_ascii=False)
        return self.user.replace(_DATA, _LINE_END.sub(lambda found: f"\\u{ord(found[0]):04x}", line))


@dataclass(frozen=True, slots=True)
class Brief:
    """What belongs in a category, as a language model is told, with prompts that show it."""

    what: str
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AxisBriefs:
    """The categories of an axis, and the lengths (words, both ends included) and styles asked for by default."""

    goal: str
    categories: Mapping[str, Brief]
    lengths: tuple[tuple[int, int], ...]
    styles: tuple[str, ...]


def names() -> tuple[str, ...]:
    """Names of the tasks that have a file here, sorted."""
    found = (item.name for item in files(__package__).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml") and _BRIEFS not in name))


@cache
def load(name: str) -> Wording:
    """The wording of a task. Raises EnvironmentFault where this installation lacks the file."""
    raw = _read(name)
    schema: dict[str, Any] = json.loads(raw["schema"])
    system, user = str(raw["system"]).strip(), str(raw["user"]).strip()
    if user.count(_DATA) != 1:
        raise EnvironmentFault(f"wording/{name}.toml: user holds {user.count(_DATA)} of {_DATA}, expected one")
    digest = digest_of([VERSION, name, raw["version"], system, user, schema])
    return Wording(name, int(raw["version"]), system, user, schema, digest)


@cache
def briefs() -> Mapping[str, AxisBriefs]:
    """Axis -> what a language model is told of it."""
    return {
        axis: AxisBriefs(
            goal=table["goal"],
            categories={
                name: Brief(item["what"], tuple(item["examples"])) for name, item in table["categories"].items()
            },
            lengths=tuple((low, high) for low, high in table["lengths"]),
            styles=tuple(table["styles"]),
        )
        for axis, table in _read(_BRIEFS).items()
    }


def _read(name: str) -> dict[str, Any]:
    try:
        text = (files(__package__) / f"{name}.toml").read_text("utf-8")
    except FileNotFoundError as exc:
        raise EnvironmentFault(
            f"wording/{name}.toml: not in this installation; there are {', '.join(names())}; install promptforge anew"
        ) from exc
    return tomllib.loads(text)
