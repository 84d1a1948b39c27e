"""Blur, sharpness, colour and flatness of a frame. Luma is 0 to 255, Rec. 601 weights on the stored values."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from promptforge.protocols import Pixels

Luma = npt.NDArray[np.float32]

_WEIGHTS = np.array([0.299, 0.587, 0.114], dtype=np.float32)
#: blur_effect compares with a mean over 11 px; below this its windows are mostly border.
_MIN_SIDE = 16
_FLAT_LEVELS = 6


def luma_of(pixels: Pixels) -> Luma:
    """0.299 R + 0.587 G + 0.114 B, height x width."""
    luma: Luma = pixels.astype(np.float32) @ _WEIGHTS
    return luma


def blur_of(luma: Luma) -> float | None:
    """Perceptual blur in [0, 1] of Crete et al. 2007; None where it says nothing (tiny or constant pictures)."""
    from skimage.measure import blur_effect

    if min(luma.shape) < _MIN_SIDE or float(np.ptp(luma)) == 0:
        return None
    value = float(blur_effect(luma))
    return value if np.isfinite(value) else None


def sharpness(luma: Luma) -> float:
    """Variance of the 4-neighbour Laplacian, borders mirrored without repeating the edge (as OpenCV does)."""
    padded = np.pad(luma, 1, mode="reflect" if min(luma.shape) > 1 else "edge")
    around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    return float((around - 4 * luma).var(dtype=np.float64))


def colourfulness(pixels: Pixels) -> float:
    """M3 of Hasler & Suesstrunk 2003: sigma_rgyb + 0.3 mu_rgyb, with rg = R - G and yb = (R + G) / 2 - B."""
    red, green, blue = (pixels[:, :, k].astype(np.float64) for k in range(3))
    rg, yb = red - green, (red + green) / 2 - blue
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def brightest(luma: Luma) -> float:
    """The luma, in [0, 1], that 98 of 100 pixels do not exceed: near 0 for a black or almost black frame."""
    return float(np.percentile(luma, 98)) / 255


def entropy(luma: Luma) -> float:
    """Shannon entropy in bits of the histogram of luma, rounded to whole levels."""
    counts = np.bincount(np.rint(luma).astype(np.intp).ravel(), minlength=256)
    shares = counts[counts > 0] / luma.size
    return float(-(shares * np.log2(shares)).sum()) + 0.0  # + 0.0 turns -0.0 of a constant frame into 0.0


def is_flat(pixels: Pixels) -> bool:
    """Whether all but a thousandth of the pixels lie within 6 levels in every channel."""
    flattened = pixels.reshape(-1, 3)
    low, high = np.percentile(flattened, (0.05, 99.95), axis=0)
    return bool((high - low).max() <= _FLAT_LEVELS)
