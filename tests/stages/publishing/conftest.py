"""A small run whose commits are made by hand, for what publish leaves on disk; no component is ever built."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from promptforge import recipe as recipes
from promptforge import scenes, targets, texts
from promptforge.records import canonical_json, content_id, image_id, noise_seed, prompt_id
from promptforge.schema import arrow_schema
from promptforge.scorers import technical, text
from promptforge.sources import files
from promptforge.stages.judging.bounds import policy_rows
from promptforge.stages.parts import Part, Parts
from promptforge.stages.publish import publish
from promptforge.stages.render import encode
from promptforge.stages.run import Run
from promptforge.store import Commit, Store
from promptforge.teachers import canvas

HOSTILE = '</script>`|**x** [a](http://e.example) www.e.example =cmd()\u202e "DOOR" \U0001f469\u200d\U0001f680'


def a_run(root: Path, settings: list[str] | None = None) -> Run:
    """A run whose commits the test makes by hand: no component is ever built."""
    raw = {
        "name": "small",
        "sources": [{"kind": "files", "paths": ["/home/somebody/prompts/mine.txt"]}],
        "regime": {"teacher": "canvas"},
        "scorers": {"technical": {}, "text": {}},
        "select": {"gates": {"text_reads": {"scorer": "text", "metric": "verdict", "one_of": ["read"]}}},
        "publish": {"rows_per_file": 3},
    }
    recipe = recipes.validate(recipes.override(raw, settings or []), "test")
    source = Part("files", files, files.Params(paths=("/home/somebody/prompts/mine.txt",)))
    scorers = tuple(
        Part(name, module, module.Params(), name) for name, module in (("technical", technical), ("text", text))
    )
    parts = Parts((source,), (), Part("canvas", canvas, canvas.Params()), scorers)
    return Run(root, recipe, parts, Store(root))


def a_prompt(written: str, axis: str, number: int, split: str = "train") -> dict[str, Any]:
    cleaned = texts.clean(written).text
    name = prompt_id(cleaned)
    return {
        **dict.fromkeys(arrow_schema("prompts").names),
        "row_id": content_id("row", number),
        "source": "mine",
        "source_part": "grammar" if number % 2 else "mine.txt",
        "source_row": number,
        "stream_order": number,
        "licence": "CC0-1.0",
        "text": written,
        "text_clean": cleaned,
        "prompt_id": name,
        "fold_key": texts.fold_key(cleaned),
        "repairs": [],
        "axis": axis,
        "axis_origin": "source",
        "category": "color" if axis == "semantic_understanding" else None,
        "expected_text": list(targets.parse(cleaned).strings),
        "scene": scenes.parse(cleaned).to_json(),
        "scene_origin": "parsed",
        "noise_group": name,
        "split_group": name,
        "split": split,
        "n_words": len(cleaned.split()),
        "n_chars": len(cleaned),
    }


def a_picture(number: int, side: int = 24) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)


def committed(run: Run, table: str, rows: list[dict[str, Any]], stage: str, shard: str = "all") -> Commit:
    data = pa.Table.from_pylist(rows, schema=arrow_schema(table))
    return run.store.commit(stage, shard, hashlib.sha256(f"{stage}{shard}".encode()).hexdigest(), {table: data})


def prompts_of_the_test() -> list[dict[str, Any]]:
    """Nine to train on, two in test_words ("paddle" is reserved), one dropped."""
    return [
        *(a_prompt(f"a red cube beside pot number {n}", "semantic_understanding", n) for n in range(4)),
        *(a_prompt(f'a wooden sign that says "OPEN {n}"', "text_rendering", n) for n in range(4, 8)),
        a_prompt(HOSTILE, "image_quality", 8),
        a_prompt('a board that says "paddle"', "text_rendering", 9, "test_words"),
        a_prompt('a poster that says "Paddling"', "text_rendering", 10, "test_words"),
        a_prompt("a prompt that was dropped", "image_quality", 11),
    ]


def fill(run: Run, *, pictures: bool = True, cuts: int = 2, side: int = 24) -> list[Commit]:
    """Commits of a small run, its pictures and scores cut into `cuts` pieces; row 5 is misread, 10 not rendered."""
    rows = prompts_of_the_test()
    teacher = content_id("teacher")
    regime = canonical_json({"teacher": "canvas", "size": side})
    plan, images, pixels, scores, selection = [], [], [], [], []
    for number, row in enumerate(rows[:-1]):
        drawn = pictures and number != 10
        name = image_id(row["prompt_id"], teacher, 0)
        seed = noise_seed(row["noise_group"], 0, 0)
        misread = number == 5
        if drawn:
            encoded = encode(a_picture(number, side))
            plan.append({"image_id": name, "prompt_id": row["prompt_id"], "take": 0, "seed": seed, "teacher": teacher})
            plan[-1] |= {"bucket": number % 2, "round": 0, "fixed": True}
            images.append(
                {
                    **plan[-1],
                    "regime": regime,
                    "licence": "CC0-1.0",
                    "provenance": "{}",
                    "width": side,
                    "height": side,
                    "error": None,
                    "truth": None,
                }
            )
            for column in ("bucket", "round", "fixed"):
                del images[-1][column]
            images[-1]["sha256"] = hashlib.sha256(encoded).hexdigest()
            pixels.append({"image_id": name, "encoded": encoded})
            scores += scores_of(run, row, name, number, misread)
        selection.append(
            {"row_id": row["row_id"], "prompt_id": row["prompt_id"], "axis": row["axis"], "split": row["split"]}
            | {"state": "accepted", "reason": None, "keep_prompt": True, "keep_image": drawn and not misread}
            | {"image_id": name if drawn else None, "n_takes": int(drawn), "n_passed": int(drawn and not misread)}
            | {"image_reason": None if drawn and not misread else "text_reads" if drawn else "not_rendered"}
        )
    dropped = {"row_id": rows[-1]["row_id"], "prompt_id": rows[-1]["prompt_id"], "stage": "filter"}
    dropped |= {"check_name": "length", "verdict": "drop", "reason": "too_short", "value": 5.0, "threshold": 6.0}
    commits = [
        committed(run, "prompts", rows, "generate"),
        committed(run, "verdicts", [dropped | {"detail": None}], "filter"),
        committed(run, "render_plan", plan, "plan"),
    ]
    for cut in range(cuts):
        tables = {
            "images": pa.Table.from_pylist(images[cut::cuts], schema=arrow_schema("images")),
            "pixels": pa.Table.from_pylist(pixels[cut::cuts], schema=arrow_schema("pixels")),
        }
        commits.append(run.store.commit("render", f"b{cut:05d}", f"{cut:064x}", tables))
        commits.append(committed(run, "scores", scores[cut::cuts], "score", f"b{cut:05d}"))
    both = {
        "policy": pa.Table.from_pylist(policy_rows(run.recipe), schema=arrow_schema("policy")),
        "selection": pa.Table.from_pylist(selection, schema=arrow_schema("selection")),
    }
    return [*commits, run.store.commit("select", "all", "5" * 64, both)]


def scores_of(run: Run, row: Mapping[str, Any], name: str, number: int, misread: bool) -> list[dict[str, Any]]:
    """Made-up scores under the digests that the stage score would give them, and one of an older digest."""
    by_kind = {part.kind: part.digest for part in run.parts.scorers}
    expected = json.dumps(row["expected_text"], ensure_ascii=False, separators=(",", ":"))
    sharp = duck_digest(by_kind["technical"])
    found = [
        {"scorer": "technical", "digest": sharp, "metric": "sharpness", "value": number / 4, "detail": None},
        {"scorer": "technical", "digest": "0" * 32, "metric": "sharpness", "value": -1.0, "detail": None},
    ]
    if row["expected_text"]:
        read = duck_digest(by_kind["text"], expected)
        verdict = "misread" if misread else "read"
        found += [
            {"scorer": "text", "digest": read, "metric": "cer", "value": 0.5 if misread else 0.0, "detail": None},
            {"scorer": "text", "digest": read, "metric": "verdict", "value": None, "detail": verdict},
        ]
    return [{"image_id": name, **item} for item in found]


def duck_digest(*parts: str) -> str:
    """Digest of a score as the stage score writes it: of the JSON list of the scorer's digest and what it read."""
    return hashlib.sha256(json.dumps(list(parts), ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()[:32]


def expected_pictures() -> dict[str, npt.NDArray[np.uint8]]:
    """prompt_id -> pixels of everything that should be in data/."""
    return {row["prompt_id"]: a_picture(n) for n, row in enumerate(prompts_of_the_test()[:10]) if n != 5}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="session")
def small() -> SimpleNamespace:
    """The functions of this file, for tests."""
    return SimpleNamespace(
        a_run=a_run,
        fill=fill,
        committed=committed,
        rows=prompts_of_the_test,
        pictures=expected_pictures,
        contents=contents,
    )


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published small run; tests only read it."""
    root = tmp_path_factory.mktemp("publish") / "run"
    run = a_run(root)
    publish(run, fill(run))
    return root


@pytest.fixture
def copied(done: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(done, tmp_path / "run"))


@pytest.fixture(autouse=True)
def _own_cache_and_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets.config

    def refuse(*_: object) -> None:
        raise AssertionError("something reached for the network")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(socket.socket, "connect", refuse)
