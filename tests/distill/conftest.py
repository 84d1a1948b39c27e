"""A tiny FLUX and a tiny T5, saved as the libraries save them, and a student over the one for the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptforge.models.diffusion.settings import Settings
from promptforge.stages.publish import publish
from tests.stages.publishing.conftest import a_run, fill

SIZE, STEPS, LENGTH = 64, 4, 16


@pytest.fixture(scope="session")
def flux_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.tiny_models.pipelines import tiny_flux

    return tiny_flux(tmp_path_factory.mktemp("teacher") / "flux")


@pytest.fixture(scope="session")
def t5_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5 encoder of width 16, half of the teacher's."""
    from tests.tiny_models.pipelines import _seeded, _t5
    from tests.tiny_models.tokenizers import t5_tokenizer

    folder = tmp_path_factory.mktemp("student") / "t5"
    with _seeded(3):
        _t5(len(t5_tokenizer()), 16).save_pretrained(folder)
    return folder


@pytest.fixture
def settings(flux_folder: Path) -> Settings:
    return Settings(
        model=str(flux_folder), dtype="fp32", size=SIZE, steps=STEPS, max_sequence_length=LENGTH, pooled="zero"
    )


@pytest.fixture
def teacher(settings: Settings) -> Any:
    from promptforge.distill.teacher import Teacher

    return Teacher.load(settings)


@pytest.fixture
def student(t5_folder: Path, teacher: Any) -> Any:
    from promptforge.distill.student import make

    return make(str(t5_folder), None, teacher.width, seed=1)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """9 prompts to train on: 1 of image quality, 4 semantic, 4 with text."""
    root = tmp_path_factory.mktemp("distill") / "run"
    run = a_run(root)
    publish(run, fill(run))
    return root / "dataset"


@pytest.fixture(scope="session")
def small(dataset: Path, flux_folder: Path, t5_folder: Path) -> dict[str, Any]:
    """Settings of a training that takes seconds, as they stand in a file."""
    return {
        "name": "small",
        "dataset": str(dataset),
        "teacher": {
            "model": str(flux_folder),
            "dtype": "fp32",
            "size": SIZE,
            "steps": 2,
            "max_sequence_length": 8,
            "pooled": "zero",
            "licence": "CC0-1.0",
        },
        "student": {"encoder": str(t5_folder)},
        "phases": [{"name": "all", "batches": 3}],
        "batch": 2,
        "precision": "fp32",
    }


def as_toml(raw: dict[str, Any]) -> str:
    """Settings such as `small` as the text of a file."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in raw.items() if isinstance(value, str | int)]
    tables = [(f"[{name}]", value) for name, value in raw.items() if isinstance(value, dict)]
    for head, table in [*tables, *(("[[phases]]", phase) for phase in raw["phases"])]:
        lines += [head, *(f"{name} = {json.dumps(value)}" for name, value in table.items())]
    return "\n".join(lines)
