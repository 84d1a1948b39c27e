"""Rounds of a real run: tiny pictures of the embedded teacher, drawn, scored and planned again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from promptforge import catalog, recipe
from promptforge.errors import ConfigError
from promptforge.records import AXES
from promptforge.stages import goals
from promptforge.stages.run import Tally, prepare
from promptforge.stages.verify import verify

Drive = Callable[..., dict[str, Tally]]


def raw_of(quota: int, render: dict[str, Any] | None = None, **rounds: Any) -> dict[str, Any]:
    """40 candidates an axis, three in ten pictures black or flat; neither passes."""
    gates = {
        name: {"scorer": "technical", "metric": name, "max": 0, "decision": "keep_prompt"} for name in ("black", "flat")
    }
    return {
        "name": "rounds",
        "seed": 3,
        "sources": [{"kind": "grammar", "axis": axis, "n": 40} for axis in AXES[:2]],
        "filters": {"characters": {}},
        "regime": {"teacher": "canvas", "size": 128, "mistake_rate": 0.3, "weights": {"black": 1.0, "flat": 1.0}},
        "scorers": {"technical": {}},
        "render": render or {},
        "rounds": rounds,
        "select": {"policy": "images", "gates": gates, "quota": {**dict.fromkeys(AXES[:2], quota), AXES[2]: 0}},
        "run": {"workers": 1},
    }


def one_axis(quota: int, **rounds: Any) -> dict[str, Any]:
    """60 candidates of one axis."""
    raw = raw_of(quota, **rounds)
    raw["sources"] = [{"kind": "grammar", "axis": AXES[0], "n": 60}]
    raw["select"]["quota"][AXES[1]] = 0
    return raw


def accepted(root: Path) -> list[tuple[Any, ...]]:
    with catalog.open_run(root) as con:
        return list(
            con.sql("SELECT axis, prompt_id, image_id FROM selection WHERE keep_prompt ORDER BY ALL").fetchall()
        )


def dataset(root: Path) -> dict[str, bytes]:
    """Every file of the data set."""
    folder = root / "dataset"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, drive: Drive) -> Path:
    """30 wanted of each axis from nothing; not to be changed."""
    root = tmp_path_factory.mktemp("fresh") / "run"
    drive(root, one_axis(30))
    return root


def test_a_raised_quota_equals_a_fresh_one_and_contains_the_smaller(tmp_path: Path, drive: Drive, fresh: Path) -> None:
    raw = one_axis(20)
    drive(tmp_path, raw)
    small = accepted(tmp_path)
    assert len(small) == 20
    done = drive(tmp_path, one_axis(30))
    assert accepted(tmp_path) == accepted(fresh)
    assert set(small) < set(accepted(fresh))
    with catalog.open_run(fresh) as con:
        ((n_planned,),) = con.sql("SELECT count(*) FROM render_plan").fetchall()
    assert 0 < done["render"].rows <= n_planned - 20  # the facts of the smaller quota are not made again
    assert {name: data for name, data in dataset(tmp_path).items() if name.startswith("data/")} == {
        name: data for name, data in dataset(fresh).items() if name.startswith("data/")
    }
    assert verify(tmp_path) == []
    again = drive(tmp_path, one_axis(30))
    assert not any(tally.done for tally in again.values())
    with catalog.open_run(tmp_path) as con:
        assert con.sql("SELECT DISTINCT reason FROM selection WHERE state = 'not_needed'").fetchall() == [
            ("quota_full",)
        ]


def test_another_size_of_rounds_makes_the_same_data_set(tmp_path: Path, drive: Drive, fresh: Path) -> None:
    drive(tmp_path, one_axis(30, round_renders=22))
    rounds = []
    for root in (tmp_path, fresh):
        with catalog.open_run(root) as con:
            rounds += con.sql(
                "SELECT max(round), max(n) FROM (SELECT round, count(*) n FROM render_plan GROUP BY 1)"
            ).fetchall()
    assert rounds[0][1] <= 22 < rounds[1][1]
    assert rounds[0][0] > rounds[1][0]
    assert accepted(tmp_path) == accepted(fresh)
    own, reference = dataset(tmp_path), dataset(fresh)
    assert own.keys() == reference.keys()
    for name in own.keys() - {"manifest.json", "README.md"}:  # these hold the recipe, and so the setting itself
        assert own[name] == reference[name], name


def test_what_no_round_tried_says_why(tmp_path: Path, drive: Drive) -> None:
    drive(tmp_path, raw_of(30, max_renders=20))
    with catalog.open_run(tmp_path) as con:
        ((planned,),) = con.sql("SELECT count(*) FROM render_plan").fetchall()
        reasons = dict(con.sql("SELECT reason, count(*) FROM selection WHERE n_takes = 0 GROUP BY 1").fetchall())
        states = con.sql("SELECT state FROM rounds WHERE round = (SELECT max(round) FROM rounds)").fetchall()
        ((kept,),) = con.sql("SELECT count(*) FROM kept").fetchall()
    assert planned == 20
    assert reasons == {"budget_spent": kept - 20}
    assert states == [("budget",), ("budget",), ("full",)]
    assert verify(tmp_path) == []


@pytest.mark.parametrize("policy", ["distill", "images"])
def test_a_further_take_is_drawn_only_where_none_passes(tmp_path: Path, drive: Drive, policy: str) -> None:
    raw = raw_of(5, {"takes": 3, "until_pass": True, "fixed_share": 0.3})
    raw["select"]["policy"] = policy
    if policy == "distill":
        del raw["rounds"]
        for gate in raw["select"]["gates"].values():
            del gate["decision"]
    drive(tmp_path, raw)
    with catalog.open_run(tmp_path) as con:
        takes = con.sql(
            'SELECT any_value(fixed), count(*), min(take) FILTER (i.truth NOT LIKE \'%"mistake":"%\')'
            " FROM render_plan JOIN images i USING (image_id, prompt_id, take) SEMI JOIN selection s"
            " ON s.prompt_id = render_plan.prompt_id AND s.keep_prompt GROUP BY render_plan.prompt_id"
        ).fetchall()
    assert {fixed for fixed, _, _ in takes} == {True, False}
    for fixed, n, first in takes:
        assert n == (3 if fixed or first is None else first + 1)
    assert max(n for fixed, n, _ in takes if not fixed) > 1


def test_no_round_begins_when_time_is_up_and_the_next_command_goes_on(tmp_path: Path, drive: Drive) -> None:
    drive(tmp_path, raw_of(8, max_wall_s=1e-9))
    with catalog.open_run(tmp_path) as con:
        assert con.sql("SELECT max(round), count(*) FROM render_plan").fetchall() == [(0, 16)]
    drive(tmp_path, raw_of(8, max_wall_s=1e-9))
    with catalog.open_run(tmp_path) as con:
        ((first,),) = con.sql("SELECT count(*) FROM render_plan").fetchall()
    assert first == 16  # time is up before the second command could begin a round, too
    drive(tmp_path, raw_of(8, max_wall_s=1e9))
    assert len(accepted(tmp_path)) == 16


def test_seconds_of_drawing_are_a_limit(tmp_path: Path, drive: Drive) -> None:
    """64 pictures are drawn to learn what one costs; a millisecond pays for no further one."""
    raw = raw_of(40, max_money=0.001 / 3600, price_per_gpu_hour=1.0)
    drive(tmp_path, raw)
    with catalog.open_run(tmp_path) as con:
        assert con.sql("SELECT count(*) FROM render_plan").fetchall() == [(64,)]


def test_cells_take_the_first_that_pass_and_the_rest_what_is_left(tmp_path: Path, drive: Drive) -> None:
    raw = raw_of(8)
    raw["select"]["cells"] = {"semantic_understanding/numeracy/any/any": 2, "image_quality/any/medium/any": 1}
    drive(tmp_path, raw)
    with catalog.open_run(tmp_path) as con:
        rows = con.sql(
            "SELECT p.axis, p.category, p.n_words BETWEEN 11 AND 20, s.keep_prompt, s.state"
            " FROM selection s JOIN prompts p USING (row_id) ORDER BY p.axis, p.stream_order"
        ).fetchall()
        wanted = con.sql("SELECT cell, wanted FROM rounds WHERE round = 0 AND axis <> 'text_rendering' ORDER BY ALL")
        assert wanted.fetchall() == [("any/medium/any", 1), ("numeracy/any/any", 2), ("rest", 6), ("rest", 7)]
    semantic = [row for row in rows if row[0] == "semantic_understanding"]
    assert sum(row[3] for row in semantic if row[1] == "numeracy") == 2
    assert sum(row[3] for row in semantic if row[1] != "numeracy") == 6
    quality = [row for row in rows if row[0] == "image_quality"]
    assert (sum(row[3] for row in quality if row[2]), sum(row[3] for row in quality if not row[2])) == (1, 7)
    assert verify(tmp_path) == []


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"text_rendering/any/any": 3}, "expected axis/category/length/style"),
        ({"text/any/any/any": 3}, "no axis 'text'; there are image_quality"),
        ({"image_quality/any/huge/any": 3}, "no length 'huge'; there are tiny, short"),
        ({"image_quality/any/any/baroque": 3}, "no style 'baroque'; there are plain, photo"),
        ({"image_quality/a/any/any": 5, "image_quality/b/any/any": 4}, "want 9 together, its quota is 8"),
    ],
)
def test_a_cell_that_cannot_be_is_refused(tmp_path: Path, cells: dict[str, int], said: str) -> None:
    raw = raw_of(8)
    raw["select"]["cells"] = cells
    with pytest.raises(ConfigError, match=r"select\.cells") as fault:
        prepare(tmp_path / "run", raw, "test")
    assert said in str(fault.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"select": {"policy": "distill"}}, "needs select.policy 'images'"),
        ({"render": {"sample": 0.5}}, "needs render.sample = 1, it is 0.5"),
        ({"render": {"takes": 4}, "rounds": {"max_renders": 3}}, "max_renders is 3, but a prompt has 4 takes"),
    ],
)
def test_rounds_that_cannot_be_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as fault:
        recipe.validate(raw_of(8) | change, "test")
    assert said in str(fault.value)


def test_the_rest_wants_what_the_cells_leave_of_the_quota() -> None:
    raw = raw_of(8)
    raw["select"]["cells"] = {"image_quality/any/any/photo": 3}
    found = goals.goals(recipe.validate(raw, "test"))
    assert [(goal.cell, goal.wanted) for goal in found] == [("any/any/photo", 3), ("rest", 5), ("rest", 8), ("rest", 0)]
