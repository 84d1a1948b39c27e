"""From final latents to pictures in host memory, on a GPU beside the next picture's denoising.

A picture that is not finite, black or flat is decoded once more in fp32: decoders overflow in 16 bits. One at a time,
so that memory and bits do not depend on the batch.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from promptforge.models.diffusion.pictures import fault_of, to_bytes
from promptforge.models.torch_setup import load_torch
from promptforge.protocols import Pixels


@dataclass(frozen=True, slots=True)
class Landing:
    """Pictures on their way to host memory; nothing in `pixels`, `finite` or `kept` counts before `ready`."""

    latents: Any
    pixels: Any
    finite: Any
    kept: Any
    ready: Any


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, or the reason why it is none; `in_fp32` where it had to be decoded again."""

    pixels: Pixels | None
    error: str | None = None
    in_fp32: bool = False


class Decoder:
    """Decodes unpacked latents with a pipeline's VAE."""

    def __init__(self, vae: Any, device: str) -> None:
        torch = load_torch()
        self._vae = vae
        self._exact: Any = None
        self._on_gpu = device.startswith("cuda")
        self._stream = torch.cuda.Stream(device) if self._on_gpu else None

    def start(self, latents: Any, kept: Sequence[Any] = ()) -> Landing:
        """Queue the decoding of latents (n x channels x height x width) and the copy of its result.

        `kept`: tensors that are wanted in host memory too. Copied later, they would wait for the next picture.
        """
        torch = load_torch()
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
            for tensor in (latents, *kept):
                tensor.record_stream(self._stream)
        with torch.no_grad(), torch.cuda.stream(self._stream) if self._stream else nullcontext():
            pictures, finite = [], []
            for latent in latents:
                image = self._decode(self._vae, latent[None])
                pictures.append(to_bytes(image))
                finite.append(torch.stack([torch.isfinite(latent).all(), torch.isfinite(image).all()]))
            landed = self._to_host(torch.stack(pictures)), self._to_host(torch.stack(finite))
            on_host = [self._to_host(tensor) for tensor in kept]
            ready = None
            if self._stream is not None:
                ready = torch.cuda.Event()
                ready.record(self._stream)
        return Landing(latents, *landed, on_host, ready)

    def finish(self, landing: Landing) -> Sequence[Picture]:
        """The pictures, once they have arrived."""
        if landing.ready is not None:
            landing.ready.synchronize()
        return [self._checked(landing, number) for number in range(len(landing.latents))]

    def _checked(self, landing: Landing, number: int) -> Picture:
        latent_is_finite, image_is_finite = landing.finite[number].tolist()
        if not latent_is_finite:
            return Picture(None, "latent_not_finite: the denoiser gave NaN or infinity; try dtype bf16 or fp32")
        pixels: Pixels = landing.pixels[number].numpy().copy()
        fault = fault_of(pixels) if image_is_finite else "picture_not_finite: the VAE gave NaN or infinity"
        if fault is None:
            return Picture(pixels)
        if next(self._vae.parameters()).element_size() >= 4:
            return Picture(None, fault)
        again, is_finite = self._again(landing.latents[number][None])
        if not is_finite:
            return Picture(None, "picture_not_finite: the VAE gave NaN or infinity, in fp32 too", in_fp32=True)
        fault = fault_of(again)
        return Picture(None if fault else again, fault, in_fp32=True)

    def _again(self, latent: Any) -> tuple[Pixels, bool]:
        torch = load_torch()
        if self._exact is None:
            self._exact = copy.deepcopy(self._vae).float()
        with torch.no_grad():
            image = self._decode(self._exact, latent.float())
        pixels: Pixels = np.ascontiguousarray(to_bytes(image).cpu().numpy())
        return pixels, bool(torch.isfinite(image).all())

    @staticmethod
    def _decode(vae: Any, latent: Any) -> Any:
        """Image in [-1, 1], 3 x height x width, as the pipelines decode."""
        shift = getattr(vae.config, "shift_factor", None) or 0
        return vae.decode(latent / vae.config.scaling_factor + shift, return_dict=False)[0][0]

    def _to_host(self, tensor: Any) -> Any:
        if not self._on_gpu:
            return tensor
        torch = load_torch()
        return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
