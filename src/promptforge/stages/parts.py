"""The components that a recipe names, found in the packages' own contents and checked before any work.

A recipe's name is compared with the module names of sources/, filters/, teachers/, scorers/ and models/language/;
nothing else can be loaded, and nothing registers itself.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ValidationError

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.faults import explain, nearest
from promptforge.models.diffusion.response import ResponseSettings
from promptforge.models.diffusion.settings import Settings
from promptforge.models.weights import is_local, is_offline, missing_here, path_of, require_safe
from promptforge.protocols import Ask, Filter, LanguageModel, Licence, Picture, Score, Scorer, Source, Teacher
from promptforge.recipe import Recipe
from promptforge.records import canonical_json, content_id, digest_of
from promptforge.stages import goals
from promptforge.stages.arrangement.settings import OrderSettings
from promptforge.stages.contamination.settings import DecontaminateSettings
from promptforge.stages.coverage.settings import CoverageSettings
from promptforge.stages.judging.checks import check_gates
from promptforge.stages.resemblance.settings import DedupSettings


@dataclass(frozen=True)
class Part:
    """One component before it is built: module, checked parameters, and the name that the recipe gives it.

    `llm` is the identity of the language model that it asks, if it asks one.
    """

    kind: str
    module: ModuleType
    params: BaseModel
    name: str = ""
    role: str = "select"
    llm: Mapping[str, Any] | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What decides its output, as far as known without loading a model; part of every digest."""
        outside = getattr(self.module, "identity", None)
        params = self.params.model_dump(mode="json")
        for name in getattr(self.module, "PLACES", ()):  # of local weights `outside` has the content
            if isinstance(params.get(name), str) and is_local(params[name]):
                params[name] = "local"
        return {
            "kind": self.kind,
            "version": self.module.VERSION,
            "params": params,
            **({"outside": dict(outside(self.params))} if outside else {}),
            **({"llm": dict(self.llm)} if self.llm is not None else {}),
        }

    @property
    def asks(self) -> str | None:
        """Name of the language model that it asks, if any."""
        return str(getattr(self.params, "llm")) if getattr(self.module, "ASKS", False) else None  # noqa: B009

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
    llms: tuple[Part, ...] = ()

    def resolved(self) -> dict[str, Any]:
        """All parameters with their defaults filled in, for the head and the manifest."""
        return {
            "sources": [part.identity for part in self.sources],
            "filters": [part.identity for part in self.filters],
            "llm": {part.name: identity_of(part) for part in self.llms},
            "teacher": self.teacher.identity,
            "scorers": [{**part.identity, "name": part.name, "role": part.role} for part in self.scorers],
        }

    @cached_property
    def licence(self) -> Licence:
        """Terms of the teacher's pictures."""
        found: Licence = self.teacher.module.licence(self.teacher.params)
        return found

    @cached_property
    def description(self) -> dict[str, Any]:
        """What decides a picture besides text and seed; no weights are loaded for it."""
        return dict(self.teacher.module.describe(self.teacher.params))

    @property
    def fingerprint(self) -> str:
        """Name of the teacher as it is set up."""
        return content_id(canonical_json(self.description))

    @property
    def compares(self) -> bool:
        """Whether any scorer makes hashes by which pictures are compared."""
        return any(part.kind == "likeness" for part in self.scorers)

    @property
    def asks_questions(self) -> bool:
        """Whether any scorer wants the table questions."""
        return any(part.module.NEEDS == "questions" or "questions" in part.module.INPUTS for part in self.scorers)


@cache
def known(package: str) -> tuple[str, ...]:
    """Module names of sources, filters, teachers, scorers or models.language; sub-packages are no components."""
    folder = importlib.import_module(f"promptforge.{package}")
    return tuple(sorted(item.name for item in pkgutil.iter_modules(folder.__path__) if not item.ispkg))


