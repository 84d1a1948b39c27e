"""What settings are refused before any work, and what the description covers."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from promptforge.models.diffusion.settings import Settings, describe

REVISION = "0123456789abcdef0123456789abcdef01234567"
HUB = {"model": "black-forest-labs/FLUX.1-schnell", "revision": REVISION}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"revision": None}, "expected the 40 hex digits of a commit"),
        ({"revision": "main"}, "expected the 40 hex digits of a commit"),
        ({"model": "./flux"}, "is a path, which has no revision"),
        ({"size": 500}, "multiple of 16"),
        ({"negative_prompt": "blurry"}, "FLUX has none"),
        ({"pipeline": "auto", "pooled": "zero"}, "needs pipeline flux or sd3"),
        ({"pipeline": "auto", "shift": 3.0}, "shift needs pipeline flux or sd3"),
        ({"pipeline": "auto", "store_latents": True}, "known layout"),
        ({"pipeline": "auto", "memory": "blocks_to_cpu"}, "with auto take auto, resident or model_offload"),
        ({"pipeline": "sd3", "first_block_cache": 0.1}, "has no cache"),
        ({"cuda_graphs": True, "memory": "model_offload"}, "stay where they are"),
        ({"cuda_graphs": True, "fp8_weights": True}, "goes with neither"),
        ({"guidance": float("nan")}, "finite number"),
        ({"colour": "red"}, "Extra inputs are not permitted"),
    ],
)
def test_a_setting_that_contradicts_another_is_refused_with_the_reason(change, message):
    with pytest.raises(ValidationError, match=message):
        Settings(**{**HUB, **change})


def test_what_moves_pixels_moves_the_description_and_nothing_else_does():
    plain = describe(Settings(**HUB), 1)
    deciding = [
        {"revision": REVISION[::-1]},
        {"pipeline": "sd3"},
        {"dtype": "fp32"},
        {"size": 512},
        {"steps": 4},
        {"guidance": 0.0},
        {"max_sequence_length": 256},
        {"pooled": "zero"},
        {"scheduler": "UniPCMultistepScheduler"},
        {"shift": 3.0},
        {"batch": 4},
        {"fp8_weights": True},
        {"first_block_cache": 0.1},
    ]
    seen = [describe(Settings(**{**HUB, **change}), 1) for change in deciding] + [describe(Settings(**HUB), 2)]
    assert all(other != plain for other in seen)
    for other in ({"memory": "resident"}, {"compile": False}, {"store_latents": True}, {"store_embeddings": True}):
        assert describe(Settings(**{**HUB, **other}), 1) == plain


def test_the_default_length_is_spelt_out_so_that_naming_it_changes_nothing():
    assert describe(Settings(**HUB), 1) == describe(Settings(**HUB, max_sequence_length=512), 1)
    assert describe(Settings(**HUB, pipeline="sd3"), 1)["max_sequence_length"] == 256


def test_a_description_needs_no_torch_and_no_network():
    code = (
        "import sys; from promptforge.teachers import diffusers as t;"
        f"p = t.Params(model={HUB['model']!r}, revision={REVISION!r});"
        "t.describe(p); t.licence(p);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'diffusers', 'transformers')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
