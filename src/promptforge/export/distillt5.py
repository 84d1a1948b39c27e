"""Prompts as the trainer of the distillation paper reads them (LifuWang-66/DistillT5): three sets, one an axis.

    image_quality.json                    a JSON list of strings, in the place of laion_6.5.json
    semantic_understanding/*_train.txt    a prompt a line, one file a category, in the place of T2I-CompBench
    text_rendering.json                   a JSON list of strings, in the place of CommonText_Train.json

That trainer reads every file of the folder whose name holds "train", and the folder ten times where all three sets are
given: no row is here twice, so that factor stays with the trainer. It keeps the line end of each line of a .txt file as
a part of the prompt. An axis without rows is an empty list or file: the trainer has no way to leave a set out.
"""

from __future__ import annotations

import json
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from promptforge.export.folder.output import Output, Piece
from promptforge.export.folder.published import Chosen, Published
from promptforge.records import Axis

VERSION = 2
PICTURES = False
USE = (
    "accelerate launch train_flux.py --laion_path {folder}/image_quality.json \\\n"
    "    --compbench_path {folder}/semantic_understanding --commontext_path {folder}/text_rendering.json"
)


class Params(Chosen):
    """Which rows."""


def write(source: Published, rows: pa.Table, params: Params, output: Output) -> None:
    """One piece for each axis."""
    for axis in Axis:
        mine = rows.filter(pc.equal(rows["axis"], str(axis)))
        if axis == Axis.SEMANTIC_UNDERSTANDING:
            output.piece(str(axis), partial(_by_category, rows=mine))
        else:
            text = json.dumps(mine["text"].to_pylist(), indent=0) + "\n"  # ASCII: read there in the locale's encoding
            output.piece(str(axis), partial(Piece.put, name=f"{axis}.json", data=text.encode()))


def _by_category(piece: Piece, rows: pa.Table) -> None:
    lines: dict[str, list[str]] = {}
    for category, text in zip(rows["category"].to_pylist(), rows["text"].to_pylist(), strict=True):
        lines.setdefault(category or "other", []).append(text)
    if not lines:
        piece.put("semantic_understanding/none_train.txt", b"")
    for category in sorted(lines):
        # Cleaned prompts hold no line end.
        piece.put(f"semantic_understanding/{_plain(category)}_train.txt", ("\n".join(lines[category]) + "\n").encode())


def _plain(category: str) -> str:
    """A category as part of a file name: whatever a source calls it, it stays in this folder."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in category)[:64]
