"""Open-vocabulary detectors of transformers: OWLv2 and Grounding DINO find the things that a list of nouns names.

The folder's config.json says which of the two it is. Boxes come one a query of the model, each with the label that
suits it best; nothing is suppressed here. One picture at a time in fp32, so a picture's boxes do not depend on others.

    OWLv2           asked with "a photo of a cup"; confidence is the sigmoid of the similarity to a label
    Grounding DINO  asked with "cup. table lamp."; confidence is the mean over the label's tokens of the sigmoid of
                    their similarity, as the authors do to score classes (Liu et al. 2023, arXiv 2303.05499, their
                    COCO evaluation). transformers' own post-processing joins whatever tokens are above a threshold
                    to phrases that may be no label at all

Not covered: image-guided detection; batches; labels of more words than a model reads (OWLv2: 16 tokens), which are cut.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.lexicon import article
from promptforge.models import weights
from promptforge.models.torch_setup import computing, load_torch, loading
from promptforge.protocols import Pixels

VERSION = 1  # raised whenever the boxes of any picture change

GIB = 0.7  #: of the base models, for the message where they are missing; OWLv2 large has 1.8
_LICENCE = "Apache-2.0"
_TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt")


@dataclass(frozen=True, slots=True)
class Detection:
    """One find; `box` is x0, y0, x1, y1 in px inside the picture, `confidence` in [0, 1]."""

    label: str
    confidence: float
    box: tuple[float, float, float, float]


_once = threading.Lock()


def load(source: str, revision: str | None, device: str) -> Detector:
    """The detector, loaded once a process and device.

    Raises ConfigError where the folder holds another kind of model, EnvironmentFault where its files are not whole.
    """
    with _once:
        return _loaded(source, revision, device)


@cache
def _loaded(source: str, revision: str | None, device: str) -> Detector:
    folder = weights.require_safe(weights.locate(source, revision, gib=GIB, licence=_LICENCE))
    try:
        kind = json.loads((folder / "config.json").read_text("utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as exc:
        raise EnvironmentFault(f"{folder}: config.json cannot be read ({exc}); fetch the model again") from exc
    adapters: dict[Any, type[Owlv2 | GroundingDino]] = {"owlv2": Owlv2, "grounding-dino": GroundingDino}
    if kind not in adapters:
        known = " or ".join(sorted(adapters))
        raise ConfigError(f"{source}: model_type is {kind!r}; take a detector whose model_type is {known}")
    if not any((folder / name).exists() for name in _TOKENIZERS):  # transformers would make up one without words
        raise EnvironmentFault(f"{folder}: holds none of {', '.join(_TOKENIZERS)}; fetch the model's folder whole")
    load_torch()
    with loading():
        return Detector(adapters[kind](folder, device))


class Detector:
    """A loaded model; threads take turns at it."""

    def __init__(self, adapter: Owlv2 | GroundingDino) -> None:
        self._adapter = adapter
        self._guard = threading.Lock()

    @computing()
    def detect(self, pixels: Pixels, labels: Sequence[str], min_confidence: float = 0.1) -> list[Detection]:
        """Finds with at least this confidence, the surest first; () of labels finds nothing."""
        asked = list(dict.fromkeys(labels))
        if not asked:
            return []
        height, width = pixels.shape[:2]
        writable = pixels if pixels.flags.writeable else pixels.copy()  # torch warns of what it could not change
        with self._guard:
            raw = self._adapter.find(writable, asked)
        found = []
        for place, confidence, (x0, y0, x1, y1) in raw:
            box = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
            if confidence >= min_confidence and box[0] < box[2] and box[1] < box[3]:
                found.append(Detection(asked[place], confidence, box))
        return sorted(found, key=lambda each: (-each.confidence, each.label, each.box))


#: Place of the label, confidence, and x0, y0, x1, y1 in px, which may reach out of the picture.
Find = tuple[int, float, tuple[float, float, float, float]]


class Owlv2:
    """OWLv2 (Minderer et al. 2023). It sees the picture padded to a square at the right and the bottom."""

    def __init__(self, folder: Path, device: str) -> None:
        from transformers import Owlv2ForObjectDetection, Owlv2Processor

        self._processor = _whole(Owlv2Processor, folder)
        self._model = _model(Owlv2ForObjectDetection, folder, device)
        self._n_tokens = self._model.config.text_config.max_position_embeddings

    def find(self, pixels: Pixels, labels: Sequence[str]) -> list[Find]:
        """One find a patch."""
        texts = [f"a photo of {article(label.split(' ', 1)[0])} {label}" for label in labels]
        text = self._processor.tokenizer(
            texts, padding="max_length", truncation=True, max_length=self._n_tokens, return_tensors="pt"
        )
        picture = self._processor.image_processor(pixels, input_data_format="channels_last", return_tensors="pt")
        output = _run(self._model, input_ids=text.input_ids, attention_mask=text.attention_mask, **picture)
        side = float(max(pixels.shape[:2]))
        return _finds(output.logits[0].sigmoid(), output.pred_boxes[0], (side, side))


class GroundingDino:
    """Grounding DINO (Liu et al. 2023). It reads all labels as one text, each ended by a full stop."""

    def __init__(self, folder: Path, device: str) -> None:
        from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor

        self._processor = _whole(GroundingDinoProcessor, folder)
        self._model = _model(GroundingDinoForObjectDetection, folder, device)
        self._n_tokens = self._model.config.max_text_len

    def find(self, pixels: Pixels, labels: Sequence[str]) -> list[Find]:
        """One find a query, for each run of labels that the model can read at once."""
        picture = self._processor.image_processor(pixels, input_data_format="channels_last", return_tensors="pt")
        height, width = pixels.shape[:2]
        found: list[Find] = []
        start = 0
        while start < len(labels):
            text, tokens = self._read(labels[start:])
            output = _run(self._model, **text, **picture)
            chances = output.logits[0].sigmoid()
            scores = load_torch().stack([chances[:, some].mean(dim=1) for some in tokens], dim=1)
            finds = _finds(scores, output.pred_boxes[0], (float(width), float(height)))
            found += [(start + place, confidence, box) for place, confidence, box in finds]
            start += len(tokens)
        return found

    def _read(self, labels: Sequence[str]) -> tuple[Any, list[list[int]]]:
        """The tokenized text of as many labels as fit, from the first on, and the places of each one's tokens."""
        words = [" ".join("".join(c if c.isalnum() or c in "-'" else " " for c in label).split()) for label in labels]
        n_labels = len(words)
        while True:
            ends, text = [], ""
            for word in words[:n_labels]:
                start = len(text) + (1 if text else 0)
                text = f"{text} {word.lower()}." if text else f"{word.lower()}."
                ends.append((start, len(text) - 1))
            read = self._processor.tokenizer(
                text,
                return_tensors="pt",
                return_offsets_mapping=True,
                truncation=n_labels == 1,
                max_length=self._n_tokens,
            )
            if n_labels == 1 or read.input_ids.shape[1] <= self._n_tokens:
                break
            n_labels -= 1
        spans = read.pop("offset_mapping")[0].tolist()
        tokens = [[k for k, (low, high) in enumerate(spans) if start <= low < high <= end] for start, end in ends]
        return read, [some or [0] for some in tokens]


