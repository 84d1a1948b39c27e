"""Technical quality of the frame, from the pixels alone; 21 ms a picture of 512 px on one core.

    metric          unit and range
    blur            [0, 1], 0 sharp: perceptual blur of Crete et al. 2007 (skimage.measure.blur_effect), on luma at
                    full size, since shrinking hides blur; null under 16 px a side or where nothing varies
    sharpness       >= 0: variance of the Laplacian of luma (0 to 255), full size
    exposure        [0, 1]: mean luma
    clipped_dark    [0, 1]: share of pixels with luma of at most 4 of 255
    clipped_bright  [0, 1]: share of pixels with luma of at least 251 of 255
    contrast        [0, 1]: luma's 95th less its 5th percentile
    colourfulness   >= 0: M3 of Hasler & Suesstrunk 2003 (their scale: 15 slightly, 33 moderately, 59 quite,
                    109 extremely colourful), on every second pixel each way
    entropy         bits, [0, 8]: Shannon entropy of the luma histogram
    flat            0 or 1: nothing is to be seen: the frame is not black, and all but a
                    thousandth of its pixels lie within 6 levels a channel
    black           0 or 1: a black or almost black frame
    blurred         0 or 1: blur above `max_blur`, and the frame is neither flat nor black

Luma is 0.299 R + 0.587 G + 0.114 B of the stored values (Rec. 601). flat, black and blurred were calibrated on
drawings of the canvas teacher; on photographs a shallow focus counts as blur.
Not covered: noise, compression blocks, banding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from promptforge.protocols import Input, Need, Picture, Score
from promptforge.scorers.frame.measures import (
    blur_of,
    brightest,
    colourfulness,
    entropy,
    is_flat,
    luma_of,
    sharpness,
)

VERSION = 1
NEEDS: Need = "picture"
INPUTS: tuple[Input, ...] = ()
METRICS = dict.fromkeys(
    (
        "blur",
        "sharpness",
        "exposure",
        "clipped_dark",
        "clipped_bright",
        "contrast",
        "colourfulness",
        "entropy",
        "flat",
        "black",
        "blurred",
    ),
    "number",
)


class Params(BaseModel):
    """Where a measure becomes a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_blur: float = Field(0.62, gt=0, lt=1, description="blurred = 1 where blur is above this")
    max_black: float = Field(
        0.14, ge=0, lt=1, description="black = 1 where 98 of 100 pixels have a luma of at most this, of 1"
    )


def build(params: Params, rank: int = 0) -> Technical:
    """The scorer; loads nothing."""
    del rank
    return Technical(params)


def identity(params: Params) -> Mapping[str, str]:
    """The library whose blur measure this is; the rest is arithmetic of this file."""
    del params
    return {"scikit-image": version("scikit-image"), "numpy": version("numpy")}


class Technical:
    """Measures the frame."""

    needs = NEEDS
    inputs = INPUTS

    def __init__(self, params: Params) -> None:
        self._params = params

    def score(self, picture: Picture) -> Sequence[Score]:
        """Every metric, in the order of the module's table."""
        pixels = picture.pixels
        luma = luma_of(pixels)
        low, high = (float(x) / 255 for x in np.percentile(luma, (5, 95)))
        plain = is_flat(pixels)
        black = brightest(luma) <= self._params.max_black
        blur = None if plain else blur_of(luma)
        blurred = blur is not None and blur > self._params.max_blur and not black
        return (
            Score("blur", blur),
            Score("sharpness", sharpness(luma)),
            Score("exposure", float(luma.mean()) / 255),
            Score("clipped_dark", float((luma <= 4).mean())),
            Score("clipped_bright", float((luma >= 251).mean())),
            Score("contrast", high - low),
            Score("colourfulness", colourfulness(pixels[::2, ::2])),
            Score("entropy", entropy(luma)),
            Score("flat", float(plain and not black)),
            Score("black", float(black)),
            Score("blurred", float(blurred)),
        )
