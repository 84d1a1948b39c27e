"""Step-following against the pipeline itself and against a loop written by hand."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from promptforge.distill import following
from tests.distill.conftest import LENGTH, SIZE, STEPS

pytestmark = pytest.mark.models

TEXTS = ["a red cup", "two dogs on a bench"]
SEEDS, GUIDANCE = [11, 12], [2.0, 4.5]


def test_a_drawing_by_the_teachers_steps_is_the_pipelines_picture(teacher: Any) -> None:
    import torch

    told = teacher.tell(TEXTS[:1], LENGTH)
    drawing = teacher.begin(SEEDS[:1], SIZE)
    with torch.no_grad():
        for number in range(STEPS):
            drawing.move_on(number, drawing.velocity(number, told, [3.5]))
    pipe = teacher.pipe
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator("cpu").manual_seed(SEEDS[0]))
    wanted = pipe(
        prompt_embeds=told.embeds,
        pooled_prompt_embeds=told.pooled,
        latents=pipe._pack_latents(noise, 1, 4, 8, 8),
        num_inference_steps=STEPS,
        guidance_scale=3.5,
        height=SIZE,
        width=SIZE,
        output_type="latent",
        return_dict=False,
    )[0]
    assert torch.equal(drawing.latents, wanted)


def _by_hand(teacher: Any, student: Any) -> list[float]:
    """Losses of one pass with an SGD step of 0.1 after each, from diffusers' and torch's own parts alone."""
    import torch

    pipe = teacher.pipe
    ids = pipe.tokenizer_2(TEXTS, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")
    with torch.no_grad():
        wanted = pipe.text_encoder_2(ids.input_ids)[0]
    noise = torch.cat([torch.randn((1, 4, 8, 8), generator=torch.Generator("cpu").manual_seed(s)) for s in SEEDS])
    # 2 x 2 cells of 4 channels are one patch: rows and columns of patches first, then channel, row, column.
    latent = noise.reshape(2, 4, 4, 2, 4, 2).permute(0, 2, 4, 1, 3, 5).reshape(2, 16, 16)
    rows, columns = np.divmod(np.arange(16), 4)
    places = torch.tensor(np.stack([np.zeros(16), rows, columns], 1), dtype=torch.float32)
    # FLUX's shift: mu goes straight from 0.5 at 256 patches to 1.15 at 4096; sigma' = e^mu / (e^mu + 1 / sigma - 1).
    mu = 0.5 + (1.15 - 0.5) * (16 - 256) / (4096 - 256)
    sigmas = [np.exp(mu) / (np.exp(mu) + 1 / sigma - 1) for sigma in (1.0, 0.75, 0.5, 0.25)] + [0.0]
    losses = []
    for now, after in itertools.pairwise(sigmas):
        given = {
            "hidden_states": latent,
            "timestep": torch.full((2,), float(now)),
            "guidance": torch.tensor(GUIDANCE),
            "pooled_projections": torch.zeros(2, 32),
            "txt_ids": torch.zeros(LENGTH, 3),
            "img_ids": places,
        }
        with torch.no_grad():
            target = pipe.transformer(**given, encoder_hidden_states=wanted).sample
        found = pipe.transformer(**given, encoder_hidden_states=student(ids.input_ids).last_hidden_state).sample
        loss = ((found - target) ** 2).sum() / found.numel()
        losses.append(float(loss.detach()))
        _sgd(student, loss)
        latent = latent + float(after - now) * target
    return losses


def _sgd(student: Any, loss: Any) -> None:
    import torch

    parameters = list(student.parameters())
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.data -= 0.1 * gradient


def test_losses_are_those_of_a_loop_written_by_hand(teacher: Any, student: Any) -> None:
    import copy

    student.eval()  # no dropout, so that both see the same
    twin = copy.deepcopy(student)
    seen = []
    for loss in following.follow(student, teacher, TEXTS, SEEDS, GUIDANCE, SIZE):
        seen.append(float(loss.detach()))
        _sgd(student, loss)
    assert seen == pytest.approx(_by_hand(teacher, twin), abs=1e-8)  # of 0.001 to 0.003
    assert len(seen) == STEPS
    assert len(set(seen)) == STEPS


def test_gradients_reach_every_parameter_of_the_student_and_no_other(teacher: Any, student: Any) -> None:
    for loss in following.follow(student, teacher, TEXTS, SEEDS, GUIDANCE, SIZE):
        loss.backward()
    assert [name for name, each in student.named_parameters() if each.grad is None or not each.grad.abs().sum()] == []
    frozen = (teacher.pipe.transformer, teacher.pipe.text_encoder, teacher.pipe.text_encoder_2, teacher.pipe.vae)
    assert [name for part in frozen for name, each in part.named_parameters() if each.grad is not None] == []


def test_a_student_that_equals_the_teacher_has_no_loss(teacher: Any) -> None:
    from transformers.modeling_outputs import BaseModelOutput

    def as_the_teacher(ids: Any) -> BaseModelOutput:
        return teacher.pipe.text_encoder_2(ids)

    losses = following.follow(as_the_teacher, teacher, TEXTS, SEEDS, GUIDANCE, SIZE)
    assert [float(loss) for loss in losses] == [0.0] * STEPS
    assert float(following.imitate(as_the_teacher, teacher, TEXTS)) == 0.0


def test_naive_distillation_compares_the_embeddings(teacher: Any, student: Any) -> None:
    student.eval()
    ids = teacher.tokens(TEXTS, LENGTH)
    wanted = (student(ids).last_hidden_state - teacher.pipe.text_encoder_2(ids)[0]).detach().numpy()
    loss = float(following.imitate(student, teacher, TEXTS).detach())
    assert loss == pytest.approx(float(np.mean(wanted.astype(np.float64) ** 2)), rel=1e-6)


def test_guidance_and_noise_are_part_of_what_is_followed(teacher: Any, student: Any) -> None:
    student.eval()

    def losses(seeds: list[int], guidance: list[float]) -> list[float]:
        found = following.follow(student, teacher, TEXTS, seeds, guidance, SIZE)
        return [float(loss.detach()) for loss in found]

    assert losses(SEEDS, GUIDANCE) == losses(SEEDS, GUIDANCE)
    assert losses(SEEDS, GUIDANCE) != losses(SEEDS, [2.0, 2.0])
    assert losses(SEEDS, GUIDANCE) != losses([1, 2], GUIDANCE)
