"""What pictures that look alike share: a perceptual hash and, on request, a CLIP embedding.

    metric     unit and range
    phash      value null; detail 16 hex digits: one bit each for the 8 x 8 lowest DCT frequencies of the picture in
               grey at 32 x 32 px, set where the coefficient is above their median (Zauner 2010, as ImageHash's phash);
               null where nothing varies. Bits that differ count: 0 is equal, 6 and less mostly the same picture,
               32 what two unrelated ones have on average
    embedding  value null; detail base64 of float16, little-endian, of length 1 (768 numbers for ViT-L/14); null unless
               `embedding` is set

The table lookalikes holds the pairs. Without the embedding 4 ms a picture of 512 px on one core, 19 ms of 1024.
Not covered: mirrored, turned or strongly cropped copies, whose hashes differ.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from pydantic import Field

from promptforge.models.open_clip import Tower, TowerParams, Vector, or_null, sample_picture, tower_of
from promptforge.models.open_clip import self_test as check_tower
from promptforge.protocols import Input, Need, Picture, Pixels, Score

VERSION = 1
NEEDS: Need = "picture"
INPUTS: tuple[Input, ...] = ()
PLACES = ("tower",)
METRICS = {"phash": "word", "embedding": "list"}

_SIDE, _KEPT = 32, 8
SAMPLE_HASH = "ad009a0000006500"  #: of the adapter's sample_picture()
#: Row k is twice cos(pi (2n + 1) k / 64): the DCT of type II, unnormalised as in SciPy and FFTPACK.
_COSINES = 2 * np.cos(np.pi * np.outer(np.arange(_KEPT), 2 * np.arange(_SIDE) + 1) / (2 * _SIDE))


class Params(TowerParams):
    """Whether the tower looks too; without it nothing is loaded."""

    embedding: bool = Field(False, description="store the CLIP embedding, so that lookalikes get a cosine (2 kB each)")


def identity(params: Params) -> Mapping[str, Any]:
    """The tower's weights by commit or SHA-256, if there is one; nothing is loaded."""
    return {"tower": params.tower_spec.identity()} if params.embedding else {}


def models(params: Params) -> tuple[str, ...]:
    """None: it compares pictures and judges none."""
    del params
    return ()


def build(params: Params, rank: int = 0) -> Likeness:
    """The scorer, with its tower loaded where embeddings are wanted."""
    return Likeness(tower_of(params.tower_spec, rank) if params.embedding else None)


class Likeness:
    """Says by what a picture is compared."""

    needs = NEEDS
    inputs = INPUTS

    def __init__(self, tower: Tower | None) -> None:
        self._tower = tower

    def score(self, picture: Picture) -> Sequence[Score]:
        """Every metric, in the order of the module's table."""
        return self.score_many([picture])[0]

    def score_many(self, pictures: Sequence[Picture]) -> Sequence[Sequence[Score]]:
        """The scores of each picture, in order."""
        vectors: Sequence[Vector | None] = [None] * len(pictures)
        if self._tower is not None:
            vectors = self._tower.pictures([picture.pixels for picture in pictures])
        return [
            (Score("phash", None, phash(picture.pixels)), Score("embedding", None, _encoded(vector)))
            for picture, vector in zip(pictures, vectors, strict=True)
        ]


def phash(pixels: Pixels) -> str | None:
    """16 hex digits, the first bit the mean brightness; None where nothing varies.

    Coefficients are rounded to 1e-6 of their 1e6: in a symmetrical picture half of them are zero, and so is their
    median, where the sign of a rounding error would set bits at random.
    """
    grey = Image.fromarray(pixels).convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    found = np.round(_COSINES @ np.asarray(grey, dtype=np.float64) @ _COSINES.T, 6)
    if not found.ravel()[1:].any():
        return None
    return np.packbits(found > np.median(found)).tobytes().hex()


def _encoded(vector: Vector | None) -> str | None:
    if vector is None or not np.isfinite(vector).all():
        return None
    return base64.b64encode(vector.astype("<f2").tobytes()).decode("ascii")


def self_test(params: Params) -> list[str]:
    """Faults of the hash of a synthetic picture, and of the tower where there is one, one line each."""
    found = phash(sample_picture())
    faults = [] if found == SAMPLE_HASH else [f"likeness: the sample hashes to {found}, expected {SAMPLE_HASH}"]
    if not params.embedding:
        return faults

    def load() -> Callable[[Pixels], float | None]:
        tower = tower_of(params.tower_spec)
        return lambda pixels: or_null(float(tower.pictures([pixels])[0][0]))

    return faults + check_tower(params.tower_spec, load)
