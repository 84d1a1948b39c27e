"""The student: a T5 encoder of any size and a projection to the width that the teacher's transformer is given.

    T5 encoder (d) -> Linear(d, width) -> ReLU -> Dropout -> Linear(width, width), no biases

It takes the place of a pipeline's T5: `pipe.text_encoder_2 = student`. Its folder is what transformers writes
(config.json, model.safetensors), so `load` needs no file of ours. The encoder keeps its pretrained weights: a model
that initialises itself after they were loaded, as the paper's release does, starts from noise.
Not covered: encoders other than T5's.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.models import weights
from promptforge.models.diffusion.loading import quiet
from promptforge.models.torch_setup import load_torch, loading

#: What a T5 encoder is loaded from: a folder as save_pretrained writes it.
FILES = ("config.json", "*.safetensors", "*.safetensors.index.json")
DROPOUT = 0.1
MODEL_TYPE = "t5_student"


@cache
def _classes() -> tuple[Any, Any]:
    """Configuration and model, made once: subclasses of transformers' need it imported."""
    torch = load_torch()
    from transformers import PretrainedConfig, PreTrainedModel, T5Config, T5EncoderModel
    from transformers.modeling_outputs import BaseModelOutput

    class StudentConfig(PretrainedConfig):  # type: ignore[misc]
        model_type = MODEL_TYPE

        def __init__(
            self, t5: dict[str, Any] | None = None, width: int = 4096, dropout: float = DROPOUT, **more: Any
        ) -> None:
            super().__init__(**more)
            self.t5, self.width, self.dropout = t5 or {}, width, dropout

    class Student(PreTrainedModel):  # type: ignore[misc]
        config_class = StudentConfig
        base_model_prefix = "student"

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            t5 = T5Config(**config.t5)
            self.encoder = T5EncoderModel(t5)
            self.projection = torch.nn.Sequential(
                torch.nn.Linear(t5.d_model, config.width, bias=False),
                torch.nn.ReLU(),
                torch.nn.Dropout(config.dropout),
                torch.nn.Linear(config.width, config.width, bias=False),
            )
            self.post_init()

        def _init_weights(self, module: Any) -> None:
            """Linear layers of the projection alone, as torch does it: the encoder brings its own weights."""
            if module in (self.projection[0], self.projection[3]):
                module.reset_parameters()

        def forward(self, input_ids: Any, attention_mask: Any = None, **_: Any) -> Any:
            found = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            return BaseModelOutput(last_hidden_state=self.projection(found))

    return StudentConfig, Student


def __getattr__(name: str) -> Any:
    """The class that a saved pipeline's model_index.json names, and the one that diffusers knows its kind by."""
    if name == "Student":
        return _classes()[1]
    if name == "PreTrainedModel":
        return _classes()[1].__base__
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def make(encoder: str, revision: str | None, width: int, seed: int, dropout: float = DROPOUT) -> Any:
    """A student over a pretrained T5 encoder, in float32 on the CPU; `seed` decides the projection.

    Raises EnvironmentFault where the encoder's files are not here, ConfigError where they are no T5 encoder.
    """
    torch = load_torch()
    from transformers import AutoConfig, T5EncoderModel

    folder = weights.locate(encoder, revision, needs=FILES)
    config_class, model_class = _classes()
    with loading(), torch.random.fork_rng(devices=[]):
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        if config.model_type != "t5":
            raise ConfigError(f"{encoder}: is a {config.model_type}; the student takes a T5 encoder, e.g. flan-t5-base")
        pretrained = T5EncoderModel.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
        torch.manual_seed(seed)
        student = model_class(config_class(t5=config.to_dict(), width=width, dropout=dropout))
        student.encoder.load_state_dict(pretrained.state_dict())
    return student


def save(student: Any, folder: Path) -> None:
    """Write the student as transformers does: config.json and model.safetensors."""
    student.save_pretrained(folder, safe_serialization=True)


def load(folder: Path) -> Any:
    """The student that `save` wrote, in float32. Raises EnvironmentFault where the folder holds none."""
    torch = load_torch()
    weights.require_safe(folder)
    try:
        kind = json.loads((folder / "config.json").read_text("utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as exc:
        raise EnvironmentFault(f"{folder}: holds no student ({exc}); promptforge distill writes one") from exc
    if kind != MODEL_TYPE:  # transformers would fill another model's gaps with noise
        raise EnvironmentFault(f"{folder}: is a {kind}, no student; promptforge distill writes one")
    quiet()
    with loading():
        return _classes()[1].from_pretrained(folder, dtype=torch.float32, local_files_only=True, use_safetensors=True)
