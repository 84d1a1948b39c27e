"""A small published data set that every format writes, with what is in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptforge.stages.publish import publish
from tests.stages.publishing.conftest import a_run, fill


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dataset/ of a run: 9 prompts to train on, 8 of them with a picture, and 2 in test_words; tests only read it."""
    root = tmp_path_factory.mktemp("export") / "run"
    run = a_run(root)
    publish(run, fill(run))
    return root / "dataset"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets.config

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
