"""Two ways to draw a batch with a loaded pipeline: by its latents, or by its whole call.

The noise of a picture comes from a generator on the CPU, in float32, and is cast afterwards: the same on every device
and in every type. Pipelines of kind 'auto' without a UNet make their own noise, from the same generator but in their
own type.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from promptforge.errors import ConfigError
from promptforge.models.diffusion import prompts
from promptforge.models.diffusion.decoding import Decoder, Landing
from promptforge.models.diffusion.loading import Loaded
from promptforge.models.diffusion.pictures import fault_of, from_unit
from promptforge.models.diffusion.prompts import Encoded
from promptforge.models.diffusion.tensors import raw_tensor
from promptforge.models.torch_setup import load_torch
from promptforge.protocols import Pixels, Rendering, RenderJob


class Artist(Protocol):
    """How a few jobs become a flight of pictures, and a flight renderings."""

    def prepare(self, jobs: Sequence[RenderJob]) -> Sequence[Any]:
        """What each job's text becomes."""
        ...

    def launch(self, jobs: Sequence[RenderJob], texts: Sequence[Any]) -> Any:
        """Queue the work of a batch."""
        ...

    def land(self, flight: Any) -> Sequence[Rendering]:
        """The renderings of a batch, in order; waits for the device."""
        ...


def artist_of(loaded: Loaded) -> Artist:
    """The way that fits the pipeline."""
    return WholeArtist(loaded) if loaded.settings.pipeline == "auto" else LatentArtist(loaded)


@dataclass(frozen=True, slots=True)
class Flight:
    """A batch that was launched."""

    jobs: Sequence[RenderJob]
    texts: Sequence[Encoded]
    landing: Landing


