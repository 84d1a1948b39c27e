"""Boxes around things and text, read as CreatiLayout's BboxDataset does, and looked at in real drawings of canvas."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptforge import lexicon
from promptforge.commands.export import run_export
from promptforge.errors import ConfigError
from promptforge.export.folder.regions import Evidence
from promptforge.models.rapidocr import RapidOcrReader
from promptforge.protocols import RenderJob
from promptforge.stages.publish import publish
from promptforge.teachers import canvas
from tests.export.conftest import a_stored_run, amended
from tests.stages.publishing import conftest as publishing
from tests.stages.publishing.conftest import a_prompt, a_run, contents, fill

PX = 256
WRITTEN = (
    ("a red apple to the left of a blue car", "semantic_understanding"),
    ("three green cups on a table", "semantic_understanding"),
    ('a wooden sign that says "OPEN"', "text_rendering"),
    ("a prompt that was dropped", "image_quality"),
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A published data set of drawings without mistakes, and a run with what the teacher knows of them."""
    root = tmp_path_factory.mktemp("layout")
    prompts = [a_prompt(text, axis, number) for number, (text, axis) in enumerate(WRITTEN)]
    teacher = canvas.build(canvas.Params(size=PX, mistake_rate=0))
    made = [teacher.render(RenderJob(prompt["text_clean"], number)) for number, prompt in enumerate(prompts[:-1])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing, "prompts_of_the_test", lambda: prompts)
        patch.setattr(publishing, "a_picture", lambda number, side: made[number].pixels)
        run = a_run(root / "run")
        publish(run, fill(run, side=PX))
    dataset = root / "run/dataset"
    truths = {prompt["prompt_id"]: one.truth for prompt, one in zip(prompts[:-1], made, strict=True)}
    described = dict.fromkeys(("teacher", "regime", "licence", "provenance"), "x")
    images = [
        {**row, **described, "width": PX, "height": PX, "truth": json.dumps(truths[row["prompt_id"]])}
        for row in pq.ParquetFile(dataset / "index.parquet")
        .read(["image_id", "prompt_id", "take", "seed", "sha256"])
        .to_pylist()
    ]
    yield dataset, a_stored_run(root / "stored", "images", images, cuts=2)


def _as_bbox_dataset(row: dict[str, Any]) -> list[tuple[str, str, tuple[float, ...]]]:
    """Region, detail, normalised box: dataset/layoutsam_benchmark.py of CreatiLayout."""
    boxes = ast.literal_eval(row["bbox_list"])
    width, height = int(row["width"]), int(row["height"])
    shares = [(x1 / width, y1 / height, x2 / width, y2 / height) for x1, y1, x2, y2 in boxes]
    captions = ast.literal_eval(row["region_captions"])
    assert (captions, boxes) == (json.loads(row["region_captions"]), json.loads(row["bbox_list"]))
    return list(zip(captions, ast.literal_eval(row["detail_region_captions"]), shares, strict=True))


def _read(out: Path) -> dict[str, dict[str, Any]]:
    from datasets import load_dataset

    return {row["global_caption"]: row for row in load_dataset(str(out), split="train")}


def _share_inside(pixels: npt.NDArray[np.uint8], rgb: tuple[int, int, int], boxes: list[tuple[float, ...]]) -> float:
    """Share of the picture's pixels of that colour that lie in one of the boxes."""
    near = np.abs(pixels.astype(int) - np.array(rgb)).max(axis=2) <= 28
    inside = np.zeros(near.shape, bool)
    for x0, y0, x1, y1 in boxes:
        inside[round(y0 * PX) : round(y1 * PX), round(x0 * PX) : round(x1 * PX)] = True
    assert near.sum() > 200
    return float((near & inside).sum() / near.sum())


def test_boxes_of_the_teacher_hold_the_things_that_it_drew(drawn: tuple[Path, Path], tmp_path: Path) -> None:
    dataset, run = drawn
    run_export("layout", dataset, None, tmp_path / "out", [f"run={run}"])
    rows = _read(tmp_path / "out")
    assert set(rows) == {text for text, _ in WRITTEN[:3]}
    assert {row["boxes_from"] for row in rows.values()} == {"truth"}
    colours = {colour.word: colour.rgb for colour in lexicon.load().colours.values()}
    for text, wanted in (
        (WRITTEN[0][0], {("apple", "red"): 1, ("car", "blue"): 1}),
        (WRITTEN[1][0], {("cup", "green"): 3}),
    ):
        regions, pixels = _as_bbox_dataset(rows[text]), np.asarray(rows[text]["image"].convert("RGB"))
        details = Counter(detail for _, detail, _ in regions)
        for (noun, colour), count in wanted.items():
            assert details[f"{colour} {noun}"] == count
            boxes = [box for name, _, box in regions if name == noun]
            assert _share_inside(pixels, colours[colour], boxes) > 0.98
        assert all(0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1 for _, _, (x0, y0, x1, y1) in regions)


