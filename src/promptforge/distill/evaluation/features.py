"""DINOv2 through transformers: the state of the class token, for how far two pictures are apart to the eye.

Pictures are scaled to 224 px with bicubic filtering and normalised by ImageNet's mean and deviation, as the model was
trained; they are square, so nothing is cut off. One picture at a time on a CPU and in fp32: its numbers do not depend
on others. Source: Oquab et al. 2023 (arXiv 2304.07193).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from promptforge.distill.evaluation.settings import ImageModel
from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.models import weights
from promptforge.models.torch_setup import device_of, load_torch, loading
from promptforge.protocols import Pixels

VERSION = 1  # raised whenever a vector changes by more than rounding
SIDE = 224
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_KINDS = ("dinov2", "dinov2_with_registers")
_NEEDS = ("config.json", "*.safetensors", "*.safetensors.index.json")


def identity(model: ImageModel) -> Mapping[str, Any]:
    """What names the vectors; loads nothing."""
    return {"version": VERSION, **weights.identity(model.model, model.revision, _NEEDS)}


@cache
def load(model: ImageModel, rank: int = 0) -> ImageFeatures:
    """The model on the rank's device, once a process.

    Raises ConfigError where the folder holds another kind, EnvironmentFault where its files are not whole.
    """
    folder = weights.require_safe(weights.locate(model.model, model.revision, needs=_NEEDS, licence="Apache-2.0"))
    try:
        kind = json.loads((folder / "config.json").read_text("utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as exc:
        raise EnvironmentFault(f"{folder}: config.json cannot be read ({exc}); fetch the model again") from exc
    if kind not in _KINDS:
        raise ConfigError(f"{model.model}: model_type is {kind!r}; take one of {', '.join(_KINDS)}")
    torch, device = load_torch(), device_of(rank)
    from transformers import AutoModel

    with loading():
        found, report = AutoModel.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    if missing := sorted(report["missing_keys"]):  # transformers fills them with noise
        raise EnvironmentFault(f"{folder}: lacks the weights {missing[0]} and {len(missing) - 1} more; fetch it again")
    return ImageFeatures(found.eval().requires_grad_(requires_grad=False).to(device), device)


class ImageFeatures:
    """A loaded model."""

    def __init__(self, model: Any, device: str) -> None:
        self._model, self._device = model, device

    def __call__(self, pictures: Sequence[Pixels]) -> list[npt.NDArray[np.float32]]:
        """A vector for each picture, in order."""
        torch = load_torch()
        size = 1 if self._device == "cpu" else max(len(pictures), 1)
        found: list[npt.NDArray[np.float32]] = []
        for start in range(0, len(pictures), size):
            batch = np.stack([prepared(pixels) for pixels in pictures[start : start + size]])
            with torch.no_grad():
                states = self._model(torch.from_numpy(batch).to(self._device)).last_hidden_state
            found += list(states[:, 0].float().cpu().numpy())
        return found


def prepared(pixels: Pixels) -> npt.NDArray[np.float32]:
    """3 x SIDE x SIDE, normalised."""
    scaled = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    unit = np.asarray(scaled, np.float32) / 255
    normal: npt.NDArray[np.float32] = ((unit - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)).astype(
        np.float32
    )
    return np.ascontiguousarray(normal.transpose(2, 0, 1))
