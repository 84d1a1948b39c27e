"""Small heads over CLIP embeddings, read from safetensors and computed in float64 with NumPy, one picture at a time.

They cost microseconds, and so need no device, no batches and no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from promptforge.errors import ConfigError
from promptforge.models import weights

Matrix = npt.NDArray[np.float64]

#: Widths of LAION's sac+logos+ava1-l14-linearMSE, first the embedding's.
AESTHETIC_WIDTHS = (768, 1024, 128, 64, 16, 1)
#: Widths of LAION's clip_autokeras_binary_nsfw for ViT-L/14 (LAION-AI/CLIP-based-NSFW-Detector).
NSFW_WIDTHS = (768, 64, 512, 256, 1)


@dataclass(frozen=True, slots=True)
class AffineHead:
    """weight . embedding + bias: what linear layers with nothing but dropout between them come to."""

    weight: Matrix
    bias: float

    def __call__(self, embedding: npt.NDArray[np.float32]) -> float:
        """The score of one embedding of length 1."""
        return float(self.weight @ embedding.astype(np.float64) + self.bias)


@dataclass(frozen=True, slots=True)
class ReluHead:
    """Standardised input, linear layers with ReLU between them, a logistic function at the end."""

    mean: Matrix
    variance: Matrix
    layers: tuple[tuple[Matrix, Matrix], ...]

    def __call__(self, embedding: npt.NDArray[np.float32]) -> float:
        """A probability."""
        at = (embedding.astype(np.float64) - self.mean) / np.sqrt(self.variance)
        for weight, bias in self.layers[:-1]:
            at = np.maximum(weight @ at + bias, 0)
        weight, bias = self.layers[-1]
        return float(1 / (1 + np.exp(-(weight @ at + bias)[0])))


def aesthetic_head(source: str, revision: str | None) -> AffineHead:
    """LAION's aesthetic head: five linear layers, folded into one.

    Raises ConfigError where the file is no such head, EnvironmentFault where it cannot be had.
    """
    weight, bias = np.eye(AESTHETIC_WIDTHS[0]), np.zeros(AESTHETIC_WIDTHS[0])
    for matrix, shift in _layers(_tensors(source, revision), AESTHETIC_WIDTHS, source):
        weight, bias = matrix @ weight, matrix @ bias + shift
    return AffineHead(weight[0], float(bias[0]))


def nsfw_head(source: str, revision: str | None) -> ReluHead:
    """LAION's NSFW head for ViT-L/14: norm.mean, norm.variance, linear_1 to linear_4.

    Raises ConfigError where the file is no such head, EnvironmentFault where it cannot be had.
    """
    tensors = _tensors(source, revision)
    found = {name: tensors.pop(f"norm.{name}", np.empty(0)).astype(np.float64).ravel() for name in ("mean", "variance")}
    if any(each.shape != NSFW_WIDTHS[:1] for each in found.values()):
        raise ConfigError(f"{source}: expected norm.mean and norm.variance of {NSFW_WIDTHS[0]} numbers each")
    return ReluHead(found["mean"], found["variance"], tuple(_layers(tensors, NSFW_WIDTHS, source)))


def _tensors(source: str, revision: str | None) -> dict[str, npt.NDArray[np.floating]]:
    path = weights.require_safe(weights.locate(source, revision, needs=("*.safetensors", "*.json"), gib=0.01))
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    if len(files) != 1:
        raise ConfigError(f"{path}: {len(files)} safetensors files; give the path of the one that holds the head")
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        found: dict[str, npt.NDArray[np.floating]] = load_file(files[0])
    except (SafetensorError, KeyError, TypeError) as exc:
        raise ConfigError(f"{files[0]}: cannot be read as safetensors of fp16, fp32 or fp64 ({exc})") from exc
    return found


def _layers(
    tensors: Mapping[str, npt.NDArray[np.floating]], widths: Sequence[int], source: str
) -> list[tuple[Matrix, Matrix]]:
    """(weight, bias) of each linear layer, in the order of the numbers in their names."""
    names = sorted(tensors, key=lambda name: (int((re.search(r"\d+", name) or ["0"])[0]), name))
    ends = {end: [name for name in names if name.endswith(f".{end}")] for end in ("weight", "bias")}
    pairs = list(zip(ends["weight"], ends["bias"], strict=False))
    seen = [tensors[name].shape for pair in pairs for name in pair]
    wanted = [shape for a, b in pairwise(widths) for shape in ((b, a), (b,))]
    if seen != wanted or len(names) != len(wanted):
        shown = ", ".join(f"{name} {tensors[name].shape}" for name in names[:12])
        raise ConfigError(
            f"{Path(source).name}: holds {shown or 'nothing'}; expected linear layers of {'-'.join(map(str, widths))}"
        )
    return [(tensors[a].astype(np.float64), tensors[b].astype(np.float64)) for a, b in pairs]
