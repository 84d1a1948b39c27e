"""The recipe's table [decontaminate]: which benchmarks' prompts must not be in the set, and what is done about each."""

from __future__ import annotations

from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from promptforge.sources.readers import layout

#: Strongest first: of several hits on a row the verdict names the first.
Rule = Literal["exact", "word_order", "contained", "near", "ngrams", "run", "rare", "scene", "other_scene", "skeleton"]
RULES: tuple[str, ...] = get_args(Rule)
#: They say that something is shared, not that a prompt was copied, so they never drop.
FLAG_ONLY = frozenset({"other_scene", "skeleton"})
Action = Literal["drop", "flag", "off"]


#: Rules that drop where the recipe says nothing. `scene` flags: the same scene in other words is no copied text.
COPIES = frozenset(RULES) - FLAG_ONLY - {"scene"}


def action_of(rule: str, chosen: dict[Any, Action]) -> Action:
    """What is done about a hit: as chosen, else drop for a copy and flag for the rest."""
    return chosen.get(rule, "drop" if rule in COPIES else "flag")


class Benchmark(BaseModel):
    """One benchmark: a file of prompts, a folder of such files, or a data set of the hub."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description="name in the table contamination")
    path: str | None = Field(
        None, min_length=1, description="file (txt, json, jsonl, csv, tsv, parquet), folder of such files, or pattern"
    )
    dataset: str | None = Field(
        None, min_length=1, description="instead: hub id, owner/name, or folder in one of the hub's layouts"
    )
    revision: str | None = Field(None, description="of a hub id: the 40 hex digits of a commit")
    config: str | None = Field(None, description="of a data set; left out: the only one, or the default")
    split: str = Field("train", min_length=1, description="of a data set")
    column: str | None = Field(
        None, description="column of the prompts; left out: prompt, text or caption, whichever is there"
    )
    one_prompt_a_file: bool | None = Field(
        None,
        description="every .txt file is one prompt, whatever its lines, as in DPG-Bench's folder; false: every line is;"
        " left out: true where nine of ten .txt files, and of ten at least, have one line",
    )
    action: dict[Rule, Action] = Field(
        default_factory=dict,
        description="rule -> drop, flag or off; left out: drop, but flag for scene, other_scene and skeleton",
    )

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        if (self.path is None) == (self.dataset is None):
            seen = "both" if self.path else "neither"
            raise ValueError(f"{self.name} has {seen} of path and dataset; give path for files, dataset for a hub id")
        if self.dataset is not None:
            layout.check(self.dataset, self.revision)
            if self.one_prompt_a_file is not None:
                raise ValueError(f"{self.name}: one_prompt_a_file goes with path, and there is a dataset")
        elif odd := sorted({"revision", "config", "split"} & self.model_fields_set):
            raise ValueError(f"{self.name}: {odd[0]} goes with dataset, and there is a path")
        return self

    @field_validator("action")
    @classmethod
    def _only_copies_drop(cls, value: dict[Rule, Action]) -> dict[Rule, Action]:
        wrong = sorted(rule for rule, action in value.items() if action == "drop" and rule in FLAG_ONLY)
        if wrong:
            raise ValueError(
                f"{', '.join(wrong)} cannot drop: prompts share templates by nature; set it to 'flag' or 'off'"
            )
        return value


class DecontaminateSettings(BaseModel):
    """What counts as a copy of a benchmark's prompt. Word counts are of the folded prompt of the benchmark."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    benchmarks: tuple[Benchmark, ...] = Field(min_length=1, description="whose prompts must not be in the set")
    short_words: int = Field(
        8, ge=3, le=64, description="prompts with fewer words are compared whole: their n-grams stand in many prompts"
    )
    ngram: int = Field(3, ge=2, le=8, description="words of the n-grams of which a share must be covered")
    coverage: float = Field(0.5, gt=0, le=1, description="smallest share of a prompt's n-grams that makes a copy of it")
    weight: float = Field(
        0.9,
        ge=0,
        le=1,
        description="smallest share of a prompt's words, by their rarity in the list, that must be there as well",
    )
    long_words: int = Field(16, ge=8, le=256, description="prompts with that many words are copied by a part as well")
    long_weight: float = Field(0.6, ge=0, le=1, description="weight for those")
    rare_ngram: int = Field(8, ge=5, le=32, description="words of a passage that is a copy, of prompts of long_words")
    run: int = Field(13, ge=8, le=64, description="words in a row that are a copy, of any prompt")
    passage: float = Field(
        24.0,
        ge=0,
        description="smallest surprise of either, in nats: minus the log of its chance by the list's pairs of words",
    )
    near: float = Field(0.8, gt=0.3, le=1, description="smallest similarity of the content, as [dedup] measures it")

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        names = [item.name for item in self.benchmarks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two benchmarks are called {twice[0]!r}; give each a name of its own")
        for small, large in (("ngram", "rare_ngram"), ("ngram", "short_words"), ("short_words", "long_words")):
            if getattr(self, small) > getattr(self, large):
                raise ValueError(f"{small} {getattr(self, small)} is above {large} {getattr(self, large)}")
        return self

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the result, without the files' places: their content counts in their stead."""
        found = self.model_dump(mode="json", exclude={"benchmarks"})
        found["benchmarks"] = [item.model_dump(mode="json", exclude={"path", "dataset"}) for item in self.benchmarks]
        return found
