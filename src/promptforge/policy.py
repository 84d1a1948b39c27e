"""What a recipe's table [select] may say: quotas, cells, gates. Which prompts and pictures are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from promptforge.faults import nearest
from promptforge.lexicon.style_kinds import KINDS
from promptforge.records import AXES, Axis


class Strict(BaseModel):
    """No unknown keys, no changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _number_or_table(value: object) -> object:
    """One message for both; pydantic would give one for each member of the union."""
    if isinstance(value, Mapping):
        if not value:
            raise ValueError("is an empty table; give a number for each key, 'other' for those that are not named")
        return {str(key): _number(number, f" at {key!r}") for key, number in value.items()}
    return _number(value, "")


def _number(value: object, where: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ValueError(f"is {value!r}{where}; input should be a finite number, or with `by` a table of such")


Limit = Annotated[float | dict[str, float], BeforeValidator(_number_or_table)]
By = Literal["axis", "category", "style"]
OTHER = "other"


class Gate(Strict):
    """What a picture must meet: a bound on one metric, a quantile of it, or any predicate over the scores.

    A key of a table is an axis, a category or a style kind as `by` says, or `other` for all that are not named; with
    `axis/` before it, it holds on that axis alone and comes first.
    """

    scorer: str = Field("", description="scorer of the recipe; with `where` none")
    metric: str = Field("", description="metric of that scorer; with `where` none")
    min: Limit | None = Field(None, description="smallest value that passes; with `by` a table of them")
    max: Limit | None = Field(None, description="largest value that passes; with `by` a table of them")
    one_of: tuple[str, ...] | None = Field(None, description="details (words) that pass")
    by: By | None = Field(None, description="bounds differ by axis, by category or by style (lexicon/style_kinds.py)")
    quantile: float | None = Field(
        None, gt=0, lt=1, description="share of the reference pictures that the bound refuses: it is fitted to them"
    )
    side: Literal["min", "max"] = Field(
        "min", description="min: the quantile's bound is the smallest value that passes; max: the largest"
    )
    reference: int = Field(
        200, ge=1, description="prompts of each axis, the first by place, whose take 0 the quantile is fitted to"
    )
    least: int = Field(
        30, ge=1, description="reference pictures that a group needs for a bound of its own; else that of its axis"
    )
    where: str | None = Field(
        None, max_length=2000, description="SQL predicate over scorer.metric, axis, category, style_kind and n_words"
    )
    axes: tuple[Axis, ...] = Field(tuple(Axis), description="axes that it applies to", min_length=1)
    decision: Literal["keep_image", "keep_prompt"] = Field(
        "keep_image", description="keep_prompt lets a picture drop its prompt; only where policy is 'images'"
    )
    validated: bool = Field(
        False, description="whether the bound was measured against labels or a known truth; the card says where not"
    )
    measured_on: str | None = Field(None, description="fingerprint of the teacher on whose pictures it was measured")

    @property
    def kind(self) -> Literal["bound", "one_of", "quantile", "where"]:
        """Which of the four it is."""
        if self.where is not None:
            return "where"
        if self.quantile is not None:
            return "quantile"
        return "bound" if self.one_of is None else "one_of"

    @property
    def limits(self) -> dict[Axis, dict[str | None, tuple[float | None, float | None]]]:
        """Axis -> key -> (min, max) of a bound; the key None is for all keys that are not named."""
        found: dict[Axis, dict[str | None, tuple[float | None, float | None]]] = {}
        for axis in self.axes:
            low, high = self._on(axis, self.min), self._on(axis, self.max)
            keys = sorted({key for key in (*low, *high) if key is not None})
            rows = {key: (low.get(key, low.get(None)), high.get(key, high.get(None))) for key in (*keys, None)}
            found[axis] = {key: pair for key, pair in rows.items() if pair != (None, None)}
        return found

    def _on(self, axis: Axis, limit: float | dict[str, float] | None) -> dict[str | None, float]:
        """Key -> number of one table on one axis."""
        if not isinstance(limit, dict):
            return {} if limit is None else {None: limit}
        found: dict[str | None, float] = {}
        for narrowed in (False, True):  # what is said of this axis alone comes first
            for key, number in limit.items():
                on, name = self._place(key)
                if (on is not None) == narrowed and on in (None, axis):
                    found[None if name == OTHER else name] = number
        return found

    def _place(self, key: str) -> tuple[str | None, str]:
        """The axis that a key is narrowed to, if any, and the rest of it."""
        if self.by == "axis":
            return (None, OTHER) if key == OTHER else (key, OTHER)
        axis, slash, rest = key.partition("/")
        return (axis, rest) if slash and axis in AXES else (None, key)

    @model_validator(mode="before")
    @classmethod
    def _names_what_it_reads(cls, given: Any) -> Any:
        """A gate without `where` has scorer and metric: pydantic's own message for what is missing."""
        if isinstance(given, Mapping) and given.get("where") is None:
            lost = [name for name in ("scorer", "metric") if name not in given]
            if lost:
                faults = [InitErrorDetails(type="missing", loc=(name,), input=given) for name in lost]
                strange = [str(name) for name in given if name not in cls.model_fields]
                faults += [InitErrorDetails(type="extra_forbidden", loc=(each,), input=given[each]) for each in strange]
                raise ValidationError.from_exception_data("Gate", faults)
        return given

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        bounded = self.min is not None or self.max is not None
        if not (bounded or self.one_of is not None or self.quantile is not None or self.where is not None):
            raise ValueError("a gate needs min, max or one_of, or else quantile, or where")
        if self.where is not None:
            self._alone("where", {"scorer", "metric", "min", "max", "one_of", "by", "quantile"})
        if self.quantile is not None:
            self._alone("quantile", {"min", "max", "one_of"})
        else:
            self._alone("", {"side", "reference", "least"})
        tables = [limit for limit in (self.min, self.max) if isinstance(limit, dict)]
        if self.by is not None and not tables and self.quantile is None:
            raise ValueError(f"by is {self.by!r}, so min or max is a table, such as min = {{ {self._example} = 0.5 }}")
        if self.by is None and tables:
            raise ValueError("min or max is a table; say by what with by = 'axis', 'category' or 'style'")
        for key in (key for table in tables for key in table):
            self._check_key(key)
        for axis, pairs in self.limits.items():
            for name, (low, high) in pairs.items():
                if low is not None and high is not None and low > high:
                    where = f" for {axis}{'' if name is None else '/' + name}" if tables else ""
                    raise ValueError(f"min {low} is above max {high}{where}: nothing could pass")
        return self

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if self.one_of == ():
            raise ValueError("one_of is empty: nothing could pass; name the words that do")
        if self.kind == "quantile" and self.least > self.reference:
            raise ValueError(
                f"least is {self.least}, of the pictures of reference = {self.reference} prompts: there could never be"
                " enough; lower least or raise reference"
            )
        return self

    def _alone(self, what: str, others: set[str]) -> None:
        given = sorted(name for name in others & self.model_fields_set if getattr(self, name) not in (None, ""))
        if given:
            with_ = f"a gate with {what} takes no" if what else "only a gate with quantile takes"
            raise ValueError(f"{with_} {', '.join(given)}")

    def _check_key(self, key: str) -> None:
        on, name = self._place(key)
        if not name:
            raise ValueError(f"key {key!r} names no {self.by}; give it, or {OTHER!r} for all that are not named")
        axes = [str(axis) for axis in self.axes]
        if on is not None and on not in axes:
            raise ValueError(f"key {key!r}: {on!r} is no axis of this gate; there are {', '.join([*axes, OTHER])}")
        if self.by == "style" and name not in (*KINDS, OTHER):
            raise ValueError(f"key {key!r} is no kind of style{nearest(name, (*KINDS, OTHER))}")

    @property
    def _example(self) -> str:
        return {"axis": self.axes[0], "style": "photo", "category": "color", None: ""}[self.by]


def _number_or_all(value: object) -> object:
    """One message for both; pydantic would give one for each member of the union."""
    if value == "all" or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise ValueError(f"is {value!r}; expected a whole number from 0 up, or 'all'")


Wanted = Annotated[int | Literal["all"], BeforeValidator(_number_or_all)]


class Quota(Strict):
    """Accepted prompts wanted on each axis; the rest of the stream is not_needed."""

    image_quality: Wanted = "all"
    semantic_understanding: Wanted = "all"
    text_rendering: Wanted = "all"


class Select(Strict):
    """Which prompts and pictures are kept."""

    policy: Literal["distill", "images"] = Field(
        "distill",
        description="distill: prompt-side checks alone drop a prompt; images: gates with decision keep_prompt too",
    )
    quota: Quota = Quota()
    cells: dict[str, int] = Field(
        default_factory=dict,
        description="axis/category/length/style -> accepted prompts wanted of that cell; 'any' leaves a part open. A"
        " prompt counts for the first cell that fits; what the axis's quota leaves is for its other prompts",
    )
    oversample: float = Field(
        1.25, ge=1, le=10, description="policy images: prompts rendered for each one wanted; distill needs 1"
    )
    gates: dict[str, Gate] = Field(default_factory=dict, description="name -> bound")
    prefer: tuple[str, ...] = Field(
        (),
        description="scorer.metric that decide between takes with equally few failed gates, by their mean rank within"
        " the prompt; with a minus before it, less is better",
    )
    other_regime: bool = Field(False, description="take bounds that were measured on another teacher's pictures")

    @property
    def preferred(self) -> list[tuple[str, str, bool]]:
        """Scorer, metric, and whether more is better, of each entry of `prefer`."""
        return [(*each.removeprefix("-").rpartition(".")[::2], not each.startswith("-")) for each in self.prefer]

    @model_validator(mode="after")
    def _preferences_name_metrics(self) -> Self:
        named = [(scorer, metric) for scorer, metric, _ in self.preferred]
        for each, pair in zip(self.prefer, named, strict=True):
            if "" in pair:
                raise ValueError(f"prefer names {each!r}; expected scorer.metric, such as 'technical.sharpness'")
            if named.count(pair) > 1:
                raise ValueError(f"prefer names {'.'.join(pair)!r} twice")
        return self

    @model_validator(mode="after")
    def _gates_fit_the_policy(self) -> Self:
        if self.policy == "distill":
            wrong = sorted(name for name, gate in self.gates.items() if gate.decision == "keep_prompt")
            if wrong:
                raise ValueError(
                    f"gates {', '.join(wrong)} decide keep_prompt, which policy 'distill' rules out: a student that"
                    " follows its teacher must match its failures too; use decision 'keep_image' or policy 'images'"
                )
        return self
