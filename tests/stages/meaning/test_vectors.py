"""Vectors of prompts out of a file and by a model, and what a run does with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptforge import records
from promptforge.errors import SourceFault
from promptforge.models import sentences
from promptforge.stages import pipeline
from promptforge.stages.meaning import vectors
from promptforge.stages.resemblance.settings import SemanticSettings
from promptforge.store import Store
from tests.stages.test_dedup_against import start, verdicts

PROMPTS = ["a red cup", "the cup that is red", "a blue cup", "serenity", "calm"]


def _file(path: Path, rows: dict[str, list[float]], key: str = "text") -> Path:
    kind = pa.list_(pa.float32())
    pq.write_table(pa.table({key: list(rows), "vector": pa.array(list(rows.values()), kind)}), path)
    return path


def _ids(prompts: list[str]) -> pa.Array:
    return pa.array([records.prompt_id(prompt) for prompt in prompts])


def test_a_file_is_joined_by_text_or_prompt_id_and_gives_vectors_of_length_1(tmp_path: Path) -> None:
    given = {"a red cup": [3.0, 4.0], "a  blue cup ": [0.0, 2.0], "of another run": [1.0, 1.0]}  # cleaned: one blank
    by_text = SemanticSettings(vectors=str(_file(tmp_path / "t.parquet", given)))
    ids = {records.prompt_id(" ".join(text.split())): vector for text, vector in given.items()}
    by_id = SemanticSettings(vectors=str(_file(tmp_path / "i.parquet", ids, "prompt_id")))
    for settings in (by_text, by_id):
        found = vectors.of_prompts(Store(tmp_path), settings, _ids(PROMPTS[:3]), pa.array(PROMPTS[:3]))
        np.testing.assert_allclose(found, [[0.6, 0.8], [np.nan, np.nan], [0, 1]], atol=1e-3)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"text": ["x"]}, "expected prompt_id or the prompt"),
        ({"vector": [[1.0]]}, "expected prompt_id or the prompt"),
        ({"text": ["x", "y"], "vector": [[1.0], [1.0, 2.0]]}, "expected one width"),
        ({"text": ["x"], "vector": pa.array([None], pa.list_(pa.float32()))}, "expected one width, no null"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_name(tmp_path: Path, table: dict[str, Any], words: str) -> None:
    path = tmp_path / "v.parquet"
    pq.write_table(pa.table(table), path)
    with pytest.raises(SourceFault, match=words) as caught:
        vectors.of_prompts(Store(tmp_path), SemanticSettings(vectors=str(path)), _ids(["x"]), pa.array(["x"]))
    assert str(path) in str(caught.value)


def test_a_run_drops_what_says_the_same_and_nothing_that_is_held_apart(tmp_path: Path) -> None:
    # All but the last are one vector: the colour holds the third apart, a missing vector the last.
    path = _file(tmp_path / "v.parquet", {key: [1.0, 0.0] for key in PROMPTS[:4]})
    rows = [{"text": prompt} for prompt in PROMPTS]
    found = verdicts(start(tmp_path / "run", rows, {"near": False, "semantic": {"vectors": str(path)}}))
    assert found == {1: ("semantic_duplicate", "0", 1.0)}
    loose = {"vectors": str(path), "words": False}
    found = verdicts(start(tmp_path / "loose", rows, {"near": False, "semantic": loose}))
    assert found == {1: ("semantic_duplicate", "0", 1.0), 3: ("semantic_duplicate", "0", 1.0)}  # scenes: red, not blue


def test_members_of_a_pair_stay_and_accepted_prompts_win(tmp_path: Path) -> None:
    path = _file(tmp_path / "v.parquet", {key: [1.0, 0.0] for key in ["serenity", "calm", "peace"]})
    (tmp_path / "list.txt").write_text("peace\n", "utf-8")
    semantic = {"semantic": {"vectors": str(path)}}
    rows = [{"text": "serenity", "pair_id": "p"}, {"text": "calm", "pair_id": "p"}]
    assert verdicts(start(tmp_path / "pair", rows, semantic)) == {}
    found = verdicts(start(tmp_path / "run", rows, semantic | {"against": [str(tmp_path / "list.txt")]}))
    place = f"accepted in list.txt row 0: {records.prompt_id('peace')}"
    assert found == dict.fromkeys((0, 1), ("semantic_duplicate", place, 1.0))


@pytest.mark.models
def test_a_run_that_was_killed_encodes_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.tiny_models.encoders import tiny_encoder

    folder = tiny_encoder(tmp_path / "encoder")
    monkeypatch.setattr(vectors, "ENCODED_ROWS", 2)
    rows = [{"text": prompt} for prompt in PROMPTS]
    settings = {"near": False, "semantic": {"model": str(folder), "threshold": 0.5, "words": False}}
    whole = start(tmp_path / "whole", rows, settings)
    expected = verdicts(whole)
    files = sorted(path.name for path in (whole.root / "sentence_vectors").iterdir())
    assert len(files) == 3
    asked: list[str] = []
    real = sentences.Sentences.encode

    def encode(self: sentences.Sentences, texts: list[str]) -> Any:
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.extend(texts)
        return real(self, texts)

    run = start(tmp_path / "killed", rows, settings)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sentences.Sentences, "encode", encode)
        verdicts(run)
    asked.clear()
    monkeypatch.setattr(sentences.Sentences, "encode", lambda self, texts: asked.extend(texts) or real(self, texts))
    assert verdicts(run) == expected
    assert asked == PROMPTS[2:]
    assert sorted(path.name for path in (run.root / "sentence_vectors").iterdir()) == files
    pipeline.make_dedup(run.root)
    assert asked == PROMPTS[2:]
