"""select on a finished run: what it shows, that it writes nothing, what it refuses."""

import csv
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

Ask = Callable[..., tuple[int, str, str]]
#: Refuses every picture of that axis: cer is a number from 0 up.
STRICT = "select.gates.strict={scorer='text', metric='cer', max=-1, axes=['text_rendering']}"


def contents(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_a_stricter_gate_is_answered_on_one_screen(here: Path, ask: Ask) -> None:
    code, out, _ = ask("select", "--set", STRICT)
    assert code == 0
    lines = out.splitlines()
    assert len(lines) <= 40
    assert any(line.split() == ["text_rendering", "2", "2", "0", "0", "2", "0", "0", "2"] for line in lines)
    (move,) = (line for line in lines if "accepted, no picture: strict" in line)
    assert move.split()[-1] == "2"
    (open_late,) = (line for line in lines if 'a shop sign that says "Open Late"' in line)
    assert open_late.startswith("picture lost")
    assert "strict: text.cer 0, wanted at most -1" in open_late
    told = '{"scorer": "text", "metric": "cer", "max": -1.0, "axes": ["text_rendering"]}'  # what was set, no default
    assert lines[0] == f"select.gates.strict: (none) -> {told}"
    assert lines[-1] == "nothing was changed; do it with --apply"


def test_what_the_quota_takes_away_is_named_as_that(here: Path, ask: Ask) -> None:
    _, out, _ = ask("select", "--set", "select.quota.semantic_understanding=1", "--examples", 1)
    assert "select.quota.semantic_understanding: 400 -> 1" in out
    (lost,) = (line for line in out.splitlines() if line.startswith("lost"))
    assert lost.rstrip().endswith("quota_full")


def test_no_setting_is_no_difference(here: Path, ask: Ask) -> None:
    assert "nothing would change" in ask("select")[1]


def test_settings_may_come_from_a_file(here: Path, ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "policy.txt").write_text(f"# stricter\n{STRICT}\n")
    from_file = ask("select", "--set", f"@{tmp_path / 'policy.txt'}")
    assert from_file[0] == 0
    assert from_file == ask("select", "--set", STRICT)


def test_json_says_the_same_to_programs(here: Path, ask: Ask) -> None:
    code, out, _ = ask("select", "--set", STRICT, "--json", "--examples", 1)
    assert code == 0
    told = json.loads(out)
    assert {row["axis"]: row["pictures_lost"] for row in told["axes"]}["text_rendering"] == 2
    assert [row["path"] for row in told["settings"]] == ["select.gates.strict"]
    (move,) = told["moves"]
    assert (move["before"], move["reason_before"], move["after"], move["reason_after"], move["n"]) == (
        *("accepted", None, "accepted", "strict", 2),
    )
    (shown,) = told["examples"]
    assert (shown["kind"], shown["gate"], shown["maximum"]) == ("picture_lost", "strict", -1)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_every_row_that_differs_goes_into_a_file(here: Path, ask: Ask, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    assert ask("select", "--set", STRICT, "--difference", path)[0] == 0
    if suffix == ".csv":
        with path.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
    else:
        rows = pq.read_table(path).to_pylist()
    names = "row_id prompt_id axis before after reason_before reason_after image_before image_after"
    assert list(rows[0]) == names.split()
    assert [(row["before"], row["after"], row["reason_after"]) for row in rows] == [
        ("accepted", "accepted", "strict")
    ] * 2
    assert [row["row_id"] for row in rows] == sorted(row["row_id"] for row in rows)
    assert all(len(row["image_before"]) == 32 and not row["image_after"] for row in rows)


def test_a_dry_run_needs_no_leave_to_write_and_changes_no_byte(
    copy: Path, tmp_path: Path, need_tool: Callable[[str], str]
) -> None:
    before = contents(copy)
    folders = [copy, *(path for path in copy.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    given = ("--set", STRICT, "--difference", tmp_path / "rows.csv")
    # Root writes where nobody may, unless it gives up that right.
    powerless = [need_tool("setpriv"), "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    try:
        tried = subprocess.run([*powerless, "touch", copy / "x"], capture_output=True, check=False)
        assert tried.returncode != 0
        done = subprocess.run(
            [*powerless, sys.executable, "-m", "promptforge.cli", "select", "--run", copy, *given],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert "accepted, no picture: strict" in done.stdout
    assert contents(copy) == before


def test_apply_does_it_and_the_earlier_head_stays_to_compare_with(copy: Path, ask: Ask) -> None:
    old = max((copy / "heads").iterdir()).stem
    code, out, _ = ask("select", "--run", copy, "--set", STRICT, "--apply")
    assert code == 0
    assert "nothing was changed" not in out
    assert "nothing would change" in ask("select", "--run", copy)[1]
    _, out, _ = ask("select", "--run", copy, "--against", int(old))
    assert "select.gates.strict: (none) -> {" in out
    assert any(line.startswith("picture lost") for line in out.splitlines())


def test_frozen_quantiles_keep_what_the_quantiles_kept(here: Path, ask: Ask, tmp_path: Path) -> None:
    about = "scorer='technical', metric='sharpness', quantile=0.5, least=1, axes=['image_quality']"
    gate, path = f"select.gates.sharp={{{about}}}", tmp_path / "bounds.txt"
    code, fitted, _ = ask("select", "--set", gate, "--freeze", path, "--json")
    assert code == 0
    assert "quantile" not in path.read_text()
    code, plain, _ = ask("select", "--set", f"@{path}", "--json")
    assert code == 0
    assert json.loads(plain)["moves"] == json.loads(fitted)["moves"] != []
    assert json.loads(plain)["axes"] == json.loads(fitted)["axes"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--set", "render.takes=2"], "promptforge run"),
        (["--set", "select.gates.strict.max=1"], "select.gates.strict.scorer"),
        (["--against", "77"], "--against 77: runs/own has the heads 1"),
        (["--examples", "-1"], "--examples -1"),
        (["--difference", "rows.txt"], "--difference rows.txt: expected a name that ends in .parquet or .csv"),
        (["--difference", "nowhere/rows.csv"], "there is no folder"),
        (["--difference", "runs/own/rows.csv"], "lies in the run folder"),
        (["--freeze", "bounds.txt"], "no gate has a quantile"),
        (["--json", "--apply"], "--json tells of a dry run"),
    ],
)
def test_what_cannot_be_done_is_refused_first(here: Path, ask: Ask, given: list[str], said: str) -> None:
    before = sorted(path.name for path in here.iterdir())
    code, out, err = ask("select", *given)
    assert code == 2
    assert said in err
    assert out == ""
    assert sorted(path.name for path in here.iterdir()) == before
