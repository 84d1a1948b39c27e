"""Which of promptforge's scorers judge: named as in a recipe, parameters checked before any work.

Not covered: scorers that ask a language model, which need a run's store to keep the answers.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from promptforge.errors import ConfigError
from promptforge.faults import explain, nearest
from promptforge.stages.parts import Part, known


class Judge(BaseModel):
    """A scorer of promptforge and its parameters; where `kind` is left out, the entry's name is the module."""

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: str | None = Field(None, description="module of scorers/; the entry's name where it is left out")

    @property
    def params(self) -> dict[str, Any]:
        """The scorer's own parameters."""
        return dict(self.model_extra or {})


def parts_of(judges: Mapping[str, Judge]) -> dict[str, Part]:
    """The scorers by name, parameters checked, nothing loaded. Raises ConfigError with a line for every fault."""
    faults, found = [], {}
    for name, judge in sorted(judges.items()):
        kind = judge.kind or name
        if kind not in known("scorers"):
            faults.append(f"scorers.{name}: no module {kind!r} in scorers{nearest(kind, known('scorers'))}")
            continue
        module = importlib.import_module(f"promptforge.scorers.{kind}")
        if getattr(module, "ASKS", False):
            faults.append(f"scorers.{name}: {kind} asks a language model, which evaluate does not do; take detector")
            continue
        try:
            found[name] = Part(kind, module, module.Params.model_validate(judge.params), name, "evaluate")
        except ValidationError as exc:
            faults.append(explain(exc, module.Params, "evaluation", f"scorers.{name}"))
    if faults:
        raise ConfigError("\n".join(faults))
    return found


def also_selected(parts: Mapping[str, Part], scorers: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of those judges that had the role select when the data set was made; `scorers` as its manifest has them.

    A set chosen by a judge and then praised by it proves nothing (stages/parts.py); here teacher and student are
    compared on prompts, which are chosen alike for both, so it is said and not refused.
    """
    chose = [one for one in scorers if one.get("role") == "select"]
    return [
        name
        for name, part in sorted(parts.items())
        if any(one.get("kind") == part.kind and one.get("outside") == part.identity.get("outside") for one in chose)
    ]
