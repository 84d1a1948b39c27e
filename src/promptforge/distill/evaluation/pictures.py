"""Pictures of both models from the same noise, each along its own path: the whole pipeline, the student swapped in.

A picture that is not finite, black or flat is none; it stays as a row with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from promptforge.distill.evaluation.held_out import Case
from promptforge.distill.evaluation.settings import Evaluation
from promptforge.distill.evaluation.velocity import at_rest
from promptforge.distill.following import told_by
from promptforge.distill.teacher import Teacher
from promptforge.models.diffusion.decoding import Decoder
from promptforge.models.torch_setup import load_torch
from promptforge.protocols import Pixels

VERSION = 1  # raised whenever a picture changes


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture, or why there is none."""

    prompt_id: str
    pixels: Pixels | None
    error: str | None = None


class Pen:
    """Draws with a loaded teacher, under its own embeddings or a student's."""

    def __init__(self, teacher: Teacher, settings: Evaluation) -> None:
        self._teacher, self._settings = teacher, settings
        self._size = settings.size or teacher.settings.size
        self._decoder = Decoder(teacher.pipe.vae, teacher.device)

    def draw(self, group: Sequence[Case], student: Any = None) -> list[Drawn]:
        """A picture of each prompt from its noise number 0; the teacher's own where no student is given."""
        torch, teacher = load_torch(), self._teacher
        texts = [case.text for case in group]
        with torch.no_grad(), at_rest(student):
            told = teacher.tell(texts, teacher.length)
            if student is not None:
                told = told_by(student, teacher, texts, told)
            drawing = teacher.begin([case.noise_seed(0, self._settings.seed) for case in group], self._size)
            guidance = [teacher.settings.guidance] * len(group)
            for step in range(len(drawing.timesteps)):
                drawing.move_on(step, drawing.velocity(step, told, guidance))
            pipe = teacher.pipe
            latents = pipe._unpack_latents(drawing.latents, self._size, self._size, pipe.vae_scale_factor)
        found = self._decoder.finish(self._decoder.start(latents))
        return [Drawn(case.prompt_id, each.pixels, each.error) for case, each in zip(group, found, strict=True)]
