"""What to build: a pydantic model read from TOML, with overrides, refused before any work where it is wrong.

The recipe knows the shape of a build; what a component's own parameters may be, its module says (stages/parts.py).
`[run]` holds what never changes a row: workers, shard sizes. It is outside every digest.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from promptforge.errors import ConfigError
from promptforge.faults import explain, nearest
from promptforge.packaged import Shelf
from promptforge.policy import Select, Strict


class _Component(BaseModel):
    """`kind` is a module name; every other key is a parameter of that module."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @property
    def params(self) -> dict[str, Any]:
        """The keys that belong to the module."""
        return dict(self.__pydantic_extra__ or {})


class SourceSpec(_Component):
    """A source of prompts: a module of sources/ and its parameters."""

    kind: str = Field(description="module of sources/: grammar, files, hub or llm")


class LlmSpec(_Component):
    """A language model: a module of models/language/ and its parameters."""

    kind: str = Field(description="module of models/language/: server or vllm")


class ScorerSpec(_Component):
    """A scorer under a name of its own; where `kind` is left out, the name is the module."""

    kind: str | None = Field(None, description="module of scorers/; the entry's name where it is left out")
    role: Literal["select", "evaluate"] = Field(
        "select", description="select: gates may use it; evaluate: it only reports, and shares no model with the others"
    )


class Regime(_Component):
    """How the teacher draws; shared by everything that compares with its pictures."""

    teacher: str = Field(description="module of teachers/: canvas, diffusers or imported")
    accept_license: str | None = Field(
        None, description="name of the teacher's licence, where it restricts what its pictures may be used for"
    )
    guidance_range: tuple[float, float] | None = Field(
        None, description="range that the student's trainer draws its guidance from; pictures have the teacher's own"
    )

    @model_validator(mode="after")
    def _range_goes_up(self) -> Self:
        if self.guidance_range and not 0 <= self.guidance_range[0] <= self.guidance_range[1]:
            raise ValueError(f"guidance_range is {self.guidance_range}; expected two numbers from 0 up, smaller first")
        return self


class Questions(Strict):
    """Where the yes/no questions about a prompt's picture come from, besides its scene."""

    llm: str | None = Field(
        None, description="language model that parses prompts with words that the lexicon does not know"
    )


class Render(Strict):
    """Which pictures are made."""

    sample: float = Field(
        1.0,
        ge=0,
        le=1,
        description="share of the wanted prompts that is rendered; 0: prompts only, 0.02: audit",
    )
    takes: int = Field(1, ge=1, le=64, description="pictures of each prompt, from different noise, at most")
    until_pass: bool = Field(
        False,
        description="draw a prompt's next take only while none of its pictures passes every gate; false: always all",
    )
    fixed_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the prompts of which every take is drawn all the same, to measure teachability by",
    )


class Rounds(Strict):
    """Render in rounds until the quotas are met or something is spent; policy images."""

    max_renders: int | None = Field(None, ge=1, description="pictures that may be wanted in all")
    max_gpu_s: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="seconds that ranks may spend drawing, added up over ranks"
    )
    max_money: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="what drawing may cost, in the currency of price_per_gpu_hour"
    )
    price_per_gpu_hour: float | None = Field(None, gt=0, allow_inf_nan=False, description="price of an hour of a rank")
    max_wall_s: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="clock time from a command's start after which no round begins"
    )
    round_renders: int | None = Field(
        None, ge=1, description="pictures of one round, at most; what is accepted does not depend on it"
    )
    hopeless_below: float = Field(
        0.01,
        ge=0,
        le=1,
        description="a cell of which surely (97.5%) a smaller share of prompts is accepted is given up; 0: none ever",
    )
    hopeless_after: int = Field(200, ge=1, description="prompts of a cell to be tried before it may be given up")

    @model_validator(mode="after")
    def _money_has_a_price(self) -> Self:
        if self.max_money is not None and self.price_per_gpu_hour is None:
            raise ValueError("max_money needs price_per_gpu_hour, the price of an hour of one rank")
        return self


