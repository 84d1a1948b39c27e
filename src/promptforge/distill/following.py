"""Step-following: from noise, at each step of the teacher's schedule, the student learns the teacher's prediction.

    for each step t:  target = v(x_t, teacher's embedding)            no gradient
                      loss   = mean((v(x_t, student's embedding) - target)^2)
                      the caller takes one optimiser step
                      x_{t+1} by the teacher's prediction

So the latents are those of the teacher's own picture, and the student never sees a state that its errors made. Latent,
timestep, guidance and pooled embedding are the same under both. The loss is taken in float32.
Source: arXiv 2503.19897, section 3; guidance there is drawn from 2.0, 2.5, ... 5.0 and the pooled embedding is zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from promptforge.distill.teacher import Teacher, Told
from promptforge.models.torch_setup import load_torch


def told_by(student: Any, teacher: Teacher, texts: Sequence[str], told: Told) -> Told:
    """The texts as the student tells them; pooled embedding and ids stay the teacher's."""
    embeds = student(teacher.tokens(texts, told.embeds.shape[1])).last_hidden_state
    return Told(embeds.to(told.embeds.dtype), told.pooled, told.ids)


def follow(
    student: Any, teacher: Teacher, texts: Sequence[str], seeds: Sequence[int], guidance: Sequence[float], size: int
) -> Iterator[Any]:
    """The loss of each step in turn, with gradients to the student; move the student before asking for the next.

    `guidance` is one number a text; `size` the picture's side in px. As many losses as the teacher has steps.
    """
    torch = load_torch()
    told = teacher.tell(texts, teacher.length)
    drawing = teacher.begin(seeds, size)
    for number in range(len(drawing.timesteps)):
        with torch.no_grad():
            target = drawing.velocity(number, told, guidance)
        found = drawing.velocity(number, told_by(student, teacher, texts, told), guidance)
        yield torch.nn.functional.mse_loss(found.float(), target.float())
        with torch.no_grad():
            drawing.move_on(number, target)


def imitate(student: Any, teacher: Teacher, texts: Sequence[str]) -> Any:
    """Naive distillation, for comparison: mean squared difference of the embeddings themselves; no picture is drawn."""
    torch = load_torch()
    told = teacher.tell(texts, teacher.length)
    return torch.nn.functional.mse_loss(told_by(student, teacher, texts, told).embeds.float(), told.embeds.float())
