"""Which prompts are measured and what they are drawn to, by hand; what each take brought, against a plain recount."""

from __future__ import annotations

import random
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import beta, betabinom

from promptforge import schema
from promptforge.stages.teachability import measure

AXES = ("image_quality", "semantic_understanding", "text_rendering")
Prompt = tuple[str, str | None, bool, str]  # axis, category, fixed, takes: P passes, f fails, e has no picture


def database(prompts: list[Prompt]) -> duckdb.DuckDBPyConnection:
    """Kept prompts, their plan, and what `judge` makes of them; the n-th has number n as its prompt_id."""
    con = duckdb.connect()
    rows = [
        (f"{n:032x}", axis, category, take, fixed, sign)
        for n, (axis, category, fixed, takes) in enumerate(prompts)
        for take, sign in enumerate(takes)
    ]
    con.execute("CREATE TABLE kept (prompt_id VARCHAR, axis VARCHAR, category VARCHAR)")
    con.execute("CREATE TABLE render_plan (prompt_id VARCHAR, fixed BOOLEAN)")
    con.execute(
        "CREATE TABLE takes (image_id VARCHAR, prompt_id VARCHAR, take INTEGER, error VARCHAR, n_failed BIGINT)"
    )
    made = pa.table(
        dict(zip(("id", "axis", "category", "take", "fixed", "sign"), zip(*rows, strict=True), strict=True))
    )
    con.register("made", made)
    con.execute("INSERT INTO kept SELECT DISTINCT id, axis, category FROM made")
    con.execute("INSERT INTO render_plan SELECT id, fixed FROM made")
    con.execute(
        "INSERT INTO takes SELECT id || '-' || take, id, take, CASE WHEN sign = 'e' THEN 'out of paint' END,"
        " CASE WHEN sign = 'f' THEN 2 ELSE 0 END FROM made"
    )
    return con


def measured(prompts: list[Prompt]) -> dict[int, dict[str, Any]]:
    con = database(prompts)
    found = measure.teachability(con, schema.conform("take_outcomes", measure.outcomes(con)))
    return {int(row["prompt_id"], 16): row for row in schema.conform("teachability", found).to_pylist()}


def test_only_fixed_prompts_with_two_pictures_are_measured_and_a_failed_render_is_no_take() -> None:
    found = measured(
        [
            (AXES[0], None, True, "PfP"),
            (AXES[0], None, False, "ffP"),  # stopped at its first pass
            (AXES[0], None, True, "Pef"),
            (AXES[0], None, True, "eeP"),  # one picture
            (AXES[0], None, True, "P"),
            (AXES[0], None, True, "eee"),
        ]
    )
    assert {n: (row["n_passed"], row["n_takes"], row["share"]) for n, row in found.items()} == {
        0: (2, 3, 2 / 3),
        2: (1, 2, 0.5),
    }


def test_a_few_prompts_have_jeffreys_prior() -> None:
    row = measured([(AXES[0], None, True, "PPff")])[0]
    assert (row["prior"], row["prior_a"], row["prior_b"]) == ("jeffreys", 0.5, 0.5)
    # beta(2.5, 2.5) is symmetric: half, and ends that add up to 1.
    assert row["estimate"] == 0.5
    assert row["low"] + row["high"] == pytest.approx(1)
    assert row["low"] == pytest.approx(beta(2.5, 2.5).ppf(0.025))


def takes_of(a: float, b: float, n: int, seed: int, n_takes: int = 4) -> list[str]:
    counts = betabinom(n_takes, a, b).rvs(n, random_state=np.random.default_rng(seed))
    return ["P" * k + "f" * (n_takes - k) for k in counts]


def test_a_cell_has_its_own_prior_and_a_small_or_uniform_one_that_of_its_axis() -> None:
    axis, other = AXES[1], AXES[2]
    prompts: list[Prompt] = [
        *((axis, "color", True, takes) for takes in takes_of(4, 1, 200, 1)),
        *((axis, "shape", True, takes) for takes in takes_of(1, 3, 200, 2)),
        *((axis, "texture", True, "PPPP") for _ in range(60)),  # no difference at all
        *((axis, None, True, takes) for takes in takes_of(1, 1, 49, 3)),  # one too few
        *((other, "color", True, "PPff") for _ in range(60)),  # of another axis, which has nothing to fit either
    ]
    found = measured(prompts)
    priors = {(row["axis"], row["category"]): (row["prior"], row["prior_a"], row["prior_b"]) for row in found.values()}
    assert {key: prior[0] for key, prior in priors.items()} == {
        (axis, "color"): "cell",
        (axis, "shape"): "cell",
        (axis, "texture"): "axis",
        (axis, None): "axis",
        (other, "color"): "jeffreys",
    }
    assert priors[axis, "texture"] == priors[axis, None]
    _, a, b = priors[axis, "color"]
    assert a / (a + b) == pytest.approx(0.8, abs=0.05)
    _, a, b = priors[axis, "shape"]
    assert a / (a + b) == pytest.approx(0.25, abs=0.05)
    _, a, b = priors[axis, None]
    passed = sum(takes.count("P") for name, _, _, takes in prompts if name == axis)
    assert a / (a + b) == pytest.approx(passed / (509 * 4), abs=0.05)
    for row in found.values():
        law = beta(row["prior_a"] + row["n_passed"], row["prior_b"] + row["n_takes"] - row["n_passed"])
        assert row["estimate"] == pytest.approx(law.mean())
        assert [row["low"], row["high"]] == pytest.approx([law.ppf(0.025), law.ppf(0.975)])


