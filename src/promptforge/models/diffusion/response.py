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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.models.diffusion import variants
from promptforge.models.torch_setup import load_torch
from promptforge.protocols import Pixels, RawTensor, Score
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
    """What is measured of each prompt; the conditions (size, steps, guidance, length) are the teacher's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sample: float = Field(0.01, ge=0, le=1, description="share of the wanted prompts that is measured; 0: none")
    timesteps: tuple[float, ...] = Field(
        (0.0, 0.25, 0.5, 0.75),
        min_length=1,
        max_length=8,
        description="where in the teacher's schedule: 0 is the first step, pure noise; each in [0, 1)",
    )
    noises: int = Field(2, ge=1, le=16, description="starting noises, the same for every prompt")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of these noises")
    reference: str = Field("", description="prompt that every prompt is compared with")
    pooled: Literal["reference", "zero"] = Field(
        "reference", description="pooled CLIP embedding for every prompt: the reference's, or zeros as in DistillT5"
    )
    shuffles: int = Field(4, ge=0, le=64, description="orders of the prompt's own words to compare with")
    nonvisual: int = Field(16, ge=0, le=42, description="non-visual sentences to compare with, nearest in tokens")
    clauses: int = Field(6, ge=0, le=32, description="clauses measured, from the first; 0: none")
    word_swap_px: int = Field(
        1024, ge=64, description="smallest picture on which a word is swapped; smaller ones draw no readable text"
    )

    def steps_of(self, n_steps: int) -> tuple[int, ...]:
        """The measured steps of a schedule of `n_steps`, each once, in order. Raises ConfigError for a bad share."""
        if bad := [share for share in self.timesteps if not 0 <= share < 1]:
            raise ConfigError(f"response.timesteps: {bad[0]!r} is not in [0, 1)")
        return tuple(sorted({math.floor(share * n_steps) for share in self.timesteps}))


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the teacher draws with; the same for every text that is compared. Size in px, square."""

    size: int
    steps: int
    guidance: float
    max_sequence_length: int


def identity(settings: ResponseSettings) -> dict[str, Any]:
    """What decides the measurements besides the teacher and the text; `sample` does not."""
    return {
        "version": VERSION,
        "settings": settings.model_dump(mode="json", exclude={"sample"}),
        "texts": digest_of([variants.nonvisual(), variants.NEUTRAL, variants.swaps()]),
    }


