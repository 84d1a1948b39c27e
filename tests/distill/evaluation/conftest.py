"""A published set with three test splits, and settings of a training and an evaluation that take seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from promptforge.schema import arrow_schema
from promptforge.stages.judging.bounds import policy_rows
from promptforge.stages.publish import publish
from tests.stages.publishing.conftest import a_prompt, a_run, committed

TEXTS = {
    "image_quality": ["a foggy harbour at dawn", "an old oak in a wide field of barley", "rain on a tin roof at night"],
    "semantic_understanding": ["two red cups beside a blue bowl", "three green pears", "a yellow cube on a red box"],
    "text_rendering": ['a sign that says "PADDLE"', 'a poster that says "KAYAK NOW"', 'a mug that says "TIDE"'],
}
SPLIT_OF = {
    "image_quality": "test_natural",
    "semantic_understanding": "test_composition",
    "text_rendering": "test_words",
}


def rows() -> list[dict[str, Any]]:
    """Three prompts of each axis in the test split of its kind, and as many to train on."""
    held = [a_prompt(text, axis, n, SPLIT_OF[axis]) for axis, texts in TEXTS.items() for n, text in enumerate(texts)]
    seen = [a_prompt(f"{text}, seen {n}", axis, n) for axis, texts in TEXTS.items() for n, text in enumerate(texts)]
    for number, row in enumerate([*held, *seen]):
        row |= {"row_id": f"row {number:02d}", "source_row": number, "stream_order": number}
    return [*held, *seen]


@pytest.fixture(scope="session")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set; nothing of it was rendered."""
    run = a_run(tmp_path_factory.mktemp("held_out") / "run")
    given = rows()
    selection = [
        {name: row[name] for name in ("row_id", "prompt_id", "axis", "split")}
        | {"state": "accepted", "reason": None, "keep_prompt": True, "keep_image": False, "image_id": None}
        | {"n_takes": 0, "n_passed": 0, "image_reason": "not_rendered"}
        for row in given
    ]
    decided = {
        "policy": pa.Table.from_pylist(policy_rows(run.recipe), schema=arrow_schema("policy")),
        "selection": pa.Table.from_pylist(selection, schema=arrow_schema("selection")),
    }
    publish(
        run,
        [
            committed(run, "prompts", given, "generate"),
            committed(run, "verdicts", [], "filter"),
            committed(run, "render_plan", [], "plan"),
            run.store.commit("select", "all", "5" * 64, decided),
        ],
    )
    return run.root / "dataset"


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.tiny_models.clip import tiny_clip

    return tiny_clip(tmp_path_factory.mktemp("tower") / "clip")


@pytest.fixture(scope="session")
def dino_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DINOv2 of two layers with random weights."""
    from promptforge.models.torch_setup import load_torch

    torch = load_torch()
    from transformers import Dinov2Config, Dinov2Model

    folder = tmp_path_factory.mktemp("dino") / "dinov2"
    config = Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14, mlp_ratio=2
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        Dinov2Model(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def raw(small: dict[str, Any], held_out: Path, clip_folder: Path, dino_folder: Path) -> dict[str, Any]:
    """Settings as in a file: every measure but those whose heads are bound to one tower's width."""
    tower = {"tower": str(clip_folder)}
    return {
        **small,
        "dataset": str(held_out),
        "evaluation": {
            "batch": 2,
            "noises": 2,
            "pictures": 2,
            "dino": {"model": str(dino_folder)},
            "clip": tower,
            "scorers": {"alignment": tower, "text": {}, "agreement": {}},
            "resamples": 200,
        },
    }


@pytest.fixture(scope="session")
def trained(raw: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a student that learnt for one batch."""
    from promptforge.distill.settings import read
    from promptforge.distill.train import train

    folder = tmp_path_factory.mktemp("trained")
    train(read({**raw, "phases": [{"name": "all", "batches": 1}]}, "test"), folder)
    return folder / "student"
