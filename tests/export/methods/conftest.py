"""A run that a tiny FLUX drew, with its latents and minimal pairs: what the methods are trained and measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from promptforge.commands.export import run_export
from promptforge.lock import Lock
from promptforge.stages import pipeline
from promptforge.stages.run import prepare
from promptforge.store import Store

SIZE, STEPS, LENGTH, GUIDANCE = 64, 3, 32, 3.5


@dataclass(frozen=True)
class Drawn:
    """A run folder, and the pipeline that drew its pictures."""

    root: Path
    flux: Path

    def export(self, form: str, out: Path, *settings: str) -> Path:
        """The data set in a format's form."""
        run_export(form, self.root / "dataset", None, out, list(settings))
        return out


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Drawn:
    """8 prompts for text in pairs and 4 others, each drawn once; tests only read it."""
    from tests.tiny_models.pipelines import tiny_flux

    base = tmp_path_factory.mktemp("methods")
    found = Drawn(base / "run", tiny_flux(base / "flux"))
    raw: dict[str, Any] = {
        "name": "methods",
        "sources": [
            {"kind": "grammar", "axis": "text_rendering", "n": 8, "pairs": True},
            {"kind": "grammar", "axis": "semantic_understanding", "n": 4},
        ],
        "regime": {
            "teacher": "diffusers",
            "model": str(found.flux),
            "pipeline": "flux",
            "dtype": "fp32",
            "size": SIZE,
            "steps": STEPS,
            "guidance": GUIDANCE,
            "max_sequence_length": LENGTH,
            "licence": "CC0-1.0",
            "store_latents": True,
        },
        "scorers": {},
    }
    prepare(found.root, raw, "test")
    with Lock(found.root) as lock:
        pipeline.make_all(found.root, lock.epoch, 1)
    assert Store(found.root).head() is not None
    return found


@pytest.fixture(scope="session")
def pipe(drawn: Drawn) -> Any:
    """The same pipeline as diffusers loads it, frozen.

    Weights stand at multiples of 64 bytes, as in the run: elsewhere kernels give other last bits.
    """
    from diffusers import FluxPipeline

    found = FluxPipeline.from_pretrained(drawn.flux, use_safetensors=True)
    found.set_progress_bar_config(disable=True)
    for part in (found.transformer, found.text_encoder, found.text_encoder_2, found.vae):
        part.requires_grad_(False)
        for weight in part.parameters():
            weight.data = weight.data.clone()
    return found
