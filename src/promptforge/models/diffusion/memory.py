"""Where a pipeline's weights lie: chosen by the free memory of the GPU, and moved without loading anything anew.

    resident          everything on the GPU
    encoders_to_cpu   text encoders in pinned host memory; they visit for ENCODED_TOGETHER prompts and leave before the
                      denoiser runs
    model_offload     encoders and denoiser in pinned host memory, in turns; for 'auto' pipelines diffusers' own offload
    blocks_to_cpu     also the denoiser's blocks in pinned host memory, each fetched while the one before it computes

Peak of GPU memory in GiB for FLUX.1 (12B, T5-XXL, CLIP-L, VAE) in bf16 at 1024 px, batch 1, and the mode that 'auto'
takes. Computed from parameter counts and the largest live tensors, times MARGIN; not measured:

    mode                  peak   24 GB   40 GB   80 GB   141 GB
    resident              41.2                  auto    auto
    encoders_to_cpu       37.7          auto
    model_offload         30.3
    blocks_to_cpu         11.1  auto
    with fp8_weights:
    resident              27.9          auto    auto    auto
    model_offload         17.0  auto

A visit of T5-XXL copies 8.9 GiB in, nothing out (weights never change): 0.4 s at 25 GB/s, for 16 pictures of 4 s.
Not covered: several processes on one GPU; what others hold is read once, at the start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.models.diffusion.settings import Memory, Settings
from promptforge.models.torch_setup import load_torch

GIB = 1 << 30
#: For workspaces of cuDNN and cuBLAS, gaps between blocks, a second copy of fused projections while it is made, and
#: because the activations are an estimate.
MARGIN = 1.2
ENCODED_TOGETHER = 16

#: From fastest to smallest; the order in which they are tried.
ORDER: tuple[Memory, ...] = ("resident", "encoders_to_cpu", "model_offload", "blocks_to_cpu")


@dataclass(frozen=True, slots=True)
class Sizes:
    """GiB of weights in the type that they are held in, and of the largest set of live tensors while a picture runs."""

    denoiser: float
    encoders: float
    vae: float
    activations: float
    n_blocks: int = 1


@dataclass(frozen=True, slots=True)
class Shapes:
    """What the live tensors depend on: widths of denoiser and VAE, tokens or cells of a picture, bytes a number."""

    width: int
    tokens: int
    vae_channels: int
    itemsize: int


def peak_gib(sizes: Sizes, mode: Memory) -> float:
    """Most GPU memory that a mode holds at a time, MARGIN included."""
    running = sizes.denoiser + sizes.activations
    most = {
        "resident": sizes.encoders + running,
        "encoders_to_cpu": sizes.denoiser + max(sizes.encoders, sizes.activations),
        "model_offload": max(sizes.encoders, running),
        # two blocks: the one that computes and the one that is fetched
        "blocks_to_cpu": max(sizes.encoders, 2 * sizes.denoiser / sizes.n_blocks + sizes.activations),
    }[mode]
    return MARGIN * (sizes.vae + most)


def choose(sizes: Sizes, free_gib: float, modes: tuple[Memory, ...] = ORDER) -> Memory:
    """The fastest mode that fits. Raises EnvironmentFault where none does."""
    for mode in modes:
        if peak_gib(sizes, mode) <= free_gib:
            return mode
    raise EnvironmentFault(
        f"the GPU has {free_gib:.1f} GiB free, the smallest mode ({modes[-1]}) needs {peak_gib(sizes, modes[-1]):.1f};"
        " take a smaller size or batch, set fp8_weights = true (lossy), or free the GPU"
    )


def activations_gib(shapes: Shapes, settings: Settings) -> float:
    """Largest set of live tensors, denoiser and decoder together since they overlap.

    Denoiser: 16 tensors of tokens x width (residual, norm, queries, keys, values, the four-fold MLP and its input),
    for each picture and branch. Decoder, one picture at a time: 5 of its second widest level at full size.
    """
    branches = 2 if settings.guides else 1
    denoiser = 16 * shapes.tokens * shapes.width * settings.batch * branches
    decoder = 5 * settings.size**2 * shapes.vae_channels
    return (denoiser + decoder) * shapes.itemsize / GIB


def sizes_of(pipe: Any, settings: Settings) -> Sizes:
    """Sizes of a loaded pipeline."""
    denoiser = denoiser_of(pipe)
    weight = next(denoiser.parameters())
    config = denoiser.config
    heads = getattr(config, "num_attention_heads", None)
    latent = settings.size // getattr(pipe, "vae_scale_factor", 8)
    is_unet = not isinstance(heads, int) or not hasattr(config, "patch_size")
    shapes = Shapes(
        width=config.block_out_channels[0] if is_unet else heads * config.attention_head_dim,
        # transformers see patches of 2 x 2 latent cells and the text behind them
        tokens=latent**2 if is_unet else (latent // 2) ** 2 + (settings.length or 512),
        vae_channels=vae_channels(getattr(pipe, "vae", None)),
        itemsize=weight.element_size(),
    )
    share = 0.5 if settings.fp8_weights and weight.element_size() == 2 else 1.0
    return Sizes(
        denoiser=share * _gib(_weights(denoiser)),
        encoders=sum(_gib(_weights(encoder)) for encoder in encoders_of(pipe).values()),
        vae=_gib(vae_weights(pipe)),
        activations=activations_gib(shapes, settings),
        n_blocks=max(1, sum(len(blocks) for blocks in _block_lists(denoiser))),
    )


def denoiser_of(pipe: Any) -> Any:
    """The transformer or UNet. Raises ConfigError where the pipeline has neither, such as one of several stages."""
    for name in ("transformer", "unet"):
        if (found := getattr(pipe, name, None)) is not None:
            return found
    raise ConfigError(f"{type(pipe).__name__}: has neither a transformer nor a UNet; take a pipeline of one stage")


def encoders_of(pipe: Any) -> Mapping[str, Any]:
    """The text encoders that the pipeline has, by component name."""
    return {
        name: part
        for name, part in sorted(pipe.components.items())
        if name.startswith("text_encoder") and part is not None
    }


def vae_weights(pipe: Any) -> list[Any]:
    """Weights of the VAE; [] of a pipeline that draws pixels."""
    vae = getattr(pipe, "vae", None)
    return [] if vae is None else _weights(vae)


def vae_channels(vae: Any) -> int:
    """Channels of the decoder's level that is widest at full size; 256 where the config does not say."""
    widths = getattr(getattr(vae, "config", None), "block_out_channels", (128, 256))
    return int(widths[min(1, len(widths) - 1)])


