"""KOALA's distillation (arXiv 2312.04005) on our shards: a U-Net with fewer blocks learns what self-attention gives.

Three losses, weighted alike: the noise, the teacher's prediction, and the outputs of the self-attention layers that
both have. Pictures and captions come from `export webdataset` and from `export diffusers`, as two readers give them.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .conftest import SIZE, Drawn

pytestmark = pytest.mark.models

N_STEPS, BATCH = 16, 4


@pytest.fixture(scope="module")
def samples(drawn: Drawn, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, str]]:
    """Pixels and captions as `load_dataset` gives them to diffusers' training scripts."""
    from datasets import load_dataset

    base = tmp_path_factory.mktemp("koala")
    out = drawn.export("diffusers", base / "diffusers")
    rows = load_dataset(str(out), split="train", cache_dir=str(base / "cache"))
    return [(np.array(row["image"].convert("RGB")), row["text"]) for row in rows]


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Any:
    """A tiny Stable Diffusion whose U-Net has 3 transformer layers a block and 2 residual layers, as SDXL's in kind."""
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel

    from tests.tiny_models.pipelines import LATENT_CHANNELS, WIDTH, _seeded, tiny_sd

    folder = tiny_sd(tmp_path_factory.mktemp("koala-teacher") / "sd")
    with _seeded(5):
        _unet(UNet2DConditionModel, LATENT_CHANNELS, WIDTH, layers=3, residual=2).save_pretrained(folder / "unet")
    found = StableDiffusionPipeline.from_pretrained(folder, use_safetensors=True)
    found.set_progress_bar_config(disable=True)
    for part in (found.unet, found.vae, found.text_encoder):
        part.requires_grad_(False)
    return found


def _unet(kind: Any, channels: int, width: int, layers: int, residual: int) -> Any:
    return kind(
        block_out_channels=(16, 32),
        layers_per_block=residual,
        transformer_layers_per_block=layers,
        sample_size=8,
        in_channels=channels,
        out_channels=channels,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=4,
        norm_num_groups=4,
    )


def _student_of(teacher: Any) -> Any:
    """A residual layer and two transformer layers fewer a block; what is left starts from the teacher's weights.

    The up blocks' layers are counted from the other end of the skips, so their inputs differ in width where a layer is
    gone: those weights start afresh.
    """
    from tests.tiny_models.pipelines import _seeded

    with _seeded(6):
        config = teacher.config
        student = _unet(type(teacher), config.in_channels, config.cross_attention_dim, layers=1, residual=1)
    theirs = teacher.state_dict()
    kept = {name: theirs[name] for name, weight in student.state_dict().items() if theirs[name].shape == weight.shape}
    student.load_state_dict(kept, strict=False)
    assert len(kept) > 0.8 * len(student.state_dict())
    return student


@dataclass
class Losses:
    task: Any
    output: Any
    attention: Any

    def total(self, *, with_attention: bool = True) -> Any:
        return self.task + self.output + (self.attention if with_attention else 0)


