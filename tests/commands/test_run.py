"""run through Prefect, seen from outside: what it prints, whom it calls, how it stops, what a second run does."""

import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Any]


def test_the_closing_table_counts_what_was_made(made: Any) -> None:
    rows = {line.split()[0]: line.split()[1:] for line in made.said("stdout").splitlines() if line[:1].isalpha()}
    # candidates, kept, rendered, accepted, published: 9 rows, of them a duplicate and one with control characters.
    assert rows["image_quality"][:5] == ["9", "7", "7", "7", "7"]
    assert rows["semantic_understanding"][:5] == ["4", "3", "3", "3", "3"]  # one text twice
    assert rows["text_rendering"][:5] == ["3", "2", "2", "2", "2"]  # the poster has no text to draw
    assert rows["all"][:5] == ["16", "12", "12", "12", "12"]
    for part in ("seconds: ", "runs/own/dataset", "runs/own/rejects.md", "promptforge query"):
        assert part in made.said("stdout")
    assert "fewer than wanted" not in made.said("stdout")  # nobody asked for 400 of three own prompts


def test_nothing_but_the_runs_own_words_is_on_the_screen(made: Any) -> None:
    assert made.said("stderr") == ""
    for noise in ("Traceback", "prefect.", "INFO", "WARNING", "Starting temporary server"):
        assert noise not in made.said("stdout")


def test_a_run_connects_to_nobody_but_itself(made: Any, need_tool: Callable[[str], str]) -> None:
    need_tool("strace")
    called = re.findall(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', made.said("strace"))
    assert {four or six for four, six in called} == {"127.0.0.1"}


def test_a_second_run_does_nothing_twice_and_says_so(copy: Path, start: Start, run_again: tuple[str, ...]) -> None:
    heads = sorted(path.name for path in (copy / "heads").iterdir())
    again = start(*run_again, cwd=copy.parent.parent)
    said, _ = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert "nothing to do: runs/own is up to date (1 text shard, 12 pictures" in said
    assert sorted(path.name for path in (copy / "heads").iterdir()) == heads


def test_a_file_that_cannot_be_read_stops_the_run_by_name(start: Start, tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and then nothing of the kind")
    running = start("run", "mini", "--source", "broken.parquet", cwd=tmp_path)
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 1
    assert said.splitlines()[-1].startswith("promptforge: broken.parquet")
    assert "Traceback" not in said
    assert not (tmp_path / "runs").exists()


def test_a_local_model_that_is_not_there_stops_the_run_before_any_work(start: Start, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a cat\n")
    (tmp_path / "empty").mkdir()
    for model, fault in (
        ("./flux", f"promptforge: regime.model: {tmp_path / 'flux'}: no such model file or folder; a relative path"),
        ("./empty", "promptforge: empty: holds no weights; expected .safetensors files"),
    ):
        regime = f"regime={{teacher='diffusers',model='{model}',licence='mine'}}"
        running = start("run", "mini", "--source", "p.txt", "--set", regime, cwd=tmp_path)
        said, _ = running.communicate(timeout=60)
        assert running.returncode == 2
        assert said.splitlines()[-1].startswith(fault)
        assert not (tmp_path / "runs").exists()


def test_ctrl_c_says_that_it_is_safe_and_leaves_no_server(start: Start, tmp_path: Path) -> None:
    running = start("run", "mini", cwd=tmp_path)
    for line in running.stdout:
        if "starting Prefect" in line:
            running.send_signal(signal.SIGINT)
            break
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "finished batches are kept (at most 64 pictures a worker are done again)" in said
    assert "run the same command to go on" in said
    assert not (tmp_path / "runs" / "mini" / "dataset").exists()


def test_a_server_does_not_outlive_a_killed_run(start: Start, tmp_path: Path) -> None:
    code = """
import pathlib, time
from promptforge.flows.server import TemporaryServer
with TemporaryServer(pathlib.Path()) as server:
    server.wait()
    print(server.url, flush=True)
    time.sleep(100)
"""
    parent = start(cwd=tmp_path, code=code)
    port = int(parent.stdout.readline().rsplit(":", 1)[1].split("/")[0])
    socket.create_connection(("127.0.0.1", port)).close()
    parent.kill()
    parent.communicate()
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.1)
    pytest.fail("the server still listens 10 s after its parent was killed")


def test_the_report_of_rejects_counts_and_shows_them_without_letting_them_act(made: Any) -> None:
    report = (made.root / "rejects.md").read_text("utf-8")
    assert "| image_quality | dedup | exact_duplicate | exact_duplicate | 1 |" in report
    assert "| text_rendering | filter | expected_text |" in report
    assert "\x1b" not in report
    assert "<script>" not in report
    assert "kept: a quiet lake at dawn, soft light, photograph, own.csv row 0" in report
    assert "exact_duplicate, exact_duplicate" not in report
    assert report.count("Rows of a source count from 0") == 1
