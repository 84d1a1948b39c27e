"""Tensors as bytes and back: what the tables latents and embeddings hold."""

from __future__ import annotations

from typing import Any

from promptforge.models.torch_setup import load_torch
from promptforge.protocols import RawTensor


def raw_tensor(tensor: Any) -> RawTensor:
    """The bytes of a tensor of one dimension or more, exactly."""
    torch = load_torch()
    held = tensor.detach().cpu().contiguous()
    name = str(held.dtype).removeprefix("torch.")
    return RawTensor(name, tuple(held.shape), held.view(torch.uint8).numpy().tobytes())


def torch_tensor(raw: RawTensor) -> Any:
    """The tensor on the CPU, equal to the bit."""
    torch = load_torch()
    return torch.frombuffer(bytearray(raw.data), dtype=getattr(torch, raw.dtype)).reshape(raw.shape)
