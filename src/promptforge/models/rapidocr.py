"""RapidOCR as a TextReader: PP-OCRv6 on onnxruntime, its models inside the package, one thread an engine.

0.15 s a picture of 512 px on one core, 275 MB. One engine a process: two threads are slower than one each.
The model files are named to the engine by path, so that it never looks for others on the network.
Not covered: text turned upside down (the line classifier is off, it costs a third of the time), word boxes.
"""

from __future__ import annotations

import hashlib
import logging
import os
import unicodedata
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from promptforge.errors import EnvironmentFault
from promptforge.models.reading_order import in_reading_order
from promptforge.protocols import Pixels, TextLine
from promptforge.records import canonical_json

DETECTION_MODEL = "PP-OCRv6_det_small.onnx"
RECOGNITION_MODEL = "PP-OCRv6_rec_small.onnx"

#: What decides the reading, besides the files. The engine keeps no line below text_score: `TextLine.confidence`
#: lets the caller be stricter, never more lenient.
SETTINGS: dict[str, Any] = {
    "Det.limit_side_len": 512,
    "Det.limit_type": "max",
    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    "Global.text_score": 0.3,
    "Global.use_cls": False,
}


class RapidOcrReader:
    """One loaded engine; reading is a function of the pixels alone. Not for use from two threads at once."""

    def __init__(self) -> None:
        self.identity = canonical_json(identity())
        folder = _model_folder()
        logging.getLogger("RapidOCR").setLevel(logging.ERROR)  # its logger prints every model path at INFO
        # From 1.29 on onnxruntime's wheels send usage events to their maker; set before its import, this stops it.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        from rapidocr import RapidOCR

        self._engine = RapidOCR(
            params={
                **SETTINGS,
                "Det.model_path": str(folder / DETECTION_MODEL),
                "Rec.model_path": str(folder / RECOGNITION_MODEL),
                "Global.log_level": "error",  # at "warning" an empty picture prints a line
            }
        )
        self.read(np.full((64, 64, 3), 255, dtype=np.uint8))  # loads the detector now, not at the first picture

    def read(self, pixels: Pixels) -> tuple[TextLine, ...]:
        """The lines of an RGB picture, top to bottom, then left to right; () for none."""
        answer = self._engine(np.ascontiguousarray(pixels[:, :, ::-1]))  # the engine takes BGR
        if answer.txts is None or answer.boxes is None:
            return ()
        return in_reading_order(
            TextLine(
                text=text,
                confidence=float(confidence),
                box=tuple((float(x), float(y)) for x, y in box),
            )
            for text, confidence, box in zip(answer.txts, answer.scores, answer.boxes, strict=True)
        )


#: Its dictionary has the plain letters of these for formulas; of 40 right drawings of Greek signs it read none.
_FORMULAS = ("GREEK", "COPTIC")


def unknown(texts: Iterable[str]) -> tuple[str, ...]:
    """The letters, marks and digits of these texts (NFC) that it has no answer for, in order of their code points.

    Cyrillic, Greek and most Vietnamese vowels among them; every letter of Latin scripts up to U+024F is known.
    """
    found = {c for text in texts for c in unicodedata.normalize("NFC", text) if unicodedata.category(c)[0] in "LMN"}
    foreign = sorted(c for c in found if not c.isascii())
    if not foreign:
        return ()
    return tuple(c for c in foreign if c not in _dictionary() or unicodedata.name(c, "").split(" ")[0] in _FORMULAS)


@cache
def _dictionary() -> frozenset[str]:
    """Characters that the recogniser can answer with: they stand in the model file."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(_model_folder() / RECOGNITION_MODEL), providers=["CPUExecutionProvider"])
    return frozenset(session.get_modelmeta().custom_metadata_map["character"].splitlines())


@cache
def identity() -> dict[str, str]:
    """Engine, runtime and model files by version and SHA-256, and the settings; loads no model."""
    folder = _model_folder()
    return {
        "engine": f"rapidocr {version('rapidocr')}",
        "runtime": f"onnxruntime {version('onnxruntime')}",
        "resize": f"opencv {opencv_version()}",
        "detection": _sha256(folder / DETECTION_MODEL),
        "recognition": _sha256(folder / RECOGNITION_MODEL),
        "settings": canonical_json(SETTINGS),
    }


def opencv_version() -> str:
    """Version of whichever of OpenCV's packages is installed: it resizes pictures before they are read."""
    for name in ("opencv-python-headless", "opencv-python", "opencv-contrib-python"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"


def _model_folder() -> Path:
    spec = find_spec("rapidocr")
    if spec is None or spec.origin is None:
        raise EnvironmentFault("rapidocr is not installed; text cannot be read without it: install promptforge anew")
    folder = Path(spec.origin).parent / "models"
    for name in (DETECTION_MODEL, RECOGNITION_MODEL):
        if not (folder / name).is_file():
            raise EnvironmentFault(
                f"rapidocr {version('rapidocr')} holds no model {name}; "
                "install the version in the lock file, whose wheel carries it"
            )
    return folder


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