class Publish(Strict):
    """The data set that the trainer reads."""

    rows_per_file: int = Field(
        1024, ge=1, description="rows of one Parquet file of dataset/data; 1024 pictures of 1024 px are about 300 MB"
    )
    format: Literal["webp", "png"] = Field("webp", description="lossless encoding of the published pictures")
    natural_test_share: float = Field(
        0.05, ge=0, le=0.5, description="share of split groups from file sources that become test_natural"
    )
    pretty_name: str = Field("promptforge prompts", description="title on the card", min_length=1)
    extends: str | None = Field(
        None,
        min_length=1,
        description="published data set, or the run that made it, that this one adds to: its rows stay as they are",
    )
    other_teacher: bool = Field(
        False, description="with extends: take its pictures over though another teacher or regime drew them"
    )


class RunSettings(Strict):
    """How the work is cut and spread; never changes a row."""

    runner: Literal["threads"] = Field("threads", description="Prefect task runner of flows/runners.py")
    workers: int = Field(2, ge=1, le=256, description="ranks that render and score at once")
    shard_rows: int = Field(50_000, ge=1, description="rows of a text shard")
    bucket_images: int = Field(
        1000, ge=1, description="pictures of a render bucket, at most; eight buckets a rank, at least"
    )
    increment: int = Field(
        64, ge=1, le=64, description="pictures or answers committed at a time: the most that a kill loses"
    )
    score_in_render: tuple[str, ...] = Field(
        (), description="scorers that measure a picture in the process that drew it, before it is encoded"
    )


