"""The trainer's side, on a folder that `datasets` wrote and a manifest made by hand."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from promptforge import reader
from promptforge.errors import ConfigError, StoreFault

AXES = ("image_quality", "semantic_understanding", "text_rendering")


def seal(root: Path) -> None:
    """Write a manifest over everything in the folder."""
    files = {
        path.relative_to(root).as_posix(): {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(root.glob("*/*.parquet"))
    }
    (root / "manifest.json").write_text(json.dumps({"digest": "0" * 64, "files": files}))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """12 prompts of three axes in two files, 6 of them with a picture, and 1 in test_words."""
    import datasets
    from datasets import Dataset, Features, Value
    from datasets import Image as ImageFeature

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    root = tmp_path / "dataset"
    rows = [{"prompt_id": f"{n:032x}", "text": f"a pot, number {n}", "axis": AXES[n % 3]} for n in range(12)]
    (root / "prompts").mkdir(parents=True)
    (root / "data").mkdir()
    for number, piece in enumerate((rows[:7], rows[7:])):
        Dataset.from_list(piece).to_parquet(root / f"prompts/train-{number:05d}-of-00002.parquet")
    held_out = [{"prompt_id": "f" * 32, "text": "a paddle", "axis": AXES[2]}]
    Dataset.from_list(held_out).to_parquet(root / "prompts/test_words-00000-of-00001.parquet")
    pictured: list[dict[str, Any]] = [{**row, "image": Image.fromarray(picture(n))} for n, row in enumerate(rows[:6])]
    features = Features({name: Value("string") for name in rows[0]} | {"image": ImageFeature()})
    Dataset.from_list(pictured, features=features).to_parquet(root / "data/train-00000-of-00001.parquet")
    seal(root)
    return root


def picture(number: int) -> np.ndarray:
    return np.full((8, 8, 3), number * 20, dtype=np.uint8)


def test_prompts_are_every_row_of_the_split_in_order(folder: Path) -> None:
    rows = reader.prompts(folder)
    assert [row["text"] for row in rows] == [f"a pot, number {n}" for n in range(12)]
    assert [row["text"] for row in reader.prompts(folder, "test_words")] == ["a paddle"]


def test_prompts_of_some_axes_only(folder: Path) -> None:
    rows = reader.prompts(folder, axes=["text_rendering", "image_quality"])
    assert [row["axis"] for row in rows] == ["image_quality", "text_rendering"] * 4


@pytest.mark.parametrize("streaming", [False, True])
def test_a_split_with_pictures_gives_their_pixels(folder: Path, streaming: bool) -> None:
    rows = list(reader.open_split(folder, "train", pictures=True, streaming=streaming))
    assert len(rows) == 6
    assert all((np.asarray(row["image"]) == picture(n)).all() for n, row in enumerate(rows))


def test_a_stream_that_is_left_lets_the_process_end(folder: Path) -> None:
    """The stream of load_dataset does not, every other time (apache/arrow#45214)."""
    code = f"from promptforge.reader import open_split\nfor row in open_split({str(folder)!r}, streaming=True): break"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_stream_is_dealt_out_and_goes_on_where_it_was(folder: Path) -> None:
    from datasets.distributed import split_dataset_by_node

    whole = [row["prompt_id"] for row in reader.open_split(folder, "train", pictures=False, streaming=True)]
    dealt = [
        [row["prompt_id"] for row in split_dataset_by_node(stream, rank=rank, world_size=2)]
        for rank in range(2)
        for stream in [reader.open_split(folder, "train", pictures=False, streaming=True)]
    ]
    assert sorted(dealt[0] + dealt[1]) == whole
    first = reader.open_split(folder, "train", pictures=False, streaming=True)
    seen = [row["prompt_id"] for _, row in zip(range(5), first, strict=False)]  # range first: it asks for no sixth
    again = reader.open_split(folder, "train", pictures=False, streaming=True)
    again.load_state_dict(first.state_dict())
    assert seen + [row["prompt_id"] for row in again] == whole


@pytest.mark.parametrize("streaming", [False, True])
def test_a_split_without_pictures_gives_every_prompt(folder: Path, streaming: bool) -> None:
    rows = list(reader.open_split(folder, "train", pictures=False, streaming=streaming))
    assert [row["prompt_id"] for row in rows] == [f"{n:032x}" for n in range(12)]
    assert "image" not in rows[0]


@pytest.mark.parametrize(
    "call",
    [
        reader.prompts,
        lambda root: reader.open_split(root, "train", pictures=False),
        lambda root: reader.weights_by_axis(root, {}),
    ],
)
def test_a_changed_file_is_named_and_not_read(folder: Path, call: Any) -> None:
    path = folder / "prompts/train-00001-of-00002.parquet"
    assert len(reader.prompts(folder)) == 12  # read once, so that a stale check would be seen
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreFault, match=r"train-00001-of-00002\.parquet: sha256 is .* the file was changed"):
        call(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "prompts/train-00000-of-00002.parquet").unlink()
    with pytest.raises(StoreFault, match=r"train-00000-of-00002\.parquet: missing"):
        reader.prompts(folder)


