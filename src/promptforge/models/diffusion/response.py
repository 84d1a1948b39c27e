"""Teacher response: how much does the teacher's prediction depend on this prompt?

    distance(prompt, reference) = mean over timesteps and noises of |v(prompt) - v(reference)| / |v(reference)|

v is the velocity that the pipeline steps with (after guidance, where there are two branches), | | the L2 norm over
the whole latent, in float64. Latent, timestep, guidance, pooled embedding and sequence length are the same in both;
encoder_hidden_states alone differs. They are the transformer's own inputs, caught while the pipeline draws the
reference prompt, so packing, ids and the scheduler's shift are the pipeline's. The latents are therefore those of the
reference's trajectory, from noises that every prompt shares.

    metric                 unit and range
    response               [0, inf): distance(prompt, reference prompt); detail JSON: mean at each timestep, tokens
    shuffled_percentile    [0, 100]: place of the response among those of the prompt's own words in other orders
    nonvisual_percentile   [0, 100]: place among sentences about nothing visible, nearest in tokens
    clause_min             [0, inf): smallest distance(prompt, prompt with one clause made neutral at equal length);
                           detail JSON: each clause and its distance, null where no neutral words fit
    word_swap              [0, inf): distance(prompt, prompt with a drawn word swapped) inside the text's boxes, on the
                           noised latent of the picture itself; detail JSON: the swapped prompt, the same outside

A value is null where it does not apply. None of it has been shown to mean what it says on real weights: of use only
once non-visual prompts come out low. Costs n_timesteps x n_noises passes of the transformer a text, so by default 8
for the prompt, 32 for its shuffles, up to 48 for its clauses; the non-visual sentences are measured once.
Not covered: pipelines other than FLUX and Stable Diffusion 3; caching across steps, which has no single velocity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.models.diffusion import variants
from promptforge.models.diffusion.artists import LatentArtist
from promptforge.models.diffusion.loading import Loaded, load
from promptforge.models.diffusion.prompts import Encoded
from promptforge.models.diffusion.settings import Settings
from promptforge.models.diffusion.speed import compiled
from promptforge.models.diffusion.tensors import torch_tensor
from promptforge.models.torch_setup import computing, load_torch
from promptforge.protocols import Pixels, RawTensor, RenderJob, Score
from promptforge.records import canonical_json, digest_of, noise_seed

VERSION = 1
METRICS: Mapping[str, str] = {
    "response": "number",
    "shuffled_percentile": "number",
    "nonvisual_percentile": "number",
    "clause_min": "number",
}

Box = tuple[float, float, float, float]  #: x0, y0, x1, y1 in px of the picture


class ResponseSettings(BaseModel):
    """What is measured of each prompt; size, steps, guidance, length and pooled embedding are the teacher's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sample: float = Field(0.01, ge=0, le=1, description="share of the wanted prompts that is measured; 0: none")
    timesteps: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = Field(
        (0.0, 0.25, 0.5, 0.75),
        min_length=1,
        max_length=8,
        description="where in the teacher's schedule: 0 is the first step, pure noise; each in [0, 1)",
    )
    noises: int = Field(2, ge=1, le=16, description="starting noises, the same for every prompt")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of these noises")
    reference: str = Field("", description="prompt that every prompt is compared with")
    shuffles: int = Field(4, ge=0, le=64, description="orders of the prompt's own words to compare with")
    nonvisual: int = Field(16, ge=0, le=42, description="non-visual sentences to compare with, nearest in tokens")
    clauses: int = Field(6, ge=0, le=32, description="clauses measured, from the first; 0: none")
    word_swap_px: int = Field(
        1024, ge=64, description="smallest picture on which a word is swapped; smaller ones draw no readable text"
    )

    def steps_of(self, n_steps: int) -> tuple[int, ...]:
        """The measured steps of a schedule of `n_steps`, each once, in order."""
        return tuple(sorted({math.floor(share * n_steps) for share in self.timesteps}))


def identity(settings: ResponseSettings) -> dict[str, Any]:
    """What decides the measurements besides the teacher and the text; `sample` does not."""
    return {
        "version": VERSION,
        "settings": settings.model_dump(mode="json", exclude={"sample"}),
        "texts": digest_of([variants.nonvisual(), variants.NEUTRAL, variants.swaps()]),
    }


