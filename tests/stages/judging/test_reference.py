"""Pictures that quantile gates are fitted to: drawn whatever the quota, and in a pilot and its plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from promptforge import catalog
from promptforge import recipe as recipes
from promptforge.policy import Gate
from promptforge.records import AXES
from promptforge.stages import parts
from promptforge.stages.forecast.basis import PILOT, measure
from promptforge.stages.forecast.pilot import make_pilot
from promptforge.stages.judging.reference import fitted_to_sample, reference_prompts
from promptforge.stages.run import Run, Tally
from promptforge.store import Store

Drive = Callable[..., dict[str, Tally]]
QUANTILE = {"scorer": "technical", "metric": "sharpness", "quantile": 0.25}


def raw_of(quota: int, n: int = 40, **gate: int) -> dict[str, Any]:
    return {
        "name": "reference",
        "seed": 5,
        "sources": [{"kind": "grammar", "axis": axis, "n": n} for axis in AXES[:2]],
        "filters": {"characters": {}},
        "dedup": {"compiled": False},
        "regime": {"teacher": "canvas", "size": 128},
        "scorers": {"technical": {}},
        "select": {
            "quota": {AXES[0]: quota, AXES[1]: 0, AXES[2]: 0},
            "gates": {"sharp": QUANTILE | gate},
        },
    }


def rows(root: Path, query: str) -> list[tuple[Any, ...]]:
    with catalog.open_run(root) as con:
        return list(con.sql(query).fetchall())


def test_a_raised_quota_moves_no_quantile_and_contains_the_smaller(tmp_path: Path, drive: Drive) -> None:
    kept = []
    for quota in (6, 12, 25):
        drive(tmp_path / f"of_{quota}", raw_of(quota, reference=20, least=10))
        root = tmp_path / f"of_{quota}"
        # 20 for the gate where the quota is lower; of an axis that nobody wants none
        assert rows(root, "SELECT axis, count(*) FROM render_plan JOIN kept USING (prompt_id) GROUP BY axis") == [
            (AXES[0], max(quota, 20))
        ]
        assert rows(root, "SELECT count(*) FROM selection WHERE keep_prompt") == [(quota,)]
        kept.append(set(rows(root, "SELECT prompt_id, image_id FROM selection WHERE keep_image")))
    bounds = [rows(tmp_path / f"of_{quota}", "SELECT minimum, n_reference FROM policy") for quota in (6, 12, 25)]
    assert bounds[0] == bounds[1] == bounds[2] and bounds[0][0][1] == 20
    assert kept[0] < kept[1] < kept[2]
    assert len(kept[2]) < 25  # the gate refuses some


def test_reference_prompts_are_those_of_the_widest_gate_of_each_wanted_axis() -> None:
    raw = raw_of(6)
    raw["select"]["quota"] = {AXES[0]: 6, AXES[1]: "all", AXES[2]: 0}
    raw["select"]["gates"] = {
        "a": QUANTILE | {"reference": 50},
        "b": QUANTILE | {"reference": 70, "axes": [AXES[1]]},
        "c": {"scorer": "technical", "metric": "black", "max": 0},
    }
    assert reference_prompts(recipes.validate(raw, "test")) == {AXES[0]: 50, AXES[1]: 70, AXES[2]: 0}
    raw["select"]["cells"] = {f"{AXES[0]}/any/any/any": 6}  # leaves nothing for the rest, and wants some all the same
    assert reference_prompts(recipes.validate(raw, "test"))[AXES[0]] == 50


@pytest.mark.parametrize(
    ("count", "least"),
    # 30 of 200 pictures are 15 of 100, and 1.5 of 10; a pilot that draws them all changes nothing
    [(100, 15), (10, 1), (1, 1), (200, 30), (900, 30)],
)
def test_a_samples_groups_need_as_large_a_share_of_it(count: int, least: int) -> None:
    bound = Gate.model_validate({"scorer": "technical", "metric": "black", "max": 0})
    assert fitted_to_sample({"q": Gate.model_validate(QUANTILE), "b": bound}, count) == {"q": least}


def test_a_pilot_of_few_prompts_measures_a_quantile_gate(tmp_path: Path) -> None:
    """12 of 80: two or three of them are among the first 20, where the gate needs 10."""
    raw = raw_of(80, 90, reference=20, least=10)
    recipe = recipes.validate(raw, "test")
    root = tmp_path / "run"
    run = Run(root, recipe, parts.resolve(recipe, "test"), Store(root))
    folder = root.with_name(f"run{PILOT}")
    make_pilot(run, raw, folder, 12)
    measured = measure(run, folder, "pilot")
    assert measured.judged is not None
    assert measured.notes == ()
    judged = measured.judged[AXES[0]]
    assert 6 <= judged.prompts <= 24
    # a quarter is refused, by definition: of n pictures those below the quantile, give or take one
    assert abs(judged.usable - 0.75 * judged.prompts) <= 1
