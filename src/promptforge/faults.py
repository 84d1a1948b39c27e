"""What is wrong with settings, in lines to act on: path, value seen, what is allowed, the nearest known name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError


def nearest(word: str, known: Iterable[str]) -> str:
    """'; did you mean X?' where some known name is close, else the list of known names."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(names) or 'none'}"


def explain(
    error: ValidationError, model: type[BaseModel], where: str, prefix: str = "", gates: Sequence[str] = ()
) -> str:
    """Each fault of a pydantic error in a line: path, value seen, what is allowed, the nearest known name.

    `gates`: names that a gate with a missing field is compared with, since a misspelt name makes a new gate.
    """
    lines = []
    for item in error.errors(include_url=False):
        path = ".".join([*([prefix] if prefix else []), *(str(part) for part in item["loc"])]) or "recipe"
        if item["type"] == "extra_forbidden":
            known = _fields_at(model, [part for part in item["loc"][:-1] if isinstance(part, str)])
            lines.append(f"{path}: no such field{nearest(str(item['loc'][-1]), known)}")
        elif item["type"] == "missing":
            is_gate = item["loc"][:2] == ("select", "gates")
            close = difflib.get_close_matches(str(item["loc"][-2]), gates, n=1) if is_gate else []
            lines.append(f"{path}: missing; it must be given{f'; did you mean {close[0]!r}?' if close else ''}")
        elif item["type"] == "value_error":
            lines.append(f"{path}: {item['ctx']['error']!s}")
        else:
            lines.append(f"{path}: is {item['input']!r}; {item['msg'][0].lower()}{item['msg'][1:]}")
    return "\n".join(f"{where}: {line}" for line in lines)


def _fields_at(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    current: Any = model
    for part in path:
        field = getattr(current, "model_fields", {}).get(part)
        if field is None:
            continue  # the name of an entry in a dict of models, e.g. a gate
        current = _model_in(field.annotation)
    return list(getattr(current, "model_fields", {}))


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None
