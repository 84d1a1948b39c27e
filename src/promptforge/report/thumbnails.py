"""Small pictures as data URIs: decoded and encoded anew, so that nothing of the stored bytes but pixels gets out."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

SIDE = 256  # px of the longer side
MOST_BYTES = 12 << 10  # of one encoded picture
_STEPS = ((SIDE, 72), (SIDE, 50), (SIDE, 25), (SIDE // 2, 50), (SIDE // 4, 25))  # side and quality until it fits
_THREADS = 2  # Pillow works without Python's lock


def data_uris(encoded: Sequence[bytes | None]) -> list[tuple[str, int, int] | None]:
    """(URI, width, height) of each picture; None where there is none or it cannot be read."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(_data_uri, encoded))


def _data_uri(encoded: bytes | None) -> tuple[str, int, int] | None:
    if encoded is None:
        return None
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            factor = max(1, min(image.size) // (2 * SIDE))
            whole = image.convert("RGB").reduce(factor) if factor > 1 else image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    for side, quality in _STEPS:
        small = whole.copy()
        small.thumbnail((side, side), Image.Resampling.HAMMING)
        sink = io.BytesIO()
        small.save(sink, "WEBP", quality=quality, method=2)
        if sink.tell() <= MOST_BYTES:
            break
    data = base64.b64encode(sink.getvalue()).decode("ascii")
    return f"data:image/webp;base64,{data}", *small.size
