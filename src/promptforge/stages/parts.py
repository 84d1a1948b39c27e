"""The components that a recipe names, found in the packages' own contents and checked before any work.

A recipe's name is compared with the module names of sources/, filters/, teachers/ and scorers/; nothing else can be
loaded, and nothing registers itself.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ValidationError

from promptforge.errors import ConfigError
from promptforge.protocols import Filter, Scorer, Source, Teacher
from promptforge.recipe import Recipe, explain, nearest
from promptforge.records import digest_of


@dataclass(frozen=True)
class Part:
    """One component before it is built: module, checked parameters."""

    kind: str
    module: ModuleType
    params: BaseModel

    @property
    def identity(self) -> dict[str, Any]:
        """What decides its output, as far as known without loading a model; part of every digest."""
        outside = getattr(self.module, "identity", None)
        return {
            "kind": self.kind,
            "version": self.module.VERSION,
            "params": self.params.model_dump(mode="json"),
            **({"outside": dict(outside(self.params))} if outside else {}),
        }

    @property
    def digest(self) -> str:
        """64 hex digits over `identity`."""
        return digest_of(self.identity)


@dataclass(frozen=True)
class Parts:
    """Every component of a recipe, in the recipe's order."""

    sources: tuple[Part, ...]
    filters: tuple[Part, ...]
    teacher: Part
    scorers: tuple[Part, ...]

    def resolved(self) -> dict[str, Any]:
        """All parameters with their defaults filled in, for the head and the manifest."""
        return {
            "sources": [part.identity for part in self.sources],
            "filters": [part.identity for part in self.filters],
            "teacher": self.teacher.identity,
            "scorers": [part.identity for part in self.scorers],
        }


@cache
def known(package: str) -> tuple[str, ...]:
    """Module names of sources, filters, teachers or scorers; sub-packages are no components."""
    folder = importlib.import_module(f"promptforge.{package}")
    return tuple(sorted(item.name for item in pkgutil.iter_modules(folder.__path__) if not item.ispkg))


def resolve(recipe: Recipe, where: str) -> Parts:
    """Find every component and check every parameter.

    Raises ConfigError with a line for every fault found.
    """
    faults: list[str] = []
    sources = [
        _part("sources", spec.kind, spec.params, f"sources.{number}", where, faults)
        for number, spec in enumerate(recipe.sources)
    ]
    filters = [
        _part("filters", kind, params, f"filters.{kind}", where, faults) for kind, params in recipe.filters.items()
    ]
    teacher = _part("teachers", recipe.regime.teacher, recipe.regime.params, "regime", where, faults)
    scorers = [
        _part("scorers", kind, params, f"scorers.{kind}", where, faults) for kind, params in recipe.scorers.items()
    ]
    if faults:
        raise ConfigError("\n".join(faults))
    assert teacher is not None
    parts = Parts(_all(sources), _all(filters), teacher, _all(scorers))
    _check_metrics(recipe, parts, where)
    return parts


def _all(parts: list[Part | None]) -> tuple[Part, ...]:
    return tuple(part for part in parts if part is not None)


def _part(package: str, kind: str, params: Mapping[str, Any], path: str, where: str, faults: list[str]) -> Part | None:
    if kind not in known(package):
        faults.append(f"{where}: {path}: no module {kind!r} in {package}{nearest(kind, known(package))}")
        return None
    module = importlib.import_module(f"promptforge.{package}.{kind}")
    model: type[BaseModel] = module.Params
    try:
        return Part(kind, module, model.model_validate(dict(params)))
    except ValidationError as exc:
        faults.append(explain(exc, model, where, path))
        return None


def _check_metrics(recipe: Recipe, parts: Parts, where: str) -> None:
    metrics = {part.kind: dict(part.module.METRICS) for part in parts.scorers}
    for name, gate in recipe.select.gates.items():
        known_metrics = metrics[gate.scorer]
        if gate.metric not in known_metrics:
            raise ConfigError(
                f"{where}: select.gates.{name}.metric: scorer {gate.scorer!r} has no metric {gate.metric!r}"
                f"{nearest(gate.metric, known_metrics)}"
            )
        kind = known_metrics[gate.metric]
        asked = {"number": gate.min is not None or gate.max is not None, "word": gate.one_of is not None}
        wrong = [each for each, is_asked in asked.items() if is_asked and each != kind]
        if wrong:
            takes = {"number": "min and max", "word": "one_of"}.get(kind, "no gate")
            raise ConfigError(
                f"{where}: select.gates.{name}: metric {gate.metric!r} of scorer {gate.scorer!r} is a {kind} and takes"
                f" {takes}, not a bound for a {wrong[0]}"
            )


def build_source(part: Part, seed: int) -> Source:
    """The source; its files are looked at when `parts()` is called."""
    source: Source = part.module.build(part.params, seed)
    return source


def build_filter(part: Part) -> Filter:
    """The filter, ready to be called."""
    check: Filter = part.module.build(part.params)
    return check


def build_teacher(part: Part) -> Teacher:
    """The teacher with its fonts or weights loaded."""
    teacher: Teacher = part.module.build(part.params)
    return teacher


def build_scorer(part: Part) -> Scorer:
    """The scorer with its models loaded."""
    scorer: Scorer = part.module.build(part.params)
    return scorer
