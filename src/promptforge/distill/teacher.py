"""The frozen teacher: its transformer, its schedule, its encoders, one step at a time.

Every number is the pipeline's own: the sigmas and their shift, the packed latents, the ids, the noise of a seed. A
drawing whose every step goes by the teacher's prediction is the pipeline's picture to the bit (tests/distill).
Not covered: pipelines other than FLUX; guidance by a second pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from promptforge.errors import ConfigError
from promptforge.models.diffusion.artists import cpu_noise
from promptforge.models.diffusion.loading import Loaded, load
from promptforge.models.diffusion.settings import Settings
from promptforge.models.torch_setup import load_torch


@dataclass(frozen=True, slots=True)
class Told:
    """Texts as the transformer is given them: `embeds` n x tokens x width, `pooled` n x width, `ids` of the tokens."""

    embeds: Any
    pooled: Any
    ids: Any


class Teacher:
    """A loaded FLUX pipeline whose weights take no gradient."""

    def __init__(self, loaded: Loaded) -> None:
        settings = loaded.settings
        if settings.pipeline != "flux":
            raise ConfigError(f"teacher.pipeline is {settings.pipeline!r}; distillation knows flux")
        self.pipe, self.device, self.dtype, self.settings = loaded.pipe, loaded.device, loaded.dtype, settings
        self._loaded = loaded
        for part in (self.pipe.transformer, self.pipe.text_encoder, self.pipe.text_encoder_2):
            part.requires_grad_(False).eval()
        self.width = int(self.pipe.transformer.config.joint_attention_dim)
        assert settings.length is not None  # it is left to pipelines of kind auto alone
        self.length = settings.length  # tokens of T5, padding included

    @classmethod
    def load(cls, settings: Settings, rank: int = 0) -> Teacher:
        """The pipeline on the rank's device, without what hides single steps."""
        change = {"cuda_graphs": False, "first_block_cache": None}
        return cls(load(settings.model_copy(update=change), rank))

    def tokens(self, texts: Sequence[str], length: int) -> Any:
        """Input ids of T5's tokenizer, padded to `length`: what teacher and student read alike."""
        found = self.pipe.tokenizer_2(
            list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        return found.input_ids.to(self.device)

    def tell(self, texts: Sequence[str], length: int) -> Told:
        """What the teacher's own encoders make of the texts; the pooled embedding is zero where the settings say so."""
        torch = load_torch()
        with self._loaded.encoding(), torch.no_grad():
            embeds, pooled, _ = self.pipe.encode_prompt(
                list(texts), None, max_sequence_length=length, device=self.device
            )
        if self.settings.pooled == "zero":
            pooled = torch.zeros_like(pooled)
        return Told(embeds, pooled, torch.zeros(length, 3, device=self.device, dtype=embeds.dtype))

    def begin(self, seeds: Sequence[int], size: int) -> Drawing:
        """Noise of these seeds for pictures of `size` px, and the schedule from there."""
        torch, pipe = load_torch(), self.pipe
        side = 2 * (size // (pipe.vae_scale_factor * 2))
        channels = pipe.transformer.config.in_channels // 4
        noise = torch.cat([cpu_noise(seed, (1, channels, side, side)).to(self.dtype) for seed in seeds])
        latents = pipe._pack_latents(noise.to(self.device), len(seeds), channels, side, side)
        ids = pipe._prepare_latent_image_ids(len(seeds), side // 2, side // 2, self.device, self.dtype)
        return Drawing(self, latents, ids, self._scheduler(latents.shape[1]))

    def _scheduler(self, n_patches: int) -> Any:
        import numpy as np
        from diffusers.pipelines.flux.pipeline_flux import calculate_shift

        scheduler = type(self.pipe.scheduler).from_config(self.pipe.scheduler.config)
        config, steps = scheduler.config, self.settings.steps
        mu = calculate_shift(
            n_patches,
            config.get("base_image_seq_len", 256),
            config.get("max_image_seq_len", 4096),
            config.get("base_shift", 0.5),
            config.get("max_shift", 1.15),
        )
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), device=self.device, mu=mu)
        return scheduler


class Drawing:
    """Pictures on their way from noise; `latents` are packed: n x patches x channels."""

    def __init__(self, teacher: Teacher, latents: Any, ids: Any, scheduler: Any) -> None:
        self._teacher, self.latents, self._ids, self._scheduler = teacher, latents, ids, scheduler
        self.timesteps = scheduler.timesteps

    def velocity(self, number: int, told: Told, guidance: Any) -> Any:
        """The transformer's prediction at step `number` under these texts; `guidance`: n numbers."""
        torch, net = load_torch(), self._teacher.pipe.transformer
        n = self.latents.shape[0]
        given = None
        if net.config.guidance_embeds:
            given = torch.as_tensor(guidance, dtype=torch.float32, device=self.latents.device).expand(n)
        return net(
            hidden_states=self.latents,
            timestep=self.timesteps[number].expand(n).to(self.latents.dtype) / 1000,
            guidance=given,
            pooled_projections=told.pooled,
            encoder_hidden_states=told.embeds,
            txt_ids=told.ids,
            img_ids=self._ids,
            return_dict=False,
        )[0]

    def move_on(self, number: int, velocity: Any) -> None:
        """One Euler step along a velocity."""
        kept = self.latents.dtype
        found = self._scheduler.step(velocity, self.timesteps[number], self.latents, return_dict=False)[0]
        self.latents = found.to(kept)
