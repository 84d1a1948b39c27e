"""A pipeline from files to the device: safetensors alone, no code from files, weights placed as memory allows."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.models import licences, weights
from promptforge.models.diffusion import memory, speed
from promptforge.models.diffusion.settings import FILES, Memory, Settings
from promptforge.models.torch_setup import device_of, load_torch, loading, provenance

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
_CLASSES = {"flux": "FluxPipeline", "sd3": "StableDiffusion3Pipeline", "auto": "AutoPipelineForText2Image"}
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".msgpack")


@dataclass
class Loaded:
    """A pipeline on its device. `encoders` and `denoiser` are parked where the memory mode moves them."""

    pipe: Any
    device: str
    settings: Settings
    mode: Memory
    encoders: memory.Parked | None
    denoiser: memory.Parked | None
    provenance: dict[str, Any]

    @property
    def dtype(self) -> Any:
        """The type of weights and arithmetic, as torch has it."""
        return getattr(load_torch(), DTYPES[self.settings.dtype])

    @contextmanager
    def encoding(self) -> Iterator[None]:
        """Text encoders are on the device inside, and off it again before the denoiser is back."""
        try:
            if self.denoiser:
                self.denoiser.leave()
            if self.encoders:
                self.encoders.enter()
            yield
        finally:
            if self.encoders:
                self.encoders.leave()
            if self.denoiser:
                self.denoiser.enter()


def load(settings: Settings, rank: int = 0) -> Loaded:
    """Load, place and speed up. Raises ConfigError and EnvironmentFault as `pipeline_on_cpu` and `memory.choose`."""
    torch = load_torch()
    device = device_of(rank)
    if device != "cpu":
        torch.cuda.set_device(device)  # of this thread: streams and pinned memory belong to it
    pipe = pipeline_on_cpu(settings)
    sizes = memory.sizes_of(pipe, settings)
    mode: Memory
    if settings.memory != "auto":
        mode = settings.memory
    elif device == "cpu":
        mode = "resident"
    else:
        gc.collect()  # an earlier stage's pipeline may lie in cycles, and what torch keeps for itself counts as taken
        torch.cuda.empty_cache()
        free = torch.cuda.mem_get_info(device)[0] / memory.GIB
        order: tuple[Memory, ...] = ("resident", "model_offload") if settings.pipeline == "auto" else memory.ORDER
        mode = memory.choose(sizes, free, order)
    return place(pipe, settings, mode, device)


def place(pipe: Any, settings: Settings, mode: Memory, device: str) -> Loaded:
    """The pipeline's weights where the mode wants them, the denoiser sped up."""
    encoders = denoiser = None
    net = memory.denoiser_of(pipe)
    if device == "cpu":
        _align(pipe)
    more = speed.before_placing(pipe, settings, mode, device)
    if settings.pipeline == "auto":
        if mode == "resident" or device == "cpu":
            pipe.to(device)
        else:
            pipe.enable_model_cpu_offload(device=device)
    elif mode == "resident":
        pipe.to(device)
    else:
        pipe.vae.to(device)
        encoders = memory.Parked(memory.encoders_of(pipe), device)
        if mode == "encoders_to_cpu":
            net.to(device)
        elif mode == "model_offload":
            denoiser = memory.Parked({"denoiser": net}, device)
            denoiser.enter()
        else:
            speed.fetch_blocks(net, device)
    more |= speed.after_placing(pipe, settings, mode, device)
    found = {**provenance(device), **_versions(), "memory": mode, **more}
    return Loaded(pipe, device, settings, mode, encoders, denoiser, found)


def _align(pipe: Any) -> None:
    """Copy mapped weights to torch's own memory, which starts at multiples of 64 bytes.

    In a file they start anywhere, and the CPU's kernels give other last bits there: a copy moved pictures by a level.
    """
    for part in pipe.components.values():
        for tensor in (*part.parameters(), *part.buffers()) if hasattr(part, "parameters") else ():
            tensor.data = tensor.data.clone()


def pipeline_on_cpu(settings: Settings) -> Any:
    """The pipeline with its scheduler, in host memory, as diffusers loads it.

    Raises EnvironmentFault naming the model, its licence, the token variable and the disk where files are missing, or
    where they hold pickles or code; ConfigError where the settings do not fit the pipeline.
    """
    folder = _folder(settings)
    wanted, seen = _CLASSES[settings.pipeline], check_folder(folder)
    if settings.pipeline != "auto" and seen != wanted:
        fitting = next((kind for kind, name in _CLASSES.items() if name == seen), "auto")
        raise ConfigError(
            f"{settings.model}: is a {seen}, pipeline {settings.pipeline!r} is {wanted}; set pipeline = {fitting!r}"
        )
    torch = load_torch()
    import diffusers

    quiet()
    loader = getattr(diffusers, wanted)
    try:
        with loading():
            pipe = loader.from_pretrained(
                folder,
                dtype=getattr(torch, DTYPES[settings.dtype]),
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
            )
    except (OSError, ValueError, KeyError) as exc:
        raise EnvironmentFault(f"{settings.model}: not loaded as {wanted}: {exc}") from exc
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = scheduler_of(pipe, settings)
    return pipe


