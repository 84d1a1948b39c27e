"""Faster denoisers: without loss by default and on a GPU alone, with loss where the settings ask for it.

Without loss: compiled blocks, fused query-key-value projections, a VAE in channels_last. They reorder sums, so bits
move, as they do between cards; the provenance says what was on. Compiling the repeated blocks alone is published to
take 8 s on an H200 where the whole network takes 51, and to run as fast. No kernel is chosen by a stopwatch
(inductor's deterministic mode), so processes agree; at batch 1 none is compiled for shapes of any size, so what this
process drew before, at another size, decides nothing.

CUDA graphs are off by default: their outputs are overwritten by the next replay, so blocks that are compiled one by
one and feed each other cannot use them (a fault of torch's cudagraph trees); the whole network must be captured. FLUX
at 512 px and more keeps an H100-class GPU busy without them.
Not covered: other attention backends; DIFFUSERS_ATTN_BACKEND chooses them, and is in the provenance.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.models.diffusion import memory
from promptforge.models.diffusion.memory import denoiser_of
from promptforge.models.diffusion.settings import Memory, Settings
from promptforge.models.torch_setup import load_torch

_SEPARATE = ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj")


def before_placing(pipe: Any, settings: Settings, mode: Memory, device: str) -> dict[str, Any]:
    """What changes weights, while they are in host memory: fusing, 8 bits. Returns its part of the provenance."""
    net = denoiser_of(pipe)
    done: dict[str, Any] = {}
    if _on_gpu(device) and settings.pipeline == "flux" and mode != "blocks_to_cpu" and not settings.fp8_weights:
        fuse(net)
        done["fused_qkv"] = True
    if settings.fp8_weights:
        torch = load_torch()
        net.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=net.dtype)
    return done


def after_placing(pipe: Any, settings: Settings, mode: Memory, device: str) -> dict[str, Any]:
    """Caching and compiling, once the weights lie where they stay. Returns its part of the provenance."""
    net = denoiser_of(pipe)
    if settings.first_block_cache is not None:
        from diffusers import FirstBlockCacheConfig

        net.enable_cache(FirstBlockCacheConfig(threshold=settings.first_block_cache))
    if not _on_gpu(device):
        return {"compile": "off"}
    torch = load_torch()
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    if all(weight.ndim <= 4 for weight in memory.vae_weights(pipe)):  # that of a video model has three dimensions
        pipe.vae.to(memory_format=torch.channels_last)
    # hooks that move, cast or skip weights break the graph in every block
    hooked = mode == "blocks_to_cpu" or settings.fp8_weights or settings.first_block_cache is not None
    offloaded = settings.pipeline == "auto" and mode == "model_offload"
    if not settings.compile or hooked or offloaded:
        return {"compile": "off"}
    if settings.cuda_graphs:
        if mode == "model_offload":
            raise ConfigError("cuda_graphs: the GPU is too small to keep the denoiser on it; leave cuda_graphs out")
        _capture(net, settings)
        return {"compile": "cuda_graphs"}
    if getattr(net, "_repeated_blocks", None):
        net.compile_repeated_blocks(**compiling(settings))
        return {"compile": "blocks"}
    if settings.pipeline == "sd3":
        net.compile(**compiling(settings))
        return {"compile": "whole"}
    return {"compile": "off"}


def compiling(settings: Settings) -> dict[str, Any]:
    """Keywords of torch.compile."""
    return {
        "fullgraph": settings.pipeline != "auto",  # of other networks nobody knows; a break is slower, not wrong
        "dynamic": False if settings.batch == 1 else None,
        # torch counts by code, not by module: two graphs for each size and GPU of a process, and 8 are its own limit
        "recompile_limit": 64,
        "options": {"deterministic": True},
    }


@contextmanager
def compiled(model: str) -> Iterator[None]:
    """Where compiled blocks run. Raises EnvironmentFault where this machine cannot compile them."""
    try:
        yield
    except RuntimeError as exc:
        if not isinstance(exc, load_torch()._dynamo.exc.TorchDynamoException):
            raise
        reason = " ".join(str(exc).split())[:300]
        raise EnvironmentFault(
            f"{model}: the denoiser cannot be compiled here ({reason}); that takes triton and a C compiler: install"
            " them, or set regime.compile=false"
        ) from exc


def fuse(net: Any) -> None:
    """One projection instead of three in each attention; the three are given up, or FLUX.1 would hold 4 GiB twice."""
    net.fuse_qkv_projections()
    for module in net.modules():
        if getattr(module, "fused_projections", False):
            for name in _SEPARATE:
                if getattr(module, name, None) is not None:
                    setattr(module, name, None)


def fetch_blocks(net: Any, device: str) -> None:
    """Keep the blocks in host memory; on a GPU a second stream fetches the next while one computes."""
    torch = load_torch()
    streams = _on_gpu(device)
    net.enable_group_offload(
        onload_device=torch.device(device),
        offload_device=torch.device("cpu"),
        offload_type="block_level",
        num_blocks_per_group=1,
        non_blocking=streams,
        use_stream=streams,
        record_stream=streams,
    )


def _capture(net: Any, settings: Settings) -> None:
    torch = load_torch()
    how = compiling(settings)
    how["options"] |= {"triton.cudagraphs": True}
    compiled = torch.compile(net.forward, **how)

    def forward(*args: Any, **kwargs: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        return compiled(*args, **kwargs)

    net.forward = forward


def _on_gpu(device: str) -> bool:
    return device.startswith("cuda")
