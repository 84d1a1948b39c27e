"""What a recipe demands of its prompts, and which of it cannot come true, seen from the recipe alone.

Two things can be seen there: natural captions are demanded on an axis that only grammars write, or more prompts than
the quotas let in.
"""

from __future__ import annotations

from collections.abc import Sequence

from promptforge.errors import ConfigError
from promptforge.recipe import Recipe, SourceSpec
from promptforge.records import AXES
from promptforge.stages.coverage.settings import ALL, Bound, CoverageSettings

#: How to give captions on the command line.
CAPTIONS = "--captions captions.txt"
SETTING = "--set coverage.min."


def demands(recipe: Recipe) -> tuple[Bound, ...]:
    """Every demand of the recipe."""
    return tuple(CoverageSettings.model_validate(recipe.coverage or {}).min.bounds())


def hopeless(recipe: Recipe) -> list[str]:
    """What can be seen to fail without any work, a line each: seen, wanted, what to do."""
    found = []
    quota = recipe.select.quota.model_dump()
    for bound in demands(recipe):
        axes = AXES if bound.axis == ALL else (bound.axis,)
        if bound.measure == "prompts":
            limits = [quota[axis] for axis in axes]
            if "all" not in limits and sum(limits) < bound.least:
                found.append(
                    f"coverage.min.{bound.name}: the quota of select.quota lets in {sum(limits):,}, wanted at least"
                    f" {bound.least:,.0f}; {remedy(bound)}"
                )
        if bound.measure != "natural_share":
            continue
        axes = tuple(axis for axis in axes if quota[axis] != 0)
        mine = [source for source in recipe.sources if _may_write(source, axes)]
        if mine and all(source.kind == "grammar" for source in mine):
            where = "" if bound.axis == ALL else f" of {bound.axis}"
            found.append(
                f"coverage.min.{bound.name}: every source{where} is a grammar, wanted at least {bound.least:.0%}"
                f" natural captions; {remedy(bound)}"
            )
    return found


def refuse_hopeless(recipe: Recipe, where: str) -> None:
    """Raise ConfigError for what `hopeless` finds."""
    found = hopeless(recipe)
    if found:
        raise ConfigError("\n".join(f"{where}: {line}" for line in found))


def _may_write(source: SourceSpec, axes: Sequence[str]) -> bool:
    """Whether prompts of one of these axes can come from it; files without a stated axis may have any."""
    axis = source.params.get("axis")
    return axis in axes if axis is not None else bool(axes)


def remedy(bound: Bound, how: str = SETTING) -> str:
    """What to do where a demand is not met; `how` is what a demand is written behind."""
    lower = f"or lower it: {how}{bound.name}=0"
    if bound.measure == "natural_share":
        if bound.axis in (ALL, "image_quality"):
            return f"give captions with {CAPTIONS}, {lower}"
        return f"give a source of such prompts in the recipe's [[sources]], {lower}"
    if bound.measure in ("prompts", "noun_pairs", "unique_nouns", "templates"):
        return f"give more or other prompts, or raise the quota, {lower}"
    return f"give other prompts, {lower}"