def _folder(settings: Settings) -> Path:
    known = licences.known_model(settings.model)
    licence = known.licence.name if known else settings.licence or ""
    gib = known.gib if known else None
    try:
        return weights.locate(settings.model, settings.revision, needs=FILES, gib=gib, licence=licence)
    except EnvironmentFault as exc:
        message = str(exc)
        if weights.is_local(settings.model) or weights.TOKEN_VARIABLE in message:
            raise
        terms = f" ({licence})" if licence else ""
        raise EnvironmentFault(
            f"{message}; where it is gated, accept its licence{terms} on its page and set {weights.TOKEN_VARIABLE}"
        ) from exc


def check_folder(folder: Path) -> str:
    """Class name of the pipeline; EnvironmentFault unless every part of it is safetensors and holds no code."""
    weights.require_safe(folder)
    index = folder / "model_index.json"
    if not index.is_file():
        raise EnvironmentFault(
            f"{folder}: no model_index.json; expected the folder of a whole pipeline, as save_pretrained writes it"
        )
    try:
        parts = dict(json.loads(index.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as exc:
        raise EnvironmentFault(f"{index}: not a JSON object ({exc}); fetch the model anew") from exc
    for name, part in sorted(parts.items()):
        if name.startswith("_") or not isinstance(part, list) or None in part:
            continue
        if not (folder / name).is_dir():
            raise EnvironmentFault(f"{folder}: lacks the part {name} that its model_index.json names; fetch it anew")
        inside = weights.files_of(folder / name, ("*",))
        if code := [path.name for path in inside if path.suffix == ".py"]:
            raise EnvironmentFault(
                f"{folder / name}: holds {code[0]}; Python from a model's folder is never run: take another model"
            )
        suffixes = {path.suffix for path in inside}
        if suffixes & set(_PICKLES) and ".safetensors" not in suffixes:
            weights.require_safe(folder / name)
    return str(parts.get("_class_name"))


def scheduler_of(pipe: Any, settings: Settings) -> Any:
    """The pipeline's own scheduler, or the one that the settings name, with the fixed shift if one is set.

    Raises ConfigError where the name is no scheduler of diffusers or the pipeline cannot drive it.
    """
    import diffusers

    scheduler, own = pipe.scheduler, type(pipe.scheduler)
    chosen: Any = own if settings.scheduler is None else getattr(diffusers, settings.scheduler, None)
    if diffusers.SchedulerMixin not in getattr(chosen, "__mro__", ()):
        raise ConfigError(
            f"scheduler {settings.scheduler!r}: no such scheduler in diffusers; its own is {own.__name__}"
        )
    more: dict[str, Any] = {}
    if settings.pipeline != "auto" and chosen is not own:
        # of the others only these follow a flow's straight path, and only if told to
        if "use_flow_sigmas" not in chosen().config or not {"mu"} <= set(_arguments(chosen.set_timesteps)):
            raise ConfigError(f"scheduler {chosen.__name__}: cannot follow a flow; leave it out for {own.__name__}")
        more = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
    if settings.shift is not None:
        name = "flow_shift" if more else "shift"
        more |= {name: settings.shift, "use_dynamic_shifting": False}
    if chosen is own and not more:
        return _not_random(scheduler, settings)
    return _not_random(chosen.from_config(scheduler.config, **more), settings)


def _not_random(scheduler: Any, settings: Settings) -> Any:
    if settings.pipeline != "auto" and getattr(scheduler.config, "stochastic_sampling", False):
        raise ConfigError(
            f"{settings.model}: its scheduler draws noise at each step from no seed of ours (stochastic_sampling);"
            " name another scheduler"
        )
    return scheduler


def _arguments(function: Any) -> list[str]:
    import inspect

    return list(inspect.signature(function).parameters)


def quiet() -> None:
    """No progress bars, no warnings for each truncated prompt: on standard error they drown what matters."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
        library.utils.logging.set_verbosity_error()


def _versions() -> dict[str, str]:
    import os

    import transformers

    torch = load_torch()
    found = {
        "transformers": str(transformers.__version__),
        "attention": os.environ.get("DIFFUSERS_ATTN_BACKEND", "native"),
    }
    if not torch.cuda.is_available():
        found["threads"] = str(torch.get_num_threads())
    return found
