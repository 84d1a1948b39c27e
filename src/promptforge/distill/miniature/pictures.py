"""Prompts of the miniature world with pictures: what its teacher and its judge learn from, and are tested on.

The canvas teacher draws without mistakes at 256 px; a pixel of the picture of 64 px is the mean of what it covers. Of
pictures with letters a square around these is taken, so that a letter is 12 to 30 px high.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from promptforge.distill.miniature.parts import SIZE
from promptforge.protocols import Rendering, RenderJob
from promptforge.records import Axis, noise_seed, prompt_id
from promptforge.sources import miniature
from promptforge.teachers import canvas

#: Plain heavy faces: letters are to be learned, not styles.
FONTS = ("roboto-bold", "source-sans-bold")

#: Rows of an axis among a thousand: letters and places are harder to learn than one thing.
SHARES: Mapping[Axis, int] = {
    Axis.IMAGE_QUALITY: 200,
    Axis.SEMANTIC_UNDERSTANDING: 400,
    Axis.TEXT_RENDERING: 400,
}


@dataclass(frozen=True)
class Pictures:
    """`pixels` uint8, n x SIZE x SIZE x 3, of `texts`, which are for `axes`."""

    texts: tuple[str, ...]
    axes: tuple[str, ...]
    pixels: npt.NDArray[np.uint8]


def make(n: int, seed: int, workers: int = 1) -> Pictures:
    """About n pictures of prompts that this seed writes, axes by SHARES; what canvas refuses (none yet) is left out."""
    jobs = list(_jobs(n, seed))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        found = [
            each
            for part in pool.map(_draw, [tuple(jobs[at : at + 100]) for at in range(0, len(jobs), 100)])
            for each in part
        ]
    kept = [(text, axis, pixels) for (text, axis, _), pixels in zip(jobs, found, strict=True) if pixels is not None]
    texts, axes, pixels = zip(*kept, strict=True)
    return Pictures(texts, axes, np.stack(pixels))


def _jobs(n: int, seed: int) -> Iterator[tuple[str, str, int]]:
    for axis, share in SHARES.items():
        source = miniature.build(miniature.Params(axis=axis, n=max(1, n * share // 1000)), seed)
        (part,) = source.parts()
        for row in source.read(part, 0, part.n_rows):
            text = str(row.text)
            yield text, axis.value, noise_seed(prompt_id(text), row.row, seed)


@cache
def _teacher() -> Any:
    return canvas.build(canvas.Params(size=4 * SIZE, mistake_rate=0.0, fonts=FONTS))


def _draw(jobs: tuple[tuple[str, str, int], ...]) -> list[npt.NDArray[np.uint8] | None]:
    return [_small(_teacher().render(RenderJob(text, seed))) for text, _, seed in jobs]


def _small(found: Rendering) -> npt.NDArray[np.uint8] | None:
    if found.pixels is None or found.truth is None:
        return None
    image = Image.fromarray(found.pixels)
    box = found.truth["text_box"]
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BOX, box=_around(box) if box else None))


def _around(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """The square about the letters, inside the picture."""
    left, top, right, bottom = box
    whole = 4.0 * SIZE
    side = min(whole, max(1.5 * (right - left), 2.2 * (bottom - top), 1.2 * SIZE))
    x, y = (min(max(0.0, (low + high - side) / 2), whole - side) for low, high in ((left, right), (top, bottom)))
    return x, y, x + side, y + side
