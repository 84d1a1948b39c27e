"""status, why, show, select, verify and purge on a finished run."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from promptforge import schema
from promptforge.store import Store

Ask = Callable[..., tuple[int, str, str]]


def test_status_tells_the_head_and_that_nobody_is_at_work(here: Path, ask: Ask) -> None:
    code, out, _ = ask("status")
    assert code == 0
    assert "at work: nobody" in out
    assert re.search(r"head: +\d+ \(made by run 1\), published", out)
    assert "wanted:  12 pictures; rendered 12, scored 12" in out
    assert re.search(r"render +\d+ +\d+ +12\b", out)


def test_status_tells_a_killed_run(copy: Path, ask: Ask) -> None:
    owner = json.loads((copy / "_lock.json").read_text())
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (copy / "_lock.json").write_text(json.dumps(owner | {"held": True, "pid": gone.pid}))
    assert "was killed" in ask("status", "--run", copy)[1]


def test_status_counts_pictures_before_anything_is_finished(copy: Path, ask: Ask) -> None:
    for path in [*(copy / "heads").iterdir(), *(copy / "_commits" / "score").iterdir()]:
        path.unlink()
    out = ask("status", "--run", copy)[1]
    assert "head:    none yet" in out
    assert "wanted:  12 pictures; rendered 12, scored 0" in out


def first(ask: Ask, sql: str) -> str:
    return ask("query", sql, "--format", "csv")[1].splitlines()[1]


def test_why_tells_of_a_dropped_row(here: Path, ask: Ask) -> None:
    row = first(ask, "select row_id from rejects where check_name = 'exact_duplicate' and axis = 'image_quality'")
    winner = first(ask, "select row_id from prompts order by stream_order limit 1")
    code, out, _ = ask("why", row[:12])
    assert code == 0
    assert "A quiet lake at dawn, soft light -- photograph!" in out
    said = f"dedup/exact_duplicate: drop, duplicate of {winner} (own.csv, row 0: a quiet lake at dawn, soft light,"
    assert f"{said} photograph), which is accepted" in out
    assert "fate       dropped: dedup, exact_duplicate\n" in out
    assert "None" not in out
    assert "check      characters: passes" in out


def test_why_gives_the_decision_to_the_kept_row_alone(here: Path, ask: Ask) -> None:
    twice = "where text = 'three green cups beside a lamp'"
    dropped = first(ask, f"select row_id from rejects {twice}")
    kept = first(ask, f"select row_id from accepted {twice}")
    assert first(ask, f"select count(distinct prompt_id) from prompts {twice}") == "1"
    assert "selection" not in ask("why", dropped)[1]
    assert "selection  accepted" in ask("why", kept)[1]
    both = ask("why", first(ask, f"select prompt_id from accepted {twice}"))[1]
    assert both.count("row_id  ") == 2
    assert both.index(f"row_id     {kept}") < both.index("selection") < both.index(f"row_id     {dropped}")


def test_why_takes_a_picture_for_its_prompt(here: Path, ask: Ask) -> None:
    image, prompt = first(ask, "select image_id, prompt_id from accepted where axis = 'image_quality'").split(",")
    code, out, _ = ask("why", image[:16])
    assert code == 0
    assert f"prompt_id  {prompt}" in out


def test_show_tells_the_fate_of_what_was_not_rendered(here: Path, ask: Ask) -> None:
    prompt = first(ask, "select prompt_id from rejects where check_name = 'characters'")
    code, _, err = ask("show", prompt)
    assert code == 2
    assert f"{prompt} was not rendered; it is dropped: filter, characters, control_character" in err


def test_why_tells_of_gates_with_their_values(here: Path, ask: Ask) -> None:
    prompt = first(ask, "select prompt_id from accepted where axis = 'text_rendering' limit 1")
    code, out, _ = ask("why", prompt)
    assert code == 0
    assert "keep_prompt yes" in out
    assert re.search(r"not_flat +keep_image +flat +[\d.]+ +at most 0 +(passes|FAILS)", out)
    assert re.search(r"text_reads +keep_image +verdict", out)


def test_a_policy_of_an_earlier_version_is_said_to_need_a_new_selection(copy: Path, ask: Ask) -> None:
    store = Store(copy)
    for commit in store.commits("select"):
        tables = {item.table: store.read(item) for item in commit.files}
        later = ["kind", "by", "key", "quantile", "n_reference", "predicate"]  # as version 2 had it
        old = tables["policy"].drop_columns(later).replace_schema_metadata({schema.TABLE_KEY: b"policy/2"})
        (policy,) = (item for item in commit.files if item.table == "policy")
        pq.write_table(old, copy / policy.name)
    prompt = first(ask, "select prompt_id from accepted where axis = 'text_rendering' limit 1")
    for command in ("why", "show"):
        code, out, _ = ask(command, prompt)
        assert code == 0
        (line,) = (line for line in out.splitlines() if "policy" in line)
        assert line.startswith("gates      not told: the table policy is of an earlier version; ")
        assert line.endswith("select --apply makes it anew")


def test_an_id_that_nothing_has_is_told(here: Path, ask: Ask) -> None:
    for command in ("why", "show"):
        code, _, err = ask(command, "00000000000000000000000000000000")
        assert code == 2
        assert "no row_id, prompt_id or image_id begins with" in err


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
    code, out, err = ask("verify", "--run", copy)
    assert code == 1
    assert f"prompts/{victim.name}" in out
    (record,) = (path for path in (copy / "_commits").rglob("*.json") if victim.name in path.read_text("utf-8"))
    assert err.splitlines()[0].endswith(": 1 fault")
    assert err.splitlines()[1].endswith(f"its work is redone; record: {record}")
    assert len(err.splitlines()) == 2


def test_verify_says_how_a_damaged_data_set_is_mended(copy: Path, ask: Ask) -> None:
    with (copy / "dataset" / "index.parquet").open("ab") as stream:
        stream.write(b"x")
    code, _, err = ask("verify", "--run", copy)
    assert code == 1
    assert "2 faults\n" in err  # its sum, and it is no Parquet file any more
    assert f"remove {copy / 'dataset'} and run the recipe again: it is rebuilt" in err
    assert "record" not in err


def test_verify_advises_nobody_to_remove_the_record_of_a_purge(copy: Path, ask: Ask) -> None:
    lake = first(ask, "select prompt_id from prompts where text = 'a harbour at night, long exposure'")
    assert ask("purge", lake, "--reason", "takedown")[0] == 0
    (stones,) = (copy / "tombstones").glob("*.parquet")
    stones.unlink()
    code, _, err = ask("verify", "--run", copy)
    assert code == 1
    assert f"restore from a copy, since no run makes it again: {stones}" in err
    assert "remove" not in err


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


def test_purge_names_the_whole_id_of_a_beginning_and_removes_nothing(copy: Path, ask: Ask) -> None:
    for column in ("prompt_id", "row_id"):
        whole = first(ask, f"select {column} from prompts where text = 'a red apple on a blue table'")
        code, _, err = ask("purge", whole[:16], "--reason", "takedown")
        assert code == 2
        assert f"purge takes whole ids; {whole[:16]} begins {column} {whole}: give that" in err
    code, _, err = ask("purge", "nothing", "--reason", "takedown")
    assert code == 2
    assert "no prompt_id or row_id 'nothing'" in err
    assert not (copy / "tombstones").exists()


def test_purge_tells_how_many_prompts_moved_up(copy: Path, ask: Ask) -> None:
    quota = "select.quota.semantic_understanding=1"  # of three that pass
    assert ask("select", "--set", quota, "--apply", "--run", copy)[0] == 0
    accepted = first(ask, "select prompt_id from accepted where axis = 'semantic_understanding'")
    code, out, _ = ask("purge", accepted, "--reason", "takedown", "--run", copy)
    assert code == 0
    assert out.splitlines()[-1] == "1 of the other prompts moved up into the selection"


def test_the_newest_finished_run_is_meant_where_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from promptforge.commands.terminal import find_run

    monkeypatch.chdir(tmp_path)
    for name, moment in (("old", 1), ("new", 2), ("failed", 3)):
        folder = tmp_path / "runs" / name
        (folder / "heads").mkdir(parents=True)
        (folder / "_run.json").write_text("{}")
        os.utime(folder / "_run.json", (moment, moment))
        if name != "failed":
            (folder / "heads" / "000001.json").write_text("{}")
    assert find_run(None, finished=False) == Path("runs/failed")
    assert capsys.readouterr().err == ""
    assert find_run(None) == Path("runs/new")
    said = "runs/failed ran last but has finished nothing yet; this is about runs/new\n"
    assert capsys.readouterr().err == said
