"""Distances between pictures of the same noise, and between two sets of pictures by their embeddings.

    pixel_mse   mean squared difference of levels, as a share of the largest there is, in [0, 1]; 0 is equal
    ssim        structural similarity (Wang et al. 2004, scikit-image), in [-1, 1]; 1 is equal
    cosine      1 less the cosine of two feature vectors, in [0, 2]; 0 is equal
    cmmd        1000 times the squared maximum mean discrepancy of CLIP embeddings under a Gaussian kernel of sigma 10
                (Jayasumana et al. 2024, arXiv 2401.09603), about 0 where both sets are alike

The paper's own code takes the biased estimate, which over a few hundred pictures is mostly bias. Here pictures come in
pairs (one prompt, one noise, two models), so the unbiased estimate for pairs is taken (Gretton et al. 2012, lemma 6,
eq. 4), which leaves each picture's own partner out: 0 where both models draw the same, and a little below 0 by chance.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from skimage.metrics import structural_similarity

from promptforge.protocols import Pixels

CMMD_SIGMA = 10.0
CMMD_SCALE = 1000.0

Vectors = npt.NDArray[np.floating]  #: one row a picture


def pixel_mse(one: Pixels, other: Pixels) -> float:
    """Mean squared difference of two pictures of one size, levels from 0 to 1."""
    return float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2) / 255**2)


def ssim(one: Pixels, other: Pixels) -> float:
    """Structural similarity, mean over windows of 7 px and three channels."""
    return float(structural_similarity(one, other, channel_axis=2, data_range=255))


def cosine_distance(one: Sequence[float] | Vectors, other: Sequence[float] | Vectors) -> float:
    """1 less the cosine of two vectors."""
    first, second = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if np.array_equal(first, second):
        return 0.0  # not the rounding of a norm
    return float(1 - first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))


def cmmd(ones: Vectors, others: Vectors) -> float | None:
    """CMMD of paired sets of embeddings of length 1, row i of both by one prompt and noise; None of fewer than two."""
    if len(ones) != len(others):
        raise ValueError(f"{len(ones)} and {len(others)} embeddings; expected pairs")
    if len(ones) < 2:
        return None
    between = _kernel(ones, others)
    within = _kernel(ones, ones) + _kernel(others, others) - between - between.T
    np.fill_diagonal(within, 0)
    return float(CMMD_SCALE * within.sum() / (len(ones) * (len(ones) - 1)))


def _kernel(ones: Vectors, others: Vectors) -> npt.NDArray[np.float64]:
    first, second = np.asarray(ones, np.float64), np.asarray(others, np.float64)
    apart = (first**2).sum(1)[:, None] + (second**2).sum(1)[None, :] - 2 * first @ second.T
    kernel: npt.NDArray[np.float64] = np.exp(-np.maximum(apart, 0) / (2 * CMMD_SIGMA**2))
    return kernel
