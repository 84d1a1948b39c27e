"""The lines around a run: what is going to be done, what a person may miss, and how the program is called."""

import sys
from pathlib import Path
from typing import Any

import pytest

from promptforge import recipe as recipes
from promptforge.commands import closing, terminal
from promptforge.commands.run import plan_line
from promptforge.flows.params import CurateParams
from promptforge.recipe import Recipe
from promptforge.records import AXES


def chosen(*settings: str, sources: tuple[str, ...] = ()) -> Recipe:
    return recipes.validate(CurateParams(sources=list(sources), settings=list(settings)).raw(), "test")


def row(axis: str, **counts: int) -> dict[str, Any]:
    return {"axis": axis, "kept": 9, "accepted": 5, "not_needed": 0, "left_over": 0, "in_two_splits": 0} | counts


def test_the_opening_line_counts_candidates_that_are_to_be_written() -> None:
    assert "mini: 1,200 prompts wanted out of 1,800 candidates from 3 sources" in plan_line(chosen(), "x")
    unlimited = [f"select.quota.{axis}=all" for axis in AXES]
    assert "mini: every prompt wanted out of 1,800 candidates" in plan_line(chosen(*unlimited), "x")
    some = "every prompt (at most 400 of image_quality, 400 of semantic_understanding) wanted out of 1,800 candidates"
    assert some in plan_line(chosen("select.quota.text_rendering=all"), "x")


def test_a_quota_is_only_a_limit_to_own_prompts() -> None:
    assert "mini: at most 400 prompts of each axis from 1 source" in plan_line(chosen(sources=("a.txt",)), "x")
    two = ("select.quota.image_quality=all", "select.quota.text_rendering=all")
    said = plan_line(chosen(*two, sources=("a.txt",)), "x")
    assert "every prompt (at most 400 of semantic_understanding) from" in said


def test_a_run_without_pictures_speaks_of_no_scorer() -> None:
    said = plan_line(chosen("render.sample=0"), "x")
    assert "prompts only, policy" in said
    assert "scorer" not in said
    assert "teacher canvas, 3 scorers, policy" in plan_line(chosen(), "x")


def test_every_axis_with_something_left_over_is_named() -> None:
    rows = [row("image_quality", not_needed=3), row("text_rendering", not_needed=4)]
    (said,) = closing._remarks(rows, chosen(sources=("a.txt",)))
    assert said.endswith("take them with --set select.quota.image_quality=all --set select.quota.text_rendering=all")


def test_no_quota_is_said_to_take_what_a_cap_leaves_over() -> None:
    rows = [row("image_quality", left_over=7, not_needed=2), row("text_rendering", left_over=1)]
    spare, over = closing._remarks(rows, chosen(sources=("a.txt",)))
    assert spare == "passed but not needed: image_quality 2; take them with --set select.quota.image_quality=all"
    assert over.startswith("left over by the caps of [order]: image_quality 7, text_rendering 1; no quota takes them: ")


def test_prompts_that_no_split_may_hold_are_told_by_axis() -> None:
    rows = [row("semantic_understanding", in_two_splits=12), row("text_rendering")]
    (said,) = closing._remarks(rows, chosen(sources=("a.txt",)))
    assert said.startswith("in no split") and said.endswith("lie in two: semantic_understanding 12")


def test_only_prompts_that_were_ordered_can_be_too_few() -> None:
    rows = [row("image_quality", accepted=5)]
    assert "image_quality 5 of 400" in closing._remarks(rows, chosen())[0]
    assert closing._remarks(rows, chosen(sources=("a.txt",))) == []


def test_failed_pictures_and_an_empty_sample_are_told() -> None:
    (said,) = closing._picture_remarks([row("image_quality")], chosen(), 9, 2, " --run x")
    assert said.startswith("2 pictures could not be made; ask: ")
    assert said.endswith('where error is not null group by 1" --run x')
    (said,) = closing._picture_remarks([row("image_quality")], chosen("render.sample=0.01"), 0, 0, "")
    assert "render.sample = 0.01 chose no prompt" in said
    assert closing._picture_remarks([row("image_quality")], chosen("render.sample=0"), 0, 0, "") == []
    assert closing._picture_remarks([row("image_quality")], chosen(), 9, 0, "") == []


def test_the_program_is_called_as_it_can_be_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a venv" / "bin"
    folder.mkdir(parents=True)
    (folder / "promptforge").touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(folder / "promptforge")])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert terminal.program() == "'a venv/bin/promptforge'"
    monkeypatch.setattr(sys, "argv", ["cli.py"])
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    assert terminal.program() == "'a venv/bin/promptforge'"
    (folder / "promptforge").rename(tmp_path / "promptforge")
    assert terminal.program() == "promptforge"  # found on the path
    (tmp_path / "promptforge").unlink()
    assert terminal.program() == f"'{folder}/python' -m promptforge.cli"
