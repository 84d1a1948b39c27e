"""Rounds within a budget through Prefect: the same pictures, decisions and data set as without it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from promptforge import catalog
from promptforge.cli import answer
from promptforge.commands.closing import figures
from promptforge.lock import Lock
from promptforge.records import AXES
from promptforge.stages import pipeline
from promptforge.stages.run import prepare

RECIPE = """
name = "rounds"
seed = 3
sources = [
    {kind = "grammar", axis = "image_quality", n = 40},
    {kind = "grammar", axis = "semantic_understanding", n = 40},
]
filters.characters = {}
regime = {teacher = "canvas", size = 128, mistake_rate = 0.4, weights = {black = 1.0, flat = 1.0}}
scorers.technical = {}
render = {takes = 2, until_pass = true}
rounds = {max_renders = 30}
run = {workers = 1}

[select]
policy = "images"
quota = {image_quality = 12, semantic_understanding = 12, text_rendering = 0}
gates.black = {scorer = "technical", metric = "black", max = 0, decision = "keep_prompt"}
gates.flat = {scorer = "technical", metric = "flat", max = 0, decision = "keep_prompt"}
"""


def found(root: Path) -> list[Any]:
    with catalog.open_run(root) as con:
        return [
            figures(con),
            con.sql("FROM rounds ORDER BY ALL").fetchall(),
            con.sql("SELECT image_id, round FROM render_plan ORDER BY ALL").fetchall(),
            con.sql("FROM selection ORDER BY ALL").fetchall(),
        ]


def test_rounds_through_prefect_are_those_of_the_stages_called_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, root = tmp_path / "rounds.toml", tmp_path / "flow"
    recipe.write_text(RECIPE, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "promptforge.cli", "run", str(recipe), "--out", str(root)],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    raw = json.loads((root / "_run.json").read_text("utf-8"))
    plain = tmp_path / "plain"
    prepare(plain, raw, "test")
    with Lock(plain) as lock:
        pipeline.make_all(plain, lock.epoch)
    assert found(root) == found(plain)
    rows = {row["axis"]: row for row in found(root)[0]}
    assert len(found(root)[2]) == 30
    assert sum(rows[axis]["accepted"] for axis in AXES[:2]) < 24  # which is why it fell short
    said = done.stdout
    assert "in rounds within 30 renders" in said
    assert "select ..." not in said[: said.index("round 1:")]  # between rounds nothing is selected
    assert "30 pictures, at most 30" in said
    assert "fell short" in said
    assert answer(["status", "--run", str(root)]) == 0
    status = capsys.readouterr().out
    assert "budget:  30 of 30 renders" in status
    short = [axis for axis in AXES[:2] if rows[axis]["accepted"] < 12]
    assert [line.split()[1].rstrip(",") for line in status.splitlines() if line.startswith("short:")] == short
    assert status.count(": the budget is spent") == len(short)
