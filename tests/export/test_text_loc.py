"""Pictures of drawn words and their minimal pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptforge import targets
from promptforge.commands.export import run_export
from promptforge.errors import ConfigError
from promptforge.export.text_loc import _pairs
from promptforge.sources import grammar
from tests.export.conftest import amended
from tests.stages.publishing.conftest import contents, expected_pictures, prompts_of_the_test

ROWS = prompts_of_the_test()
#: Number -> string to be drawn. Row 5 is misread, so its picture is not used; 8 is a caption of image quality.
DRAWN = {4: "OPEN 4", 6: "OPEN 6", 7: "OPEN 7", 8: "DOOR"}
READ = {ROWS[n]["prompt_id"]: ROWS[n]["text_clean"] for n in DRAWN}


@pytest.fixture(scope="module")
def paired(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows 4 and 6 are a pair, and 5 and 7; another source calls a pair of 1 and 2, which want no text, the same."""
    pairs = {4: ("p:1", "g1"), 6: ("p:1", "g1"), 5: ("p:2", "g2"), 7: ("p:2", "g2"), 1: ("p:1", "g3"), 2: ("p:1", "g3")}
    known = {ROWS[n]["prompt_id"]: pair for n, pair in pairs.items()}
    ids = pq.ParquetFile(dataset / "index.parquet").read(["prompt_id"])["prompt_id"].to_pylist()
    named = [known.get(name, (None, name)) for name in ids]
    columns = {
        "pair_id": pa.array([pair for pair, _ in named], pa.string()),
        "noise_group": pa.array([group for _, group in named], pa.string()),
    }
    return amended(dataset, tmp_path_factory.mktemp("paired") / "dataset", columns)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_the_imagefolder_holds_the_pictures_that_ask_for_text(
    paired: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from datasets import load_dataset

    out = tmp_path / "out"
    run_export("text-loc", paired, None, out, [])
    assert "4 left out: their prompts ask for no text" in " ".join(capsys.readouterr().out.split())
    rows = load_dataset("imagefolder", data_dir=str(out / "train"), split="train")
    assert {row["prompt_id"]: row["caption"] for row in rows} == READ
    assert {row["prompt_id"]: row["text"] for row in rows} == {ROWS[n]["prompt_id"]: text for n, text in DRAWN.items()}
    pixels = expected_pictures()
    assert all(np.array_equal(np.asarray(row["image"].convert("RGB")), pixels[row["prompt_id"]]) for row in rows)
    assert json.loads((out / "export.json").read_text("utf-8"))["left_out"] == 4


def test_a_pair_needs_both_pictures_and_names_both_texts(paired: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_export("text-loc", paired, None, out, [])
    (pair,) = _lines(out / "train/pairs.jsonl")  # that of 5 and 7 is not whole
    assert pair["pair_id"] == "p:1"
    assert {pair["text_a"], pair["text_b"]} == {"OPEN 4", "OPEN 6"}
    assert pair["prompt_id_a"] < pair["prompt_id_b"]
    metadata = {row["file_name"]: row for row in _lines(out / "train/metadata.jsonl")}
    for letter in "ab":
        row = metadata[pair[f"file_{letter}"]]
        assert (row["text"], row["caption"]) == (pair[f"text_{letter}"], pair[f"caption_{letter}"])
        assert (out / "train" / row["file_name"]).is_file()


def test_the_picture_may_be_named_by_image(paired: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_export("text-loc", paired, None, out, ["file_column=image"])
    assert all((out / "train" / row["image"]).is_file() for row in _lines(out / "train/metadata.jsonl"))


def test_pairs_are_those_of_the_grammar_that_differ_in_the_drawn_text() -> None:
    source = grammar.build(grammar.Params(axis="text_rendering", n=400, pairs=True), 0)
    rows = [
        {"text": c.text, "expected_text": list(targets.parse(c.text).strings), "pair_id": c.pair_id}
        | {"noise_group": "g", "prompt_id": "p", "image_id": "i", "seed": 0}
        for c in source.read(source.parts()[0], 0, 400)
    ]
    # The grammar names what it changed: text:word/..., word:... (a carrier), attribute:...
    assert {p["pair_id"] for p in _pairs(rows, "webp")} == {
        r["pair_id"] for r in rows if r["pair_id"].startswith("text:")
    }


def test_two_exports_have_the_same_bytes(paired: Path, tmp_path: Path) -> None:
    for number in "01":
        run_export("text-loc", paired, None, tmp_path / number / "out", [])
    assert contents(tmp_path / "0/out") == contents(tmp_path / "1/out")


def test_an_axis_without_text_is_refused(paired: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none of 4 rows can be exported: their prompts ask for no text"):
        run_export("text-loc", paired, None, tmp_path / "out", ['axes=["semantic_understanding"]'])
