"""student_gap: what a cell is worth and what order that makes, against formulas and counts of their own."""

from __future__ import annotations

import json
import re
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptforge.errors import ConfigError, SourceFault
from promptforge.recipe import validate
from promptforge.stages import pipeline
from promptforge.stages.arrangement.gaps import Gaps, merged, shrunk
from promptforge.stages.parts import resolve
from promptforge.stages.run import prepare
from tests.stages.arrangement.student_gap import AXIS, SCHEMA, file, line
from tests.stages.arrangement.student_gap import raw as recipe

# Estimates


def test_a_cell_is_drawn_to_the_axis_mean_by_the_rule_worked_out_by_hand() -> None:
    # Axis mean (1 + 3 + 5 + 7 + 9 + 11) / 6 = 6; cells a: 1, 3 (mean 2), b: 5, 7, 9, 11 (mean 8).
    # Inside: 1 + 1 + 9 + 1 + 1 + 9 = 22 over 6 - 2 = 4, so 5.5. Across: 2 x 16 + 4 x 4 = 48 over 1.
    # Size (6 - (4 + 16) / 6) / 1 = 8/3; between (48 - 5.5) / (8/3) = 15.9375; within / between = 88/255.
    # z of a: 2 / (2 + 88/255) = 510/598, of b: 4 / (4 + 88/255) = 1020/1108.
    found = shrunk({"a": [1, 3], "b": [5, 7, 9, 11]})
    assert found.mean == 6
    assert found.cells["a"].gap == 2
    assert found.cells["a"].estimate == pytest.approx(float(6 - 4 * Fraction(510, 598)))
    assert found.cells["b"].estimate == pytest.approx(float(6 + 2 * Fraction(1020, 1108)))
    assert found.cells["a"].n_measured == 2


def test_the_estimated_variances_are_those_of_the_made_up_cells() -> None:
    """Over many draws: the errors of the estimates are below those of the raw means, and of the axis mean."""
    rng = np.random.default_rng(5)
    errors = np.zeros(3)
    for _ in range(200):
        true = rng.normal(10, 1, 8)
        cells = {str(c): rng.normal(true[c], 3, n).tolist() for c, n in enumerate((2, 3, 4, 6, 8, 10, 20, 40))}
        found = shrunk(cells)
        for c in range(8):
            cell = found.cells[str(c)]
            errors += (np.array([cell.estimate, cell.gap, found.mean]) - true[c]) ** 2
    assert errors[0] < 0.6 * errors[1]
    assert errors[0] < 0.9 * errors[2]


@pytest.mark.parametrize(
    "cells",
    [{"a": [1.0, 2.0]}, {"a": [1.0], "b": [3.0]}, {"a": [1.0, 3.0], "b": [2.0, 2.0]}, {"a": [0.0], "b": [0, 0]}],
)
def test_where_chance_explains_the_cells_every_one_has_the_axis_mean(cells: dict[str, list[float]]) -> None:
    found = shrunk(cells)
    assert found.flat
    assert {found.worth(name, 1.0) for name in (*cells, "never measured")} == {1_000_000}


def test_cells_without_chance_inside_are_taken_at_their_word_within_bounds() -> None:
    found = shrunk({"a": [0.0, 0.0], "b": [1.0, 1.0], "c": [2.0, 2.0]})
    assert [found.cells[name].estimate for name in "abc"] == [0, 1, 2]
    assert [found.worth(name, 1.0) for name in "abc"] == [100_000, 1_000_000, 2_000_000]
    assert [found.worth(name, 4.0) for name in "abc"] == [100_000, 1_000_000, 10_000_000]
    assert {found.worth(name, 0.0) for name in "abc"} == {1_000_000}


