"""report and the run itself leave report.html, for a person who opens it from disk."""

from collections.abc import Callable
from pathlib import Path

import pytest

Ask = Callable[..., tuple[int, str, str]]


def test_a_run_ends_with_a_report_and_the_command_makes_the_same(made, copy: Path, ask: Ask) -> None:
    left = (copy / "report.html").read_bytes()
    assert b"report.html" in made.said("stdout").encode()
    assert left.startswith(b"<!doctype html>")
    (copy / "report.html").unlink()
    code, out, err = ask("report", "--run", copy)
    assert (code, err) == (0, "")
    assert out == f"report:   {copy / 'report.html'}\n"
    assert (copy / "report.html").read_bytes() == left


def test_it_goes_to_the_file_that_is_named_and_never_over_a_folder(copy: Path, ask: Ask, tmp_path: Path) -> None:
    assert ask("report", "--run", copy, "--out", tmp_path / "mine.html")[0] == 0
    assert (tmp_path / "mine.html").read_bytes() == (copy / "report.html").read_bytes()
    code, out, err = ask("report", "--run", copy, "--out", tmp_path)
    assert (code, out) == (2, "")
    assert "is a folder; --out takes the file to write" in err


def test_open_shows_the_file_in_the_browser(copy: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: asked.append(address) or True)
    assert ask("report", "--run", copy, "--open")[0] == 0
    assert asked == [(copy / "report.html").resolve().as_uri()]


def test_prompts_of_strangers_stand_in_it_as_letters(here: Path) -> None:
    text = (here / "report.html").read_text("utf-8")
    assert "<script>alert(1)" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; a lake" in text
    assert "\x1b" not in text
