"""torch as this package uses it: imported once, told apart by device, with the remedy for a lone CPU build.

torchvision from the package index expects operators that a CPU build of torch lacks (`operator torchvision::nms does
not exist`), and open_clip, easyocr, transformers and diffusers import it. Defining the two by signature lets them
load; calling them fails, and nothing here does.

Ranks share a process, and loading a model turns switches of the whole process: torch's default type, and accelerate's
patch that leaves weights without data. So a model is loaded alone: `loading` waits until nobody is `computing`. Without
it a second rank's pipeline was not loaded (`Cannot copy out of meta tensor`), and a first rank's CLIP and OWLv2 gave
other numbers or none.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any

from promptforge.errors import EnvironmentFault

_KEPT: list[Any] = []  # a torch.library.Library undoes its definitions when it is collected


class _Gate:
    """Many threads compute, or one loads; who wants to load goes first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._turn = threading.RLock()
        self._n_loading = self._n_computing = 0
        self._here = threading.local()

    @contextmanager
    def loading(self) -> Iterator[None]:
        with self._turn:
            with self._changed:
                self._n_loading += 1
                self._changed.wait_for(lambda: not self._n_computing)
            try:
                yield
            finally:
                self._leave("_n_loading")

    @contextmanager
    def computing(self) -> Iterator[None]:
        if getattr(self._here, "computes", False):  # else this thread would wait for a loader that waits for it
            yield
            return
        with self._changed:
            self._changed.wait_for(lambda: not self._n_loading)
            self._n_computing += 1
        self._here.computes = True
        try:
            yield
        finally:
            self._here.computes = False
            self._leave("_n_computing")

    def _leave(self, name: str) -> None:
        with self._changed:
            setattr(self, name, getattr(self, name) - 1)
            self._changed.notify_all()


_GATE = _Gate()
#: Inside, this thread alone touches models: to build or load one. Never inside `computing`.
loading = _GATE.loading
#: Inside, models compute, and none is loaded. Taken before any lock of a model's own.
computing = _GATE.computing


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


def n_cores() -> int:
    """Cores that this process may use: a batch system often leaves it a part of the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def provenance(device: str) -> dict[str, str]:
    """What may move bits besides the settings: torch, CUDA, the device's name."""
    torch = load_torch()
    found = {"torch": str(torch.__version__), "device": "cpu"}
    if device.startswith("cuda"):
        found |= {"device": torch.cuda.get_device_name(device), "cuda": str(torch.version.cuda)}
    return found