class Responder:
    """Measures prompts with the teacher's own pipeline and settings. One text a pass, so that none moves another.

    Building it draws the reference prompt once for each noise.
    """

    def __init__(self, loaded: Loaded, settings: ResponseSettings) -> None:
        check(loaded.settings)
        self._torch = load_torch()
        self._loaded = loaded
        self._pipe = loaded.pipe
        self._teacher = loaded.settings
        self._settings = settings
        self._flux = loaded.settings.pipeline == "flux"
        self._artist = LatentArtist(loaded)
        self.steps = settings.steps_of(loaded.settings.steps)
        self._points = [(step, noise) for step in self.steps for noise in range(settings.noises)]
        self._calls: dict[tuple[int, int], dict[str, Any]] = {}
        self._starts: list[Any] = []
        reference = self.embed(settings.reference)
        for noise in range(settings.noises):
            self._trace(noise, reference)
        self._reference = self._velocities(reference.embeds)
        self._nonvisual: dict[str, float] = {}

    @computing()
    def response(self, text: str) -> tuple[Score, ...]:
        """Every metric that needs no picture, in the order of METRICS."""
        settings, n_tokens = self._settings, self.n_tokens(text)
        shuffles = variants.shuffles(text, settings.shuffles)
        plain = variants.nearest_in_length(n_tokens, settings.nonvisual, self.n_tokens)
        spans = variants.clauses(text, settings.clauses) if settings.clauses else ()
        neutral = [variants.neutralised(text, span, self.n_tokens) for span in spans]
        new = [sentence for sentence in plain if sentence not in self._nonvisual]
        embeds = self._embedded([text, *shuffles, *new, *filter(None, neutral)])
        own = self._velocities(embeds[text])
        parts = self._distances(own, self._reference)
        value = _mean(parts)
        if not math.isfinite(value):
            return tuple(Score(metric, None, "not_finite") for metric in METRICS)
        by_step = [_mean(parts[at : at + settings.noises]) for at in range(0, len(parts), settings.noises)]
        detail = {"by_timestep": _rounded(by_step), "n_tokens": n_tokens}
        shuffled = [_mean(self._distances(self._velocities(embeds[each]), self._reference)) for each in shuffles]
        for each in new:
            self._nonvisual[each] = _mean(self._distances(self._velocities(embeds[each]), self._reference))
        others = [self._nonvisual[each] for each in plain]
        clauses = [
            None if other is None else _mean(self._distances(own, self._velocities(embeds[other]))) for other in neutral
        ]
        return (
            Score("response", value, canonical_json(detail)),
            Score("shuffled_percentile", variants.percentile(value, shuffled), canonical_json(_rounded(shuffled))),
            Score("nonvisual_percentile", variants.percentile(value, others), canonical_json(_rounded(others))),
            _clause_score([text[start:stop] for start, stop in spans], clauses),
        )

    @computing()
    def word_swap(self, text: str, drawn: Sequence[str], pixels: Pixels, boxes: Sequence[Box]) -> tuple[Score, ...]:
        """The metric word_swap. `drawn`: the strings to be drawn; `boxes`: where they are in this picture of `text`."""
        swaps = (variants.word_swapped(text, each, self.n_tokens) for each in drawn)
        swapped = next((each for each in swaps if each is not None), None)
        if swapped is None:
            return (Score("word_swap", None, "no_word_fits"),)
        inside = self.region(boxes)
        if not bool(inside.any()):
            return (Score("word_swap", None, "no_region"),)
        latent, embeds = self.encoded(pixels), self._embedded([text, swapped])
        within, without = [], []
        for step, noise in self._points:
            noised = self.noised(latent, step, noise)
            one, other = (self.velocity(embeds[each], step, noise, latent=noised) for each in (text, swapped))
            within.append(self._distance(one * inside, other * inside))
            without.append(self._distance(one * ~inside, other * ~inside))
        value, rest = _mean(within), _mean(without)
        if not math.isfinite(value):
            return (Score("word_swap", None, "not_finite"),)
        # a box over the whole picture leaves nothing outside
        detail = {"swapped": swapped, "outside": round(rest, 6) if math.isfinite(rest) else None}
        return (Score("word_swap", value, canonical_json(detail)),)

    def distance(self, text: str, reference: str) -> float:
        """How far the velocity under `text` is from that under `reference`; 0 for equal texts."""
        embeds = self._embedded([text, reference])
        return _mean(self._distances(self._velocities(embeds[text]), self._velocities(embeds[reference])))

    def velocity(self, text: Any, step: int, noise: int, latent: Any = None) -> Any:
        """float32, channels x height x width of the latent, on the pipeline's device.

        `text` is a prompt, or its embedding as a tensor (1 x tokens x width) or as the table embeddings has it.
        `latent` takes the place of the reference's latent at this step; a batch of one in the transformer's own shape.
        """
        inputs = self.inputs(text, step, noise)
        if latent is not None:
            inputs["hidden_states"] = latent.expand_as(inputs["hidden_states"])
        with self._told(), self._torch.no_grad():
            found = self._pipe.transformer(**inputs)[0]
        if found.shape[0] == 2:  # classifier-free guidance, in the pipeline's own order of operations
            alone, with_text = found.chunk(2)
            found = alone + self._teacher.guidance * (with_text - alone)
        return self._unpacked(found).to(self._torch.float32, copy=True)

    def inputs(self, text: Any, step: int, noise: int) -> dict[str, Any]:
        """The transformer's keyword arguments for a text; those of two texts differ in encoder_hidden_states alone."""
        call = self._calls[step, noise]
        if isinstance(text, str):
            embeds = self.embed(text).embeds
        else:
            embeds = torch_tensor(text)[None] if isinstance(text, RawTensor) else text
        old = call["encoder_hidden_states"]
        embeds = embeds.to(device=old.device, dtype=old.dtype)
        if embeds.shape != old[-1:].shape:
            raise ConfigError(
                f"embedding of shape {tuple(embeds.shape[1:])}; the teacher's regime has {tuple(old.shape[1:])}: it was"
                " stored under another max_sequence_length"
            )
        return {**call, "encoder_hidden_states": self._torch.cat([old[:-1], embeds])}

    def embed(self, text: str) -> Encoded:
        """What the teacher's text encoders make of a text, at the full length."""
        with self._told():
            return self._artist.prepare([RenderJob(text, 0)])[0]

    def n_tokens(self, text: str) -> int:
        """Tokens of the long text encoder (T5), special ones included, before any cut."""
        names = ("tokenizer_2", "tokenizer") if self._flux else ("tokenizer_3", "tokenizer_2", "tokenizer")
        tokenizer = next(found for name in names if (found := getattr(self._pipe, name, None)) is not None)
        return len(tokenizer(text, truncation=False, verbose=False).input_ids)

    def region(self, boxes: Sequence[Box]) -> Any:
        """Height x width of the latent, True in cells that a box touches."""
        size, cell = self._teacher.size, int(self._pipe.vae_scale_factor)
        mask = self._torch.zeros(size // cell, size // cell, dtype=self._torch.bool, device=self._reference[0].device)
        for x0, y0, x1, y1 in boxes:
            left, top = (max(0, math.floor(each / cell)) for each in (x0, y0))
            right, bottom = (max(0, math.ceil(each / cell)) for each in (x1, y1))
            mask[top:bottom, left:right] = True
        return mask

    def encoded(self, pixels: Pixels) -> Any:
        """Latent of a picture as the transformer takes it: the mean that the VAE gives, shifted, scaled, packed."""
        size = self._teacher.size
        if pixels.shape != (size, size, 3):
            raise ConfigError(f"picture of {pixels.shape[1]} x {pixels.shape[0]} px; the teacher's regime is {size} px")
        vae = self._pipe.vae
        weight = next(vae.parameters())
        tensor = self._torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].to(weight.device, weight.dtype)
        with self._told(), self._torch.no_grad():
            found = vae.encode(tensor / 127.5 - 1).latent_dist.mode()
        latent = (found - (getattr(vae.config, "shift_factor", None) or 0)) * vae.config.scaling_factor
        if self._flux:
            latent = self._pipe._pack_latents(latent, *latent.shape)
        start = self._starts[0]
        return latent.to(device=start.device, dtype=start.dtype)

    def noised(self, latent: Any, step: int, noise: int) -> Any:
        """What lies on the straight path from the noise to the latent at this step: s noise + (1 - s) latent."""
        sigma = float(self._pipe.scheduler.sigmas[step])
        return sigma * self._starts[noise] + (1 - sigma) * latent

    @computing()
    def _trace(self, noise: int, reference: Encoded) -> None:
        """Draw the reference prompt as the teacher does, catching the transformer's inputs at the measured steps."""
        seen = 0

        def catch(_module: Any, _args: Any, inputs: Mapping[str, Any]) -> None:
            nonlocal seen
            if seen == 0:
                self._starts.append(inputs["hidden_states"][-1:].clone())
            if seen in self.steps:
                self._calls[seen, noise] = {name: _kept(value) for name, value in inputs.items()}
            seen += 1

        hook = self._pipe.transformer.register_forward_pre_hook(catch, with_kwargs=True)
        try:
            with self._told():
                self._artist.denoise([noise_seed("response", noise, self._settings.seed)], [reference])
        finally:
            hook.remove()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Names the remedy where memory or the compiler does not do."""
        try:
            with compiled(self._teacher.model):
                yield
        except self._torch.OutOfMemoryError as exc:
            raise EnvironmentFault(
                f"teacher response at {self._teacher.size} px: out of GPU memory at one picture; set regime.memory to"
                " model_offload or blocks_to_cpu, or take a smaller size"
            ) from exc

    def _unpacked(self, velocity: Any) -> Any:
        size = self._teacher.size
        unpack = self._pipe._unpack_latents if self._flux else lambda latents, *_: latents
        return unpack(velocity, size, size, self._pipe.vae_scale_factor)[0]

    def _embedded(self, texts: Sequence[str]) -> dict[str, Any]:
        """Embeddings by text; encoders that are parked visit the device once for all of them."""
        unique = list(dict.fromkeys(texts))
        with self._told():
            found = self._artist.prepare([RenderJob(text, 0) for text in unique])
        return {text: each.embeds for text, each in zip(unique, found, strict=True)}

    def _velocities(self, embeds: Any) -> list[Any]:
        return [self.velocity(embeds, step, noise) for step, noise in self._points]

    def _distances(self, some: Sequence[Any], references: Sequence[Any]) -> list[float]:
        return [self._distance(one, other) for one, other in zip(some, references, strict=True)]

    def _distance(self, one: Any, reference: Any) -> float:
        wide = self._torch.float64
        below = float(reference.to(wide).norm())
        return float((one.to(wide) - reference.to(wide)).norm()) / below if below else math.nan


def check(teacher: Settings) -> None:
    """Raise ConfigError where this teacher's velocity is not known how to be had."""
    if teacher.pipeline == "auto":
        raise ConfigError(f"response: cannot measure {teacher.model} as pipeline 'auto'; it knows flux and sd3")


