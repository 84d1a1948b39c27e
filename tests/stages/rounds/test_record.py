"""The record of rounds in a run folder: what verify holds it against, and takes that stop beside those that do not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from promptforge import catalog
from promptforge.errors import ConfigError
from promptforge.records import AXES
from promptforge.stages.progress import meter
from promptforge.stages.run import Tally
from promptforge.stages.verify import verify
from promptforge.store import Commit, Store

Drive = Callable[..., dict[str, Tally]]


def raw_of() -> dict[str, Any]:
    """Two axes, six wanted of each; takes stop at the first pass but for the fixed prompts."""
    gates = {
        name: {"scorer": "technical", "metric": name, "max": 0, "decision": "keep_prompt"} for name in ("black", "flat")
    }
    return {
        "name": "record",
        "seed": 11,
        "sources": [{"kind": "grammar", "axis": axis, "n": 40} for axis in AXES[:2]],
        "filters": {"characters": {}},
        "regime": {"teacher": "canvas", "size": 128, "mistake_rate": 0.5, "weights": {"black": 1.0, "flat": 1.0}},
        "scorers": {"technical": {}},
        "render": {"takes": 3, "until_pass": True, "fixed_share": 0.4},
        "rounds": {"max_renders": 60},
        "select": {"policy": "images", "gates": gates, "quota": {**dict.fromkeys(AXES[:2], 6), AXES[2]: 0}},
        "run": {"workers": 1},
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, drive: Drive) -> Path:
    root = tmp_path_factory.mktemp("whole") / "run"
    drive(root, raw_of())
    return root


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def test_fixed_prompts_have_every_take_the_others_stop_and_the_fixed_alone_are_measured(whole: Path) -> None:
    with catalog.open_run(whole) as con:
        rows = con.sql(
            'SELECT p.prompt_id, any_value(p.fixed), count(*), list(i.truth LIKE \'%"mistake":"%\' ORDER BY p.take)'
            " FROM render_plan p JOIN images i USING (image_id) GROUP BY ALL"
        ).fetchall()
        measured = dict(con.sql("SELECT prompt_id, n_passed FROM teachability").fetchall())
    assert {fixed for _, fixed, *_ in rows} == {True, False}
    for _, fixed, n, wrong in rows:
        assert n == 3 if fixed else not any(not each for each in wrong[:-1])
    assert measured == {prompt: wrong.count(False) for prompt, fixed, _, wrong in rows if fixed}
    assert verify(whole) == []


def plan_of(root: Path, number: int) -> Commit:
    """The record of a round's plan; -1: the last."""
    return sorted(Store(root).commits("plan"), key=lambda commit: commit.counts["round"])[number]


def raised(table: pa.Table, column: str) -> pa.Table:
    """The table with 1 added to one value of the first row."""
    values = table[column].to_pylist()
    values[0] += 1
    return table.set_column(table.column_names.index(column), table.schema.field(column), pa.array(values, pa.int64()))


@pytest.mark.parametrize(
    ("number", "table", "change", "said"),
    [
        (0, "rounds", lambda rows: raised(rows, "n_renders"), "pictures, its plan has"),
        (0, "render_plan", lambda rows: rows.slice(1), "pictures, its plan has"),
        (1, "rounds", lambda rows: raised(rows, "n_spent"), "pictures, the rounds before it say"),
        (-1, "rounds", lambda rows: raised(rows, "n_accepted"), "accepted of"),
        (
            1,
            "rounds",
            lambda rows: rows.set_column(0, "round", pc.multiply(rows["round"], pa.scalar(0, pa.int32()))),
            "is there 2 times",
        ),
    ],
)
def test_verify_tells_of_a_record_of_rounds_that_cannot_be(
    copied: Path, number: int, table: str, change: Callable[[pa.Table], pa.Table], said: str
) -> None:
    store, commit = Store(copied), plan_of(copied, number)
    tables = {item.table: store.read(item) for item in commit.files}
    if table == "rounds" and number == -1:  # of a goal that wants more than it has, else one more changes no row
        tables["rounds"] = tables["rounds"].set_column(
            tables["rounds"].column_names.index("wanted"), "wanted", pa.array([99] * tables["rounds"].num_rows)
        )
    new = store.rewrite(commit, tables | {table: change(tables[table])})
    text = (copied / "tables.sql").read_text("utf-8")
    for old, made in zip(commit.files, new.files, strict=True):
        text = text.replace(old.name, made.name)
    (copied / "tables.sql").write_text(text)
    assert any(said in fault.fault for fault in verify(copied))


def quantile_gate(raw: dict[str, Any], reference: int) -> dict[str, Any]:
    raw["select"]["gates"]["sharp"] = {
        **{"scorer": "technical", "metric": "sharpness", "quantile": 0.1, "reference": reference, "least": 2},
        "decision": "keep_prompt",
    }
    return raw


def test_a_budget_below_what_gates_are_fitted_to_is_refused_before_anything_is_drawn(
    tmp_path: Path, drive: Drive
) -> None:
    """30 first prompts of two axes, 3 takes of the fixed and 1 of the others: 60 at least and over 60."""
    with pytest.raises(ConfigError, match=r"rounds\.max_renders is 60, but the first round needs \d+ .*sharp"):
        drive(tmp_path, quantile_gate(raw_of(), 30))
    assert Store(tmp_path).commits("render") == []


def test_what_gates_are_fitted_to_comes_in_the_first_round_whatever_a_picture_may_cost(
    tmp_path: Path, drive: Drive
) -> None:
    """A millisecond's worth of money; 64 pictures are drawn to learn the cost, and these need more."""
    raw = quantile_gate(raw_of(), 35)
    raw["rounds"] = {"max_money": 0.001 / 3600, "price_per_gpu_hour": 1.0}
    drive(tmp_path, raw)
    with catalog.open_run(tmp_path) as con:
        first = con.sql("SELECT count(DISTINCT prompt_id), count(*) FROM render_plan WHERE round = 0").fetchall()[0]
        assert con.sql("SELECT n_reference FROM policy WHERE gate = 'sharp' ORDER BY axis").fetchall() == [(35,), (35,)]
    assert first[0] == 70
    assert first[1] > 70


def test_rounds_without_a_gate_that_decides_about_prompts_say_so(tmp_path: Path, drive: Drive, whole: Path) -> None:
    raw = raw_of()
    raw["select"]["gates"] = {}
    raw["select"]["quota"] = {**dict.fromkeys(AXES, 0), AXES[0]: 2}
    drive(tmp_path, raw)
    said = "no gate has decision 'keep_prompt'"
    assert sum(said in note for note in meter(tmp_path).notes) == 1
    assert not any(said in note for note in meter(whole).notes)
