"""An encoded picture to pixels.

OpenCV takes three quarters of Pillow's time for lossless WebP and PNG of 512 px; where it is not installed, Pillow
gives the same pixels. Both release the interpreter, so that threads decode side by side.
"""

from __future__ import annotations

import importlib.util
import io
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

_LOADING = threading.Lock()


def decode(encoded: bytes) -> Pixels:
    """RGB pixels, height x width x 3. Raises ValueError where it is no picture."""
    with _LOADING:  # two threads that import OpenCV at once see half of it
        decoder = _opencv() or with_pillow
    return decoder(encoded)


def with_pillow(encoded: bytes) -> Pixels:
    """The same by Pillow."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(encoded)) as image:
            return np.array(image if image.mode == "RGB" else image.convert("RGB"))
    except OSError as exc:
        raise ValueError(str(exc)) from exc


@cache
def _opencv() -> Callable[[bytes], Pixels] | None:
    """None where OpenCV is missing or cannot give RGB (before 4.11)."""
    if importlib.util.find_spec("cv2") is None:
        return None
    import cv2

    if not hasattr(cv2, "IMREAD_COLOR_RGB"):
        return None
    # A picture is what its pixels are: a camera's orientation tag would turn it, and Pillow does not.
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION

    def decoded(encoded: bytes) -> Pixels:
        pixels: Any = cv2.imdecode(np.frombuffer(encoded, dtype=np.uint8), flags)
        if pixels is None:
            raise ValueError("OpenCV cannot read it")
        return pixels  # type: ignore[no-any-return]

    return decoded
