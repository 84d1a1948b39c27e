"""Map-style access: row i of a split, with its picture, without reading the row group around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from promptforge.reader.rows import DEFAULT_COLUMNS, Rows, Wanted


@dataclass(eq=False)
class Pictures:
    """What a map-style torch DataLoader takes: len, [i], __getitems__; picklable into its workers.

    `columns` are those of the files, and `image`, `latents`, `prompt_embeds`, `pooled_prompt_embeds`. A picture is
    uint8, height x width x 3, or its bytes with `decode` False; see `Wanted` for which rows there are. Raises
    ConfigError for a split or column that is not there, StoreFault where a file was changed.
    """

    dataset_dir: str | Path
    split: str = "train"
    _: KW_ONLY
    columns: Sequence[str] = DEFAULT_COLUMNS
    decode: bool = True
    pictures: bool | None = None
    run: str | Path | None = None

    def __post_init__(self) -> None:
        self._rows = Rows(Wanted.by(self))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        n = len(self)
        for row in rows:
            if not -n <= row < n:
                raise IndexError(f"no row {row}; there are {n:,}")
        return self._rows.get([row + n if row < 0 else row for row in rows])