def test_a_gap_is_the_mean_over_noises_and_steps_then_over_prompts(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    lines = [
        line(f"p{n}", float(rng.uniform(0.1, 1) * (1 + n % 3)), step, noise=noise, category=("a", "b", None)[n % 3])
        for n in range(30)
        for noise in range(1 + (n % 4 == 0))
        for step in range(4)
    ]
    path = file(tmp_path / "g.parquet", lines)
    wanted = duckdb.sql(
        "SELECT coalesce(category, ''), count(*), avg(gap) FROM (SELECT category, prompt_id, avg(error / scale) AS gap"
        f" FROM '{path}' GROUP BY ALL) GROUP BY ALL"
    ).fetchall()
    found = Gaps([path], 1.0).axes[AXIS].cells
    assert {name: cell.n_measured for name, cell in found.items()} == {f"{c} 06-10": n for c, n, _ in wanted}
    for category, _, gap in wanted:
        assert found[f"{category} 06-10"].gap == pytest.approx(gap)


def test_two_files_are_one_measurement_whatever_their_order(tmp_path: Path) -> None:
    lines = [line(f"p{n}", 0.1 + n / 100, category="ab"[n % 2]) for n in range(20)]
    parts = [file(tmp_path / "1.parquet", lines[::3]), file(tmp_path / "2.parquet", lines[1::3] + lines[2::3])]
    whole = Gaps([file(tmp_path / "w.parquet", lines)], 1.0)
    both = [Gaps(paths, 1.0) for paths in (parts, parts[::-1])]
    assert both[0].axes == both[1].axes == whole.axes
    assert both[0].digest == both[1].digest != whole.digest


# Order


def _recount(cells: list[int], sizes: list[int], worth: list[int]) -> list[int]:
    """Sainte-Lague row by row in fractions: least (rows given + half of its own) / weight."""
    total = Counter({c: sum(s for d, s in zip(cells, sizes, strict=True) if d == c) for c in set(cells)})
    waiting = {c: [n for n, d in enumerate(cells) if d == c] for c in set(cells)}
    given: Counter[int] = Counter()
    order = []
    while any(waiting.values()):
        _, unit = min(
            ((given[c] + Fraction(sizes[units[0]], 2)) / (total[c] * worth[c]), units[0])
            for c, units in waiting.items()
            if units
        )
        waiting[cells[unit]].pop(0)
        given[cells[unit]] += sizes[unit]
        order.append(unit)
    return order


@pytest.mark.parametrize("seed", range(8))
def test_the_order_is_that_of_sainte_lague_in_fractions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_cells = int(rng.integers(1, 7))
    cells = rng.integers(0, n_cells, 120)
    sizes = rng.choice([1, 1, 1, 2, 3], 120)
    worth = rng.integers(100_000, 10_000_000, n_cells)
    order = merged(cells, sizes, worth).tolist()
    assert order == _recount(cells.tolist(), sizes.tolist(), worth.tolist())


def test_a_cell_with_three_times_the_worth_has_three_times_the_rows_until_it_runs_out() -> None:
    cells = np.array([0] * 400 + [1] * 400)
    order = merged(cells, np.ones(800, np.int64), np.array([1_000_000, 3_000_000]))
    taken = np.cumsum(cells[order])
    k = np.arange(1, 801)
    before = taken < 400
    assert np.abs(taken - 0.75 * k)[before].max() <= 1
    assert taken[-1] == 400
    assert cells[order][540:].max() == 0  # 400 are 3/4 of 533


# Refusals


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"axis": "semantics"}, "row 1: axis is 'semantics'; expected one of image_quality, "),
        ({"split": "test"}, "row 1: split is 'test'; expected one of train, test_words"),
        ({"length": "7"}, "row 1: length is '7'; expected one of 01-05, "),
        ({"error": float("nan")}, "row 1: error is nan; expected a number from 0 up"),
        ({"error": float("inf")}, "row 1: error is inf"),
        ({"error": -0.5}, "row 1: error is -0.5; expected a number from 0 up"),
        ({"error": None}, "row 1: error is None"),
        ({"scale": 0.0}, "row 1: scale is 0.0; expected a number above 0"),
        ({"step": None}, "row 1: step is None; expected a step's number"),
        ({"prompt_id": None}, "row 1: prompt_id is None"),
        ({"step": 7}, "prompt p0 is not measured equally often at each of the 2 steps"),
    ],
)
def test_a_bad_row_refuses_the_file_before_any_work(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = file(tmp_path / "bad.parquet", [line("p0", 0.5), line("p1", 0.5) | change])
    prepare(tmp_path / "run", recipe(tmp_path, 10, {"student_gap": path}), "test")
    with pytest.raises(
        SourceFault, match=re.escape(f"bad.parquet{'' if words[0] == 'p' else ' '}") + ".*" + re.escape(words)
    ):
        pipeline.text_shards(tmp_path / "run")
    assert not (tmp_path / "run" / "_commits").exists()


def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    good = pa.Table.from_pylist([line("p", 1)], schema=SCHEMA)
    step = SCHEMA.get_field_index("step")
    for table, words in (
        (good.drop_columns("scale"), "no column 'scale'; expected a student_gap"),
        (good.slice(0, 0), "no rows"),
        (good.set_column(step, "step", pa.array(["x"])), "column 'step' is string; expected a whole number"),
    ):
        pq.write_table(table, tmp_path / "bad.parquet")
        with pytest.raises(SourceFault, match=f"bad.parquet: {words}"):
            _ = Gaps([str(tmp_path / "bad.parquet")], 1.0).axes
    (tmp_path / "bad.parquet").write_text(json.dumps({"a": 1}))
    with pytest.raises(SourceFault, match=r"bad\.parquet: cannot be read as Parquet"):
        _ = Gaps([str(tmp_path / "bad.parquet")], 1.0).axes
    with pytest.raises(SourceFault, match=r"gone\.parquet: no such file.*; check order\.student_gap"):
        _ = Gaps(["gone.parquet"], 1.0).axes


def test_files_that_do_not_compare_are_refused(tmp_path: Path) -> None:
    one = file(tmp_path / "1.parquet", [line("p", 1)])
    copy = tmp_path / "2.parquet"
    copy.write_bytes((tmp_path / "1.parquet").read_bytes())
    with pytest.raises(SourceFault, match="names this content twice"):
        _ = Gaps([one, str(copy)], 1.0).axes
    other = file(tmp_path / "3.parquet", [line("q", 1, step) for step in range(4)])
    with pytest.raises(SourceFault, match=r"3\.parquet: measured at 4 steps \(0, 1, 2, 3\), .*1\.parquet at 1 \(0\)"):
        _ = Gaps([one, other], 1.0).axes


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"gap_power": 2}, "gap_power is 2, but no student_gap is given"),
        ({"student_gap": "g.parquet", "gap_power": -1}, "order.gap_power"),
        ({"student_gap": [""]}, "order.student_gap"),
        ({"student_gaps": "g.parquet"}, r"order.student_gaps: no such field; did you mean 'student_gap'\?"),
    ],
)
def test_wrong_settings_are_refused_with_the_field(tmp_path: Path, table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(validate(recipe(tmp_path, 10, table), "r"), "r")