class Responder:
    """Measures prompts with a loaded pipeline, which it leaves as it was. One text a pass, so that none moves another.

    Building it draws the reference prompt once for each noise, as far as the last measured step.
    """

    def __init__(self, pipe: Any, conditions: Conditions, settings: ResponseSettings) -> None:
        self._torch = load_torch()
        self._pipe = pipe
        self._family = _family(pipe)
        self._conditions = conditions
        self._settings = settings
        self.steps = settings.steps_of(conditions.steps)
        self._calls: dict[tuple[int, int], dict[str, Any]] = {}
        self._starts: list[Any] = []
        self._sigmas: dict[int, float] = {}
        for noise in range(settings.noises):
            self._trace(noise)
        self._reference = self._velocities(settings.reference)
        self._nonvisual: dict[str, float] = {}

    def response(self, text: str) -> tuple[Score, ...]:
        """Every metric that needs no picture, in the order of METRICS."""
        own = self._velocities(text)
        parts = self._distances(own, self._reference)
        value = _mean(parts)
        noises = self._settings.noises
        by_step = [_mean(parts[start : start + noises]) for start in range(0, len(parts), noises)]
        detail = {"by_timestep": _rounded(by_step), "n_tokens": self.n_tokens(text)}
        others = [_mean(self._distances(self._velocities(each), self._reference)) for each in self._shuffles(text)]
        nearest = variants.nearest_in_length(self.n_tokens(text), self._settings.nonvisual, self.n_tokens)
        plain = [self._nonvisual_response(sentence) for sentence in nearest]
        if not math.isfinite(value):
            return tuple(Score(metric, None, "not_finite") for metric in METRICS)
        return (
            Score("response", value, canonical_json(detail)),
            Score("shuffled_percentile", variants.percentile(value, others), canonical_json(_rounded(others))),
            Score("nonvisual_percentile", variants.percentile(value, plain), canonical_json(_rounded(plain))),
            self._clauses(text, own),
        )

    def word_swap(self, text: str, drawn: Sequence[str], pixels: Pixels, boxes: Sequence[Box]) -> tuple[Score, ...]:
        """The metric word_swap. `drawn`: the strings to be drawn; `boxes`: where they are in this picture of `text`."""
        swaps = (variants.word_swapped(text, each, self.n_tokens) for each in drawn)
        swapped = next((each for each in swaps if each is not None), None)
        if swapped is None:
            return (Score("word_swap", None, "no_word_fits"),)
        inside = self._region(boxes)
        if not bool(inside.any()):
            return (Score("word_swap", None, "no_region"),)
        latent = self._encoded(pixels)
        places: tuple[list[float], list[float]] = [], []
        for step in self.steps:
            for noise in range(self._settings.noises):
                noised = self._noised(latent, step, noise)
                one = self.velocity(text, step, noise, latent=noised)
                other = self.velocity(swapped, step, noise, latent=noised)
                for found, mask in zip(places, (inside, ~inside), strict=True):
                    found.append(self._distance(one * mask, other * mask))
        value, outside = _mean(places[0]), _mean(places[1])
        if not math.isfinite(value):
            return (Score("word_swap", None, "not_finite"),)
        rest = round(outside, 6) if math.isfinite(outside) else None  # a box over the whole picture leaves nothing
        return (Score("word_swap", value, canonical_json({"swapped": swapped, "outside": rest})),)

    def distance(self, text: str, reference: str) -> float:
        """How far the velocity under `text` is from that under `reference`; 0 for equal texts."""
        return _mean(self._distances(self._velocities(text), self._velocities(reference)))

    def velocity(self, text: Any, step: int, noise: int, latent: Any = None) -> Any:
        """float32, channels x height x width of the latent, on the pipeline's device.

        `text` is a prompt, or its embedding as `embed` or the table embeddings has it. `latent` takes the place of
        the reference's latent at this step; it is of the transformer's own shape, batch of one.
        """
        inputs = self.inputs(text, step, noise)
        if latent is not None:
            inputs["hidden_states"] = latent.expand_as(inputs["hidden_states"])
        try:
            with self._torch.no_grad():
                found = self._pipe.transformer(**inputs)[0]
        except self._torch.OutOfMemoryError as exc:
            raise EnvironmentFault(
                f"teacher response at {self._conditions.size} px: out of GPU memory at one picture; use a teacher of"
                " lower precision, a smaller size, or offload its text encoders"
            ) from exc
        if found.shape[0] == 2:  # classifier-free guidance, in the pipeline's own order of operations
            without, with_text = found.chunk(2)
            found = without + self._conditions.guidance * (with_text - without)
        return self._unpacked(found).to(self._torch.float32, copy=True)

    def inputs(self, text: Any, step: int, noise: int) -> dict[str, Any]:
        """The transformer's keyword arguments for a text; those of two texts differ in encoder_hidden_states alone."""
        call = self._calls[step, noise]
        embeds = self.embed(text) if isinstance(text, str) else self._as_tensor(text)
        old = call["encoder_hidden_states"]
        embeds = embeds.to(device=old.device, dtype=old.dtype)
        if embeds.shape != old[-1:].shape:
            raise ConfigError(
                f"embedding of shape {tuple(embeds.shape[1:])}; the teacher's regime has {tuple(old.shape[1:])}: it was"
                " stored under another max_sequence_length"
            )
        return {**call, "encoder_hidden_states": self._torch.cat([old[:-1], embeds])}

    def embed(self, text: str) -> Any:
        """Prompt embedding, 1 x tokens x width, padded to the full length."""
        return self._encode(text)["prompt_embeds"]

    def n_tokens(self, text: str) -> int:
        """Tokens of the long text encoder (T5), special ones included, before any cut."""
        return len(self._tokenizer(text, truncation=False, verbose=False).input_ids)

    @property
    def _tokenizer(self) -> Any:
        names = ("tokenizer_3", "tokenizer_2", "tokenizer") if self._family == "sd3" else ("tokenizer_2", "tokenizer")
        return next(found for name in names if (found := getattr(self._pipe, name, None)) is not None)

    # -- what the pipeline does --------------------------------------------------------------------------------

    def _encode(self, text: str, *, both: bool = False) -> dict[str, Any]:
        """Embeddings by the names that the pipeline's call has for them; `both`: also of the empty negative prompt."""
        length = self._conditions.max_sequence_length
        with self._torch.no_grad():
            if self._family == "flux":
                embeds, pooled, _ = self._pipe.encode_prompt(text, text, max_sequence_length=length)
                return {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled}
            guided = both and self._conditions.guidance > 1
            names = tuple(
                f"{sign}{kind}" for kind in ("prompt_embeds", "pooled_prompt_embeds") for sign in ("", "negative_")
            )
            found = self._pipe.encode_prompt(
                text, text, text, do_classifier_free_guidance=guided, max_sequence_length=length
            )
            return {name: tensor for name, tensor in zip(names, found, strict=True) if tensor is not None}

    def _trace(self, noise: int) -> None:
        """Draw the reference prompt, catching the transformer's inputs at the measured steps."""
        pipe, last, seen = self._pipe, max(self.steps), 0
        embeds = self._encode(self._settings.reference, both=True)
        if self._settings.pooled == "zero":
            embeds |= {name: self._torch.zeros_like(each) for name, each in embeds.items() if "pooled" in name}

        def catch(_module: Any, _args: Any, inputs: Mapping[str, Any]) -> None:
            nonlocal seen
            if seen == 0:
                self._starts.append(inputs["hidden_states"][-1:].clone())
            if seen in self.steps:
                self._calls[seen, noise] = {name: _kept(value) for name, value in inputs.items()}
            seen += 1

        def stop(pipeline: Any, step: int, _timestep: Any, _tensors: Any) -> dict[str, Any]:
            pipeline._interrupt = step >= last
            return {}

        hook = pipe.transformer.register_forward_pre_hook(catch, with_kwargs=True)
        try:
            pipe(
                **embeds,
                height=self._conditions.size,
                width=self._conditions.size,
                num_inference_steps=self._conditions.steps,
                guidance_scale=self._conditions.guidance,
                max_sequence_length=self._conditions.max_sequence_length,
                generator=self._torch.Generator("cpu").manual_seed(noise_seed("response", noise, self._settings.seed)),
                output_type="latent",
                callback_on_step_end=stop,
                callback_on_step_end_tensor_inputs=[],
            )
        finally:
            hook.remove()
        self._sigmas = {step: float(pipe.scheduler.sigmas[step]) for step in self.steps}

    def _unpacked(self, velocity: Any) -> Any:
        if self._family == "sd3":
            return velocity[0]
        size = self._conditions.size
        return self._pipe._unpack_latents(velocity, size, size, self._pipe.vae_scale_factor)[0]

    def _encoded(self, pixels: Pixels) -> Any:
        """Latent of a picture as the transformer takes it: the mean that the VAE gives, shifted, scaled, packed."""
        size = self._conditions.size
        if pixels.shape != (size, size, 3):
            raise ConfigError(f"picture of {pixels.shape[1]} x {pixels.shape[0]} px; the teacher's regime is {size} px")
        vae = self._pipe.vae
        weight = next(vae.parameters())
        tensor = self._torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].to(weight.device, weight.dtype)
        with self._torch.no_grad():
            found = vae.encode(tensor / 127.5 - 1).latent_dist.mode()
        latent = (found - vae.config.shift_factor) * vae.config.scaling_factor
        if self._family == "flux":
            latent = self._pipe._pack_latents(latent, *latent.shape)
        start = self._starts[0]
        return latent.to(device=start.device, dtype=start.dtype)

    def _noised(self, latent: Any, step: int, noise: int) -> Any:
        sigma = self._sigmas[step]
        return sigma * self._starts[noise] + (1 - sigma) * latent

    # -- measuring ---------------------------------------------------------------------------------------------

    def _velocities(self, text: str) -> list[Any]:
        embeds = self.embed(text)
        return [self.velocity(embeds, step, n) for step in self.steps for n in range(self._settings.noises)]

    def _distances(self, some: Sequence[Any], references: Sequence[Any]) -> list[float]:
        return [self._distance(one, other) for one, other in zip(some, references, strict=True)]

    def _distance(self, one: Any, reference: Any) -> float:
        wide = self._torch.float64
        below = float(reference.to(wide).norm())
        return float((one.to(wide) - reference.to(wide)).norm()) / below if below else math.nan

    def _shuffles(self, text: str) -> tuple[str, ...]:
        return variants.shuffles(text, self._settings.shuffles)

    def _nonvisual_response(self, sentence: str) -> float:
        if sentence not in self._nonvisual:
            self._nonvisual[sentence] = _mean(self._distances(self._velocities(sentence), self._reference))
        return self._nonvisual[sentence]

    def _clauses(self, text: str, own: Sequence[Any]) -> Score:
        found: list[dict[str, Any]] = []
        for start, stop in variants.clauses(text, self._settings.clauses) if self._settings.clauses else ():
            other = variants.neutralised(text, (start, stop), self.n_tokens)
            value = None if other is None else _mean(self._distances(own, self._velocities(other)))
            found.append({"clause": text[start:stop], "response": value if value is None else round(value, 6)})
        values = [each["response"] for each in found if each["response"] is not None]
        return Score("clause_min", min(values, default=None), canonical_json(found) if found else None)

    def _region(self, boxes: Sequence[Box]) -> Any:
        """Height x width of the latent, True in cells that a box touches."""
        size, cell = self._conditions.size, int(self._pipe.vae_scale_factor)
        mask = self._torch.zeros(size // cell, size // cell, dtype=self._torch.bool, device=self._reference[0].device)
        for x0, y0, x1, y1 in boxes:
            left, top = (max(0, math.floor(each / cell)) for each in (x0, y0))
            right, bottom = (max(0, math.ceil(each / cell)) for each in (x1, y1))
            mask[top:bottom, left:right] = True
        return mask

    def _as_tensor(self, stored: Any) -> Any:
        if not isinstance(stored, RawTensor):
            return stored
        flat = self._torch.frombuffer(bytearray(stored.data), dtype=getattr(self._torch, stored.dtype))
        return flat.reshape(1, *stored.shape)


def boxes_of(corners: Sequence[Sequence[tuple[float, float]]]) -> tuple[Box, ...]:
    """Upright boxes around the four-cornered ones that a text reader gives."""
    return tuple(
        (min(x for x, _ in each), min(y for _, y in each), max(x for x, _ in each), max(y for _, y in each))
        for each in corners
    )


def _family(pipe: Any) -> str:
    names = {"FluxPipeline": "flux", "StableDiffusion3Pipeline": "sd3"}
    name = type(pipe).__name__
    if name not in names:
        raise ConfigError(f"teacher response: cannot measure a {name}; it knows {', '.join(sorted(names))}")
    return names[name]


def _kept(value: Any) -> Any:
    clone: Callable[[], Any] | None = getattr(value, "clone", None)
    return clone() if clone else value


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 6) for value in values]