def test_a_prompt_of_a_bad_cell_is_drawn_down_and_the_order_of_the_rows_changes_nothing() -> None:
    prompts: list[Prompt] = [(AXES[0], "a", True, takes) for takes in takes_of(1, 9, 300, 4)]
    prompts.append((AXES[0], "a", True, "PPPP"))
    found = measured(prompts)
    assert found[300]["share"] == 1
    assert 0.2 < found[300]["estimate"] < 0.6
    assert sorted(row["estimate"] for row in measured(prompts[::-1]).values()) == sorted(
        row["estimate"] for row in found.values()
    )


def test_without_pictures_there_are_no_rows() -> None:
    con = database([(AXES[0], None, True, "P")])
    con.execute("DELETE FROM takes")
    empty = measure.outcomes(con)
    assert schema.conform("take_outcomes", empty).num_rows == 0
    assert schema.conform("teachability", measure.teachability(con, empty)).num_rows == 0


# -- what each take brought -------------------------------------------------------------------------------------


def yields(outcomes: pa.Table, cost: list[tuple[int, str, int, float]]) -> list[dict[str, Any]]:
    con = duckdb.connect()
    for text in schema.ddl().values():
        con.execute(text)
    con.register("incoming", schema.conform("take_outcomes", outcomes))
    con.execute("INSERT INTO take_outcomes FROM incoming")
    if cost:
        con.executemany("INSERT INTO cost VALUES (?, ?, ?, ?)", cost)
    con.execute(schema.views_sql())
    rows: list[dict[str, Any]] = con.sql("FROM take_yield").to_arrow_table().to_pylist()
    return rows


def test_what_each_take_brought_is_what_a_recount_says() -> None:
    rng = random.Random(11)
    prompts: list[Prompt] = []
    for _ in range(300):
        takes = "".join(rng.choice("PPffffe") for _ in range(4))
        fixed = rng.random() < 0.5
        if not fixed and "P" in takes:
            takes = takes[: takes.index("P") + 1]
        prompts.append((rng.choice(AXES), None, fixed, takes))
    # 10 pictures in 20 s and 10 in 40 s: 3 s each; what scoring takes is another matter.
    rows = yields(
        measure.outcomes(database(prompts)), [(1, "render", 10, 20.0), (2, "render", 10, 40.0), (2, "score", 20, 9.0)]
    )
    found = {(row["axis"], row["fixed"], row["take"]): row for row in rows}
    assert len(found) == len(rows) == 4 * 2 * 4
    for (axis, fixed, take), row in found.items():
        mine = [p[3] for p in prompts if p[2] == fixed and axis in (p[0], "all")]
        tried = [takes for takes in mine if len(takes) > take and "P" not in takes[:take]]
        new = [takes for takes in tried if takes[take] == "P"]
        passed = [takes for takes in mine if "P" in takes[: take + 1]]
        assert (row["n_prompts"], row["n_tried"], row["n_new"]) == (len(mine), len(tried), len(new))
        assert row["new_share"] == pytest.approx(len(new) / len(tried))
        assert row["passed_share"] == pytest.approx(len(passed) / len(mine))
        assert row["renders_each"] == pytest.approx(len(tried) / len(new))
        assert row["seconds_each"] == pytest.approx(3 * len(tried) / len(new))


def test_a_take_that_brought_nothing_and_unknown_costs_are_null() -> None:
    rows = yields(measure.outcomes(database([(AXES[0], None, True, "Pf"), (AXES[0], None, True, "ff")])), [])
    assert [(row["axis"], row["take"], row["n_tried"], row["n_new"], row["renders_each"]) for row in rows] == [
        ("all", 0, 2, 1, 2.0),
        ("all", 1, 1, 0, None),
        ("image_quality", 0, 2, 1, 2.0),
        ("image_quality", 1, 1, 0, None),
    ]
    assert {row["seconds_each"] for row in rows} == {None}