def resolve(recipe: Recipe, where: str) -> Parts:
    """Find every component and check every parameter.

    Raises ConfigError with a line for every fault found.
    """
    faults: list[str] = []
    llms = {
        name: part
        for name, spec in recipe.llm.items()
        if (part := _part("models.language", spec.kind, spec.params, f"llm.{name}", where, faults))
    }
    llms = {name: replace(part, name=name) for name, part in llms.items()}

    def find(package: str, kind: str, params: Mapping[str, Any], path: str, name: str = "") -> Part | None:
        part = _part(package, kind, params, path, where, faults)
        part = part and replace(part, name=name or kind)
        if part is None or part.asks is None:
            return part
        if part.asks not in recipe.llm:
            faults.append(f"{where}: {path}.llm: no language model {part.asks!r}{nearest(part.asks, recipe.llm)}")
            return None
        model = llms.get(part.asks)
        return model and replace(part, llm=identity_of(model))

    sources = [
        find("sources", spec.kind, spec.params, f"sources.{number}") for number, spec in enumerate(recipe.sources)
    ]
    filters = [find("filters", kind, params, f"filters.{kind}") for kind, params in recipe.filters.items()]
    teacher = find("teachers", recipe.regime.teacher, recipe.regime.params, "regime")
    scorers = [
        part and replace(part, role=spec.role)
        for name, spec in recipe.scorers.items()
        for part in [find("scorers", spec.kind or name, spec.params, f"scorers.{name}", name)]
    ]
    if recipe.questions.llm is not None and recipe.questions.llm not in recipe.llm:
        faults.append(
            f"{where}: questions.llm: no language model {recipe.questions.llm!r}"
            f"{nearest(recipe.questions.llm, recipe.llm)}"
        )
    _check_settings(recipe, where, faults)
    _check_response(recipe, teacher, where, faults)
    if faults:
        raise ConfigError("\n".join(faults))
    assert teacher is not None
    parts = Parts(_all(sources), _all(filters), teacher, _all(scorers), tuple(llms.values()))
    _check_licence(recipe, parts, where)
    _check_roles(recipe, parts, where)
    metrics = {part.name: dict(part.module.METRICS) for part in parts.scorers}
    check_gates(recipe, metrics, lambda: parts.fingerprint, where)
    # What draws nothing scores nothing, and must not ask for the scorers' packages and weights.
    return parts if recipe.render.sample else replace(parts, scorers=())


def identity_of(model: Part) -> dict[str, Any]:
    """What decides a language model's answers: not where its server is, nor patience or prices."""
    return dict(model.module.identity(model.params))


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


def _check_response(recipe: Recipe, teacher: Part | None, where: str, faults: list[str]) -> None:
    """Whether the teacher's prediction can be had, where its response is to be measured."""
    if recipe.response is None or teacher is None:
        return
    if not isinstance(teacher.params, Settings):
        faults.append(
            f"{where}: response: teacher {teacher.kind!r} predicts no velocity; take diffusers with pipeline flux or"
            " sd3, or leave [response] out"
        )
    elif teacher.params.pipeline == "auto":
        faults.append(f"{where}: response: of pipeline 'auto' nothing is known; take flux or sd3, or leave it out")


#: Tables of a recipe with settings of a stage: checked here, and read where they are used.
_SETTINGS: Mapping[str, type[BaseModel]] = {
    "response": ResponseSettings,
    "dedup": DedupSettings,
    "decontaminate": DecontaminateSettings,
    "order": OrderSettings,
    "coverage": CoverageSettings,
}


def _check_settings(recipe: Recipe, where: str, faults: list[str]) -> None:
    faults += [f"{where}: {line}" for line in goals.faults(recipe)]
    for table, model in _SETTINGS.items():
        given = getattr(recipe, table)
        try:
            if given is not None:
                model.model_validate(given)
        except ValidationError as exc:
            faults.append(explain(exc, model, where, table))


def _check_licence(recipe: Recipe, parts: Parts, where: str) -> None:
    """A licence that restricts the pictures' use is acknowledged by its name, before anything is drawn."""
    terms, accepted = parts.licence, recipe.regime.accept_license
    if terms.needs_consent and accepted != terms.name:
        seen = "is not set" if accepted is None else f"is {accepted!r}"
        raise ConfigError(
            f"{where}: regime.accept_license {seen}; the teacher's pictures come under {terms.name!r}, which restricts"
            f" their use (training included): read it, and where you agree, --set regime.accept_license={terms.name}"
        )


