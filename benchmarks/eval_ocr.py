"""Reading labelled pictures as the scorer `text` does by default: decoded as import-images decodes, read by RapidOCR.

cer is edits over characters of all pictures with text, NFKC and case folded, white space collapsed, in [0, inf): the
reading is all lines joined. The scorer is asked for the transcript's lines: `unreadable` is an abstention; `misread` is
wrong and sure, as is a line of confidence 0.9 and more where there is no text. Both are shares of all pictures. The
sweep drops lines below a confidence before the cer is taken.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from promptforge.models.rapidocr import RapidOcrReader
from promptforge.protocols import Picture, TextLine
from promptforge.scorers.reading.metrics import edit_distance, folded
from promptforge.scorers.text import Text
from promptforge.teachers.importing.pixels import decode

NO_TEXT_CONFIDENCE = 0.9
CUTS = (0.5, 0.7, 0.8, 0.9, 0.95)
_MAX_PIXELS = 100_000_000


def measure(folder: Path, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures, and the pictures that are wrong and sure."""
    reader = RapidOcrReader()
    scorer = Text(reader)
    readings: list[tuple[Sequence[TextLine], str]] = []
    verdicts: dict[str, list[str]] = {"read": [], "misread": [], "unreadable": []}
    started = time.process_time()
    for row in rows:
        pixels, _ = decode((folder / row["file"]).read_bytes(), _MAX_PIXELS)
        lines = reader.read(pixels)
        wanted = tuple(line for line in row["transcript"] if line.strip())
        if not wanted:
            seen = any(line.confidence >= NO_TEXT_CONFIDENCE for line in lines)
            verdicts["misread" if seen else "read"].append(row["file"])
            continue
        readings.append((lines, folded(row.get("text") or " ".join(wanted))))
        scores = scorer.score(Picture(pixels, "", "text_rendering", wanted, None))
        verdicts[str(next(score.detail for score in scores if score.metric == "verdict"))].append(row["file"])
    n = len(rows)
    return {
        "cer": _cer(readings, 0.0),
        "abstain_share": len(verdicts["unreadable"]) / n,
        "wrong_and_sure_share": len(verdicts["misread"]) / n,
        "n": n,
        "per_s": n / (time.process_time() - started),
        "wrong_and_sure": verdicts["misread"],
        "sweep": [{"min_confidence": cut, "cer": _cer(readings, cut)} for cut in CUTS],
    }


def _cer(readings: Sequence[tuple[Sequence[TextLine], str]], min_confidence: float) -> float:
    edits = sum(
        edit_distance(folded(" ".join(line.text for line in lines if line.confidence >= min_confidence)), truth)
        for lines, truth in readings
    )
    return edits / max(sum(len(truth) for _, truth in readings), 1)
