"""What a scorer could not work out is no measurement: DuckDB puts NaN above every bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from promptforge import records
from promptforge.protocols import Picture, Score
from promptforge.stages.judging.takes import judge
from promptforge.stages.score import _scores

SHARP = {"scorer": "technical", "metric": "sharpness"}


class Unsure:
    needs, inputs = "all", ()

    def score(self, picture: Picture) -> Sequence[Score]:
        return [Score("nothing", math.nan), Score("much", math.inf), Score("some", 0.5), Score("none", None, "word")]


def test_a_nan_is_stored_as_null() -> None:
    row = {"image_id": "i", "text": "a fox", "axis": "image_quality", "digests": {"unsure": "d"}}
    row |= {"expected_text": None, "scene": None, "questions": None}
    (rows,) = _scores([(row, np.zeros((2, 2, 3), np.uint8))], {"unsure": Unsure()}, lambda: None)
    assert {score["metric"]: (score["value"], score["detail"]) for score in rows} == {
        "nothing": (None, None),
        "much": (math.inf, None),
        "some": (0.5, None),
        "none": (None, "word"),
    }


@pytest.mark.parametrize(
    "gate",
    [
        SHARP | {"min": 0.5},
        SHARP | {"max": 0.5},
        {"where": "technical.sharpness > 0.5"},
        {"where": "technical.sharpness < 0.5"},
        SHARP | {"quantile": 0.5, "side": "max", "least": 2},
    ],
)
def test_a_nan_of_an_older_run_passes_as_null_does(case: Callable[..., Any], gate: dict[str, Any]) -> None:
    made = case(gates={"g": gate}, prefer=["technical.sharpness"])
    made.prompts([{}] * 4)
    values: list[float | None] = [math.nan, None, 0.4, 0.6]
    made.pictures({(n, 0): {"technical.sharpness": value} for n, value in enumerate(values)})
    judge(made.con, made.run)
    failed = made.failed()
    assert failed[0, 0] is None and failed[1, 0] is None
    assert {failed[2, 0], failed[3, 0]} == {None, "g"}  # the bound lies between them


def test_a_nan_is_never_preferred(case: Callable[..., Any]) -> None:
    for prefer in ("technical.sharpness", "-technical.sharpness"):
        made = case(prefer=[prefer])
        made.prompts([{}])
        made.pictures({(0, 0): {"technical.sharpness": math.nan}, (0, 1): {"technical.sharpness": 0.1}})
        judge(made.con, made.run)
        name = records.prompt_id("prompt 0")
        assert made.con.sql("SELECT image_id FROM best").fetchall() == [(records.image_id(name, "t", 1),)]
