"""CLIP weights for open_clip: where they are, which config they run under, and that both fit each other.

open_clip 3.3.0's table names timm/vit_large_patch14_clip_224.openai as the safetensors form of OpenAI's ViT-L/14.
Weights trained with QuickGELU and run without it still give plausible numbers (an aesthetic score of 4.44 instead of
5.05), so every word on how they were trained must agree with the config: the hub repository's entry in open_clip's
table, the open_clip_config.json beside the weights, the parameter quick_gelu. open_clip itself only warns.
Not covered: weights in transformers' layout; text towers and tokenizers that open_clip fetches without a revision.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.models import weights
from promptforge.models.torch_setup import load_torch, loading

DEFAULT_TOWER = "timm/vit_large_patch14_clip_224.openai"
DEFAULT_ARCHITECTURE = "ViT-L-14-quickgelu"
#: Commit whose open_clip_model.safetensors has 1,710,517,724 bytes and the SHA-256
#: 9ce2e8a8ebfff3793d7d375ad6d3c35cb9aebf3de7ace0fc7308accab7cd207e, as two public projects record it.
DEFAULT_REVISION = "18d0535469bb561bf468d76c1d73aa35156c922b"

_NEEDS = ("open_clip_*.safetensors", "*.json", "*.txt", "*.model")
_CONFIG = "open_clip_config.json"
#: What open_clip takes from a folder, in its order, as far as it is safe.
_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors")


@dataclass(frozen=True, slots=True)
class TowerSpec:
    """What decides an embedding, besides the picture and the device."""

    source: str
    revision: str | None = None
    architecture: str | None = None
    quick_gelu: bool | None = None
    precision: Literal["fp16", "bf16", "fp32"] = "fp16"

    def identity(self) -> dict[str, str]:
        """Repository and revision, or the SHA-256 over the local files; no weights are loaded."""
        return weights.identity(self.source, self.revision)

    @property
    def judge(self) -> str:
        """Name of the model as a judge: the repository whatever its revision, or the local files' SHA-256."""
        found = self.identity()
        return found.get("repository") or f"sha256:{found['sha256']}"


def load(spec: TowerSpec, device: str) -> tuple[Any, Any, Any]:
    """Model, transform and tokenizer. Raises ConfigError and EnvironmentFault with what to do."""
    library = _library()
    path = weights.locate(spec.source, spec.revision, needs=_NEEDS, gib=1.6)
    own = _own_config(path)
    named, config = _config_in_force(library, spec, own)
    _check_sources(spec, named, config)
    _check_quick_gelu(library, spec, config, own)
    file = _weights_in(path)
    where = spec.architecture if named else f"local-dir:{path}"
    try:
        with loading():
            model = library.create_model(
                where,
                pretrained=str(file) if named else None,
                device=device,
                pretrained_text=False,
                require_pretrained=True,
                force_preprocess_cfg=own.get("preprocess_cfg") if own and named else None,
            )
    except RuntimeError as exc:
        raise ConfigError(
            f"{file}: does not fit the architecture {spec.architecture or _CONFIG}: {str(exc)[:300]}; set architecture"
            " to the one of these weights"
        ) from exc
    model.eval().requires_grad_(requires_grad=False)
    preprocess = library.transform.PreprocessCfg(**library.get_model_preprocess_cfg(model))
    return model, library.transform.image_transform_v2(preprocess, is_train=False), library.get_tokenizer(where)


def _library() -> Any:
    load_torch()
    if find_spec("open_clip") is None:
        raise EnvironmentFault("open_clip is not installed; install the models extra: make setup-models")
    import open_clip

    return open_clip


def _own_config(path: Path) -> dict[str, Any] | None:
    file = path / _CONFIG
    if not path.is_dir() or not file.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(file.read_text("utf-8"))
        found["model_cfg"]["embed_dim"]
    except (ValueError, KeyError, TypeError) as exc:
        raise ConfigError(f"{file}: expected JSON with model_cfg, as open_clip writes it ({exc!r})") from exc
    return found


def _config_in_force(library: Any, spec: TowerSpec, own: Mapping[str, Any] | None) -> tuple[bool, Mapping[str, Any]]:
    """Whether it is a named one, and the config of the model."""
    if spec.architecture is not None:
        config = library.get_model_config(spec.architecture) if ":" not in spec.architecture else None
        if config is None:
            raise ConfigError(
                f"architecture: open_clip has no config {spec.architecture!r}; expected one of open_clip.list_models(),"
                f" such as {DEFAULT_ARCHITECTURE}"
            )
        return True, config
    if own is None:
        raise ConfigError(
            f"{spec.source}: no {_CONFIG} beside the weights; set architecture to the name of their config in open_clip"
        )
    return False, own["model_cfg"]


def _check_sources(spec: TowerSpec, named: bool, config: Mapping[str, Any]) -> None:
    """Refuse configs for which open_clip would fetch further files, at no revision."""
    text = config.get("text_cfg", {})
    outside = text.get("hf_model_name") or (named and text.get("hf_tokenizer_name"))
    if outside:
        raise ConfigError(
            f"{spec.source}: its text side is fetched from elsewhere at no revision ({outside}); expected a model whose"
            " files are all in one folder: leave architecture out where the folder holds its tokenizer"
        )


def _check_quick_gelu(library: Any, spec: TowerSpec, config: Mapping[str, Any], own: Mapping[str, Any] | None) -> None:
    said: dict[str, bool] = {}
    if spec.quick_gelu is not None:
        said["the parameter quick_gelu"] = spec.quick_gelu
    if own is not None and "quick_gelu" in own["model_cfg"]:
        said[f"its {_CONFIG}"] = bool(own["model_cfg"]["quick_gelu"])
    entries = [library.get_pretrained_cfg(model, tag) for model, tag in library.list_pretrained()]
    table = {bool(entry.get("quick_gelu")) for entry in entries if _repository(entry) == spec.source}
    used = bool(config.get("quick_gelu", False))
    if table:
        said["open_clip's table"] = used if used in table else not used
    if not said and own is None:
        raise ConfigError(
            f"{spec.source}: nothing says whether these weights were trained with QuickGELU; set quick_gelu (true for"
            " OpenAI's, false for most of LAION's)"
        )
    for who, trained in said.items():
        if trained != used:
            raise ConfigError(
                f"{spec.source}: QuickGELU mismatch: {who} says that the weights were trained"
                f" {'with' if trained else 'without'} it, and the config {spec.architecture or _CONFIG} runs them"
                f" {'with' if used else 'without'}; set architecture to the {'one with' if trained else 'one without'}"
                " -quickgelu in its name"
            )


def _repository(entry: Mapping[str, Any]) -> str:
    return str(entry.get("hf_hub", "")).rstrip("/")


def _weights_in(path: Path) -> Path:
    """The safetensors file that open_clip itself would choose; pickles that it would prefer are refused."""
    weights.require_safe(path)
    if path.is_file():
        return path
    pickles = [name for pattern in ("*.bin", "*.pth") for name in path.glob(pattern)]
    for name in _WEIGHTS:
        if (path / name).is_file() and not (name == _WEIGHTS[-1] and pickles):
            return path / name
    raise ConfigError(
        f"{path}: expected {_WEIGHTS[0]}; seen {', '.join(sorted(each.name for each in path.iterdir())[:8])}; give the"
        " path of the safetensors file itself, with its architecture, or rename it"
    )
