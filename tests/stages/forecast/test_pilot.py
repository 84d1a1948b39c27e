"""A small pilot through the real stages, then the run itself: what was foretold, beside what came."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from promptforge import catalog
from promptforge import recipe as recipes
from promptforge.errors import ConfigError
from promptforge.records import AXES
from promptforge.stages import parts
from promptforge.stages.forecast.basis import PILOT, Measured, measure
from promptforge.stages.forecast.pilot import make_pilot
from promptforge.stages.forecast.saved import against, load, save
from promptforge.stages.forecast.whole import Forecast, basis, foresee, look
from promptforge.stages.run import Run, prepare
from promptforge.store import Store

RAW: dict[str, Any] = {
    "name": "small",
    "seed": 7,
    "sources": [{"kind": "grammar", "axis": axis, "n": 60} for axis in AXES],
    "filters": {"characters": {}, "length": {}, "expected_text": {}, "split": {}},
    "dedup": {"compiled": False},
    "regime": {"teacher": "canvas", "size": 128, "mistake_rate": 0.3},
    "scorers": {"technical": {}, "agreement": {}},
    "select": {
        "quota": dict.fromkeys(AXES, 40),
        "gates": {"colours_agree": {"scorer": "agreement", "metric": "colour_agreement", "min": 1}},
    },
    "run": {"increment": 16},
}


def run_of(root: Path, raw: dict[str, Any] = RAW) -> Run:
    recipe = recipes.validate(raw, "test")
    return Run(root, recipe, parts.resolve(recipe, "test"), Store(root))


@dataclass(frozen=True)
class Planned:
    root: Path
    measured: Measured
    forecast: Forecast
    tallies: Any


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory, drive: Callable[..., Any]) -> Planned:
    """Planned by a pilot of 15 an axis of 40, saved, then run."""
    root = tmp_path_factory.mktemp("plan") / "small"
    run = run_of(root)
    folder = root.with_name(f"small{PILOT}")
    made = make_pilot(run, RAW, folder, 15)
    measured = measure(run, folder, "pilot")
    forecast = foresee(run, look(run), measured, 3.6)
    save(forecast, root)
    drive(root, RAW)
    return Planned(root, measured, forecast, made["stages"])


def test_the_pilot_sees_the_whole_text_and_some_pictures_of_every_axis(planned: Planned) -> None:
    assert planned.measured.whole_text
    assert {axis: text.rows for axis, text in planned.measured.text.items()} == dict.fromkeys(AXES, 60)
    judged = planned.measured.judged
    assert judged is not None
    for axis in AXES:
        assert 5 <= judged[axis].prompts <= 25, axis  # 15 of 40 by a hash: 3.1 is the standard deviation
    assert sum(each.prompts for each in judged.values()) < 80


def test_rows_and_bytes_come_within_fifteen_per_cent(planned: Planned) -> None:
    compared = {(each.line.part, each.line.item, each.line.axis): each for each in against(planned.root)}
    for item in ("candidates", "kept", "prompts", "pictures", "accepted", "published"):
        for axis in (*AXES, None):
            each = compared[("rows", item, axis)]
            assert each.line.expected == each.actual, (item, axis)  # the text was whole: counted, not estimated
    for key in (("rows", "usable", None), ("disk", "pixels", None), ("disk", "all", None)):
        error = compared[key].error_share
        assert error is not None
        assert abs(error) < 0.15, (key, error)
    assert compared[("rows", "usable", None)].is_inside


def test_what_came_is_what_lies_in_the_folder(planned: Planned) -> None:
    compared = {(each.line.part, each.line.item, each.line.axis): each.actual for each in against(planned.root)}
    with catalog.open_run(planned.root) as con:
        ((pictures, usable),) = con.sql(
            "SELECT (SELECT count(*) FROM images), (SELECT count(*) FROM published WHERE keep_image)"
        ).fetchall()
        shown = con.sql("SELECT actual FROM plan_against_actual WHERE item = 'pictures' AND axis IS NULL").fetchall()
    assert compared[("rows", "pictures", None)] == pictures == shown[0][0]
    assert compared[("rows", "usable", None)] == usable
    pixels = sum(path.stat().st_size for path in (planned.root / "pixels").glob("*.parquet"))
    assert compared[("disk", "pixels", None)] == pixels
    everything = sum(path.stat().st_size for path in planned.root.rglob("*") if path.is_file())
    loose = sum(path.stat().st_size for path in planned.root.iterdir() if path.is_file())
    forecast = sum(path.stat().st_size for path in (planned.root / "forecast").iterdir())
    assert compared[("disk", "all", None)] == everything - loose - forecast


def test_every_line_says_what_it_rests_on(planned: Planned) -> None:
    lines = planned.forecast.lines
    assert [line for line in lines if not line.detail] == []
    bases = {(line.part, line.item): line.basis for line in lines}
    assert bases[("rows", "candidates")] == "known"
    assert bases[("rows", "usable")] == bases[("disk", "pixels")] == bases[("time", "render")] == "pilot"
    assert bases[("memory", "dedup")] == "published"
    assert load(planned.root) == list(lines)


def test_money_is_the_time_of_ranks_at_its_price(planned: Planned) -> None:
    money = planned.forecast.line("money", "all")
    ranks = [line for line in planned.forecast.lines if line.unit == "gpu_seconds"]
    assert money is not None
    assert money.expected is not None
    assert {line.item for line in ranks} == {"render", "score"}
    assert money.expected == pytest.approx(sum(line.expected or 0 for line in ranks) / 1000, rel=0.01)  # 3.6 an hour


def test_a_second_pilot_does_nothing_again(planned: Planned) -> None:
    folder = planned.measured.root
    before = sorted(path.name for path in (folder / "pixels").iterdir())
    assert sum(tally.rows for tally in planned.tallies if tally.stage == "render") > 0
    again = make_pilot(run_of(planned.root), RAW, folder, 15)
    assert sum(tally.done for tally in again["stages"]) == 0
    assert sorted(path.name for path in (folder / "pixels").iterdir()) == before


def test_a_plan_takes_the_pilot_before_the_run_and_a_given_folder_before_both(planned: Planned) -> None:
    run = run_of(planned.root)
    found = basis(run, None)
    assert found is not None
    assert (found.basis, found.root) == ("pilot", planned.measured.root)
    given = basis(run, planned.root)
    assert given is not None
    assert (given.basis, given.root) == ("earlier_run", planned.root)
    whole = foresee(run, look(run), given, None)
    usable = whole.line("rows", "usable")
    assert usable is not None
    with catalog.open_run(planned.root) as con:
        ((actual,),) = con.sql("SELECT count(*) FROM published WHERE keep_image").fetchall()
    assert usable.expected == pytest.approx(actual, rel=0.02)


def test_an_earlier_run_is_judged_by_the_gates_that_are_planned(planned: Planned) -> None:
    """Without the gate every picture that could be drawn is usable: stored scores are judged anew."""
    open_gates = json.loads(json.dumps(RAW))
    open_gates["select"]["gates"] = {}
    run = run_of(planned.root, open_gates)
    judged = measure(run, planned.root, "earlier_run").judged
    assert judged is not None
    assert all(each.usable == each.prompts - each.failed for each in judged.values())


def test_another_teachers_pictures_say_nothing(planned: Planned) -> None:
    other = json.loads(json.dumps(RAW))
    other["regime"]["size"] = 256
    run = run_of(planned.root, other)
    measured = measure(run, planned.root, "earlier_run")
    assert measured.judged is None
    assert any("another teacher" in note for note in measured.notes)
    forecast = foresee(run, look(run), measured, None)
    usable, pixels, clock = (
        forecast.line(*key) for key in (("rows", "usable"), ("disk", "pixels"), ("time", "render"))
    )
    assert usable is not None
    assert (usable.low, usable.expected, usable.high) == (0, None, 120)
    assert pixels is not None
    assert (pixels.expected, pixels.high) == (None, 120 * 3 * 256 * 256)
    assert clock is not None
    assert clock.expected is None


def test_another_text_gives_shares_and_says_so(planned: Planned) -> None:
    longer = json.loads(json.dumps(RAW))
    for source in longer["sources"]:
        source["n"] = 200
    longer["select"]["quota"] = dict.fromkeys(AXES, "all")
    run = run_of(planned.root, longer)
    measured = measure(run, planned.root, "earlier_run")
    assert not measured.whole_text
    assert any("other sources" in note for note in measured.notes)
    kept = foresee(run, look(run), measured, None).line("rows", "kept", "semantic_understanding")
    assert kept is not None
    assert kept.expected is not None
    assert kept.low < kept.expected <= 200


def test_looking_ahead_writes_nothing(tmp_path: Path) -> None:
    run = run_of(tmp_path / "never")
    foresee(run, look(run), basis(run, None), None)
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_forecast_or_an_end_is_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no forecast was saved here"):
        against(finished)
    run = run_of(tmp_path / "begun")
    save(foresee(run, look(run), None, None), run.root)
    prepare(run.root, RAW, "test")
    with pytest.raises(ConfigError, match="has not published yet"):
        against(run.root)


def test_a_later_forecast_takes_the_place_of_the_first(tmp_path: Path) -> None:
    run = run_of(tmp_path / "twice")
    for price in (1.0, 2.0):
        save(foresee(run, look(run), None, price), run.root)
    lines = load(run.root)
    assert len([line for line in lines if line.part == "money"]) == 1
    assert len(list((run.root / "forecast").glob("*.parquet"))) == 1
