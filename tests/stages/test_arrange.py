"""The stage arrange: which prompts a quota takes, what caps leave over, and that all of it is the same every time."""

from __future__ import annotations

import json
from collections import Counter
from math import ceil
from pathlib import Path
from typing import Any

import pytest

from promptforge import catalog
from promptforge.commands import closing, lookup
from promptforge.errors import ConfigError
from promptforge.lock import Lock
from promptforge.recipe import validate
from promptforge.stages import pipeline
from promptforge.stages.parts import resolve
from promptforge.stages.progress import meter
from promptforge.stages.run import Run, prepare
from promptforge.stages.verify import verify

AXIS = "semantic_understanding"


def _raw(folder: Path, order: dict[str, Any] | None, quota: int | str = "all", **run: Any) -> dict[str, Any]:
    """180 rows of the grammar and 60 of a file without templates, nothing drawn."""
    source = folder / "apples.txt"
    source.write_text("".join(f"{n} green apples on a table\n" for n in range(2, 62)), "utf-8")
    raw: dict[str, Any] = {
        "name": "order",
        "seed": 3,
        "sources": [
            {"kind": "grammar", "axis": AXIS, "n": 180},
            {"kind": "files", "paths": [str(source)], "axis": AXIS, "licence": "CC0-1.0"},
        ],
        "regime": {"teacher": "canvas", "size": 128},
        "render": {"sample": 0.0},
        "select": {"quota": {AXIS: quota}},
        "publish": {"natural_test_share": 0.0},
        "run": {"workers": 1, **run},
    }
    return raw if order is None else raw | {"order": order}


def _text(folder: Path, raw: dict[str, Any]) -> Run:
    """A run as far as the order."""
    run = prepare(folder, raw, "test")
    for shard in range(pipeline.text_shards(folder)):
        pipeline.make_text(folder, shard)
    pipeline.make_dedup(folder)
    pipeline.make_arrange(folder)
    return run


def _made(folder: Path, raw: dict[str, Any]) -> Run:
    """A run as far as the selection, in force."""
    with Lock(folder) as lock:
        run = _text(folder, raw)
        pipeline.make_plan(folder)
        pipeline.make_select(folder)
        pipeline.advance(folder, lock.epoch, "select")
    return run


def _rows(run: Run, sql: str) -> list[tuple[Any, ...]]:
    with catalog.open_run(run.root) as con:
        found: list[tuple[Any, ...]] = con.sql(sql).fetchall()
        return found


def _accepted(run: Run) -> set[str]:
    return {name for (name,) in _rows(run, "SELECT prompt_id FROM accepted")}


ORDERS = ({"block": 50}, {"max_source_share": 0.6, "max_template_share": 0.05, "caps_from": 20})


@pytest.mark.parametrize("order", ORDERS)
def test_a_larger_quota_contains_the_smaller_one(order: dict[str, Any], tmp_path: Path) -> None:
    before: set[str] = set()
    for quota in (1, 60, 90):
        run = _made(tmp_path / "run", _raw(tmp_path, order, quota))
        accepted = _accepted(run)
        assert len(accepted) == quota
        assert before < accepted
        before = accepted
    assert verify(run.root) == []


def test_shards_and_workers_change_no_byte_of_the_order(tmp_path: Path) -> None:
    order = {"block": 100, "max_template_share": 0.1}
    names = []
    for number, run_table in enumerate(({"shard_rows": 50_000}, {"shard_rows": 60, "workers": 3})):
        run = _text(tmp_path / str(number), _raw(tmp_path, order, 50, **run_table))
        names.append([item.name for commit in run.store.commits("arrange") for item in commit.files])
    assert names[0] == names[1]  # a file's name holds its SHA-256


def test_without_order_there_is_no_such_stage_and_the_stream_decides(tmp_path: Path) -> None:
    run = _made(tmp_path / "run", _raw(tmp_path, None, 70))
    assert not list(run.store.commits("arrange"))
    assert _accepted(run) == {
        name for (name,) in _rows(run, "SELECT prompt_id FROM kept ORDER BY stream_order LIMIT 70")
    }


def test_an_earlier_block_comes_first_and_gains_are_of_its_rows_in_order(tmp_path: Path) -> None:
    run = _made(tmp_path / "run", _raw(tmp_path, {"block": 100}))
    rows = _rows(
        run,
        "SELECT place, turn, block, stream_order // 100 FROM arrangement JOIN prompts USING (row_id) ORDER BY place",
    )
    assert [place for place, *_ in rows] == list(range(1, len(rows) + 1))
    assert all(place == turn and block == of for place, turn, block, of in rows)
    assert [block for _, _, block, _ in rows] == sorted(block for _, _, block, _ in rows)


def test_by_stream_keeps_the_stream(tmp_path: Path) -> None:
    run = _made(tmp_path / "run", _raw(tmp_path, {"by": "stream"}, 70))
    assert _rows(run, "SELECT count(*) FROM arrangement WHERE gain IS NOT NULL") == [(0,)]
    assert _accepted(run) == _accepted(_made(tmp_path / "other", _raw(tmp_path, None, 70)))