def _check_roles(recipe: Recipe, parts: Parts, where: str) -> None:
    """A set chosen by a judge and then praised by it proves nothing: no model may both select and evaluate."""
    judges: dict[str, dict[str, str]] = {"select": {}, "evaluate": {}}
    for part in parts.scorers:
        names = getattr(part.module, "models", None)
        for model in (*(names(part.params) if names else ()), *([canonical_json(part.llm)] if part.llm else ())):
            judges[part.role].setdefault(str(model), part.name)
    for model in sorted(judges["select"].keys() & judges["evaluate"].keys()):
        raise ConfigError(
            f"{where}: scorers.{judges['evaluate'][model]} evaluates with {model}, which scorers."
            f"{judges['select'][model]} selects with; a set chosen by a judge cannot be praised by it: take another"
            " model for one of them, or give both the same role"
        )
    for name in recipe.run.score_in_render:
        if name not in recipe.scorers:
            raise ConfigError(f"{where}: run.score_in_render: no scorer {name!r}{nearest(name, recipe.scorers)}")


def check_places(parts: Mapping[str, Part]) -> None:
    """Raise EnvironmentFault for weights that a run would miss after hours; loads and fetches nothing.

    A local folder is there and holds some; where the hub is switched off, what comes from it is on this machine.
    """
    for table, part in parts.items():
        for name in getattr(part.module, "PLACES", ()):
            place = getattr(part.params, name)
            if not isinstance(place, str):
                continue
            if not is_local(place):
                revision = getattr(part.params, f"{name}_revision", None) or getattr(part.params, "revision", None)
                if revision and is_offline() and missing_here(place, revision):
                    raise EnvironmentFault(
                        f"{table}.{name}: {place} at {revision[:12]} is not on this machine, and HF_HUB_OFFLINE is set;"
                        f" promptforge doctor --recipe shows how to fetch it"
                    )
                continue
            path = path_of(place)
            if not path.exists():
                raise EnvironmentFault(
                    f"{table}.{name}: {path.absolute()}: no such model file or folder; a relative path starts from"
                    " the folder that the program was started in"
                )
            if path.is_dir():
                require_safe(path)


def build_source(part: Part, seed: int, ask: Ask | None = None) -> Source:
    """The source; its files are looked at when `parts()` is called."""
    source: Source = part.module.build(part.params, seed, **_asking(ask))
    return source


def build_filter(part: Part, ask: Ask | None = None) -> Filter:
    """The filter, ready to be called."""
    check: Filter = part.module.build(part.params, **_asking(ask))
    return check


def build_teacher(part: Part, rank: int = 0) -> Teacher:
    """The teacher with its fonts or weights loaded, for the rank's device."""
    teacher: Teacher = part.module.build(part.params, rank)
    return teacher


def build_scorer(part: Part, rank: int = 0, ask: Ask | None = None) -> Scorer:
    """The scorer with its models loaded, for the rank's device."""
    scorer: Scorer = part.module.build(part.params, rank, **_asking(ask))
    return scorer


def build_language_model(part: Part) -> LanguageModel:
    """The client of a server, or the engine with its weights loaded."""
    model: LanguageModel = part.module.build(part.params)
    return model


def _asking(ask: Ask | None) -> dict[str, Ask]:
    return {} if ask is None else {"ask": ask}


def scores_of(scorer: Scorer, pictures: Sequence[Picture], tick: Callable[[], None]) -> Sequence[Sequence[Score]]:
    """The scores of each picture, many at once where the scorer can; else `tick` is called before each."""
    many = getattr(scorer, "score_many", None)
    if many:
        found: Sequence[Sequence[Score]] = many(pictures)
        return found
    scores = []
    for picture in pictures:
        tick()
        scores.append(scorer.score(picture))
    return scores
