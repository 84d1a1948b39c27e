"""Prompts, final latents and pictures by number, read as EcoDiff's PromptImageDataset does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from promptforge.commands.export import run_export
from promptforge.errors import ConfigError
from tests.export.conftest import a_stored_run
from tests.stages.publishing.conftest import contents, expected_pictures, prompts_of_the_test

TEXTS = {row["prompt_id"]: row["text_clean"] for row in prompts_of_the_test()}


def _index(dataset: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.ParquetFile(dataset / "index.parquet").read().to_pylist()
    return [row for row in rows if row["split"] == "train" and row["keep_image"]]


def test_a_run_that_stored_no_latents_is_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no latents here; .*run=FOLDER.*store_latents = true"):
        run_export("ecodiff", dataset, None, tmp_path / "out", [])
    other = a_stored_run(tmp_path / "run", "latents", [_stored("f" * 32, 0)])
    with pytest.raises(ConfigError, match="none of 8 rows can be exported: the run holds no latents of their pictures"):
        run_export("ecodiff", dataset, None, tmp_path / "out", [f"run={other}"])


def _stored(image_id: str, number: int) -> dict[str, Any]:
    """A latent of 4 channels, 6 x 2, in bfloat16: the upper halves of float32 numbers."""
    values = np.random.default_rng(number).normal(size=(4, 6, 2)).astype("<f4")
    data = (values.view("<u4") >> 16).astype("<u2").tobytes()
    return {"image_id": image_id, "dtype": "bfloat16", "shape": [4, 6, 2], "data": data}


@pytest.fixture(scope="module")
def run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run with the latents of all pictures but the last, in three files."""
    rows = [_stored(row["image_id"], number) for number, row in enumerate(_index(dataset)[:-1])]
    yield a_stored_run(tmp_path_factory.mktemp("latents") / "run", "latents", rows, cuts=3)


@pytest.mark.models
@pytest.mark.parametrize("form", ["unpacked", "packed"])
def test_ecodiff_finds_prompt_latent_and_picture_by_number(dataset: Path, run: Path, tmp_path: Path, form: str) -> None:
    import pandas as pd
    import torch

    out = tmp_path / "out"
    run_export("ecodiff", dataset, None, out, [f"run={run}", f"form={form}"])
    # As src/sdib/data/promptdataset.py does it: the first column of a table without a header; <i>.pt and <i>.png.
    table = pd.read_csv(out / "prompts.tsv", sep="\t", header=None)
    index, pixels = _index(dataset)[:-1], expected_pictures()
    assert list(table.iloc[:, 0]) == [TEXTS[row["prompt_id"]] for row in index]
    assert [list(row) for row in table.iloc[:, 1:].to_numpy()] == [
        [row["prompt_id"], row["image_id"], row["seed"]] for row in index
    ]
    for number, row in enumerate(index):
        stored = _stored(row["image_id"], number)
        wanted = torch.frombuffer(bytearray(stored["data"]), dtype=torch.bfloat16).reshape(stored["shape"])
        if form == "packed":
            wanted = _as_flux_packs(wanted)
        latent = torch.load(out / f"cache/{number}.pt", weights_only=True)
        assert (latent.dtype, latent.shape) == (torch.bfloat16, wanted.shape)
        assert torch.equal(latent, wanted)
        with Image.open(out / f"cache/{number}.png") as image:
            assert image.format == "PNG"
            assert np.array_equal(np.asarray(image), pixels[row["prompt_id"]])
    assert len(list((out / "cache").iterdir())) == 2 * len(index)
    assert str(run) not in (out / "export.json").read_text("utf-8")


def _as_flux_packs(latent: Any) -> Any:
    from promptforge.models.torch_setup import load_torch

    load_torch()
    from diffusers import FluxPipeline

    return FluxPipeline._pack_latents(latent[None], 1, *latent.shape)[0]


@pytest.mark.models
def test_two_exports_have_the_same_bytes(dataset: Path, run: Path, tmp_path: Path) -> None:
    for number in "01":
        run_export("ecodiff", dataset, None, tmp_path / number / "out", [f"run={run}"])
    assert contents(tmp_path / "0/out") == contents(tmp_path / "1/out")
