"""Embeddings of one prompt at a time, at one padded length: what the denoiser is given, and what may be stored.

Padding counts: FLUX attends to it, so an embedding cut to its words gives another velocity.
Not covered: pipelines other than FLUX and Stable Diffusion 3, which encode inside their own call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from promptforge.models.diffusion.settings import Settings
from promptforge.models.diffusion.tensors import raw_tensor
from promptforge.models.torch_setup import load_torch
from promptforge.protocols import RawTensor


@dataclass(frozen=True, slots=True)
class Encoded:
    """A prompt for the denoiser: embeds 1 x tokens x width, pooled 1 x width, on the device."""

    embeds: Any
    pooled: Any

    def stored(self, with_pooled: bool) -> dict[str, RawTensor]:
        """The tensors by diffusers' names, without the batch; pooled zeros are not worth a row."""
        found = {"prompt_embeds": raw_tensor(self.embeds[0])}
        if with_pooled:
            found["pooled_prompt_embeds"] = raw_tensor(self.pooled[0])
        return found


def encode(pipe: Any, settings: Settings, text: str, device: str) -> Encoded:
    """The prompt alone, batch of one, so that no neighbour and no batch size moves a bit of it."""
    torch = load_torch()
    with torch.no_grad():
        if settings.pipeline == "flux":
            embeds, pooled, _ = pipe.encode_prompt(text, None, device=device, max_sequence_length=settings.length)
        else:
            embeds, _, pooled, _ = pipe.encode_prompt(
                text,
                None,
                None,
                device=device,
                do_classifier_free_guidance=False,
                max_sequence_length=settings.length,
            )
    if settings.pooled == "zero":
        pooled = torch.zeros_like(pooled)
    return Encoded(embeds, pooled)


def arguments(encoded: Sequence[Encoded], negative: Encoded | None) -> dict[str, Any]:
    """Keywords of the pipeline's call for a batch."""
    torch = load_torch()
    found = {
        "prompt_embeds": torch.cat([each.embeds for each in encoded]),
        "pooled_prompt_embeds": torch.cat([each.pooled for each in encoded]),
    }
    if negative is not None:
        found["negative_prompt_embeds"] = negative.embeds.repeat(len(encoded), 1, 1)
        found["negative_pooled_prompt_embeds"] = negative.pooled.repeat(len(encoded), 1)
    return found
