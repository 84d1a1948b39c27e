"""Labels by a CSV file in place of the page: pictures as files and a table to fill in, and its way back."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from promptforge.commands.label_page import LABELS
from promptforge.errors import ConfigError
from promptforge.files import put

SHEET = "to-label.csv"
_SHORT = {"y": "yes", "n": "no", "u": "unsure"}

Row = dict[str, Any]


class Pictures(Protocol):
    """Encoded pictures by image_id."""

    def __getitem__(self, image_id: str, /) -> bytes:
        """One of them."""


def read_labels(path: Path, rows: Sequence[Mapping[str, Any]], sheet: str = "--no-page") -> list[Row]:
    """Labels of a CSV file with the columns image_id, question and label; rows without a label are passed over.

    Raises ConfigError naming file and line for anything else than a known picture, question and label. `sheet` is the
    option that writes the file to fill in.
    """
    known = {(row["image_id"], row["question"]) for row in rows}
    found = []
    for number, answer in read_answers(path):
        if (answer["image_id"], answer["question"]) not in known:
            raise ConfigError(
                f"{path}, line {number}: no picture {answer['image_id']!r} with question {answer['question']!r} here;"
                f" the sheet to fill in is {SHEET}, which {sheet} writes"
            )
        found.append(answer)
    return found


def read_answers(path: Path) -> list[tuple[int, Row]]:
    """Labels with their line numbers, whatever pictures they are about; at least one."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise ConfigError(f"{path}: cannot be read as CSV ({exc}); expected columns image_id, question, label") from exc
    found: list[tuple[int, Row]] = []
    for number, line in enumerate(lines, 2):
        image, question, label = (str(line.get(name) or "").strip() for name in ("image_id", "question", "label"))
        if not label:
            continue
        label = _SHORT.get(label.lower(), label.lower())
        if label not in LABELS:
            raise ConfigError(f"{path}, line {number}: label {label!r}; expected yes, no or unsure (or y, n, u)")
        found.append((number, {"image_id": image, "question": question, "label": label}))
    if not found:
        raise ConfigError(f"{path}: holds no label; expected columns image_id, question, label")
    return found


def write_sheet(root: Path, rows: Sequence[Mapping[str, Any]], pictures: Pictures) -> Path:
    """The pictures as files in to-label/, and a table with an empty column to fill in, whose path is returned."""
    for image in sorted({row["image_id"] for row in rows}):
        put(root / "to-label" / f"{image}.webp", pictures[image])
    lines = [["image_id", "question", "label", "prompt", "wanted", "what is asked", "picture"]]
    for row in rows:
        wanted = " | ".join(row["expected_text"] or ())
        cells = [row["image_id"], row["question"], "", row["text"], wanted, row["words"]]
        lines.append([*(_inert(cell) for cell in cells), f"to-label/{row['image_id']}.webp"])
    path = root / SHEET
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(lines)
    return path


def _inert(text: str) -> str:
    """A cell that a spreadsheet takes for text: a prompt may begin with what would be a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text
