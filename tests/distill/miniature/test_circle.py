"""The whole circle with the teacher of the package: prompts, pictures, judged, published, a student, measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from promptforge import recipe
from promptforge.distill.named import settings_of
from promptforge.models import weights
from tests.stages.conftest import drive_run

pytestmark = pytest.mark.models

SMALL = (
    *("sources.0.n=60", "sources.1.n=60", "sources.2.n=40"),
    *("select.quota.image_quality=50", "select.quota.semantic_understanding=50", "select.quota.text_rendering=30"),
    *("render.sample=0.4", "run.workers=1"),
)
BRIEF = ("phases.0.batches=2", "phases.1.batches=1", "phases.2.batches=7", "batch=8", "precision=fp32")
FEW = ("evaluation.prompts=6", "evaluation.pictures=3", "evaluation.resamples=100")


def test_prompts_become_pictures_a_data_set_and_a_student_that_is_nearer_than_an_empty_prompt(tmp_path: Path) -> None:
    from promptforge.distill.evaluation import evaluate
    from promptforge.distill.train import losses, train

    root = tmp_path / "run"
    drive_run(root, recipe.override(recipe.read("miniature"), SMALL))
    settings = settings_of("miniature", [f'dataset="{root / "dataset"}"', *BRIEF, *FEW])
    folder = tmp_path / "distill"
    train(settings, folder)
    told = losses(folder)
    assert sum(line["loss"] for line in told[-8:]) < sum(line["loss"] for line in told[:8])
    found = json.loads((evaluate(settings, folder) / "evaluation.json").read_text("utf-8"))
    assert 0 < found["velocity"]["of_blank"]["all"]["mean"] < 1
    assert found["semantic"][0]["scorer"] == "miniature"


def test_the_weights_of_the_package_are_safe_and_small() -> None:
    folder = weights.path_of("promptforge:miniature")
    files = [path for path in folder.parent.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 16e6
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    weights.require_safe(folder)