class Recipe(Strict):
    """What to build."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="names the run folder")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of sources and noise")
    sources: tuple[SourceSpec, ...] = Field(min_length=1)
    filters: dict[str, dict[str, Any]] = Field(default_factory=dict, description="module of filters/ -> parameters")
    llm: dict[str, LlmSpec] = Field(default_factory=dict, description="name -> language model")
    dedup: dict[str, Any] | None = Field(
        None, description="settings of near duplicates; left out: exact duplicates alone are dropped"
    )
    decontaminate: dict[str, Any] | None = Field(
        None, description="benchmarks whose prompts must not be in the set; left out: nothing is compared with any"
    )
    order: dict[str, Any] | None = Field(
        None, description="in which order kept prompts are taken, and caps; left out: in stream order"
    )
    coverage: dict[str, Any] | None = Field(
        None, description="what the accepted prompts must have at least; left out: nothing is demanded"
    )
    regime: Regime
    render: Render = Render()
    rounds: Rounds | None = Field(
        None, description="render in rounds towards the quotas, within a budget; left out: one plan, from the quotas"
    )
    questions: Questions = Questions()
    response: dict[str, Any] | None = Field(
        None,
        description="settings of the teacher's response to each prompt; left out: not measured",
    )
    scorers: dict[str, ScorerSpec] = Field(default_factory=dict, description="name -> scorer")
    select: Select = Select()
    publish: Publish = Publish()
    run: RunSettings = RunSettings()

    @model_validator(mode="after")
    def _gates_have_scorers(self) -> Self:
        for name, gate in self.select.gates.items():
            if gate.where is None and gate.scorer not in self.scorers:
                raise ValueError(
                    f"select.gates.{name} reads scorer {gate.scorer!r}, which [scorers] does not name"
                    f"{nearest(gate.scorer, self.scorers)}"
                )
        if self.rounds is not None and self.select.policy != "images":
            raise ValueError(
                "[rounds] needs select.policy 'images': under 'distill' every prompt that the checks keep is accepted,"
                " so no round would tell how many more are needed; leave [rounds] out, or set select.policy=images"
            )
        if self.rounds is not None and self.render.sample < 1:
            raise ValueError(
                f"[rounds] needs render.sample = 1, it is {self.render.sample:g}: a prompt is accepted by its pictures;"
                " leave [rounds] or render.sample out"
            )
        self._a_prompt_fits_into_a_round()
        if self.render.sample == 0 and self.select.policy == "images":
            raise ValueError(
                "render.sample = 0 draws nothing, so policy 'images' could keep nothing; use policy 'distill'"
            )
        return self

    def _a_prompt_fits_into_a_round(self) -> None:
        """Raise ValueError where the takes that a prompt has at once are more than a round or the budget may hold."""
        if self.rounds is None:
            return
        takes = 1 if self.render.until_pass and self.render.fixed_share == 0 else self.render.takes
        for name in ("round_renders", "max_renders"):
            limit = getattr(self.rounds, name)
            if limit is not None and limit < takes:
                raise ValueError(
                    f"rounds.{name} is {limit}, but a prompt has {takes} takes drawn at once; expected {takes} at"
                    " least, fewer render.takes, or render.until_pass = true without fixed_share"
                )


_SHELF = Shelf("recipe", "promptforge")


def available() -> tuple[str, ...]:
    """Names of the recipes in the package."""
    return _SHELF.names()


def read(name: str) -> dict[str, Any]:
    """The raw tables of a recipe: a name from the package or a path to a .toml file.

    Raises ConfigError where there is none or it is not TOML.
    """
    return _SHELF.read(name)


def override(raw: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """The tables with each 'a.b.c=value' put in; the value is TOML, or plain text where it is not.

    List items are addressed by number; '@file' stands for the settings in a file, one a line. Raises ConfigError for a
    setting without '=' or a path through a value.
    """
    result: dict[str, Any] = _copy(raw)
    for setting in _spread(settings):
        path, separator, text = setting.partition("=")
        if not separator or not path.strip():
            raise ConfigError(f"--set {setting!r}: expected path=value, for example render.takes=3")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        _put(result, [part.strip() for part in path.split(".")], value, setting)
    return result


def _spread(settings: Sequence[str]) -> Iterator[str]:
    for setting in settings:
        if not setting.startswith("@"):
            yield setting
            continue
        try:
            lines = Path(setting[1:]).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(
                f"--set {setting}: cannot be read ({exc}); expected a file of settings, one a line"
            ) from exc
        yield from (line for line in map(str.strip, lines) if line and not line.startswith("#"))


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copy(item) for item in value]
    return value


def _put(node: Any, path: list[str], value: Any, setting: str) -> None:
    for depth, part in enumerate(path):
        last = depth == len(path) - 1
        if isinstance(node, dict):
            if last:
                node[part] = value
                return
            node = node.setdefault(part, {})
        elif isinstance(node, list) and part.isdigit() and int(part) < len(node):
            if last:
                node[int(part)] = value
                return
            node = node[int(part)]
        else:
            seen = f"a list of {len(node)}" if isinstance(node, list) else f"the value {node!r}"
            raise ConfigError(f"--set {setting!r}: {'.'.join(path[:depth])} is {seen}, so it has no {part!r}")


def validate(raw: Mapping[str, Any], where: str) -> Recipe:
    """The recipe, or a ConfigError with a line for every fault: path, value seen, what is allowed."""
    try:
        return Recipe.model_validate(_copy(raw))
    except ValidationError as exc:
        raise ConfigError(explain(exc, Recipe, where, gates=_whole_gates(raw))) from exc


def _whole_gates(raw: Mapping[str, Any]) -> list[str]:
    """Names of the gates that say what they read: what a gate without scorer or metric may have been meant for."""
    select = raw.get("select")
    gates = select.get("gates") if isinstance(select, Mapping) else None
    named = gates.items() if isinstance(gates, Mapping) else ()
    return sorted(name for name, gate in named if isinstance(gate, Mapping) and {"scorer", "metric"} <= gate.keys())