def test_a_folder_without_a_manifest_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(StoreFault, match=r"no manifest\.json"):
        reader.prompts(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(StoreFault, match="not JSON"):
        reader.prompts(tmp_path)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda root: reader.prompts(root, "test_natural"), "no split 'test_natural'.* test_words, train"),
        (lambda root: reader.prompts(root, "tra"), "no split 'tra'"),
        (lambda root: reader.open_split(root, "test_words"), "pictures=False reads the prompts"),
        (lambda root: reader.prompts(root, axes=["quality"]), "no axis 'quality'"),
        (lambda root: reader.weights_by_axis(root, {"quality": 2}), "no axis 'quality'"),
        (lambda root: reader.weights_by_axis(root, {"text_rendering": -1}), "at least 0"),
        (lambda root: reader.weights_by_axis(root, {"text_rendering": float("nan")}), "at least 0"),
    ],
)
def test_a_wrong_request_says_what_there_is(folder: Path, call: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call(folder)


def test_weights_follow_the_rows(folder: Path) -> None:
    weights = reader.weights_by_axis(folder, {"semantic_understanding": 10, "image_quality": 0.5})
    assert weights.tolist() == [0.5, 10.0, 1.0] * 4
    assert reader.weights_by_axis(folder, {"text_rendering": 3}, pictures=True).tolist() == [1.0, 1.0, 3.0] * 2


def test_a_weight_of_ten_is_ten_visits_of_each_row_an_epoch() -> None:
    order = reader.sampling_order([1, 10, 1, 0, 10], np.random.default_rng(3))
    assert Counter(order.tolist()) == {0: 1, 1: 10, 2: 1, 4: 10}  # 22 draws: 1 + 10 + 1 + 0 + 10


def test_an_epoch_of_n_draws_visits_each_row_floor_or_ceil_of_its_share() -> None:
    weights = [0.3, 2.5, 1.0, 7.7, 0.0, 0.5]
    for seed in range(20):
        seen = Counter(reader.sampling_order(weights, np.random.default_rng(seed), 31).tolist())
        assert sum(seen.values()) == 31
        for row, weight in enumerate(weights):
            share = 31 * weight / 12.0  # the weights add up to 12
            assert int(share) <= seen[row] <= -int(-share // 1)


def test_the_same_generator_gives_the_same_order_and_another_epoch_another() -> None:
    orders = [reader.sampling_order([1.0] * 50, np.random.default_rng([7, epoch])).tolist() for epoch in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2]) == list(range(50))


def test_without_any_weight_there_is_nothing_to_draw() -> None:
    for weights in ([], [0.0, 0.0]):
        with pytest.raises(ConfigError, match="every weight is 0"):
            reader.sampling_order(weights, np.random.default_rng(0))


def test_importing_the_reader_loads_neither_torch_nor_datasets() -> None:
    code = "import sys, promptforge.reader; print(sorted({'torch', 'datasets', 'prefect', 'duckdb'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
