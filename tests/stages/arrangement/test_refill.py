"""Whole runs in the order that a student_gap of an earlier run's held-out prompts makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from promptforge import catalog
from promptforge.commands import lookup
from promptforge.lock import Lock
from promptforge.stages import pipeline
from promptforge.stages.progress import meter
from promptforge.stages.run import Run, prepare
from promptforge.stages.verify import verify
from tests.stages.arrangement.student_gap import AXIS, file, line
from tests.stages.arrangement.student_gap import raw as recipe


def _made(folder: Path, raw: dict[str, Any]) -> Run:
    """A run as far as the selection, in force."""
    run = prepare(folder, raw, "test")
    with Lock(folder) as lock:
        for shard in range(pipeline.text_shards(folder)):
            pipeline.make_text(folder, shard)
        for make in (pipeline.make_dedup, pipeline.make_arrange, pipeline.make_plan, pipeline.make_select):
            make(folder)
        pipeline.advance(folder, lock.epoch, "select")
    return run


def _rows(root: Path, sql: str) -> list[tuple[Any, ...]]:
    with catalog.open_run(root) as con:
        found: list[tuple[Any, ...]] = con.sql(sql).fetchall()
        return found


_HELD_OUT = (
    "SELECT prompt_id, category, words, split FROM accepted JOIN cells USING (row_id, prompt_id, axis, category)"
    " WHERE split <> 'train' ORDER BY prompt_id"
)


def _evaluated(root: Path, path: Path, gap: Callable[[str, str], float]) -> list[tuple[Any, ...]]:
    """A student_gap of the held-out prompts of a run, as an evaluation would write it."""
    held_out = _rows(root, _HELD_OUT)
    file(
        path,
        (
            line(prompt, gap(category, words) + number % 5 / 1000, step, category=category, length=words, split=split)
            for number, (prompt, category, words, split) in enumerate(held_out)
            for step in range(2)
        ),
    )
    return held_out


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[tuple[Any, ...]]]:
    """A run, the gaps of a student that is bad at spatial and good at color, and what it was measured on."""
    folder = tmp_path_factory.mktemp("gap")
    run = _made(folder / "run", recipe(folder))
    of = {"spatial": 0.4, "color": 0.1}
    held_out = _evaluated(run.root, folder / "student_gap.parquet", lambda category, _: of.get(category, 0.2))
    return run.root, folder / "student_gap.parquet", held_out


First = tuple[Path, Path, list[tuple[Any, ...]]]


def test_every_length_of_the_order_has_the_cells_wanted_shares(tmp_path: Path, first: First) -> None:
    run = _made(tmp_path / "run", recipe(tmp_path, 900, {"student_gap": str(first[1]), "block": 200}))
    shares = {
        (category, words): (share, factor, n)
        for category, words, share, factor, n in _rows(
            run.root, "SELECT category, words, wanted_share, factor, n_candidates FROM gap_cells"
        )
    }
    whole = sum(n * factor for _, factor, n in shares.values())
    for share, factor, n in shares.values():
        assert share == pytest.approx(n * factor / whole)
    of = {cell[0]: [v[1] for c, v in shares.items() if c[0] == cell[0]] for cell in shares}
    assert max(of["spatial"]) > 1.4 > 1.1 > max(of["shape"])
    assert min(of["color"]) < 0.75
    order = _rows(run.root, "SELECT category, words FROM arrangement JOIN cells USING (row_id) ORDER BY place")
    counts: Counter[tuple[str, str]] = Counter()
    for k, cell in enumerate(order, 1):
        counts[cell] += 1
        if any(n == shares[c][2] for c, n in counts.items()):
            break  # the first cell has run out
        for each, (share, _, _) in shares.items():
            assert abs(counts[each] - k * share) <= 2
    assert k > 300
    plain = _made(tmp_path / "plain", recipe(tmp_path, 900, {"block": 200}, 200))
    n_spatial = "SELECT count(*) FILTER (category = 'spatial') / count(*) FROM accepted"
    run = _made(tmp_path / "run", recipe(tmp_path, 900, {"student_gap": str(first[1]), "block": 200}, 200))
    ((more, total),) = _rows(run.root, f"SELECT ({n_spatial}), count(*) FROM accepted")
    ((less,),) = _rows(plain.root, n_spatial)
    assert total == 200
    assert more > 1.3 * less
    got = _rows(run.root, "SELECT sum(n_accepted), max(abs(accepted_share - wanted_share)) FROM gap_refill")
    assert got[0][0] == 200
    assert got[0][1] <= 0.01


def test_inside_a_cell_the_order_is_that_of_coverage(tmp_path: Path, first: First) -> None:
    inside = "SELECT a.prompt_id, a.gain FROM arrangement a JOIN cells USING (row_id) ORDER BY category, words, place"
    runs = [
        _made(tmp_path / name, recipe(tmp_path, 500, {"block": 100} | more))
        for name, more in (("plain", {}), ("gap", {"student_gap": [str(first[1])]}))
    ]
    plain, gap = (_rows(run.root, inside) for run in runs)
    assert plain == gap
    place = "SELECT prompt_id FROM arrangement ORDER BY place"
    assert _rows(runs[0].root, place) != _rows(runs[1].root, place)


def test_caps_still_hold_and_a_larger_quota_contains_the_smaller(tmp_path: Path, first: First) -> None:
    order = {"student_gap": str(first[1]), "max_template_share": 0.02, "caps_from": 50}
    before: set[tuple[Any, ...]] = set()
    for quota in (80, 150):
        run = _made(tmp_path / "run", recipe(tmp_path, 900, order, quota))
        accepted = set(_rows(run.root, "SELECT prompt_id FROM accepted"))
        assert len(accepted) == quota
        assert before < accepted
        before = accepted
    templates: Counter[str] = Counter()
    placed = _rows(
        run.root, "SELECT template FROM arrangement JOIN prompts USING (row_id) WHERE NOT left_over ORDER BY place"
    )
    for k, (template,) in enumerate(placed, 1):
        templates[template] += 1
        assert templates[template] <= -(-2 * max(k, 50) // 100)
    assert _rows(run.root, "SELECT count(*) > 0 FROM arrangement WHERE held = 'template_cap'") == [(True,)]
    assert verify(run.root) == []


def test_members_of_a_minimal_pair_stay_side_by_side(tmp_path: Path, first: First) -> None:
    raw = recipe(tmp_path, 300, {"student_gap": str(first[1])})
    raw["sources"][0]["pairs"] = True
    run = _made(tmp_path / "run", raw)
    pairs = _rows(
        run.root,
        "SELECT max(place) - min(place), count(*) FROM arrangement JOIN prompts USING (row_id)"
        " WHERE pair_id IS NOT NULL GROUP BY noise_group HAVING count(*) > 1",
    )
    assert len(pairs) > 30
    assert set(pairs) == {(1, 2)}


def test_an_axis_that_was_not_measured_keeps_its_order(tmp_path: Path) -> None:
    path = file(tmp_path / "g.parquet", [line(f"p{n}", n, axis="text_rendering") for n in range(1, 9)])
    place = "SELECT prompt_id FROM arrangement ORDER BY place"
    plain = _made(tmp_path / "plain", recipe(tmp_path, 100, {}))
    run = _made(tmp_path / "gap", recipe(tmp_path, 100, {"student_gap": path}))
    assert _rows(run.root, place) == _rows(plain.root, place)
    assert _rows(run.root, "FROM gap_cells") == []


def test_gaps_that_are_chance_are_told_and_leave_the_candidates_shares(tmp_path: Path) -> None:
    lines = [line(f"p{n}", 1 + n % 2, category=("color", "shape")[n // 2 % 2]) for n in range(40)]
    run = _made(tmp_path / "run", recipe(tmp_path, 200, {"student_gap": file(tmp_path / "g.parquet", lines)}))
    said = f"{AXIS}: the student's gaps differ no more between cells than chance makes them; none gets more"
    assert said in meter(run.root).notes
    assert _rows(run.root, "SELECT bool_and(factor = 1 AND candidate_share = wanted_share) FROM gap_cells") == [(True,)]


def test_why_tells_what_the_gap_of_its_cell_is(
    tmp_path: Path, first: First, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _made(tmp_path / "run", recipe(tmp_path, 200, {"student_gap": str(first[1])}))
    ((prompt, words, n, gap, factor),) = _rows(
        run.root,
        "SELECT a.prompt_id, words, n_measured, gap, factor"
        " FROM arrangement a JOIN cells c USING (row_id, prompt_id, axis)"
        " JOIN gap_cells g USING (axis, category, words) WHERE category = 'spatial' AND n_measured > 0 ORDER BY 1"
        " LIMIT 1",
    )
    lookup.why(run.root, prompt)
    said = f"gap cell spatial {words}: gap {gap:.3g} of {n} prompts, so {factor:.3g} times its share of {AXIS}"
    assert said in " ".join(capsys.readouterr().out.split())


def test_what_decides_the_order_is_in_its_digest_and_no_path_is(tmp_path: Path, first: First) -> None:
    order: dict[str, Any] = {"student_gap": str(first[1])}
    run = _made(tmp_path / "run", recipe(tmp_path, 100, order))
    assert run.resolved["order"]["student_gap"] == ["student_gap.parquet"]
    elsewhere = tmp_path / "other.parquet"
    elsewhere.write_bytes(first[1].read_bytes())
    for change, done in (
        ({"student_gap": str(elsewhere)}, 0),
        ({"gap_power": 1.0}, 0),
        ({"gap_power": 0.5}, 1),
        ({"student_gap": file(tmp_path / "new.parquet", [line("p", 1)])}, 1),
    ):
        prepare(run.root, recipe(tmp_path, 100, order | change), "test")
        pipeline.make_dedup(run.root)  # which keeps what was measured in a test out of train
        assert pipeline.make_arrange(run.root).done == done


def test_a_refill_adds_new_prompts_of_the_worst_cells_and_no_evaluated_one(tmp_path: Path, first: First) -> None:
    """A second run, more candidates, what the first accepted ruled out; both published sets taken together."""
    root, path, held_out = first
    raw = recipe(tmp_path, 1600, {"student_gap": str(path)}, 150)
    raw["dedup"] = {"against": [str(root)], "compiled": False}
    refill = _made(tmp_path / "refill", raw)
    old = {name for (name,) in _rows(root, "SELECT prompt_id FROM accepted")}
    new = dict(_rows(refill.root, "SELECT prompt_id, category FROM accepted"))
    assert len(new) == 150
    assert not old & new.keys()
    assert not {prompt for prompt, *_ in held_out} & new.keys()
    raw["order"] = {}
    plain = _made(tmp_path / "plain", raw)
    of = Counter(new.values())
    beside = Counter(category for (category,) in _rows(plain.root, "SELECT category FROM accepted"))
    assert of["spatial"] > 1.3 * beside["spatial"]
    assert of["color"] < beside["color"]
    ((worst,),) = _rows(refill.root, "SELECT category FROM gap_refill LIMIT 1")
    assert worst == "spatial"


def test_evaluated_prompts_stay_in_the_test_splits_of_a_later_run(tmp_path: Path, first: First) -> None:
    """Without `against` they are candidates again, and still held out: their words and combinations are reserved."""
    _, path, held_out = first
    run = _made(tmp_path / "run", recipe(tmp_path, 800, {"student_gap": str(path)}))
    splits = dict(_rows(run.root, "SELECT prompt_id, split FROM accepted"))
    again = [(splits[prompt], split) for prompt, _, _, split in held_out if prompt in splits]
    assert len(again) > 10
    assert all(now == then != "train" for now, then in again)


CAPTIONS = [
    f"a {kind} of {thing} by the river" for kind in ("photo", "drawing") for thing in ("kites", "boats", "pears")
]


def captions(folder: Path, rows: list[str], share: float, order: dict[str, Any] | None = None) -> dict[str, Any]:
    """A recipe of captions in a file, of which a share is held out."""
    raw = recipe(folder, 1, order)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "captions.txt").write_text("\n".join(rows) + "\n", "utf-8")
    raw["sources"] = [{"kind": "files", "paths": [str(folder / "captions.txt")], "name": "captions", "axis": AXIS}]
    raw["publish"]["natural_test_share"] = share
    return raw


def test_what_was_measured_in_a_test_is_kept_out_of_train_though_fewer_are_held_out_now(tmp_path: Path) -> None:
    """Also in another spelling or with words around it that stays in its place; a measured one of train may stay."""
    first = _made(tmp_path / "first", captions(tmp_path / "in", CAPTIONS, 0.5))
    splits = dict(_rows(first.root, "SELECT text, split FROM accepted"))
    tested = sorted(text for text, split in splits.items() if split == "test_natural")
    assert 2 <= len(tested) < len(CAPTIONS)
    ids = dict(_rows(first.root, "SELECT text, prompt_id FROM accepted"))
    gap = file(tmp_path / "gap.parquet", [line(ids[text], 1, split=splits[text]) for text in CAPTIONS])
    spelt = [tested[0].upper(), *CAPTIONS, f"{tested[1]}, highly detailed, 8k"]
    raw = captions(tmp_path / "again", spelt, 0, {"student_gap": gap})
    raw["dedup"] = {"compiled": False}
    raw["sources"].insert(0, raw["sources"][0] | {"paths": [str(tmp_path / "more.txt")], "name": "more"})
    (tmp_path / "more.txt").write_text(f"{tested[1]}, 4k, trending on artstation\n", "utf-8")
    again = _made(tmp_path / "again", raw)
    assert sorted(text for (text,) in _rows(again.root, "SELECT text FROM accepted")) == sorted(splits.keys() - tested)
    lost = _rows(again.root, "SELECT text, detail FROM rejects WHERE reason = 'evaluated_in_test' ORDER BY text")
    assert len(lost) == len(tested)
    said = dict(lost)
    assert said[tested[0].upper()] == f"prompt {ids[tested[0]]} was measured in test_natural"
    assert said[f"{tested[1]}, 4k, trending on artstation"] == f"prompt {ids[tested[1]]} was measured in test_natural"
    assert verify(again.root) == []
    raw["order"] = {}
    plain = _made(tmp_path / "plain", raw)
    assert _rows(plain.root, "SELECT count(*) FROM accepted") == [(len(CAPTIONS),)]
