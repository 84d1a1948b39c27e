"""Picture folders for ai-toolkit, and the part of its configuration that names them.

<split>/<axis>/<image_id>.webp, <image_id>.txt
datasets.yaml            `datasets:` for the process of a job: one for each axis of the first split
"""

from __future__ import annotations

import json

import pyarrow as pa

from promptforge.export.folder.captioned import Repeated, first_split, folders, shorter_side, write_configured
from promptforge.export.folder.output import Output
from promptforge.export.folder.published import Published

VERSION = 1
PICTURES = True
USE = (
    "cat {folder}/datasets.yaml    # goes under config.process of the job; paths are relative to where it is started,"
    " or begin with --set place=FOLDER\npython run.py job.yaml"
)
CONFIG = "datasets.yaml"


class Params(Repeated):
    """Which rows, where the trainer sees them, and how often; e.g. weights.semantic_understanding=10."""


def write(source: Published, rows: pa.Table, params: Params, output: Output) -> None:
    """The folders, then the configuration."""
    write_configured(source, rows, params, output, (CONFIG, _config(rows, params)))


def _config(rows: pa.Table, params: Params) -> str:
    split = first_split(rows, params)
    lines = ["datasets:"]
    for folder in folders(rows, params):
        if folder.split == split:
            lines += [
                # A JSON string is a YAML string.
                f"  - folder_path: {json.dumps(f'{params.place}/{folder.name}', ensure_ascii=False)}",
                '    caption_ext: "txt"',
                f"    num_repeats: {params.repeats(folder.axis)}",
                f"    resolution: [{shorter_side(rows)}]",
                "    shuffle_tokens: false",  # a prompt is a sentence, not a list of tags
                "    cache_latents_to_disk: true",
            ]
    return "\n".join(lines) + "\n"
