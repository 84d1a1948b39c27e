"""Tensors as bytes and back: what the tables latents and embeddings hold."""

from __future__ import annotations

import io
from typing import Any

from promptforge.errors import ConfigError
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


def saved(raw: RawTensor) -> bytes:
    """A file that torch.load(weights_only=True) reads; equal tensors, equal bytes."""
    sink = io.BytesIO()
    load_torch().save(torch_tensor(raw), sink)
    return sink.getvalue()


def packed(raw: RawTensor) -> RawTensor:
    """A latent as FLUX takes it: patches of 2 x 2, so (height/2 * width/2) x (4 channels).

    Raises ConfigError where it is no latent of even sides.
    """
    if len(raw.shape) != 3 or raw.shape[1] % 2 or raw.shape[2] % 2:
        raise ConfigError(
            f"a latent of shape {raw.shape} cannot be packed: that takes channels, height, width, both even"
        )
    channels, height, width = raw.shape
    patches = torch_tensor(raw).reshape(channels, height // 2, 2, width // 2, 2).permute(1, 3, 0, 2, 4)
    return raw_tensor(patches.reshape(height // 2 * (width // 2), channels * 4))
