"""Picture folders for OneTrainer, and the concepts.json that names them.

    <split>/<axis>/<image_id>.webp, <image_id>.txt
    concepts.json            one concept for each split and axis: the first split trains, others are validation concepts

Random flips and crops, on by default there, are off: a flip turns letters and "left of" around, a crop changes counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import pyarrow as pa
from pydantic import Field

from promptforge.export.folder.captioned import Folder, Placed, first_split, folders, write_configured
from promptforge.export.folder.output import Output
from promptforge.export.folder.published import Published
from promptforge.records import Axis

VERSION = 1
PICTURES = True
USE = (
    "python scripts/train.py --config-path config.json    # with concept_file_name {folder}/concepts.json in it;"
    " its paths are relative to where it is started, or begin with --set place=FOLDER"
)
CONFIG = "concepts.json"


class Params(Placed):
    """Which rows, where the trainer sees them, and how often; e.g. weights.semantic_understanding=2.5."""

    weights: Mapping[Axis, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        default_factory=dict, description="times that a picture of an axis is seen in an epoch; 1 where not named"
    )
    seed: int = Field(0, ge=0, lt=2**30, description="seed of the concepts: their order and augmentations")


def write(source: Published, rows: pa.Table, params: Params, output: Output) -> None:
    """The folders, then the configuration."""
    split = first_split(rows, params)
    concepts = [_concept(folder, params, folder.split != split) for folder in folders(rows, params)]
    text = json.dumps(concepts, indent=4, ensure_ascii=False) + "\n"
    write_configured(source, rows, params, output, (CONFIG, text))


def _concept(folder: Folder, params: Params, validation: bool) -> dict[str, Any]:
    return {
        "__version": 1,
        "name": folder.name,
        "path": f"{params.place}/{folder.name}",
        "seed": params.seed,
        "enabled": True,
        "validation_concept": validation,
        "include_subdirectories": False,
        "image_variations": 1,
        "text_variations": 1,
        "balancing": 1.0 if validation else params.weights.get(Axis(folder.axis), 1.0),
        "balancing_strategy": "REPEATS",
        "loss_weight": 1.0,
        "image": {"__version": 0, "enable_crop_jitter": False, "enable_random_flip": False},
        # "sample": a text file of the picture's name
        "text": {"__version": 0, "prompt_source": "sample", "prompt_path": "", "enable_tag_shuffling": False},
    }
