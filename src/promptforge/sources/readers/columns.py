"""What the columns of a file mean: a row of a reader as a Candidate, or the fault that it has.

A column that has the name of a promptforge field is read as that field, unless the source's map says otherwise.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator

from promptforge.errors import SourceFault
from promptforge.records import AXES, Candidate
from promptforge.sources.readers.rows import Fault, Reader, Row, text_fault
from promptforge.texts import clean, show

TEXT_COLUMNS = ("text", "prompt", "caption")  #: looked for in this order, in any case, where none is mapped

MappedField = Literal["text", "axis", "category", "expected_text", "pair_id", "parent_id", "style", "source_aesthetic"]


def _a_prompt_has_a_column(columns: dict[MappedField, str]) -> dict[MappedField, str]:
    if columns.get("text") == "":
        raise ValueError("text is '', but a prompt must come from a column; name one, or leave text out")
    return columns


#: A source's map, promptforge field -> column; '' means that the field is not read at all.
Columns = Annotated[dict[MappedField, str], AfterValidator(_a_prompt_has_a_column)]


@dataclass(frozen=True, slots=True)
class Fields:
    """Which column of one file is which field; {} where rows are plain strings.

    `mapped` are those that the recipe asks for; the others have a column of their own name.
    """

    columns: Mapping[str, str]
    mapped: frozenset[str]
    escapes: bool

    @property
    def read(self) -> tuple[str, ...]:
        """The columns that have to be read."""
        return tuple(sorted(set(self.columns.values())))


def choose_fields(
    path: Path | str,
    reader: Reader,
    columns: Mapping[MappedField, str],
    *,
    is_open: bool = False,
    guesses: tuple[str, ...] = TEXT_COLUMNS,
) -> Fields:
    """The fields of a file; raises SourceFault where the map does not fit it.

    `is_open`: a row may have columns that `reader.columns` does not name. `guesses`: columns that hold the prompt where
    none is mapped, the first first. A column that is mapped to one field is not read as another.
    """
    mapped: dict[str, str] = {str(field): column for field, column in columns.items() if column}
    if reader.columns is None:
        if mapped and reader.n_rows:
            asked = ", ".join(f"{field} = {column!r}" for field, column in sorted(mapped.items()))
            raise SourceFault(
                f"{path}: its rows are plain strings without columns, but the source's columns ask for {asked}; leave"
                " columns out, or make the file a source of its own"
            )
        return Fields({}, frozenset(), reader.escapes)
    seen = f"{path}: has the columns {', '.join(map(repr, reader.columns))}"
    for field, column in mapped.items():
        if column not in reader.columns:
            raise SourceFault(f"{seen}; columns.{field} of the source asks for {column!r}")
    fields = dict(mapped)
    for field in get_args(MappedField):
        is_there = is_open or field in reader.columns
        if is_there and field != "text" and field not in columns and field not in mapped.values():
            fields[field] = field
    if "text" not in fields:
        lower = {column.lower(): column for column in reversed(reader.columns)}
        found = next((lower[name] for name in guesses if name in lower), None)
        if found is None:
            raise SourceFault(
                f"{seen}, none of them {', '.join(guesses)}; say which holds the prompt:"
                f" columns = {{text = {reader.columns[0]!r}}}"
            )
        fields["text"] = found
    return Fields(fields, frozenset(mapped), reader.escapes)


def to_candidate(number: int, row: Row, fields: Fields, axis: str | None) -> Candidate:
    """Row `number` of a file; `axis` is the source's own, for rows that say none."""
    escapes = fields.escapes
    fault, text = _text(row, fields.columns, escapes)
    if fault is not None or isinstance(row, str | Fault):
        return _row(number, text, axis, fault)
    values: dict[str, Any] = {}
    for field, column in sorted(fields.columns.items()):
        if field == "text":
            continue
        value = _FIELDS.get(field, _string)(row.get(column), escapes)
        if isinstance(value, Fault) and field == "source_aesthetic" and field not in fields.mapped:
            continue  # nobody said that this column is a score, and a row can do without one
        if isinstance(value, Fault):
            told = None if value.code == "bad_axis" else axis
            return _row(number, None, told, Fault(value.code, f"column {column!r}: {value.detail}"))
        values[field] = value
    return Candidate(row=number, text=text, axis=values.pop("axis", None) or axis, **values)


def _row(number: int, text: str | None, axis: str | None, fault: Fault | None) -> Candidate:
    if fault is None:
        return Candidate(row=number, text=text, axis=axis)
    return Candidate(row=number, text=None, axis=axis, fault=fault.code, fault_detail=fault.detail)


def _text(row: Any, fields: Mapping[str, str], escapes: bool) -> tuple[Fault | None, str | None]:
    if isinstance(row, Fault):
        return row, None
    value = row
    if not isinstance(row, str):
        column = fields.get("text")
        if column is None or column not in row:
            return Fault("not_a_string", f"no column {column or 'text'!r}"), None
        value = row[column]
    if isinstance(value, Fault):
        return value, None
    if not isinstance(value, str):
        return Fault("not_a_string", "null" if value is None else f"a {type(value).__name__}"), None
    fault = text_fault(value, escapes=escapes)
    # 32: long enough for a cell of blanks, entities and zero-width characters, short enough to cost nothing
    if fault is None and (not value.strip() or (len(value) < 32 and not clean(value).text)):
        fault = Fault("empty", f"{len(value)} characters, none of them visible")
    return (fault, None) if fault else (None, value)


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _string(value: Any, escapes: bool) -> str | Fault | None:
    if _absent(value):
        return None
    if isinstance(value, Fault):
        return value
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return text_fault(text, escapes=escapes) or text


def _axis(value: Any, escapes: bool) -> str | Fault | None:
    text = _string(value, escapes)
    if isinstance(text, str) and text not in AXES:
        return Fault("bad_axis", f"{show(text[:80])!r} is none of {', '.join(AXES)}")
    return text


def _number(value: Any, escapes: bool) -> float | Fault | None:
    text = _string(value, escapes)
    if text is None or isinstance(text, Fault):
        return text
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    return number if math.isfinite(number) else Fault("bad_number", f"{show(text[:80])!r} is no finite number")


def _strings(value: Any, escapes: bool) -> tuple[str, ...] | Fault | None:
    """A list of strings, a JSON list of strings, or one string; an empty list means that no text is wanted."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = [value]  # a string that begins with a bracket
    if _absent(value):
        return None
    if isinstance(value, Fault):
        return value
    items = value if isinstance(value, list) else [value]
    for item in items:
        if isinstance(item, Fault):
            return item
        if not isinstance(item, str) or not item.strip():
            return Fault("bad_expected_text", f"holds {show(repr(item)[:80])}, expected strings")
        if fault := text_fault(item, escapes=escapes):
            return fault
    return tuple(items)


_FIELDS = {"axis": _axis, "expected_text": _strings, "source_aesthetic": _number}
