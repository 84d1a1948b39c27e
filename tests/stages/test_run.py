"""The runner: what is done is skipped by its record, facts are committed in increments, a recipe is refused first."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from promptforge import catalog, recipe
from promptforge.errors import ConfigError, SourceFault
from promptforge.schema import arrow_schema
from promptforge.stages import parts
from promptforge.stages import run as runner
from promptforge.stages.run import Run, Tally, Unit, digest_columns, open_run, prepare
from promptforge.store import Store

Recipe = Callable[[], dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path, tiny: Recipe) -> Run:
    """A run of the tiny recipe of which nothing is done."""
    return prepare(tmp_path / "r", tiny(), "test")


def cost(seconds: float, stage: str = "render") -> dict[str, Any]:
    return {"epoch": 1, "stage": stage, "n_rows": 1, "seconds": seconds}


def table(*seconds: float) -> pa.Table:
    return pa.Table.from_pylist([cost(item) for item in seconds], schema=arrow_schema("cost"))


def test_a_unit_is_made_once_and_found_after_that(run: Run) -> None:
    calls = []

    def make() -> tuple[dict[str, pa.Table], dict[str, int]]:
        calls.append(1)
        return {"cost": table(1.0, 2.0)}, {"rows": 2}

    unit = Unit("render", "a", "d" * 64, make)
    commit, tally = run.work(unit)
    assert (tally.done, tally.skipped, tally.rows) == (1, 0, 2)
    again, skipped = run.work(unit)
    assert again == commit
    assert skipped == Tally("render", skipped=1)
    assert len(calls) == 1
    other, tally = run.work(Unit("render", "a", "e" * 64, make))
    assert other.key != commit.key
    assert len(calls) == 2


def test_a_unit_that_raises_leaves_nothing_and_is_made_by_the_next(run: Run) -> None:
    def fail() -> tuple[dict[str, pa.Table], dict[str, int]]:
        raise RuntimeError("no luck")

    with pytest.raises(RuntimeError):
        run.work(Unit("render", "a", "d" * 64, fail))
    assert run.store.all_commits() == []
    _, tally = run.work(Unit("render", "a", "d" * 64, lambda: ({"cost": table(1.0)}, {})))
    assert tally.done == 1


def test_tallies_add_up() -> None:
    assert Tally("a", 1, 2, 3, 0.5) + Tally("a", 10, 20, 30, 1.0) == Tally("a", 11, 22, 33, 1.5)


def test_facts_are_committed_in_increments_and_a_failure_loses_one_at_most(run: Run) -> None:
    """Eleven rows in increments of four; the tenth fails: two increments stay, and the next call makes the rest."""
    assert run.recipe.run.increment == 4

    def make(row: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        if row["n"] == broken:
            raise RuntimeError("no luck")
        return {"cost": [cost(float(row["n"]))]}

    rows = [{"n": n} for n in range(11)]
    broken = 9
    with pytest.raises(RuntimeError):
        run.facts("render", "b00000", rows, map(make, rows))
    made = [item for commit in run.store.commits("render") for item in commit.files]
    assert sorted(value for item in made for value in run.store.read(item)["seconds"].to_pylist()) == list(range(8))
    broken = -1
    assert run.facts("render", "b00000", rows[8:], map(make, rows[8:])).rows == 3
    assert len(run.store.commits("render")) == 3
    assert run.facts("render", "b00000", [], []) == Tally("render")


def test_facts_are_committed_when_ten_minutes_have_passed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "INCREMENT_S", -1.0)  # every row takes longer than that
    tally = run.facts("render", "b00000", [{"n": n} for n in range(3)], [{"cost": [cost(n)]} for n in range(3)])
    assert (tally.done, tally.rows) == (3, 3)


def test_a_bad_recipe_leaves_no_folder(tmp_path: Path, tiny: Recipe) -> None:
    for setting in ("render.takes=0", "filters.nosuch={}", "scorers.technical.nosuch=1"):
        with pytest.raises(ConfigError):
            prepare(tmp_path / "r", recipe.override(tiny(), [setting]), "test")
    assert not (tmp_path / "r").exists()


def test_a_persons_own_dataset_is_not_replaced(tmp_path: Path, tiny: Recipe) -> None:
    (tmp_path / "dataset").mkdir()
    with pytest.raises(ConfigError, match="holds a dataset that no run made"):
        prepare(tmp_path, tiny(), "test")
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]
    (tmp_path / "dataset").rmdir()
    prepare(tmp_path, tiny(), "test")
    (tmp_path / "dataset").mkdir()  # of an earlier run
    prepare(tmp_path, tiny(), "test")


def test_a_missing_input_file_stops_the_run_by_name_before_any_work(
    tmp_path: Path, tiny: Recipe, drive: Callable[..., Any]
) -> None:
    raw = recipe.override(tiny(), [f"sources.2.paths=['{tmp_path / 'none.txt'}']"])
    with pytest.raises((SourceFault, ConfigError), match=r"none\.txt"):
        drive(tmp_path / "r", raw)
    assert Store(tmp_path / "r").all_commits() == []


def test_a_run_is_read_back_from_its_folder(run: Run) -> None:
    found = open_run(run.root)
    assert found.recipe == run.recipe
    assert found.resolved == run.resolved
    assert "run" not in run.resolved
    with pytest.raises(ConfigError, match=r"no run here \(no _run.json\)"):
        open_run(run.root / "elsewhere")


def test_settings_of_the_machine_are_in_no_digest(tmp_path: Path, tiny: Recipe) -> None:
    left = prepare(tmp_path / "a", tiny(), "test")
    right = prepare(tmp_path / "b", recipe.override(tiny(), ["run.workers=7", "run.increment=9"]), "test")
    assert left.resolved == right.resolved


def test_an_input_file_that_grew_is_read_again_by_the_next_run(
    tmp_path: Path, tiny: Recipe, drive: Callable[..., Any]
) -> None:
    own = tmp_path / "own.txt"
    own.write_text("a quiet lake at dawn\n")
    raw = recipe.override(tiny(), ["render.sample=0"])
    raw["sources"] = [{"kind": "files", "paths": [str(own)], "axis": "image_quality"}]
    assert drive(tmp_path / "r", raw)["generate"].done == 1
    own.write_text("a quiet lake at dawn\nan old lighthouse in the fog\n")
    assert drive(tmp_path / "r", raw)["generate"].done == 1
    with catalog.open_run(tmp_path / "r") as con:
        assert con.sql("SELECT count(*) FROM accepted").fetchall() == [(2,)]


def test_equal_columns_have_equal_digests_whatever_else_changed(run: Run) -> None:
    first = run.store.commit("cost", "a", "1" * 64, {"cost": table(1.0)})
    second = run.store.commit(
        "cost", "b", "2" * 64, {"cost": pa.Table.from_pylist([cost(1.0, "score")], schema=arrow_schema("cost"))}
    )

    def digest(commit: Any, *columns: str) -> str:
        return digest_columns([commit], {"cost": columns})

    assert digest(first, "seconds", "epoch") == digest(second, "epoch", "seconds")
    assert digest(first, "stage") != digest(second, "stage")
    assert digest_columns([first, second], {"cost": ["stage"]}) != digest_columns([second, first], {"cost": ["stage"]})
    assert digest_columns([first], {"scores": ["value"]}) == digest_columns([], {"cost": ["stage"]})


def test_the_folder_says_what_was_asked_for_and_nothing_of_its_defaults(run: Run, tiny: Recipe) -> None:
    assert json.loads((run.root / "_run.json").read_text())["select"] == tiny()["select"]


def test_what_draws_nothing_asks_for_no_scorer() -> None:
    """Their packages and weights may be missing on the machine that makes the prompts."""
    raw = recipe.override(recipe.read("flux-schnell"), ["render.sample=0"])
    found = parts.resolve(recipe.validate(raw, "test"), "test")
    assert found.scorers == ()
    assert found.resolved()["scorers"] == []
    assert not found.compares
