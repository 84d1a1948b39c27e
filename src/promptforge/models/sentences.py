"""Sentence vectors through transformers: the mean of an encoder's last states over the tokens, of length 1.

A folder in the layout of transformers, with or without the files that sentence-transformers puts beside it: those say
how many tokens are read and how states are pooled. Texts go in batches of about equal length in fp32; padding is masked
out, so a vector moves with its batch by rounding alone (below 1e-6 a number on a CPU), and equal batches give equal
bits. MiniLM-L6 (22 million weights): 110 prompts a second of processor time.

Not covered: pooling other than the mean, dense layers behind it, prefixes that a model wants before a text (E5's
"query: "), texts over the model's length, whose end is not read.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.models import weights
from promptforge.models.torch_setup import computing, device_of, load_torch, loading

VERSION = 1  # raised whenever a vector changes by more than rounding

MAX_TOKENS = 256  #: read of a text, where the model's own files say no other number; a prompt seldom has 100
BATCH = 64
_NEEDS = ("config.json", "model*.safetensors*", "tokenizer*", "vocab*", "*_Pooling/*", "modules.json", "sentence*.json")
_KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")

Vectors = npt.NDArray[np.float32]  #: one row a text, each of length 1


def identity(source: str, revision: str | None) -> dict[str, Any]:
    """What names the vectors in a digest; loads nothing and asks no network. Raises as weights.identity does."""
    return {"version": VERSION, **weights.identity(source, revision)}


def load(source: str, revision: str | None, rank: int = 0) -> Sentences:
    """The encoder on the rank's device, loaded once a process.

    Raises ConfigError where the folder pools otherwise, EnvironmentFault where files or libraries are missing.
    """
    with _once:
        return _loaded(source, revision, device_of(rank))


_once = threading.Lock()


@cache
def _loaded(source: str, revision: str | None, device: str) -> Sentences:
    folder = weights.require_safe(weights.locate(source, revision, gib=0.1))
    if not folder.is_dir():
        raise ConfigError(
            f"{folder}: a file; expected the folder with config.json, the tokenizer and model.safetensors"
        )
    _check_pooling(folder)
    load_torch()
    with loading():
        return Sentences(folder, device)


class Sentences:
    """A loaded encoder; threads take turns at it."""

    def __init__(self, folder: Path, device: str) -> None:
        import transformers

        if not any((folder / name).exists() for name in ("tokenizer.json", "vocab.txt", "vocab.json")):
            raise EnvironmentFault(f"{folder}: holds no tokenizer.json or vocab.txt; fetch the model's folder whole")
        self._torch = load_torch()
        only: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        safe = {"use_safetensors": True, "dtype": self._torch.float32, "output_loading_info": True}
        transformers.utils.logging.disable_progress_bar()  # on standard error it drowns what matters
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **only)
            model, notes = transformers.AutoModel.from_pretrained(folder, **safe, **only)
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as exc:
            raise EnvironmentFault(f"{folder}: transformers cannot load it as an encoder: {_first_line(exc)}") from exc
        # transformers only warns, and makes up what is missing; the head "pooler" plays no part in the mean.
        missing = sorted(name for name in notes["missing_keys"] if not name.startswith("pooler."))
        if missing:
            raise EnvironmentFault(
                f"{folder}: the weights lack {len(missing)} parts of the model, {missing[0]} among them"
            )
        if getattr(model.config, "is_encoder_decoder", False):
            raise ConfigError(f"{folder}: {model.config.model_type} is no encoder alone; take one like BERT or MiniLM")
        self._model = model.eval().to(device)
        self._device = device
        self._guard = threading.Lock()
        self.width = int(model.config.hidden_size)  #: numbers of a vector
        self.max_tokens = _max_tokens(folder, model.config, self._tokenizer)  #: of a text; what is behind is not read

    @computing()
    def encode(self, texts: Sequence[str]) -> Vectors:
        """A vector for each text, in order; NaN for one whose states are not finite."""
        found = np.empty((len(texts), self.width), np.float32)
        with self._guard:
            tokens = self._tokenizer(list(texts), truncation=True, max_length=self.max_tokens)["input_ids"]
            order = sorted(range(len(texts)), key=lambda row: (len(tokens[row]), row))
            for start in range(0, len(order), BATCH):
                rows = order[start : start + BATCH]
                found[rows] = self._pooled(self._padded([tokens[row] for row in rows]))
        return found

    def _padded(self, tokens: Sequence[Sequence[int]]) -> dict[str, Any]:
        made: dict[str, Any] = self._tokenizer.pad({"input_ids": list(tokens)}, return_tensors="pt")
        return {name: made[name].to(self._device) for name in ("input_ids", "attention_mask")}

    def _pooled(self, batch: dict[str, Any]) -> Vectors:
        with self._torch.inference_mode():
            states = self._model(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
            mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)
        wide: npt.NDArray[np.float64] = mean.double().cpu().numpy()
        with np.errstate(invalid="ignore", divide="ignore"):
            unit: Vectors = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)
        return unit


def _check_pooling(folder: Path) -> None:
    """Refuse what sentence-transformers' files say that is not done here."""
    for path in sorted(folder.glob("*_Pooling/config.json")):
        chosen = sorted(
            name for name, is_on in _json(path).items() if name.startswith("pooling_mode_") and is_on is True
        )
        if chosen and chosen != ["pooling_mode_mean_tokens"]:
            raise ConfigError(f"{path}: says {', '.join(chosen)}; only pooling_mode_mean_tokens is supported")
    modules = _json(folder / "modules.json", [])
    named = [str(item.get("type", "")).rpartition(".")[2] for item in modules if isinstance(item, dict)]
    other = sorted(set(named) - set(_KNOWN_MODULES))
    if other:
        raise ConfigError(
            f"{folder / 'modules.json'}: names {', '.join(other)}; supported: {', '.join(_KNOWN_MODULES)}"
        )


def _max_tokens(folder: Path, config: Any, tokenizer: Any) -> int:
    said = _json(folder / "sentence_bert_config.json").get("max_seq_length")
    wanted = said if isinstance(said, int) and said > 0 else MAX_TOKENS
    return int(min(wanted, tokenizer.model_max_length, getattr(config, "max_position_embeddings", wanted)))


def _json(path: Path, absent: Any = None) -> Any:
    if not path.is_file():
        return {} if absent is None else absent
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as exc:
        raise EnvironmentFault(f"{path}: not JSON ({exc}); fetch the model again") from exc


def _first_line(exc: BaseException) -> str:
    return (str(exc).strip() or type(exc).__name__).partition("\n")[0][:300]