def test_what_could_only_come_by_breaking_a_cap_is_not_needed_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _made(tmp_path / "run", _raw(tmp_path, {"max_source_share": 0.6, "caps_from": 10}))
    placed = _rows(run, "SELECT source FROM arrangement JOIN prompts USING (row_id) WHERE NOT left_over ORDER BY place")
    counts: Counter[str] = Counter()
    for k, (source,) in enumerate(placed, 1):
        counts[source] += 1
        assert max(counts.values()) <= ceil(0.6 * max(k, 10) - 1e-9)
    n_other = len(_rows(run, "FROM kept WHERE source = 'files'"))
    assert counts["files"] == n_other
    # With 60 of the small source n rows hold n - 60 of the large: at most 0.6 n, rounded up, so n = 152: 92 of 91.2.
    assert (n_other, len(placed)) == (60, 152)
    left = len(_rows(run, "FROM kept")) - 152
    assert _rows(run, "SELECT fate, stage, reason, count(*) FROM fates GROUP BY ALL ORDER BY fate") == [
        ("accepted", "select", None, 152),
        ("not_needed", "select", "source_cap", left),
    ]
    assert _rows(run, "SELECT n_dropped FROM funnel WHERE reason = 'source_cap'") == [(left,)]
    said = f"{AXIS}: {left:,} prompts could only come by breaking order.max_source_share; none of them is taken"
    assert said in meter(run.root).notes
    with catalog.open_run(run.root) as con:
        (figures,) = closing.figures(con)
    assert (figures["kept"], figures["accepted"], figures["not_needed"], figures["left_over"]) == (
        *(152 + left, 152, 0, left),
    )
    ((one,),) = _rows(run, "SELECT row_id FROM rejects WHERE reason = 'source_cap' ORDER BY row_id LIMIT 1")
    lookup.why(run.root, one)
    assert "left over by source_cap" in " ".join(capsys.readouterr().out.split())


def test_a_row_that_a_cap_made_late_is_told_from_one_that_is_late_anyway(tmp_path: Path) -> None:
    run = _made(tmp_path / "run", _raw(tmp_path, {"max_source_share": 0.5, "caps_from": 10}, 40))
    reasons = _rows(
        run,
        "SELECT s.reason, bool_and(a.held IS NOT NULL AND (a.left_over OR a.turn <= 40)), count(*) FROM selection s"
        " JOIN arrangement a USING (row_id) WHERE s.state = 'not_needed' GROUP BY 1 ORDER BY 1",
    )
    assert [(reason, capped) for reason, capped, _ in reasons] == [("quota_full", False), ("source_cap", True)]


def test_members_of_a_minimal_pair_stand_side_by_side(tmp_path: Path) -> None:
    lines = [
        {"prompt": f"a {c} cup beside a lamp and {n} forks", "pair_id": str(n % 7)}
        for n in range(7, 21)
        for c in [("red", "blue")[n // 14]]
    ]
    lines += [{"prompt": f"{n} green pears on a table"} for n in range(2, 30)]
    lines.sort(key=lambda line: line["prompt"][::-1])
    source = tmp_path / "p.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    raw = _raw(tmp_path, {"block": 5, "max_source_share": 1.0})
    raw["sources"] = [{"kind": "files", "paths": [str(source)], "axis": AXIS, "licence": "CC0-1.0"}]
    run = _made(tmp_path / "run", raw)
    pairs = _rows(
        run,
        "SELECT max(place) - min(place), count(*), count(DISTINCT gain), count(DISTINCT block) FROM arrangement"
        " JOIN prompts USING (row_id) WHERE pair_id IS NOT NULL GROUP BY pair_id",
    )
    assert len(pairs) > 3  # the others hold a reserved composition in one member, so they fit no split
    assert set(pairs) == {(1, 2, 1, 1)}
    for quota in range(1, 20):
        accepted = _rows(run, f"SELECT pair_id FROM arrangement JOIN prompts USING (row_id) WHERE place <= {quota}")
        torn = [name for name, n in Counter(name for (name,) in accepted if name).items() if n == 1]
        assert len(torn) <= 1


def test_the_order_is_made_again_only_when_what_it_reads_changes(tmp_path: Path) -> None:
    raw = _raw(tmp_path, {}, 30)
    run = _text(tmp_path / "run", raw)
    assert pipeline.make_arrange(run.root).skipped == 1
    raw["select"]["quota"][AXIS] = 60
    prepare(tmp_path / "run", raw, "test")
    assert pipeline.make_arrange(run.root).skipped == 1
    raw["order"]["block"] = 60
    prepare(tmp_path / "run", raw, "test")
    assert pipeline.make_arrange(run.root).done == 1


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"blok": 5}, "order.blok: no such field; did you mean 'block'?"),
        ({"by": "chance"}, "order.by"),
        ({"max_source_share": 0}, "order.max_source_share"),
        ({"max_template_share": {"semantics": 0.5}}, "order.max_template_share"),
    ],
)
def test_wrong_settings_are_refused_with_the_field(tmp_path: Path, table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        resolve(validate(_raw(tmp_path, table), "r"), "r")


def test_a_cap_may_hold_on_one_axis_alone(tmp_path: Path) -> None:
    run = _made(tmp_path / "run", _raw(tmp_path, {"max_source_share": {"image_quality": 0.1}}))
    assert _rows(run, "SELECT count(*) FROM arrangement WHERE held IS NOT NULL") == [(0,)]