def _block_lists(module: Any) -> list[Any]:
    return [child for child in module.children() if type(child).__name__ == "ModuleList"]


def _weights(module: Any) -> list[Any]:
    """Parameters and buffers, each once."""
    return list({id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}.values())


def _gib(tensors: Iterable[Any]) -> float:
    return float(sum(tensor.numel() * tensor.element_size() for tensor in tensors)) / GIB


def pin_exactly() -> None:
    """Stop torch from rounding large pinned memory up to powers of two: 31 GiB of FLUX.1 in bf16 would take 47.

    The switch has no public name yet (torch 2.13); without it more memory is taken, nothing else.
    """
    switch = load_torch()._C
    with suppress(AttributeError, RuntimeError):
        kept = switch._accelerator_getAllocatorSettings()
        if "pinned_max_round_threshold_mb" not in kept:
            more = "pinned_max_round_threshold_mb:16"  # pictures stay below; setting it forgets the others
            switch._accelerator_setAllocatorSettings(f"{kept},{more}" if kept else more)


class Parked:
    """Modules whose weights live in host memory and visit the device.

    The host copy stays where it is, pinned where there is a GPU, so that a visit copies in one direction. On a CPU the
    visit is a copy too, which lets the order of visits be seen.
    """

    def __init__(self, modules: Mapping[str, Any], device: Any) -> None:
        self._device = device
        self._tensors: list[tuple[Any, Any]] = []
        pinned = str(device).startswith("cuda")
        if pinned:
            pin_exactly()
        for each in {id(each): each for module in modules.values() for each in _weights(module)}.values():
            if pinned:
                each.data = each.data.pin_memory()  # one by one: both copies of 22 GiB are never there at once
            self._tensors.append((each, each.data))
        self.is_here = False

    def enter(self) -> None:
        """Bring the weights to the device."""
        for tensor, host in self._tensors:
            tensor.data = host.to(self._device, non_blocking=True, copy=True)
        self.is_here = True

    def leave(self) -> None:
        """Give up the device's copy; work already queued on its stream still reads it."""
        for tensor, host in self._tensors:
            tensor.data = host
        self.is_here = False
