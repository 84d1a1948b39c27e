"""promptforge coverage: the figures of the tables, for a person, for a program, and as a demand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from promptforge import catalog

Ask = Callable[..., tuple[int, str, str]]


def test_it_shows_the_figures_of_the_table_coverage_measures(ask: Ask, here: Path) -> None:
    code, said, errors = ask("coverage", "--json")
    assert (code, errors) == (0, "")
    shown = json.loads(said)
    with catalog.open_run(here) as con:
        stored = con.sql("SELECT scope, axis, measure, value FROM coverage_measures WHERE measure <> 'source_share'")
        wanted = {row[:3]: row[3] for row in stored.fetchall()}
    rows = {(row["scope"], row["axis"]): row for row in shown["rows"]}
    assert len(wanted) > 80
    assert all(rows[scope, axis][measure] == value for (scope, axis, measure), value in wanted.items())
    assert shown["source_share"]["all"] == {"files": 1.0}


def test_a_person_sees_a_line_an_axis_and_what_the_heads_mean(ask: Ask, here: Path) -> None:
    code, said, _ = ask("coverage")
    lines = said.splitlines()
    assert code == 0
    assert lines[0].split()[:5] == ["axis", "prompts", "I-N", "UN", "N/I"]
    with catalog.open_run(here) as con:
        ((n_prompts,),) = con.sql("SELECT count(*) FROM accepted").fetchall()
    assert lines[1].split()[:2] == ["all", str(n_prompts)]
    assert "I-N: nouns, each once a prompt" in said


@pytest.mark.parametrize("by", ["category", "cell", "source", "template"])
def test_parts_add_up_to_the_whole(ask: Ask, here: Path, by: str) -> None:
    _, said, _ = ask("coverage", "--by", by, "--json")
    _, whole, _ = ask("coverage", "--json")
    total = json.loads(whole)["rows"][0]
    rows = json.loads(said)["rows"]
    for measure in ("prompts", "noun_pairs"):  # a noun counts once a prompt, so pairs add up; unique nouns do not
        assert sum(row[measure] for row in rows) == total[measure]
    assert ask("coverage", "--by", by)[0] == 0


def test_the_view_has_the_same_cells(ask: Ask, here: Path) -> None:
    _, said, _ = ask("coverage", "--by", "cell", "--json")
    shown = {
        tuple(row[key] for key in ("axis", "category", "style", "words")): (
            row["prompts"],
            row["noun_pairs"],
            row["unique_nouns"],
            row["near_duplicate_share"],
        )
        for row in json.loads(said)["rows"]
    }
    with catalog.open_run(here) as con:
        rows = con.sql(
            "SELECT axis, coalesce(category, ''), coalesce(style, ''), words, n_prompts, noun_pairs, unique_nouns,"
            " near_duplicate_share FROM coverage WHERE n_prompts > 0"
        ).fetchall()
    assert {row[:4]: row[4:] for row in rows} == shown


def test_a_demand_that_is_not_met_is_exit_1_and_a_line(ask: Ask, here: Path) -> None:
    given = ("--min", "prompts.all=1", "--min", "unique_nouns.all=5000", "--min", "natural_share.image_quality=0.7")
    code, _, errors = ask("coverage", *given)
    (line,) = errors.splitlines()
    assert code == 1
    assert line.startswith("unique_nouns.all: ")
    assert "wanted at least 5,000" in line
    assert ask("coverage", "--min", "prompts.all=1", "--min", "cell=1")[0] == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("unqiue_nouns.all=5", "did you mean 'unique_nouns'"),
        ("unique_nouns=5", "expected measure.axis=value"),
        ("cell.all=5", "expected measure.axis=value"),
        ("unique_nouns.quality=5", "no such field"),
        ("natural_share.all=70", "is 70"),
        ("unique_nouns.all", "expected path=value"),
    ],
)
def test_a_wrong_demand_is_told(ask: Ask, here: Path, given: str, said: str) -> None:
    code, _, errors = ask("coverage", "--min", given)
    assert code == 2
    assert said in errors


def test_gpu_recipes_without_captions_are_refused_at_once_and_say_how_to_give_them(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, errors = ask("run", "flux-schnell")
    (line,) = errors.splitlines()
    assert code == 2
    assert "--captions captions.txt" in line
    assert list(tmp_path.iterdir()) == []


def test_doctor_says_so_without_calling_it_a_lack(ask: Ask) -> None:
    _, said, _ = ask("doctor", "--recipe", "flux-schnell", "--json")
    (found,) = [item for item in json.loads(said)["findings"] if item["name"] == "prompts"]
    assert found["ok"]
    assert "promptforge run flux-schnell --captions captions.txt" in found["said"]
    _, said, _ = ask("doctor", "--json")
    assert not [item for item in json.loads(said)["findings"] if item["name"] == "prompts"]
