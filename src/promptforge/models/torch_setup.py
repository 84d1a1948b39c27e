"""torch as this package uses it: imported once, told apart by device, with the remedy for a lone CPU build.

torchvision from the package index expects operators that a CPU build of torch lacks (`operator torchvision::nms does
not exist`), and open_clip, easyocr, transformers and diffusers import it. Defining the two by signature lets them
load; calling them fails, and nothing here does.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

from promptforge.errors import EnvironmentFault

_KEPT: list[Any] = []  # a torch.library.Library undoes its definitions when it is collected


@cache
def load_torch() -> Any:
    """The module torch, ready for the libraries on top of it. Raises EnvironmentFault where it is missing."""
    if find_spec("torch") is None:
        raise EnvironmentFault("torch is not installed; install the models extra: make setup-models")
    import torch

    if torch.version.cuda is None and torch.version.hip is None and not _has_nms(torch):
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)
    return torch


def _has_nms(torch: Any) -> bool:
    return hasattr(torch.ops.torchvision, "nms")


def device_of(rank: int) -> str:
    """cuda:k for rank k, counted round the GPUs that there are; cpu where there is none."""
    torch = load_torch()
    if torch.cuda.is_available():
        return f"cuda:{rank % torch.cuda.device_count()}"
    return "cpu"


def provenance(device: str) -> dict[str, str]:
    """What may move bits besides the settings: torch, CUDA, the device's name."""
    torch = load_torch()
    found = {"torch": str(torch.__version__), "device": "cpu"}
    if device.startswith("cuda"):
        found |= {"device": torch.cuda.get_device_name(device), "cuda": str(torch.version.cuda)}
    return found
