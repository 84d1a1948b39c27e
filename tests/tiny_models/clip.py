"""A tiny CLIP with random weights, in a folder as open_clip reads it. Equal seeds give equal files.

Embeddings have 768 numbers, as those of ViT-L/14, so that heads made for it fit.
"""

import copy
import json
from pathlib import Path

from promptforge.models.torch_setup import load_torch

CONFIG = {
    "embed_dim": 768,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 28, "layers": 2, "width": 64, "head_width": 32, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
PREPROCESS = {
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


def tiny_clip(folder: Path, *, seed: int = 0, **config) -> Path:
    """The folder with open_clip_config.json and open_clip_model.safetensors; `config` replaces parts of CONFIG."""
    torch = load_torch()
    import open_clip
    from safetensors.torch import save_file

    model_cfg = copy.deepcopy(CONFIG) | config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = open_clip.CLIP(**copy.deepcopy(model_cfg))
        for weight in model.parameters():
            if weight.ndim == 1 and weight.numel() > 1:
                weight.data += 0.1 * torch.randn_like(weight)  # biases start at 0, where they would prove nothing
    folder.mkdir(parents=True, exist_ok=True)
    written = {"model_cfg": model_cfg, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(written), "utf-8")
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors")
    return folder