def test_the_box_of_text_is_where_an_ocr_engine_reads_it(drawn: tuple[Path, Path], tmp_path: Path) -> None:
    dataset, run = drawn
    run_export("layout", dataset, None, tmp_path / "out", [f"run={run}", 'axes=["text_rendering"]'])
    (row,) = _read(tmp_path / "out").values()
    boxes = {name: box for name, _, box in _as_bbox_dataset(row)}
    x0, y0, x1, y1 = (edge * PX for edge in boxes['text "OPEN"'])
    (line,) = RapidOcrReader().read(np.asarray(row["image"].convert("RGB")))
    assert line.text == "OPEN"
    centre = np.mean(line.box, axis=0)
    assert x0 < centre[0] < x1
    assert y0 < centre[1] < y1


def _with_scores(dataset: Path, copy: Path) -> Path:
    """The first row has a detector's boxes, the second a reading of its text, the third a misreading."""
    n_rows = pq.ParquetFile(dataset / "index.parquet").metadata.num_rows
    boxes = [
        {"label": "apple", "confidence": 0.9, "box": [10.4, 20.0, 100.2, 120.9], "model": "m"},
        {"label": "car", "confidence": 0.3, "box": [120.0, -4.0, 300.0, 90.0], "model": "m"},
    ]
    line = {"text": 'SAY "HI"', "confidence": 0.99, "box": [[30, 12.5], [90.5, 10], [91, 30], [30.2, 31]]}
    columns = {
        "scene": [publishing.a_prompt(WRITTEN[0][0], "semantic_understanding", 0)["scene"]] * n_rows,
        "detector_boxes": [json.dumps(boxes), None, None][:n_rows],
        "text_reading": [None, json.dumps({"lines": [line]}), json.dumps({"lines": [line]})][:n_rows],
        "text_verdict": [None, "read", "misread"][:n_rows],
    }
    return amended(dataset, copy, {name: pa.array(values, pa.string()) for name, values in columns.items()})


def test_without_truth_boxes_come_from_detector_and_reading(
    drawn: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = _with_scores(drawn[0], tmp_path / "dataset")
    run_export("layout", source, None, tmp_path / "out", [])
    assert "1 left out: nobody knows a box" in " ".join(capsys.readouterr().out.split())
    rows = sorted(_read(tmp_path / "out").values(), key=lambda row: row["prompt_id"])
    assert [row["boxes_from"] for row in rows] == ["detector", "reading"]
    # Edges go out to whole pixels, and end with the picture: 300 is 256, -4 is 0.
    assert ast.literal_eval(rows[0]["bbox_list"]) == [[10, 20, 101, 121], [120, 0, 256, 90]]
    assert ast.literal_eval(rows[0]["detail_region_captions"]) == ["red apple", "blue car"]
    assert ast.literal_eval(rows[1]["bbox_list"]) == [[30, 10, 91, 31]]
    assert ast.literal_eval(rows[1]["region_captions"]) == ['text "SAY "HI""']


def test_a_box_below_the_confidence_asked_for_is_left_out(drawn: tuple[Path, Path], tmp_path: Path) -> None:
    source = _with_scores(drawn[0], tmp_path / "dataset")
    run_export("layout", source, None, tmp_path / "out", ["min_confidence=0.5", 'boxes=["detector"]'])
    (row,) = _read(tmp_path / "out").values()
    assert ast.literal_eval(row["region_captions"]) == ["apple"]


def test_a_data_set_without_any_box_is_refused(drawn: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none of 3 rows can be exported: nobody knows a box"):
        run_export("layout", drawn[0], None, tmp_path / "out", [])


def test_a_thing_drawn_in_two_colours_is_told_by_its_noun_alone() -> None:
    truth = {
        "objects": [{"noun": "cup", "colour": colour, "count": 1} for colour in ("red", "blue")],
        "boxes": [["cup", 1, 1, 9, 9], ["cup", 20, 1, 29, 9]],
        "text_box": None,
        "drawn_text": [],
    }
    regions, origin = Evidence(truth, {"width": 32, "height": 32}, ("truth",)).regions()
    assert regions == [("cup", "cup", (1, 1, 9, 9)), ("cup", "cup", (20, 1, 29, 9))]
    assert origin == "truth"


def test_two_exports_have_the_same_bytes(drawn: tuple[Path, Path], tmp_path: Path) -> None:
    for number in "01":
        run_export("layout", drawn[0], None, tmp_path / number / "out", [f"run={drawn[1]}"])
    assert contents(tmp_path / "0/out") == contents(tmp_path / "1/out")
