"""The formats of trainers that are started from a configuration, each read back the way that trainer reads it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from promptforge.commands.export import formats, run_export
from promptforge.errors import ConfigError
from promptforge.export.folder.output import Output, Piece
from tests.export.conftest import amended
from tests.stages.publishing.conftest import contents, expected_pictures, prompts_of_the_test

PROMPTS = {row["prompt_id"]: row for row in prompts_of_the_test()[:10]}
TEXTS = {name: row["text_clean"] for name, row in PROMPTS.items()}
PIXELS = expected_pictures()
TRAIN = {name: pixels for name, pixels in PIXELS.items() if PROMPTS[name]["split"] == "train"}
SEMANTIC, WORDS, QUALITY = 4, 3, 1  # pictures of each axis in train; one of the texts is misread


def _export(dataset: Path, out: Path, name: str, *settings: str) -> Path:
    run_export(name, dataset, None, out, settings)
    return out


def _pixels(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _axis_of(text: str) -> str:
    return next(str(row["axis"]) for row in PROMPTS.values() if row["text_clean"] == text)


def _same(seen: dict[str, npt.NDArray[np.uint8]], wanted: dict[str, npt.NDArray[np.uint8]]) -> bool:
    by_text = {TEXTS[name]: pixels for name, pixels in wanted.items()}
    return seen.keys() == by_text.keys() and all(np.array_equal(seen[text], by_text[text]) for text in by_text)


def _captioned(folder: Path) -> dict[str, npt.NDArray[np.uint8]]:
    """Caption -> pixels: every picture directly in the folder, its caption the first line of the file of its name.

    So read sd-scripts (library/train_util.py, read_caption: the first line, stripped), ai-toolkit
    (toolkit/dataloader_mixins.py, load_caption: the whole file) and OneTrainer (each line, stripped); with one line
    and no line end the three are one.
    """
    found = {}
    for path in sorted(folder.glob("*.webp")):
        lines = path.with_suffix(".txt").read_text("utf-8").splitlines(keepends=True)
        assert lines == [lines[0].strip()]
        found[lines[0]] = _pixels(path)
    return found


def test_simpletuner_reads_the_default_configuration_with_its_sizes_and_quality(dataset: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    n_rows = pq.ParquetFile(dataset / "index.parquet").metadata.num_rows
    marks = pa.array([5 + n / 10 for n in range(n_rows)], pa.float64())
    source = amended(dataset, tmp_path / "dataset", {"render_aesthetic": marks})
    index = {row["prompt_id"]: row for row in pq.ParquetFile(source / "index.parquet").read().to_pylist()}
    out = _export(source, tmp_path / "out", "simpletuner", "rows_per_file=3", f"place={tmp_path / 'out'}")
    backend, texts = json.loads((out / "multidatabackend.json").read_text("utf-8"))
    # As simpletuner/helpers/data_backend/huggingface.py loads it: no name of a configuration, so the default one.
    rows = load_dataset(backend["dataset_name"], split=backend["split"])
    block = backend["huggingface"]
    assert {backend["type"], backend["metadata_backend"], backend["caption_strategy"]} == {"huggingface"}
    assert _same(
        {r[backend["caption_column"]]: np.asarray(r[backend["image_column"]].convert("RGB")) for r in rows}, TRAIN
    )
    assert {(row[block["width_column"]], row[block["height_column"]]) for row in rows} == {(24, 24)}
    assert backend["resolution"] == 24
    for row in rows:
        # 24 x 24 px are 0.000576 megapixels; no scorer of CLIP took part.
        quality = {"aesthetic_score": index[row["prompt_id"]]["render_aesthetic"], "clip_score": None}
        assert row[block["quality_column"]] == {**quality, "resolution": 0.000576}
    assert texts["dataset_type"] == "text_embeds"


def test_simpletuner_reads_pictures_with_a_parquet_table(dataset: Path, tmp_path: Path) -> None:
    import pandas as pd

    out = _export(dataset, tmp_path / "out", "simpletuner", "layout=parquet", f"place={tmp_path / 'out'}")
    backend = json.loads((out / "multidatabackend.json").read_text("utf-8"))[0]
    block = backend["parquet"]
    # As simpletuner/helpers/metadata/backends/parquet.py does it: the file name without the folder is the row's name.
    table = pd.read_parquet(block["path"], engine="pyarrow").set_index(block["filename_column"])
    files = sorted(Path(backend["instance_data_dir"]).rglob("*.webp"))
    assert {path.name for path in files} == set(table.index)
    assert block["identifier_includes_extension"] is True
    assert _same({table.loc[path.name, block["caption_column"]]: _pixels(path) for path in files}, TRAIN)
    for path in files:
        with Image.open(path) as image:
            assert image.size == tuple(table.loc[path.name, [block["width_column"], block["height_column"]]])


def test_kohya_reads_a_folder_an_axis_with_its_repeats(dataset: Path, tmp_path: Path) -> None:
    weights = ("weights.semantic_understanding=10", "weights.image_quality=2")
    out = _export(dataset, tmp_path / "out", "kohya", f"place={tmp_path / 'out'}", *weights)
    config = tomllib.loads((out / "dataset_config.toml").read_text("utf-8"))
    (group,) = config["datasets"]
    assert config["general"]["caption_extension"] == ".txt"
    assert (group["resolution"], group["batch_size"]) == (24, 1)
    seen: dict[str, Any] = {}
    repeats: dict[str, tuple[int, int]] = {}
    for subset in group["subsets"]:
        mine = _captioned(Path(subset["image_dir"]))
        (axis,) = {_axis_of(text) for text in mine}
        repeats[axis] = (len(mine), subset["num_repeats"])
        seen |= mine
    assert _same(seen, TRAIN)
    assert repeats == {
        "image_quality": (QUALITY, 2),
        "semantic_understanding": (SEMANTIC, 10),
        "text_rendering": (WORDS, 1),
    }


def test_ai_toolkit_reads_a_folder_an_axis(dataset: Path, tmp_path: Path) -> None:
    out = _export(dataset, tmp_path / "out", "ai-toolkit", f"place={tmp_path / 'out'}", "weights.text_rendering=3")
    listed = yaml.safe_load((out / "datasets.yaml").read_text("utf-8"))["datasets"]
    seen: dict[str, Any] = {}
    for item in listed:
        mine = _captioned(Path(item["folder_path"]))
        (axis,) = {_axis_of(text) for text in mine}
        assert item["num_repeats"] == (3 if axis == "text_rendering" else 1)
        assert (item["caption_ext"], item["resolution"], item["shuffle_tokens"]) == ("txt", [24], False)
        seen |= mine
    assert _same(seen, TRAIN)


def test_onetrainer_trains_on_the_first_split_and_validates_on_the_others(dataset: Path, tmp_path: Path) -> None:
    settings = ("weights.text_rendering=2.5", 'splits=["train", "test_words"]', f"place={tmp_path / 'out'}")
    out = _export(dataset, tmp_path / "out", "onetrainer", *settings)
    concepts = json.loads((out / "concepts.json").read_text("utf-8"))
    seen: dict[bool, dict[str, Any]] = {True: {}, False: {}}
    for concept in concepts:
        mine = _captioned(Path(concept["path"]))
        seen[concept["validation_concept"]] |= mine
        trains = not concept["validation_concept"]
        assert concept["balancing"] == (2.5 if trains and "text_rendering" in concept["name"] else 1.0)
        # On by default in modules/util/config/ConceptConfig.py: a flip would mirror letters.
        assert concept["image"]["enable_random_flip"] is False
        assert concept["text"]["prompt_source"] == "sample"
    assert _same(seen[False], TRAIN)
    assert _same(seen[True], {name: pixels for name, pixels in PIXELS.items() if name not in TRAIN})


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("simpletuner", ()),
        ("simpletuner", ("layout=parquet",)),
        ("kohya", ()),
        ("ai-toolkit", ()),
        ("onetrainer", ()),
    ],
)
def test_two_exports_have_the_same_bytes(dataset: Path, tmp_path: Path, name: str, settings: tuple[str, ...]) -> None:
    first, second = (contents(_export(dataset, tmp_path / str(n) / "out", name, *settings)) for n in range(2))
    assert first == second
    assert {"README.md", "export.json"} < first.keys()
    assert f": {name}\n" in first["README.md"].decode().splitlines(keepends=True)[0]
    assert name in formats()


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("simpletuner", "rows_per_file=3"),
        ("simpletuner", "layout=parquet"),
        ("kohya", "place=/data"),
        ("mds", "rows_per_file=3"),
        ("text-loc", "file_column=file_name"),
    ],
)
def test_an_export_killed_before_any_piece_is_recorded_goes_on_from_there(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, setting: str
) -> None:
    piece = Output.piece
    labels: list[str] = []

    def noting(output: Output, label: str, write: Callable[[Piece], None]) -> None:
        labels.append(label)
        piece(output, label, write)

    monkeypatch.setattr(Output, "piece", noting)
    whole = contents(_export(dataset, tmp_path / "whole", name, setting))
    assert len(labels) > 1
    monkeypatch.setattr(Output, "piece", piece)
    for number, last in enumerate(labels):
        monkeypatch.setattr(Output, "piece", _dying(last))
        with pytest.raises(KeyboardInterrupt):
            _export(dataset, tmp_path / str(number), name, setting)
        monkeypatch.setattr(Output, "piece", piece)
        assert contents(_export(dataset, tmp_path / str(number), name, setting)) == whole


def _dying(last: str) -> Callable[[Output, str, Callable[[Piece], None]], None]:
    """Output.piece of a process that is killed when the files of the piece `last` are there, and its record is not."""
    piece = Output.piece

    def dies(output: Output, label: str, write: Callable[[Piece], None]) -> None:
        def and_die(made: Piece) -> None:
            write(made)
            raise KeyboardInterrupt

        piece(output, label, and_die if label == last else write)

    return dies


@pytest.mark.parametrize(
    ("name", "setting", "says"),
    [
        ("kohya", "weights.semantic_understanding=0", "weights.semantic_understanding"),
        ("kohya", "weights.beauty=2", "weights"),
        ("onetrainer", "weights.text_rendering=-1", "weights.text_rendering"),
        ("ai-toolkit", "place=", "place"),
        ("ai_toolkit", "place=x", "did you mean 'ai-toolkit'"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(dataset: Path, tmp_path: Path, name: str, setting: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        _export(dataset, tmp_path / "out", name, setting)
