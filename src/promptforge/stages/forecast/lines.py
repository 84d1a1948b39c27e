"""One line of a forecast: the row of the table forecast that it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa

from promptforge.schema import arrow_schema
from promptforge.stages.forecast.amounts import Amount


@dataclass(frozen=True, slots=True)
class Line:
    """What is expected of one thing; `expected` and `high` are None where they are unknown."""

    part: str
    item: str
    axis: str | None
    unit: str
    low: float
    expected: float | None
    high: float | None
    basis: str
    detail: str | None = None

    @classmethod
    def of(cls, key: tuple[str, str, str | None, str], amount: Amount, detail: str | None = None) -> Line:
        """A line for a quantity; `key` is part, item, axis and unit."""
        return cls(*key, amount.low, amount.expected, amount.high, amount.basis, detail)

    @classmethod
    def unknown(cls, key: tuple[str, str, str | None, str], detail: str) -> Line:
        """A line that says that nothing is known, and why."""
        return cls(*key, 0.0, None, None, "recipe", detail)


def table(lines: Sequence[Line]) -> pa.Table:
    """The table forecast."""
    return pa.Table.from_pylist([asdict(line) for line in lines], schema=arrow_schema("forecast"))
