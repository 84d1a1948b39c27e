"""Rows that hold both reserved and open words, or combinations: they fit neither train nor test."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from promptforge.protocols import Filter, Finding

VERSION = 1


class Params(BaseModel):
    """Nothing to set: a leak between train and test has no right amount."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def build(params: Params) -> Filter:
    """The check."""
    del params
    return _Split()


class _Split:
    columns: tuple[str, ...] = ("split",)

    def __call__(self, rows: pa.Table) -> Sequence[Finding]:
        """Drops what generate marked as mixed."""
        mixed = pc.indices_nonzero(pc.fill_null(pc.equal(rows["split"], "mixed"), False))
        return [Finding(row, "drop", "split_straddle") for row in mixed.to_pylist()]
