"""A tiny run of every stage, for the tests that change, kill, purge or damage one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptforge.lock import Lock
from promptforge.stages import pipeline
from promptforge.stages.run import Tally, prepare
from promptforge.store import Store

QUALITY = [
    "a quiet lake at dawn",
    "an old lighthouse in the fog",
    "a bowl of ripe lemons",
    "a red fox in the snow",
    "an empty train station at night",
    "a Quiet LAKE, at dawn!",  # a second spelling: an exact duplicate of the first
    "a wooden chair beside a tall window",
    "a garden after the rain",
    "a ship under a stormy sky",
    "a cat asleep on a warm roof",
]
SEMANTIC = [
    "three blue cups beside a lamp",
    "a red apple on a green table",
    "a yellow bicycle left of a white house",
    "two brown dogs and one black cat",
    "a purple umbrella above a chair",
    "a green frog on a red ball",
    "four orange balloons",
    "a white horse behind a fence",
    "a blue car in front of a tree",
    "",  # unreadable
]
TEXT = [
    'a wooden sign that says "OPEN"',
    'a banner with the words "Happy Day"',
    'a mug that reads "TEA 4 ME"',
    'a poster saying "LIVE MUSIC"',
    'a shirt with "GO 77" on it',
    'a board that says "Slow Down"',
    "a sign with nothing in quotes",  # no text is asked for: dropped
    'a neon sign reading "Cafe"',
    'a book cover titled "Moon"',
    'a card that says "For You"',
]


def recipe_of(folder: Path) -> dict[str, Any]:
    """30 rows of one's own in three sources, 8 wanted an axis, 128 px, no OCR."""
    folder.mkdir(parents=True, exist_ok=True)
    axes = {"image_quality": QUALITY, "semantic_understanding": SEMANTIC, "text_rendering": TEXT}
    sources = []
    for axis, texts in axes.items():
        path = folder / f"{axis}.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
        sources.append({"kind": "files", "paths": [str(path)], "name": axis.replace("_", "-"), "axis": axis})
    return {
        "name": "tiny",
        "seed": 3,
        "sources": sources,
        "filters": {"characters": {}, "length": {}, "expected_text": {}, "split": {}},
        "regime": {"teacher": "canvas", "size": 128, "mistake_rate": 0.2},
        "scorers": {"technical": {}, "agreement": {}},
        "select": {
            "quota": {"image_quality": 5, "semantic_understanding": 6, "text_rendering": 6},
            "gates": {
                "not_flat": {"scorer": "technical", "metric": "flat", "max": 0},
                "colours_agree": {"scorer": "agreement", "metric": "colour_agreement", "min": 1},
            },
        },
        "run": {"increment": 4, "bucket_images": 8},
    }


CAPTIONS = [
    "a quiet lake at dusk beneath the hills",
    "photo of a quiet lake at dusk, beneath the hills, highly detailed, 8k",  # near the first
    "the calm that early mornings bring",
    "how peaceful it is before the day begins",  # the same vector
    "an umbrella left behind on a wet bench",  # accepted elsewhere
    "seven kites over a long empty beach in winter",  # of the benchmark
    *(f"a {thing} by the river" for thing in ("bicycle", "lantern", "piano", "tent")),
    *(f"{n} green pears in a bowl" for n in (3, 4, 5, 6)),
]


def checked_recipe_of(folder: Path) -> dict[str, Any]:
    """The tiny recipe with every check of the whole set, an order, caps and demands; prompts only."""
    raw = recipe_of(folder)
    path = folder / "captions.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in CAPTIONS), "utf-8")
    raw["sources"].append({"kind": "files", "paths": [str(path)], "name": "captions", "axis": "image_quality"})
    (folder / "elsewhere.txt").write_text(f"{CAPTIONS[4]}\n", "utf-8")
    (folder / "benchmark.txt").write_text(f"{CAPTIONS[5]}\n", "utf-8")
    vectors = pa.table({"text": CAPTIONS[2:4], "vector": pa.array([[1.0, 0.0]] * 2, pa.list_(pa.float32()))})
    pq.write_table(vectors, folder / "vectors.parquet")
    raw["select"]["quota"]["image_quality"] = 12
    return raw | {
        "dedup": {
            "compiled": False,
            "against": [str(folder / "elsewhere.txt")],
            "semantic": {"vectors": str(folder / "vectors.parquet"), "words": False},
        },
        "decontaminate": {"benchmarks": [{"name": "kites", "path": str(folder / "benchmark.txt")}]},
        "order": {"block": 9, "max_source_share": {"image_quality": 0.6}, "caps_from": 4},
        "coverage": {"min": {"natural_share": {"all": 0.5}, "unique_nouns": {"all": 10}}},
        "render": {"sample": 0},
    }


@pytest.fixture(scope="session")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], dict[str, Any]]:
    """The checked recipe, a fresh copy each time; its input files stay the same."""
    folder = tmp_path_factory.mktemp("checked")
    return lambda: checked_recipe_of(folder)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], dict[str, Any]]:
    """The tiny recipe, a fresh copy each time; its input files stay the same."""
    folder = tmp_path_factory.mktemp("input")
    return lambda: recipe_of(folder)


def drive_run(root: Path, raw: dict[str, Any], world: int = 1) -> dict[str, Tally]:
    """Run every stage in order and add up what each did."""
    prepare(root, raw, "test")
    with Lock(root) as lock:
        Store(root).sweep()
        tallies = pipeline.make_all(root, lock.epoch, world)
    total: dict[str, Tally] = {}
    for tally in tallies:
        total[tally.stage] = total.get(tally.stage, Tally(tally.stage)) + tally
    return total


@pytest.fixture(scope="session")
def drive() -> Callable[..., dict[str, Tally]]:
    """`drive_run`, for tests."""
    return drive_run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny: Callable[[], dict[str, Any]]) -> Path:
    """A finished tiny run, made once; not to be changed."""
    root = tmp_path_factory.mktemp("runs") / "tiny"
    drive_run(root, tiny())
    return root


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))
