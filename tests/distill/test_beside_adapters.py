"""With the student in the place of T5, ControlNet and LoRA do through diffusers what they do with T5."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.distill.conftest import LENGTH, SIZE

pytestmark = [
    pytest.mark.models,
    # diffusers' ControlNet takes the embedding of places from where diffusers no longer wants it taken from
    pytest.mark.filterwarnings("ignore:.FluxPosEmbed. is deprecated:FutureWarning"),
]

TEXT = "a red cup beside a lamp"


@pytest.fixture
def pipe(teacher: Any, student: Any) -> Any:
    """The tiny FLUX with the student inside; weights as loaded, every test its own."""
    teacher.pipe.text_encoder_2 = student.eval().requires_grad_(False)
    teacher.pipe.set_progress_bar_config(disable=True)
    return teacher.pipe


def _draw(pipe: Any, **more: Any) -> Any:
    """The final latent, in floats: pictures have 256 levels, which would hide small effects.

    From given noise: with a generator, ControlNet's pipeline draws from it for the control picture first.
    """
    import torch

    options = {"height": SIZE, "width": SIZE, "num_inference_steps": 2, "max_sequence_length": LENGTH}
    options |= {"guidance_scale": 3.5, "output_type": "latent"}
    noise = torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(7))  # 64 px: 4 x 4 patches of 4 x 4 channels
    if "control_image" in more:
        more["generator"] = torch.Generator().manual_seed(8)
    return pipe(TEXT, latents=noise, **options, **more).images[0]


@contextmanager
def _given(net: Any) -> Iterator[list[Any]]:
    """The text embeddings that a network is given inside, pass by pass."""
    found: list[Any] = []
    hook = net.register_forward_pre_hook(
        lambda _, __, named: found.append(named["encoder_hidden_states"]), with_kwargs=True
    )
    try:
        yield found
    finally:
        hook.remove()


def _said(pipe: Any) -> Any:
    """What the student itself makes of the text."""
    ids = pipe.tokenizer_2(
        TEXT, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
    ).input_ids
    return pipe.text_encoder_2(ids).last_hidden_state


# --- ControlNet


@pytest.fixture
def controlled(pipe: Any) -> Any:
    """The same pipeline with a ControlNet whose last layers, zero at first, are drawn at random."""
    import torch
    from diffusers import FluxControlNetModel, FluxControlNetPipeline

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        net = FluxControlNetModel.from_transformer(
            pipe.transformer,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=pipe.transformer.config.attention_head_dim,
            num_attention_heads=pipe.transformer.config.num_attention_heads,
        )
        for layer in (*net.controlnet_blocks, *net.controlnet_single_blocks, net.controlnet_x_embedder):
            torch.nn.init.normal_(layer.weight, std=0.5)
    parts = {name: part for name, part in pipe.components.items() if name not in ("image_encoder", "feature_extractor")}
    found = FluxControlNetPipeline(**parts, controlnet=net.eval().requires_grad_(False))
    found.set_progress_bar_config(disable=True)
    return found


def _edges(number: int) -> Any:
    from PIL import Image

    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))


def test_a_control_picture_steers_by_its_scale_and_scale_0_undoes_it(pipe: Any, controlled: Any) -> None:
    import torch

    plain = _draw(pipe)
    one, other = (_draw(controlled, control_image=_edges(number)) for number in (1, 2))
    assert (one - plain).norm() > 1e-3
    assert (one - other).norm() > 1e-3
    scaled = {
        scale: _draw(controlled, control_image=_edges(1), controlnet_conditioning_scale=scale)
        for scale in (0.0, 0.1, 0.3)
    }
    assert torch.equal(scaled[0.0], plain)
    assert 0 < (scaled[0.1] - plain).norm() < (scaled[0.3] - plain).norm() < (one - plain).norm()


def test_controlnet_and_transformer_are_given_the_students_embeddings(controlled: Any) -> None:
    import torch

    with _given(controlled.transformer) as to_transformer, _given(controlled.controlnet) as to_control:
        _draw(controlled, control_image=_edges(1))
    said = _said(controlled)
    assert (len(to_transformer), len(to_control)) == (2, 2)
    assert all(torch.equal(each, said) for each in (*to_transformer, *to_control))


# --- LoRA


@pytest.fixture
def adapter(pipe: Any, tmp_path: Path) -> Path:
    """A LoRA of rank 2 over attention, with random weights on both sides, as save_lora_weights writes it."""
    import torch
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(13)
        config = LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_k", "to_v"], init_lora_weights="gaussian")
        pipe.transformer.add_adapter(config, "made")
        state = get_peft_model_state_dict(pipe.transformer, adapter_name="made")
        state = {name: torch.randn_like(weight) * 0.3 for name, weight in sorted(state.items())}
    pipe.transformer.delete_adapters("made")
    pipe.unload_lora_weights()
    pipe.save_lora_weights(tmp_path / "lora", transformer_lora_layers=state)
    return tmp_path / "lora"


def test_a_lora_moves_by_its_scale_and_is_gone_when_unloaded(pipe: Any, adapter: Path) -> None:
    import torch

    plain = _draw(pipe)
    pipe.load_lora_weights(adapter, adapter_name="style")
    whole = _draw(pipe)
    pipe.set_adapters("style", adapter_weights=0.0)
    none = _draw(pipe)
    pipe.set_adapters("style", adapter_weights=0.5)
    half = _draw(pipe)
    assert torch.equal(none, plain)
    assert 1e-4 < (half - plain).norm() < (whole - plain).norm()
    pipe.unload_lora_weights()
    assert torch.equal(_draw(pipe), plain)


def test_a_fused_lora_is_the_sum_of_the_weights(pipe: Any, adapter: Path) -> None:
    import torch
    from safetensors.torch import load_file

    name = "transformer_blocks.1.attn.to_k"
    before = pipe.transformer.get_submodule(name).weight.clone()
    plain = _draw(pipe)
    pipe.load_lora_weights(adapter, adapter_name="style")
    whole = _draw(pipe)
    pipe.fuse_lora(lora_scale=0.5, adapter_names=["style"])
    stored = load_file(adapter / "pytorch_lora_weights.safetensors")
    up, down = (stored[f"transformer.{name}.lora_{side}.weight"] for side in "BA")
    fused = pipe.transformer.get_submodule(name).weight
    assert torch.allclose(fused, before + 0.5 * up @ down, atol=1e-6)
    halved = _draw(pipe)
    assert 1e-3 < (halved - plain).norm() < (whole - plain).norm()
    pipe.unfuse_lora()
    pipe.unload_lora_weights()
    assert torch.allclose(pipe.transformer.get_submodule(name).weight, before, atol=1e-6)
    assert torch.allclose(_draw(pipe), plain, atol=1e-5)


def test_with_a_lora_the_transformer_is_given_the_students_embeddings(pipe: Any, adapter: Path) -> None:
    import torch

    pipe.load_lora_weights(adapter, adapter_name="style")
    with _given(pipe.transformer) as found:
        _draw(pipe, joint_attention_kwargs={"scale": 0.7})
    assert len(found) == 2
    assert all(torch.equal(each, _said(pipe)) for each in found)


# --- the pipeline's folder


def test_a_saved_pipeline_is_read_with_the_student_inside(pipe: Any, tmp_path: Path) -> None:
    import torch
    from diffusers import FluxPipeline

    plain = _draw(pipe)
    pipe.save_pretrained(tmp_path / "pipe", safe_serialization=True)
    found = FluxPipeline.from_pretrained(tmp_path / "pipe", use_safetensors=True)
    found.set_progress_bar_config(disable=True)
    kept = pipe.text_encoder_2.state_dict()
    read = found.text_encoder_2.state_dict()
    assert type(found.text_encoder_2) is type(pipe.text_encoder_2)
    assert kept.keys() == read.keys() and all(torch.equal(read[name], kept[name]) for name in kept)
    # Another place in memory, other kernels: the last bits alone.
    assert torch.allclose(_draw(found), plain, atol=1e-5)
