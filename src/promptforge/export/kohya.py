"""Picture folders for the scripts of kohya-ss (sd-scripts), and the dataset_config.toml that names them.

<split>/<axis>/<image_id>.webp, <image_id>.txt
dataset_config.toml      one subset for each axis of the first split, num_repeats from the weights
"""

from __future__ import annotations

import json

import pyarrow as pa
from pydantic import Field

from promptforge.export.folder.captioned import Repeated, first_split, folders, shorter_side, write_configured
from promptforge.export.folder.output import Output
from promptforge.export.folder.published import Published

VERSION = 1
PICTURES = True
USE = (
    "accelerate launch flux_train_network.py --dataset_config dataset_config.toml"
    "    # started inside {folder}; from elsewhere: export with --set place=FOLDER"
)
CONFIG = "dataset_config.toml"


class Params(Repeated):
    """Which rows, where the trainer sees them, and how often; e.g. weights.semantic_understanding=10."""

    batch_size: int = Field(1, ge=1, description="pictures of one step")


def write(source: Published, rows: pa.Table, params: Params, output: Output) -> None:
    """The folders, then the configuration."""
    write_configured(source, rows, params, output, (CONFIG, _config(rows, params)))


def _config(rows: pa.Table, params: Params) -> str:
    split = first_split(rows, params)
    lines = [
        "[general]",
        'caption_extension = ".txt"',
        "enable_bucket = true",
        "",
        "[[datasets]]",
        f"resolution = {shorter_side(rows)}",
        f"batch_size = {params.batch_size}",
    ]
    for folder in folders(rows, params):
        if folder.split == split:
            lines += [
                "",
                "  [[datasets.subsets]]",
                # A JSON string without \/ and without control characters is a TOML basic string.
                f"  image_dir = {json.dumps(f'{params.place}/{folder.name}', ensure_ascii=False)}",
                f"  num_repeats = {params.repeats(folder.axis)}",
            ]
    return "\n".join(lines) + "\n"
