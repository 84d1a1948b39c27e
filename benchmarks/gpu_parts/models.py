"""FLUX.1-dev and CLIP ViT-L/14 at full size with random weights, made on the GPU from their published configs.

No file is read and none is written, but for the CLIP weights that the scorers load. Random weights cost what trained
ones do: no operation of these models depends on a value. Tokenizers are the small ones of the tests: a prompt is
padded to the full length, so its ids decide nothing about time.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from promptforge.models.torch_setup import load_torch

#: black-forest-labs/FLUX.1-dev: transformer/config.json; 11.9 billion weights.
TRANSFORMER = {
    "patch_size": 1,
    "in_channels": 64,
    "num_layers": 19,
    "num_single_layers": 38,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": True,
    "axes_dims_rope": (16, 56, 56),
}
#: text_encoder_2/config.json (google/t5-v1_1-xxl, encoder); 4.76 billion weights.
T5 = {
    "vocab_size": 32128,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}
#: text_encoder/config.json (openai/clip-vit-large-patch14, text).
CLIP_TEXT = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "projection_dim": 768,
    "hidden_act": "quick_gelu",
}
#: vae/config.json.
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 16,
    "norm_num_groups": 32,
    "sample_size": 1024,
    "scaling_factor": 0.3611,
    "shift_factor": 0.1159,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
#: scheduler/scheduler_config.json.
SCHEDULER = {
    "base_image_seq_len": 256,
    "base_shift": 0.5,
    "max_image_seq_len": 4096,
    "max_shift": 1.15,
    "num_train_timesteps": 1000,
    "shift": 3.0,
    "use_dynamic_shifting": True,
}
CLIP_VISION = "ViT-L-14-quickgelu"  # config of open_clip


def on_device(make: Callable[[], Any], device: str, *, seed: int = 0) -> Any:
    """A module with normal weights of deviation 0.02 in bf16, made on the device: 12 billion take about 1 s there.

    Built without storage, then given some: buffers that a constructor computes would be lost, so the module must have
    none but positions, which are counted anew. Norm weights are 1 and biases 0.
    """
    torch = load_torch()
    with torch.device("meta"):
        module = make()
    module = module.to(torch.bfloat16).to_empty(device=device)
    generator = torch.Generator(device).manual_seed(seed)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if name.endswith("bias"):
                weight.zero_()
            elif weight.ndim == 1 or "norm" in name.rpartition(".")[0].rpartition(".")[2]:
                weight.fill_(1)
            else:
                weight.normal_(0, 0.02, generator=generator)
        for name, buffer in module.named_buffers():
            if not name.endswith("position_ids"):
                raise RuntimeError(f"{type(module).__name__}: buffer {name} would be left without a value")
            buffer.copy_(torch.arange(buffer.shape[-1], device=device).expand(buffer.shape))
    return module.eval().requires_grad_(requires_grad=False)


def full_flux(device: str) -> Any:
    """FluxPipeline of FLUX.1-dev's size in bf16: 34 GB of weights."""
    torch = load_torch()
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

    from tests.tiny_models.tokenizers import clip_tokenizer, t5_tokenizer

    clip = clip_tokenizer()
    ends = {"bos_token_id": len(clip) - 2, "eos_token_id": len(clip) - 1, "pad_token_id": len(clip) - 1}
    pipe = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**SCHEDULER),
        vae=on_device(lambda: AutoencoderKL(**VAE), device, seed=1),
        text_encoder=on_device(lambda: CLIPTextModel(CLIPTextConfig(**CLIP_TEXT, **ends)), device, seed=2),
        tokenizer=clip,
        text_encoder_2=on_device(lambda: T5EncoderModel(T5Config(**T5)), device, seed=3),
        tokenizer_2=t5_tokenizer(),
        transformer=on_device(lambda: FluxTransformer2DModel(**TRANSFORMER), device, seed=4),
    )
    pipe.set_progress_bar_config(disable=True)
    stretch(pipe.vae, torch, device)
    return pipe


def stretch(vae: Any, torch: Any, device: str) -> None:
    """Scale the decoder's last layer so that a picture has contrast: a flat one is taken for a fault."""
    generator = torch.Generator(device).manual_seed(5)
    shape = (1, vae.config.latent_channels, 32, 32)
    latent = torch.randn(shape, generator=generator, device=device, dtype=torch.float32).to(vae.dtype)
    with torch.no_grad():
        spread = float(vae.decode(latent, return_dict=False)[0].float().std())
        vae.decoder.conv_out.weight.mul_(0.5 / max(spread, 1e-6))


def twin(pipe: Any) -> Any:
    """A second pipeline over the same weights: fusing, compiling and channels_last of the first leave it alone."""
    load_torch()
    from accelerate import init_empty_weights

    with init_empty_weights():
        transformer = type(pipe.transformer).from_config(pipe.transformer.config)
    transformer.load_state_dict(pipe.transformer.state_dict(), assign=True)
    transformer.eval().requires_grad_(requires_grad=False)
    parts = {**pipe.components, "transformer": transformer, "vae": copy.deepcopy(pipe.vae)}
    other = type(pipe)(**{name: part for name, part in parts.items() if part is not None})
    other.set_progress_bar_config(disable=True)
    return other


def tiny_clip_folder(folder: Path) -> Path:
    """The tests' CLIP."""
    from tests.tiny_models.clip import tiny_clip

    return tiny_clip(folder)


def tiny_flux_pipe(folder: Path) -> Any:
    """The tests' FluxPipeline, from its files."""
    load_torch()
    from diffusers import FluxPipeline

    from tests.tiny_models.pipelines import tiny_flux

    pipe = FluxPipeline.from_pretrained(tiny_flux(folder))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def clip_file(folder: Path, device: str) -> Path:
    """Weights of CLIP ViT-L/14 as one safetensors file of 1.7 GB, as open_clip reads them."""
    torch = load_torch()
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = open_clip.create_model(CLIP_VISION, pretrained=None, device=device)
    path = folder / "open_clip_model.safetensors"
    save_file({name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}, path)
    return path


def n_weights(module: Any) -> int:
    """Numbers in a module."""
    return sum(weight.numel() for weight in module.parameters())