class LatentArtist:
    """FLUX and Stable Diffusion 3: the pipeline's own call makes the latent, encoding and decoding are ours."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._pipe = loaded.pipe
        self._settings = loaded.settings
        self._is_flux = loaded.settings.pipeline == "flux"
        self._decoder = Decoder(loaded.pipe.vae, loaded.device)
        self._negative: Encoded | None = None

    def prepare(self, jobs: Sequence[RenderJob]) -> Sequence[Encoded]:
        """One prompt at a time, the text encoders on the device meanwhile."""
        with self._loaded.encoding():
            if self._settings.guides and self._negative is None:
                self._negative = self._encode(self._settings.negative_prompt or "")
            return [self._encode(job.text) for job in jobs]

    def launch(self, jobs: Sequence[RenderJob], texts: Sequence[Encoded]) -> Flight:
        """Denoise and start decoding."""
        settings = self._settings
        latents = self.denoise([job.seed for job in jobs], texts)
        kept = [latents] if settings.store_latents else []
        if settings.store_embeddings:
            kept += [tensor for text in texts for tensor in (text.embeds, text.pooled)]
        return Flight(jobs, texts, self._decoder.start(latents, kept))

    def denoise(self, seeds: Sequence[int], texts: Sequence[Encoded]) -> Any:
        """Final latents, unpacked: n x channels x height x width; the VAE decodes latent / scaling_factor + shift."""
        torch = load_torch()
        settings, pipe = self._settings, self._pipe
        if settings.first_block_cache is not None:  # the pipeline forgets it at its end, which it may not have reached
            pipe.transformer._reset_stateful_cache()
        noise = torch.cat([self._noise(seed) for seed in seeds])
        if self._loaded.device != "cpu":
            noise = noise.pin_memory().to(self._loaded.device, non_blocking=True)
        latents = pipe(
            **prompts.arguments(texts, self._negative),
            latents=pipe._pack_latents(noise, *noise.shape) if self._is_flux else noise,
            height=settings.size,
            width=settings.size,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            max_sequence_length=settings.length,
            output_type="latent",
            return_dict=False,
        )[0]
        if self._is_flux:
            return pipe._unpack_latents(latents, settings.size, settings.size, pipe.vae_scale_factor)
        return latents

    def land(self, flight: Flight) -> Sequence[Rendering]:
        """Pictures checked, with latent and embeddings where the settings keep them."""
        settings, found = self._settings, []
        pictures = self._decoder.finish(flight.landing)
        kept = list(flight.landing.kept)
        latents = kept.pop(0) if settings.store_latents else ()
        for number, (job, picture) in enumerate(zip(flight.jobs, pictures, strict=True)):
            keep_latent = settings.store_latents and picture.error is None
            text = Encoded(*kept[2 * number : 2 * number + 2]) if settings.store_embeddings and job.take == 0 else None
            found.append(
                Rendering(
                    picture.pixels,
                    picture.error,
                    notes={"vae_dtype": "fp32"} if picture.in_fp32 else {},
                    latent=raw_tensor(latents[number]) if keep_latent else None,
                    embeddings=text.stored(settings.pooled == "text") if text else {},
                )
            )
        return found

    def _encode(self, text: str) -> Encoded:
        return prompts.encode(self._pipe, self._settings, text, self._loaded.device)

    def _noise(self, seed: int) -> Any:
        side = self._settings.size // self._pipe.vae_scale_factor
        channels = self._pipe.transformer.config.in_channels // (4 if self._is_flux else 1)
        return cpu_noise(seed, (1, channels, side, side)).to(self._loaded.dtype)


class WholeArtist:
    """Any text-to-image pipeline of diffusers: one call from texts to pictures, the safety checker's word included.

    The VAE is decoded again in fp32 where it gives NaN or infinity; black and flat pictures are errors at once.
    """

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._pipe = loaded.pipe
        self._settings = loaded.settings
        self._in_fp32 = False
        settings, accepted = loaded.settings, inspect.signature(loaded.pipe.__call__).parameters
        wanted = {"negative_prompt": settings.negative_prompt, "max_sequence_length": settings.length}
        for name, value in wanted.items():
            if value is not None and name not in accepted:
                raise ConfigError(f"{settings.model}: {type(loaded.pipe).__name__} takes no {name}; leave it out")
        self._options: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
        if "guidance_scale" in accepted:
            self._options["guidance_scale"] = settings.guidance
        self._takes_latents = "latents" in accepted and getattr(loaded.pipe, "unet", None) is not None
        self._guard_decoder()

    def prepare(self, jobs: Sequence[RenderJob]) -> Sequence[None]:
        """Nothing: the pipeline reads the text itself."""
        return [None] * len(jobs)

    def launch(self, jobs: Sequence[RenderJob], texts: Sequence[None]) -> Sequence[Rendering]:
        """Draw, wait, check."""
        del texts
        torch = load_torch()
        settings, n = self._settings, len(jobs)
        options = dict(self._options)
        if "negative_prompt" in options:
            options["negative_prompt"] = [settings.negative_prompt] * n
        if self._takes_latents:
            options["latents"] = torch.cat([self._noise(job.seed) for job in jobs]).to(self._loaded.device)
        self._in_fp32 = False
        # what draws from the global generator follows from the first seed, where no other rank shares the process
        with torch.random.fork_rng(devices=[] if self._loaded.device == "cpu" else [self._loaded.device]):
            torch.manual_seed(jobs[0].seed)
            found = self._pipe(
                prompt=[job.text for job in jobs],
                height=settings.size,
                width=settings.size,
                num_inference_steps=settings.steps,
                generator=[torch.Generator("cpu").manual_seed(job.seed) for job in jobs],
                output_type="pt",
                **options,
            )
        flags = getattr(found, "nsfw_content_detected", None) or [False] * n
        return [self._rendering(image, bool(flag)) for image, flag in zip(found.images, flags, strict=True)]

    def land(self, flight: Sequence[Rendering]) -> Sequence[Rendering]:
        """They have landed."""
        return flight

    def _rendering(self, image: Any, is_flagged: bool) -> Rendering:
        torch = load_torch()
        notes = {"vae_dtype": "fp32"} if self._in_fp32 else {}
        if is_flagged:
            return Rendering(None, "safety_checker: the pipeline's own checker blanked the picture", notes=notes)
        if not torch.isfinite(image).all():
            return Rendering(None, "picture_not_finite: NaN or infinity; try dtype bf16 or fp32", notes=notes)
        pixels: Pixels = np.ascontiguousarray(from_unit(image).cpu().numpy())
        fault = fault_of(pixels)
        return Rendering(None if fault else pixels, fault, notes=notes)

    def _noise(self, seed: int) -> Any:
        side = self._settings.size // self._pipe.vae_scale_factor
        return cpu_noise(seed, (1, self._pipe.unet.config.in_channels, side, side)).to(self._loaded.dtype)

    def _guard_decoder(self) -> None:
        vae = getattr(self._pipe, "vae", None)
        if vae is None:
            return
        torch, decode = load_torch(), vae.decode
        exact: list[Any] = []

        def guarded(latents: Any, *args: Any, **kwargs: Any) -> Any:
            found = decode(latents, *args, **kwargs)
            image = found[0]
            may_mend = image.element_size() < 4 and bool(torch.isfinite(latents).all())
            if not may_mend or bool(torch.isfinite(image).all()):
                return found
            if not exact:
                exact.append(_without_hooks(vae).to(device=latents.device, dtype=torch.float32))
            self._in_fp32 = True
            return exact[0].decode(latents.float(), *args, **kwargs)

        vae.decode = guarded


def _without_hooks(vae: Any) -> Any:
    """A copy of a module that something may have hooked to move it about."""
    made = type(vae).from_config(vae.config)
    made.load_state_dict(vae.state_dict())
    return made.eval()


def cpu_noise(seed: int, shape: tuple[int, ...]) -> Any:
    """Standard normal numbers in float32 from this seed."""
    torch = load_torch()
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32)