def build(teacher: Settings, settings: ResponseSettings, rank: int = 0) -> Responder:
    """The teacher's pipeline, loaded for the rank's device, ready to measure.

    Without what would hide single velocities: the cache across steps, whole-network compilation.
    """
    check(teacher)
    change = {
        "cuda_graphs": False,
        "first_block_cache": None,
        "compile": teacher.compile and teacher.pipeline == "flux",
    }
    return Responder(load(teacher.model_copy(update=change), rank), settings)


def _clause_score(clauses: Sequence[str], values: Sequence[float | None]) -> Score:
    known = [value for value in values if value is not None]
    rows = [
        {"clause": clause, "response": None if value is None else round(value, 6)}
        for clause, value in zip(clauses, values, strict=True)
    ]
    return Score("clause_min", min(known, default=None), canonical_json(rows) if rows else None)


def boxes_of(corners: Sequence[Sequence[tuple[float, float]]]) -> tuple[Box, ...]:
    """Upright boxes around the four-cornered ones that a text reader gives."""
    return tuple(
        (min(x for x, _ in each), min(y for _, y in each), max(x for x, _ in each), max(y for _, y in each))
        for each in corners
    )


def _kept(value: Any) -> Any:
    clone: Callable[[], Any] | None = getattr(value, "clone", None)
    return clone() if clone else value


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 6) for value in values]
