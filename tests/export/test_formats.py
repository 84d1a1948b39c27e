"""Each format read back by what its consumer reads it with: counts, ids, captions and pixels equal the source."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from promptforge.commands.export import run_export
from tests.stages.publishing.conftest import contents, expected_pictures, prompts_of_the_test

TRAIN = {row["prompt_id"]: row["text_clean"] for row in prompts_of_the_test()[:9]}
HELD_OUT = {row["prompt_id"]: row["text_clean"] for row in prompts_of_the_test()[9:11]}
PICTURES = {name: pixels for name, pixels in expected_pictures().items() if name in TRAIN}


def _export(dataset: Path, out: Path, name: str, *settings: str) -> Path:
    run_export(name, dataset, None, out, settings)
    return out


def _same(seen: dict[str, npt.NDArray[np.uint8]], wanted: dict[str, npt.NDArray[np.uint8]]) -> bool:
    return seen.keys() == wanted.keys() and all(np.array_equal(seen[name], wanted[name]) for name in wanted)


def test_distillt5_gives_the_three_sets_that_its_trainer_reads(dataset: Path, tmp_path: Path) -> None:
    out = _export(dataset, tmp_path / "out", "distillt5")
    # As train_flux.py of LifuWang-66/DistillT5 does it: a JSON list, every line of every file called *train*, a list.
    quality = json.loads((out / "image_quality.json").read_text("ascii"))
    semantic = [
        line
        for file in sorted((out / "semantic_understanding").iterdir())
        if "train" in file.name
        for line in file.read_text("utf-8").splitlines()
    ]
    words = json.loads((out / "text_rendering.json").read_text("ascii"))
    assert sorted([*quality, *semantic, *words]) == sorted(TRAIN.values())
    assert (len(quality), len(semantic), len(words)) == (1, 4, 4)
    assert [file.name for file in (out / "semantic_understanding").iterdir()] == ["color_train.txt"]


def test_distillt5_has_a_set_for_an_axis_without_rows(dataset: Path, tmp_path: Path) -> None:
    out = _export(dataset, tmp_path / "out", "distillt5", 'axes=["text_rendering"]')
    assert json.loads((out / "image_quality.json").read_text("ascii")) == []
    assert [file.read_text("utf-8") for file in (out / "semantic_understanding").iterdir()] == [""]
    assert len(json.loads((out / "text_rendering.json").read_text("ascii"))) == 4


def test_diffusers_reads_the_folder_with_load_dataset(dataset: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    out = _export(dataset, tmp_path / "out", "diffusers", "rows_per_file=3")
    rows = load_dataset(str(out), split="train")
    assert len(list((out / "data").iterdir())) == 3  # 8 pictures
    assert _same({row["prompt_id"]: np.asarray(row["image"].convert("RGB")) for row in rows}, PICTURES)
    assert {row["prompt_id"]: row["text"] for row in rows} == {name: TRAIN[name] for name in PICTURES}
    assert rows["prompt"] == rows["text"]


def test_diffusers_reads_pictures_with_metadata_as_an_imagefolder(dataset: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    out = _export(dataset, tmp_path / "out", "diffusers", "layout=imagefolder", 'splits=["train", "test_words"]')
    for split, texts in (("train", TRAIN), ("test_words", HELD_OUT)):
        rows = load_dataset("imagefolder", data_dir=str(out / split), split="train")
        wanted = {name: pixels for name, pixels in expected_pictures().items() if name in texts}
        assert _same({row["prompt_id"]: np.asarray(row["image"].convert("RGB")) for row in rows}, wanted)
        assert {row["prompt_id"]: row["text"] for row in rows} == {name: texts[name] for name in wanted}


# In a process of its own: the library leaves its files open, which is an error here.
_WEBDATASET = """
import json, sys
import numpy, webdataset
tars, seen = json.loads(sys.argv[1]), {}
for tar in tars:
    for sample in webdataset.WebDataset(tar, shardshuffle=False).decode("rgb8"):
        numpy.save(f"{sys.argv[2]}/{sample['__key__']}.npy", sample["webp"])
        seen[sample["__key__"]] = [tars.index(tar), sample["txt"], sample["json"]]
print(json.dumps(seen))
"""


def test_webdataset_reads_the_tars(dataset: Path, tmp_path: Path) -> None:
    out = _export(dataset, tmp_path / "out", "webdataset", "rows_per_file=3")
    tars = json.dumps(sorted(str(path) for path in out.glob("train-*.tar")))
    command = [sys.executable, "-c", _WEBDATASET, tars, str(tmp_path)]
    samples = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert sorted(Counter(tar for tar, _, _ in samples.values()).values()) == [2, 3, 3]
    assert _same({name: np.load(tmp_path / f"{name}.npy") for name in samples}, PICTURES)
    assert {name: text for name, (_, text, _) in samples.items()} == {name: TRAIN[name] for name in PICTURES}
    for name, (_, _, known) in samples.items():
        assert known["prompt"] == TRAIN[name]
        assert {"axis", "expected_text", "seed", "teacher_licence", "text_verdict"} <= known.keys()
        assert "file" not in known  # a place in the published files is of no use there


@pytest.mark.parametrize("name", ["distillt5", "diffusers", "webdataset"])
def test_two_exports_have_the_same_bytes(dataset: Path, tmp_path: Path, name: str) -> None:
    first, second = (contents(_export(dataset, tmp_path / str(n) / "out", name)) for n in range(2))
    assert first == second
    assert {"README.md", "export.json"} < first.keys()
