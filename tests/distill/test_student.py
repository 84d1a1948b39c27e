"""The student keeps what it was pretrained with, is saved and loaded whole, and fits into the pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptforge.errors import ConfigError, EnvironmentFault
from tests.distill.conftest import LENGTH, SIZE

pytestmark = pytest.mark.models


def test_the_pretrained_weights_are_kept(student: Any, t5_folder: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import T5EncoderModel

    from promptforge.distill.student import load, save

    pretrained = T5EncoderModel.from_pretrained(t5_folder).state_dict()
    save(student, tmp_path / "student")
    for found in (student, load(tmp_path / "student")):
        kept = found.encoder.state_dict()
        assert kept.keys() == pretrained.keys()
        assert all(torch.equal(kept[name], pretrained[name]) for name in pretrained)
    written = load_file(tmp_path / "student" / "model.safetensors")
    assert any(name.startswith("projection.") for name in written)


def test_the_projection_is_two_layers_without_biases(student: Any) -> None:
    shapes = {name: tuple(each.shape) for name, each in student.projection.named_parameters()}
    assert shapes == {"0.weight": (32, 16), "3.weight": (32, 32)}
    assert student.projection[2].p == 0.1


def test_the_seed_decides_the_projection_alone(t5_folder: Path) -> None:
    import torch

    from promptforge.distill.student import make

    before = torch.random.get_rng_state()
    first, same, other = (make(str(t5_folder), None, 32, seed) for seed in (1, 1, 2))
    assert torch.equal(first.projection[0].weight, same.projection[0].weight)
    assert not torch.equal(first.projection[0].weight, other.projection[0].weight)
    assert torch.equal(before, torch.random.get_rng_state())
    # As torch starts a linear layer: uniform within 1 / sqrt(16).
    assert 0.2 < float(first.projection[0].weight.detach().abs().max()) <= 0.25


def test_a_saved_student_gives_the_same_embeddings(student: Any, teacher: Any, tmp_path: Path) -> None:
    import torch

    from promptforge.distill.student import load, save

    save(student, tmp_path / "student")
    ids = teacher.tokens(["a red cup"], LENGTH)
    assert torch.equal(student.eval()(ids).last_hidden_state, load(tmp_path / "student").eval()(ids).last_hidden_state)


def test_the_student_takes_the_place_of_the_pipelines_t5(student: Any, teacher: Any) -> None:
    teacher.pipe.text_encoder_2 = student.eval()
    picture = teacher.pipe(
        "a red cup", num_inference_steps=2, height=SIZE, width=SIZE, max_sequence_length=LENGTH, output_type="np"
    ).images[0]
    assert picture.shape == (SIZE, SIZE, 3)


def test_another_kind_of_encoder_is_refused(tmp_path: Path) -> None:
    from promptforge.distill.student import make

    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip_text_model"}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match="is a clip_text_model; the student takes a T5 encoder"):
        make(str(tmp_path), None, 32, 0)


def test_a_folder_without_a_student_is_named(t5_folder: Path, tmp_path: Path) -> None:
    from promptforge.distill.student import load

    with pytest.raises(EnvironmentFault, match="holds no weights"):
        load(tmp_path)
    with pytest.raises(EnvironmentFault, match="is a t5, no student"):
        load(t5_folder)
