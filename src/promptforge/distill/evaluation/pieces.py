"""What was measured, kept piece by piece: a killed evaluation goes on, another student finds the teacher's part done.

A piece is a Parquet file below a folder of its kind, named by the digest of all that decides it, written whole.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from promptforge.errors import StoreFault
from promptforge.files import put
from promptforge.records import digest_of


class Pieces:
    """A folder of pieces."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def table(self, kind: str, identity: Any, make: Callable[[], pa.Table]) -> pa.Table:
        """The piece of this identity, made where it is not there. Raises StoreFault where its file is damaged."""
        path = self._path(kind, identity)
        if not path.is_file():
            put(path, as_parquet(make()))
        try:
            return pq.ParquetFile(path).read()
        except (pa.ArrowInvalid, OSError) as exc:
            raise StoreFault(f"{path}: cannot be read ({exc}); remove it, and it is made again") from exc

    def _path(self, kind: str, identity: Any) -> Path:
        return self._folder / kind / f"{digest_of(identity)[:32]}.parquet"


def as_parquet(table: pa.Table) -> bytes:
    """The bytes of a Parquet file; equal tables, equal bytes."""
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()
