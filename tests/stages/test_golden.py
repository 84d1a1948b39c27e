"""What each versioned part makes of fixed input. Other output needs a raised VERSION, and then a new value here.

Scorers and the grammar have theirs beside their own tests. Pictures are compared as 8 x 8 means, within 3 levels of
255: vector units of different processors may round a pixel otherwise.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from promptforge import scenes, targets, texts
from promptforge.filters import characters, expected_text, length, split
from promptforge.protocols import RenderJob
from promptforge.records import digest_of
from promptforge.stages import arrange, decontaminate, dedup, generate
from promptforge.stages import filter as filter_stage
from promptforge.stages import render as render_stage
from promptforge.stages import select as select_stage
from promptforge.stages.arrangement import concepts, greedy
from promptforge.stages.coverage import measures, nouns
from promptforge.stages.meaning import telling
from promptforge.teachers import canvas

PROMPTS = [
    "a red apple on the left of two blue cups",
    "Caf\u00c3\u00a9 tables &amp; chairs\u200b in  the rain",
    "a shop sign that says \u201cOpen till 9\u201d, at night",
    "a mug with the words HOT TEA",
    "a lamp \u202ethgil",
    "x",
    "three wooden chairs in front of a white piano in a library",
    "\ufffd a dog",
    'a poster that reads "FRESH FISH!" and "daily"',
    "an old man sleeping on a bench in soft morning light, film photograph",
]


def _digest(value: Any) -> str:
    return digest_of(value)[:16]


def _findings(check: Any, rows: pa.Table) -> list[Any]:
    return [[f.row, f.verdict, f.reason, f.value, f.threshold, f.detail] for f in check(rows.select(check.columns))]


def _table() -> pa.Table:
    cleaned = [texts.clean(text) for text in PROMPTS]
    parsed = [targets.parse(each.text) for each in cleaned]
    return pa.table(
        {
            "text_clean": [each.text for each in cleaned],
            "repairs": pa.array([list(each.repairs) for each in cleaned], pa.list_(pa.string())),
            "axis": ["text_rendering"] * len(PROMPTS),
            "expected_text": pa.array([list(each.strings) for each in parsed], pa.list_(pa.string())),
            "expected_origin": pa.array([each.origin for each in parsed], pa.string()),
            "n_words": pa.array([texts.n_words(each.text) for each in cleaned], pa.int32()),
            "n_chars": pa.array([len(each.text) for each in cleaned], pa.int32()),
            "split": ["mixed" if number % 3 == 0 else "train" for number in range(len(PROMPTS))],
        }
    )


GOLDEN = {
    "texts": (2, "4e21911c8d161ad3"),
    "targets": (3, "aa15304b14eccf1d"),
    "scenes": (3, "be5b5730d0c2969c"),
    "characters": (1, "d062930440a22da8"),
    "length": (1, "123abb9847e7f0a2"),
    "expected_text": (1, "7bb779bee878ec44"),
    "split": (1, "2e72035a8648711a"),
}


def _made() -> dict[str, tuple[int, str]]:
    rows = _table()
    return {
        "texts": (
            texts.VERSION,
            _digest([[texts.clean(t).text, texts.clean(t).repairs, texts.fold(t), texts.show(t)] for t in PROMPTS]),
        ),
        "targets": (targets.VERSION, _digest([[targets.parse(t).strings, targets.parse(t).origin] for t in PROMPTS])),
        "scenes": (scenes.VERSION, _digest([scenes.parse(t).to_json() for t in PROMPTS])),
        "characters": (characters.VERSION, _digest(_findings(characters.build(characters.Params()), rows))),
        "length": (length.VERSION, _digest(_findings(length.build(length.Params()), rows))),
        "expected_text": (expected_text.VERSION, _digest(_findings(expected_text.build(expected_text.Params()), rows))),
        "split": (split.VERSION, _digest(_findings(split.build(split.Params()), rows))),
    }


@pytest.mark.parametrize("part", sorted(GOLDEN))
def test_a_part_says_the_same_until_its_version_is_raised(part: str) -> None:
    assert _made()[part] == GOLDEN[part]


def _columns_of(run: Path, table: str, columns: str, order: str) -> str:
    from promptforge import catalog

    with catalog.open_run(run) as con:
        return _digest(con.sql(f"SELECT {columns} FROM {table} ORDER BY {order}").fetchall())


STAGES = {
    "generate": (1, "46c8d69ba397cfa1"),
    "filter": (1, "cf1788a741d878f7"),
    "dedup": (1, "6a541c2456b3aada"),
    "decontaminate": (2, "a6aea71e351cc8d0"),
    "render": (2, "e056e71d9ac91ea7"),
    "select": (2, "2c1c0d49a7c72142"),
}


#: Flags alone, so that the stages behind it have every row.
DECONTAMINATE = dict.fromkeys(("exact", "word_order", "contained", "near", "ngrams", "run", "rare"), "flag")


def test_a_stage_makes_the_same_until_its_version_is_raised(tmp_path: Path, drive: Any) -> None:
    source = tmp_path / "p.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in [*PROMPTS, PROMPTS[0].upper()]), "utf-8")
    listed = tmp_path / "bench.txt"
    listed.write_text("an old man sleeping on a bench\nthree metal chairs in front of a white piano\n", "utf-8")
    root = tmp_path / "run"
    drive(
        root,
        {
            "name": "golden",
            "sources": [{"kind": "files", "paths": [str(source)]}],
            "filters": {"characters": {}, "length": {}, "expected_text": {}, "split": {}},
            "decontaminate": {"benchmarks": [{"name": "b", "path": str(listed), "action": DECONTAMINATE}]},
            "regime": {"teacher": "canvas", "size": 128, "mistake_rate": 0},
            "scorers": {"technical": {}},
            "select": {"gates": {"not_flat": {"scorer": "technical", "metric": "flat", "max": 0}}},
        },
    )
    ids = "row_id, prompt_id"
    made = {
        "generate": (
            generate.VERSION,
            _columns_of(root, "prompts", f"{ids}, fold_key, axis, expected_text, scene, split, stream_order", "row_id"),
        ),
        "filter": (
            filter_stage.VERSION,
            _columns_of(root, "verdicts WHERE stage = 'filter'", "row_id, check_name, reason", "ALL"),
        ),
        "dedup": (dedup.VERSION, _columns_of(root, "verdicts WHERE stage = 'dedup'", "row_id, reason, detail", "ALL")),
        "decontaminate": (
            decontaminate.VERSION,
            _columns_of(root, "contamination", f"{ids}, benchmark_row, rule, round(value, 6), action", "ALL"),
        ),
        "render": (
            render_stage.VERSION,
            _columns_of(root, "render_plan", "prompt_id, take, seed", "ALL"),
        ),
        "select": (
            select_stage.VERSION,
            _columns_of(root, "selection", f"{ids}, split, state, reason, keep_image, n_takes, n_passed", "row_id"),
        ),
    }
    assert made == STAGES


#: Versions of all that has a say in a table, and the table: of a run with every check of the whole set, order and cap.
WHOLE_SET = {
    "semantic": ([1], "71624e4806af2423"),
    "telling": ([1], "daab79c475259014"),
    "arrange": ([1, 1, 1], "b94c73ff07b0f8ac"),
    "coverage": ([1, 1], "831ab9c89f3f0f124efc0c23203cb4ed"),
}


def test_checks_of_the_whole_set_order_and_measures_make_the_same_until_a_version_is_raised(
    tmp_path: Path, drive: Any, checked: Any
) -> None:
    root = tmp_path / "run"
    drive(root, checked())
    prompt = "(SELECT text_clean FROM prompts p WHERE p.row_id = v.row_id)"
    made = {
        "semantic": (
            [dedup.SEMANTIC_VERSION],
            _columns_of(root, "verdicts v WHERE stage = 'dedup'", f"{prompt}, reason, round(value, 6)", "ALL"),
        ),
        "telling": (
            [telling.VERSION],
            _digest([telling.sets(PROMPTS).tolist(), [[telling.contradict(a, b) for a in PROMPTS] for b in PROMPTS]]),
        ),
        "arrange": (
            [arrange.VERSION, concepts.VERSION, greedy.VERSION],
            _columns_of(root, "arrangement", "prompt_id, axis, place, turn, block, gain, held, left_over", "ALL"),
        ),
        "coverage": (
            [measures.VERSION, nouns.VERSION],
            _columns_of(root, "coverage_measures", "scope, axis, measure, round(value, 9), detail", "ALL")
            + _columns_of(root, "prompt_nouns", "prompt_id, nouns", "ALL"),
        ),
    }
    assert made == WHOLE_SET


PICTURES = Path(__file__).parent / "golden_canvas.json"


def test_the_canvas_teacher_draws_the_same_until_its_version_is_raised() -> None:
    teacher = canvas.build(canvas.Params(size=128, mistake_rate=0.0))
    made = {"version": canvas.VERSION, "pictures": {}}
    for seed, text in enumerate(PROMPTS):
        pixels = teacher.render(RenderJob(text, seed)).pixels
        if pixels is not None:
            small = pixels.reshape(8, 16, 8, 16, 3).mean(axis=(1, 3)).round().astype(int)
            made["pictures"][text] = small.tolist()
    golden = json.loads(PICTURES.read_text("utf-8"))
    assert made["version"] == golden["version"]
    assert made["pictures"].keys() == golden["pictures"].keys()
    for text, small in made["pictures"].items():
        assert np.abs(np.array(small) - np.array(golden["pictures"][text])).max() <= 3, text