def _finds(scores: Any, boxes: Any, size: tuple[float, float]) -> list[Find]:
    """Best label of each query. `scores`: queries x labels; `boxes`: queries x (cx, cy, w, h), shares of `size`."""
    best, places = scores.max(dim=1)
    across, down = size
    found = []
    for place, confidence, (x, y, w, h) in zip(places.tolist(), best.tolist(), boxes.tolist(), strict=True):
        box = ((x - w / 2) * across, (y - h / 2) * down, (x + w / 2) * across, (y + h / 2) * down)
        found.append((place, confidence, box))
    return found


def _run(model: Any, **inputs: Any) -> Any:
    torch = load_torch()
    with torch.inference_mode():
        output = model(**{name: value.to(model.device) for name, value in inputs.items()})
    output.logits, output.pred_boxes = output.logits.float().cpu(), output.pred_boxes.float().cpu()
    return output


def _model(kind: Any, folder: Path, device: str) -> Any:
    """The weights in fp32. A model of which a part is missing would be filled with random numbers: it is refused."""
    torch = load_torch()
    model, notes = _whole(kind, folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True)
    missing = sorted(set(notes["missing_keys"]) & {name for name, _ in model.named_parameters()})
    if missing:
        raise EnvironmentFault(
            f"{folder}: the weights lack {len(missing)} parts of the model, {missing[0]} among them; fetch them whole"
        )
    return model.to(device).eval()


def _whole(kind: Any, folder: Path, **how: Any) -> Any:
    """from_pretrained on a folder alone: no network, no code out of it."""
    import transformers

    transformers.utils.logging.disable_progress_bar()  # on standard error it drowns what matters
    try:
        return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **how)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as exc:
        reason = " ".join(str(exc).split())[:300]
        raise EnvironmentFault(
            f"{folder}: {kind.__name__} cannot be loaded ({reason}); fetch the model's folder whole, tokenizer and"
            " preprocessor_config.json included"
        ) from exc
