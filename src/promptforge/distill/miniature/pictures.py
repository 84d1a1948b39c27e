"""Prompts of the miniature world with pictures: what its teacher and its judge learn from, and are tested on.

The canvas teacher draws without mistakes at 256 px; a pixel of the picture of 64 px is the mean of what it covers. Of
pictures with letters a square around these is taken, so that a letter is 12 to 30 px high.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class Shown:
    """A thing that canvas drew; x and y are the centre of its box as shares of width and height."""

    noun: str
    colour: str
    x: float
    y: float


@dataclass(frozen=True)
class Pictures:
    """`pixels` uint8, n x SIZE x SIZE x 3, of `texts`, which are for `axes`; `shown`, where known, the things in each.

    Letters and what bears them are not among the things.
    """

    texts: tuple[str, ...]
    axes: tuple[str, ...]
    pixels: npt.NDArray[np.uint8]
    shown: tuple[tuple[Shown, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt of the world and the seed that its picture is drawn from."""

    text: str
    axis: str
    category: str
    expected_text: tuple[str, ...]
    seed: int


def make(n: int, seed: int, workers: int = 1, shares: Mapping[Axis, int] = SHARES) -> Pictures:
    """About n pictures of this seed's prompts, axes by `shares`; what canvas refuses (none yet) is left out."""
    return draw(list(rows(n, seed, shares)), workers)


def draw(jobs: Sequence[Row], workers: int = 1) -> Pictures:
    """The pictures of these rows, in order; what canvas refuses is left out. `workers` processes draw."""
    chunks = [[(job.text, job.seed) for job in jobs[at : at + 100]] for at in range(0, len(jobs), 100)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        found = [each for part in pool.map(_draw, chunks) for each in part]
    kept = [(job.text, job.axis, *each) for job, each in zip(jobs, found, strict=True) if each is not None]
    texts, axes, pixels, shown = zip(*kept, strict=True)
    return Pictures(texts, axes, np.stack(pixels), shown)


def rows(n: int, seed: int, shares: Mapping[Axis, int] = SHARES) -> Iterator[Row]:
    """About n prompts of this seed, axis by axis."""
    for axis, share in shares.items():
        source = miniature.build(miniature.Params(axis=axis, n=max(1, n * share // 1000)), seed)
        (part,) = source.parts()
        for row in source.read(part, 0, part.n_rows):
            text = str(row.text)
            noise = noise_seed(prompt_id(text), row.row, seed)
            yield Row(text, axis.value, str(row.category), tuple(row.expected_text or ()), noise)


@cache
def _teacher() -> Any:
    return canvas.build(canvas.Params(size=4 * SIZE, mistake_rate=0.0, fonts=FONTS))


def _draw(jobs: Sequence[tuple[str, int]]) -> list[tuple[npt.NDArray[np.uint8], tuple[Shown, ...]] | None]:
    found = [_teacher().render(RenderJob(text, seed)) for text, seed in jobs]
    pixels = [_small(each) for each in found]
    return [
        None if small is None else (small, _shown(each.truth or {})) for each, small in zip(found, pixels, strict=True)
    ]


def _shown(truth: Mapping[str, Any]) -> tuple[Shown, ...]:
    """Kinds differ within a picture of the world, so that a box's noun tells its colour."""
    colours = {each["noun"]: each["colour"] for each in truth["objects"]}
    side = 8.0 * SIZE  # twice that of the picture as drawn
    return tuple(
        Shown(noun, colours[noun], (left + right) / side, (top + bottom) / side)
        for noun, left, top, right, bottom in truth["boxes"]
    )


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
