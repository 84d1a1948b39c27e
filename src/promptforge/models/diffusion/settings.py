"""What a diffusion teacher is set to, and the description behind its fingerprint; imports neither torch nor diffusers.

The description holds all that decides pixels. What changes speed or memory alone (memory, compile) or adds
outputs (store_*) is left out: it is provenance, or none of the picture's business.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from promptforge.models import weights

#: What a pipeline is loaded from. Weights in the top folder are single-file copies of those in the subfolders.
FILES = ("model_index.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.safetensors")

Pipeline = Literal["flux", "sd3", "auto"]
Memory = Literal["resident", "encoders_to_cpu", "model_offload", "blocks_to_cpu"]

_LENGTHS: dict[str, int | None] = {"flux": 512, "sd3": 256, "auto": None}  #: the pipelines' own defaults


class Settings(BaseModel):
    """A pipeline and how it draws. Pictures are square."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(min_length=1, description="folder of a pipeline (save_pretrained), or hub id")
    revision: str | None = Field(None, description="commit of the hub repository, 40 hex digits; none for a folder")
    pipeline: Pipeline = Field("flux", description="flux, sd3, or auto: whatever diffusers has for the model")
    dtype: Literal["bf16", "fp16", "fp32"] = Field("bf16", description="type of weights and arithmetic")
    size: int = Field(1024, ge=64, le=4096, multiple_of=16, description="side of the picture in pixels")
    steps: int = Field(28, ge=1, le=1000, description="denoising steps")
    guidance: float = Field(3.5, ge=0, le=100, allow_inf_nan=False, description="guidance scale")
    max_sequence_length: int | None = Field(
        None, ge=8, le=512, description="tokens that T5 gives, padding included; null: 512 for flux, 256 for sd3"
    )
    pooled: Literal["text", "zero"] = Field(
        "text", description="pooled CLIP embedding: the prompt's, or zeros as the DistillT5 trainer has it"
    )
    negative_prompt: str | None = Field(None, description="what guidance leads away from; not for flux")
    scheduler: str | None = Field(None, description="class of diffusers; null: the pipeline's own")
    shift: float | None = Field(
        None, gt=0, le=100, description="fixed timestep shift of a flow-matching scheduler; null: the scheduler's own"
    )
    batch: int = Field(
        1, ge=1, le=64, description="pictures denoised at once; above 1 a picture may differ by a level from batch 1"
    )
    memory: Memory | Literal["auto"] = Field("auto", description="where weights lie; auto: by the free GPU memory")
    compile: bool = Field(True, description="compile the denoiser on a GPU; never on a CPU")
    cuda_graphs: bool = Field(
        False, description="the whole denoiser in CUDA graphs: for small pictures, where launches take the time"
    )
    fp8_weights: bool = Field(False, description="lossy: keep the denoiser's weights in 8 bits")
    first_block_cache: float | None = Field(
        None, gt=0, le=1, description="lossy: skip a step where the first block changes less than this share (flux)"
    )
    store_latents: bool = Field(False, description="keep each picture's final latent")
    store_embeddings: bool = Field(False, description="keep each prompt's embeddings at full length")
    licence: str | None = Field(None, max_length=200, description="terms of the pictures, where the model is not known")
    restricted: bool = Field(
        False, description="the licence restricts the pictures' use, so that the recipe must accept it by name"
    )

    @model_validator(mode="after")
    def _fits_the_pipeline(self) -> Self:
        weights.check_field(self.model, self.revision)
        for wrong, message in self._contradictions():
            if wrong:
                raise ValueError(message)
        return self

    def _contradictions(self) -> tuple[tuple[bool, str], ...]:
        auto, flux = self.pipeline == "auto", self.pipeline == "flux"
        return (
            (flux and self.negative_prompt is not None, "negative_prompt: FLUX has none; leave it out"),
            (auto and self.pooled == "zero", "pooled = 'zero' needs pipeline flux or sd3"),
            (auto and self.shift is not None, "shift needs pipeline flux or sd3"),
            (
                auto and (self.store_latents or self.store_embeddings),
                "store_latents and store_embeddings need pipeline flux or sd3, whose tensors have a known layout",
            ),
            (
                auto and self.memory in ("encoders_to_cpu", "blocks_to_cpu"),
                f"memory = {self.memory!r} needs pipeline flux or sd3; with auto take auto, resident or model_offload",
            ),
            (
                not flux and self.first_block_cache is not None,
                "first_block_cache needs pipeline flux: the transformer of Stable Diffusion 3 has no cache",
            ),
            (
                self.cuda_graphs and self.memory in ("model_offload", "blocks_to_cpu"),
                f"cuda_graphs needs weights that stay where they are; memory is {self.memory!r}",
            ),
            (
                self.cuda_graphs and (self.fp8_weights or self.first_block_cache is not None),
                "cuda_graphs goes with neither fp8_weights nor first_block_cache",
            ),
        )

    @property
    def length(self) -> int | None:
        """Tokens of T5; None leaves it to the pipeline."""
        return _LENGTHS[self.pipeline] if self.max_sequence_length is None else self.max_sequence_length

    @property
    def guides(self) -> bool:
        """Whether each step has two passes of the denoiser, with and without the prompt."""
        return self.pipeline != "flux" and self.guidance > 1


def describe(settings: Settings, code: int) -> dict[str, Any]:
    """What decides a picture besides text and seed; `code` is the teacher's VERSION.

    Hashes the files of a local model (2 s a GB, once while they stay as they are). Raises EnvironmentFault where they
    are missing. The version of diffusers is in it, whose schedulers decide the steps; without diffusers one can
    describe, not draw.
    """
    try:
        library = version("diffusers")
    except PackageNotFoundError:
        library = "not installed"
    found: dict[str, Any] = {
        "teacher": "diffusers",
        "version": code,
        "diffusers": library,
        "model": weights.identity(settings.model, settings.revision, FILES),
        "pipeline": settings.pipeline,
        "dtype": settings.dtype,
        "size": settings.size,
        "steps": settings.steps,
        "guidance": settings.guidance,
        "max_sequence_length": settings.length,
        "pooled": settings.pooled,
        "negative_prompt": settings.negative_prompt,
        "scheduler": settings.scheduler,
        "shift": settings.shift,
    }
    if settings.batch > 1:
        found["batch"] = settings.batch
    if settings.fp8_weights:
        found["fp8_weights"] = True
    if settings.first_block_cache is not None:
        found["first_block_cache"] = settings.first_block_cache
    return found
