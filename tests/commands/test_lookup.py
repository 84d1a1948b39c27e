"""status, why, show, select, verify and purge on a finished run."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Ask = Callable[..., tuple[int, str, str]]


def test_status_tells_the_head_and_that_nobody_is_at_work(here: Path, ask: Ask) -> None:
    code, out, _ = ask("status")
    assert code == 0
    assert "at work: nobody" in out
    assert re.search(r"head: +\d+ of run 1, published", out)
    assert re.search(r"render +\d+ +\d+ +12\b", out)


def test_status_tells_a_killed_run(copy: Path, ask: Ask) -> None:
    owner = json.loads((copy / "_lock.json").read_text())
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (copy / "_lock.json").write_text(json.dumps(owner | {"held": True, "pid": gone.pid}))
    assert "was killed" in ask("status", "--run", copy)[1]


def first(ask: Ask, sql: str) -> str:
    return ask("query", sql, "--format", "csv")[1].splitlines()[1]


def test_why_tells_of_a_dropped_row(here: Path, ask: Ask) -> None:
    row = first(ask, "select row_id from rejects where check_name = 'exact_duplicate'")
    winner = first(ask, "select row_id from prompts order by stream_order limit 1")
    code, out, _ = ask("why", row[:12])
    assert code == 0
    assert "A quiet lake at dawn, soft light -- photograph!" in out
    assert f"dedup/exact_duplicate: drop, exact_duplicate ({winner})" in out
    assert "check      characters: passes" in out


def test_why_tells_of_gates_with_their_values(here: Path, ask: Ask) -> None:
    prompt = first(ask, "select prompt_id from accepted where axis = 'text_rendering' limit 1")
    code, out, _ = ask("why", prompt)
    assert code == 0
    assert "keep_prompt yes" in out
    assert re.search(r"not_flat +keep_image +flat +[\d.]+ +at most 0 +(passes|FAILS)", out)
    assert re.search(r"text_reads +keep_image +verdict", out)


def test_an_id_that_nothing_has_is_told(here: Path, ask: Ask) -> None:
    code, _, err = ask("why", "00000000000000000000000000000000")
    assert code == 2
    assert "no row_id or prompt_id begins with" in err


def test_show_writes_the_picture_and_tells_what_was_read(here: Path, ask: Ask, tmp_path: Path) -> None:
    from PIL import Image

    image = first(ask, "select image_id from accepted where axis = 'text_rendering' order by text limit 1")
    code, out, _ = ask("show", image, "--output", tmp_path / "x.png")
    assert code == 0
    assert 'a mug with the words "Good Day" on it' in out
    assert "to draw    Good Day" in out
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.size == (128, 128)


def test_select_shows_the_difference_and_changes_nothing(here: Path, ask: Ask) -> None:
    before = sorted(path.name for path in (here / "heads").iterdir())
    code, out, _ = ask("select", "--set", "select.quota.semantic_understanding=1")
    assert code == 0
    assert re.search(r"semantic_understanding +3 +1 +0 +2 ", out)  # accepted, would be, gained, lost
    assert re.search(r"image_quality +7 +7 +0 +0 ", out)
    assert "--apply" in out
    assert sorted(path.name for path in (here / "heads").iterdir()) == before


def test_select_refuses_what_needs_a_run(here: Path, ask: Ask) -> None:
    code, _, err = ask("select", "--set", "render.takes=2")
    assert code == 2
    assert "promptforge run" in err


def test_verify_passes_and_then_names_the_file_that_was_changed(copy: Path, ask: Ask) -> None:
    assert ask("verify", "--run", copy)[0] == 0
    victim = next((copy / "prompts").glob("*.parquet"))
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    code, out, _ = ask("verify", "--run", copy)
    assert code == 1
    assert f"prompts/{victim.name}" in out


def test_purge_leaves_the_reason_and_not_the_text(copy: Path, ask: Ask) -> None:
    accepted = first(ask, "select prompt_id from prompts where text = 'a red apple on a blue table'")
    rejected = first(ask, "select row_id from prompts where text = 'a poster without a word on it'")
    assert "without a word" in (copy / "rejects.md").read_text()
    assert ask("purge", accepted, rejected, "--reason", "takedown")[0] == 0
    answered = ask("query", "select text, reason from rejects where reason = 'takedown'", "--format", "csv")[1]
    assert answered.splitlines()[1:] == [",takedown", ",takedown"]
    assert "takedown" in (copy / "rejects.md").read_text()
    for path in copy.rglob("*"):
        assert path.is_dir() or not re.search(rb"red apple|without a word", path.read_bytes()), path


def test_the_newest_finished_run_is_meant_where_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from promptforge.commands.terminal import find_run

    monkeypatch.chdir(tmp_path)
    for name, moment in (("old", 1), ("new", 2), ("failed", 3)):
        folder = tmp_path / "runs" / name
        (folder / "heads").mkdir(parents=True)
        (folder / "_run.json").write_text("{}")
        os.utime(folder / "_run.json", (moment, moment))
        if name != "failed":
            (folder / "heads" / "000001.json").write_text("{}")
    assert find_run(None) == Path("runs/new")
    assert find_run(None, finished=False) == Path("runs/failed")
