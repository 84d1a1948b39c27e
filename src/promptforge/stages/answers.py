"""What counts as an answer: strict JSON that meets its schema; and an answer without what was purged.

The reason why an answer does not count never quotes it, so that no prompt stays in a table by way of an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
from jsonschema import Draft202012Validator

from promptforge.protocols import Completion
from promptforge.records import canonical_json
from promptforge.texts import clean, fold_key

#: Tasks whose answers hold prompts; those of the others are about a prompt and go with it.
WRITING_TASKS = frozenset({"invent", "rewrite"})
PURGED = "purged"  #: key of what stands in place of a purged prompt; its value is the reason

_MAX_ERROR = 200  # characters of a server's own words
_SURROGATE = re.compile("[\ud800-\udfff]")


class NotAnAnswer(ValueError):
    """Why a completion does not count; the message begins with its code."""


def checked(completion: Completion, validator: Draft202012Validator) -> Any:
    """The value of a completion. Raises NotAnAnswer where it is cut, is not JSON or breaks the schema."""
    try:
        value = json.loads(
            completion.text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_no_twice
        )
        if _SURROGATE.search(canonical_json(value)):
            raise _Malformed("a lone surrogate")
    except (ValueError, RecursionError) as exc:
        if completion.finish == "length":
            raise NotAnAnswer(f"too_long: cut off after {completion.n_tokens_out} tokens") from exc
        raise NotAnAnswer(f"malformed_json: {_reason(exc)}") from exc
    faults = sorted((fault.json_path, str(fault.validator)) for fault in validator.iter_errors(value))
    if faults:
        raise NotAnAnswer(f"wrong_schema: {faults[0][0]} breaks {faults[0][1]}")
    return value


class _Malformed(ValueError):
    """JSON in Python's view, not in ours."""


def _no_constant(name: str) -> Any:
    raise _Malformed(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise _Malformed("a number too large")
    return value


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Malformed("a key given twice")
    return found


def _reason(exc: Exception) -> str:
    if isinstance(exc, json.JSONDecodeError):
        return f"{exc.msg} at character {exc.pos}"
    if isinstance(exc, _Malformed):
        return str(exc)
    return "nested too deep" if isinstance(exc, RecursionError) else "a number too long"


def refusal(error: str) -> str:
    """A model's own reason as one line that fits a table."""
    line = " ".join(_SURROGATE.sub("\ufffd", error).split())
    return line[:_MAX_ERROR] or "refused: no reason given"


def emptied(rows: pa.Table, reasons: Mapping[str, str], prompts: Collection[str]) -> pa.Table:
    """Rows of responses without purged texts. `reasons`: fold_key -> reason; `prompts`: purged prompt_ids.

    Where a model wrote the text, {"purged": reason} stands in its place and the row stays, so that it is never asked
    for again; a row about the text alone goes. The same table where nothing of it is gone.
    """
    answers = rows["answer"].to_pylist()
    keep: list[bool] = []
    is_changed = False
    for at, (task, subject) in enumerate(zip(rows["task"].to_pylist(), rows["subject"].to_pylist(), strict=True)):
        writes = task in WRITING_TASKS
        keep.append(writes or subject[:32] not in prompts)
        if writes and answers[at] is not None:
            value = json.loads(answers[at])
            left = _without(value, reasons)
            if left != value:
                answers[at], is_changed = canonical_json(left), True
    if not is_changed and all(keep):
        return rows
    place = rows.schema.get_field_index("answer")
    new = rows.set_column(place, rows.schema.field(place), pa.array(answers, pa.string()))
    return new.filter(pa.array(keep, pa.bool_()))


def _without(value: Any, reasons: Mapping[str, str]) -> Any:
    """The value with every purged string, and every object that holds one, replaced by its reason."""
    if isinstance(value, str):
        reason = reasons.get(fold_key(clean(value).text))
        return value if reason is None else {PURGED: reason}
    if isinstance(value, list):
        return [_without(item, reasons) for item in value]
    if isinstance(value, dict) and PURGED not in value:
        for item in value.values():
            if isinstance(item, str) and isinstance(left := _without(item, reasons), dict):
                return left
        return {key: _without(item, reasons) for key, item in value.items()}
    return value
