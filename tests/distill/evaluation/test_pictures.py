"""Pictures from one noise are the pipeline's own; image features are those of transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from promptforge.distill.evaluation.held_out import Case
from promptforge.distill.evaluation.settings import Evaluation, ImageModel
from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.records import noise_seed, prompt_id
from tests.distill.conftest import LENGTH, SIZE, STEPS

pytestmark = pytest.mark.models

CASES = [Case(prompt_id(text), text, "image_quality", "test_natural") for text in ("a red cup", "two dogs on a bench")]
SETTINGS = Evaluation(batch=2, seed=5)


def _by_the_pipeline(pipe: Any, case: Case) -> np.ndarray:
    import torch

    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator("cpu").manual_seed(noise_seed(case.prompt_id, 0, 5)))
    embeds, _, _ = pipe.encode_prompt(case.text, None, max_sequence_length=LENGTH)
    return pipe(
        prompt_embeds=embeds,
        pooled_prompt_embeds=torch.zeros(1, 32),
        latents=pipe._pack_latents(noise, 1, 4, 8, 8),
        num_inference_steps=STEPS,
        guidance_scale=3.5,
        height=SIZE,
        width=SIZE,
        output_type="np",
        return_dict=False,
    )[0][0]


def test_both_models_pictures_are_the_pipelines_with_its_own_encoder_and_with_the_student(
    teacher: Any, student: Any
) -> None:
    from promptforge.distill.evaluation.pictures import Pen

    student.projection[3].weight.data.mul_(30)  # else both draw the same levels
    student.train()
    pen = Pen(teacher, SETTINGS)
    drawn = pen.draw(CASES), pen.draw(CASES, student)
    student.eval()
    for found, encoder in zip(drawn, (teacher.pipe.text_encoder_2, student), strict=True):
        teacher.pipe.text_encoder_2 = encoder
        for case, each in zip(CASES, found, strict=True):
            assert each.prompt_id == case.prompt_id
            assert each.pixels is not None
            wanted = np.round(_by_the_pipeline(teacher.pipe, case) * 255)
            assert np.abs(each.pixels - wanted).max() <= 1  # batched against alone
    assert not np.array_equal(drawn[0][0].pixels, drawn[1][0].pixels)


def test_a_student_that_is_the_teachers_own_encoder_draws_the_same_picture(teacher: Any) -> None:
    from promptforge.distill.evaluation.distances import pixel_mse, ssim
    from promptforge.distill.evaluation.pictures import Pen

    pen = Pen(teacher, SETTINGS)
    for one, other in zip(pen.draw(CASES), pen.draw(CASES, teacher.pipe.text_encoder_2), strict=True):
        assert one.pixels is not None
        assert other.pixels is not None
        assert pixel_mse(one.pixels, other.pixels) == 0.0
        assert ssim(one.pixels, other.pixels) == 1.0


def test_a_picture_that_is_none_keeps_its_reason(teacher: Any, student: Any) -> None:
    from promptforge.distill.evaluation.pictures import Pen

    student.projection[3].weight.data.fill_(float("nan"))
    found = Pen(teacher, SETTINGS).draw(CASES, student)
    assert [each.pixels for each in found] == [None, None]
    assert all(each.error is not None and each.error.startswith("latent_not_finite") for each in found)


def test_features_are_the_class_token_that_transformers_gives(dino_folder: Path) -> None:
    import torch
    from transformers import BitImageProcessor, Dinov2Model

    from promptforge.distill.evaluation.features import load

    pictures = [np.random.default_rng(n).integers(0, 256, (48, 48, 3), np.uint8) for n in range(3)]
    found = load(ImageModel(model=str(dino_folder)))(pictures)
    processor = BitImageProcessor(
        size={"height": 224, "width": 224},
        do_center_crop=False,
        resample=3,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    model = Dinov2Model.from_pretrained(dino_folder).eval()
    for pixels, vector in zip(pictures, found, strict=True):
        with torch.no_grad():
            states = model(**processor(images=pixels, return_tensors="pt")).last_hidden_state
        assert vector == pytest.approx(states[0, 0].numpy(), abs=1e-3)  # torchvision rounds levels otherwise
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_a_folder_that_is_no_dinov2_is_refused(dino_folder: Path, t5_folder: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    from promptforge.distill.evaluation.features import load

    with pytest.raises(ConfigError, match="model_type is 't5'; take one of dinov2"):
        load(ImageModel(model=str(t5_folder)))
    (tmp_path / "config.json").write_text((dino_folder / "config.json").read_text())
    weights = load_file(dino_folder / "model.safetensors")
    del weights["layernorm.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EnvironmentFault, match=r"lacks the weights layernorm\.weight"):
        load(ImageModel(model=str(tmp_path)))
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "dinov2"