@contextmanager
def _attentions(net: Any, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Inside, each pass leaves the outputs of these self-attention layers in the answer."""
    found: dict[str, Any] = {}
    hooks = []
    for name in names:

        def keep(_: Any, given: Any, made: Any, name: str = name) -> None:
            del given
            found[name] = made

        hooks.append(net.get_submodule(name).register_forward_hook(keep))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


class Distillation:
    """Latents and embeddings of the samples, and KOALA's losses over them."""

    def __init__(self, pipe: Any, samples: Sequence[tuple[Any, str]]) -> None:
        import torch
        from diffusers import DDPMScheduler

        self.teacher = pipe.unet
        self.scheduler = DDPMScheduler.from_config(pipe.scheduler.config)
        pictures = torch.stack([torch.from_numpy(pixels).permute(2, 0, 1) / 127.5 - 1 for pixels, _ in samples])
        texts = [text for _, text in samples]
        ids = pipe.tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        with torch.no_grad():
            self.latents = pipe.vae.encode(pictures).latent_dist.mode() * pipe.vae.config.scaling_factor
            self.embeds = pipe.text_encoder(ids)[0]

    def losses(self, student: Any, rows: Any, generator: Any) -> Losses:
        import torch
        from torch.nn.functional import mse_loss

        clean = self.latents[rows]
        noise = torch.randn(clean.shape, generator=generator)
        times = torch.randint(0, 1000, (len(rows),), generator=generator)
        noisy, embeds = self.scheduler.add_noise(clean, noise, times), self.embeds[rows]
        shared = _shared(student, self.teacher)
        with _attentions(self.teacher, shared) as theirs, torch.no_grad():
            wanted = self.teacher(noisy, times, embeds).sample
        with _attentions(student, shared) as own:
            made = student(noisy, times, embeds).sample
        attention = torch.stack([mse_loss(own[name], theirs[name]) for name in shared]).mean()
        return Losses(mse_loss(made, noise), mse_loss(made, wanted), attention)

    def measured(self, student: Any) -> Losses:
        """The losses over all samples, three draws of noise and times each, the same for every student."""
        import torch

        generator = torch.Generator().manual_seed(99)
        rows = torch.arange(len(self.latents)).repeat(3)
        with torch.no_grad():
            found = self.losses(student, rows, generator)
        return Losses(float(found.task), float(found.output), float(found.attention))

    def trained(self, student: Any, *, with_attention: bool = True) -> Any:
        import torch

        generator = torch.Generator().manual_seed(1)
        optimizer = torch.optim.AdamW(student.parameters(), lr=2e-3)
        for _ in range(N_STEPS):
            optimizer.zero_grad()
            rows = torch.randperm(len(self.latents), generator=generator)[:BATCH]
            self.losses(student, rows, generator).total(with_attention=with_attention).backward()
            optimizer.step()
        return student


def _shared(student: Any, teacher: Any) -> list[str]:
    """Names of the self-attention layers that both have; attn2 is the one to the text."""
    own, theirs = ({name for name, _ in net.named_modules() if name.endswith(".attn1")} for net in (student, teacher))
    return sorted(own & theirs)


@pytest.fixture(scope="module")
def distillation(pipe: Any, samples: list[tuple[Any, str]]) -> Distillation:
    return Distillation(pipe, samples)


def test_tars_give_the_same_pictures_and_captions(drawn: Drawn, samples: list[tuple[Any, str]], tmp_path: Path) -> None:
    out = drawn.export("webdataset", tmp_path / "tars")
    found: dict[str, dict[str, bytes]] = {}
    for path in sorted(out.glob("train-*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, suffix = member.name.partition(".")
                found.setdefault(key, {})[suffix] = tar.extractfile(member).read()  # type: ignore[union-attr]
    assert len(found) == len(samples) >= 8
    pixels = {
        one["txt"].decode(): np.asarray(Image.open(io.BytesIO(one["webp"])).convert("RGB")) for one in found.values()
    }
    assert all(np.array_equal(pixels[text], picture) for picture, text in samples)
    assert {picture.shape for picture, _ in samples} == {(SIZE, SIZE, 3)}


def test_a_student_that_is_the_teacher_has_nothing_to_learn_from_it(distillation: Distillation) -> None:
    found = distillation.measured(distillation.teacher)
    assert (found.output, found.attention) == (0, 0)
    assert found.task > 0


def test_gradients_reach_the_student_alone(distillation: Distillation) -> None:
    import torch

    student = _student_of(distillation.teacher)
    names = _shared(student, distillation.teacher)
    assert len(names) == 4  # one layer each: down block, middle, two layers of the up block
    distillation.losses(student, torch.arange(4), torch.Generator().manual_seed(0)).total().backward()
    assert all(weight.grad is not None and bool((weight.grad != 0).any()) for weight in student.parameters())
    assert all(weight.grad is None for weight in distillation.teacher.parameters())


def test_the_student_learns_and_self_attention_is_what_its_loss_is_for(
    pipe: Any, distillation: Distillation, samples: list[tuple[Any, str]], tmp_path: Path
) -> None:
    student = _student_of(distillation.teacher)
    before = {name: weight.clone() for name, weight in distillation.teacher.state_dict().items()}
    first = distillation.measured(student)
    last = distillation.measured(distillation.trained(student))
    without = distillation.measured(distillation.trained(_student_of(distillation.teacher), with_attention=False))
    # An untrained teacher's prediction is nowhere near the noise: the first two losses pull apart, their sum falls.
    assert last.task + last.output < 0.8 * (first.task + first.output)
    # Measured after 20 steps: from 0.045 to 0.008 with the loss, to 0.130 without it.
    assert last.attention < 0.5 * first.attention
    assert last.attention < 0.5 * without.attention
    assert all(weight.equal(before[name]) for name, weight in distillation.teacher.state_dict().items())

    # Saved and read, it draws in the teacher's pipeline, with half of the weights or more gone.
    student.save_pretrained(tmp_path / "unet")
    small = type(student).from_pretrained(tmp_path / "unet", use_safetensors=True)
    n_weights = [sum(weight.numel() for weight in net.parameters()) for net in (small, distillation.teacher)]
    assert n_weights[0] < 0.5 * n_weights[1]
    other = type(pipe).from_pipe(pipe, unet=small)
    other.set_progress_bar_config(disable=True)
    picture = np.asarray(other(samples[0][1], height=SIZE, width=SIZE, num_inference_steps=2).images[0])
    assert picture.shape == (SIZE, SIZE, 3)
