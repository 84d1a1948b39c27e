"""What is said of a gate: the choice on one half, the report on the other, and when nothing is said."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import numpy as np
import pytest

from promptforge import catalog
from promptforge import recipe as recipes
from promptforge.lock import Lock
from promptforge.policy import Gate
from promptforge.stages import labels
from promptforge.stages.calibration import measure
from promptforge.stages.calibration.draw import Request, commit_sample
from promptforge.stages.calibration.estimates import Sample
from promptforge.stages.calibration.frame import Frame, frame_of
from promptforge.stages.calibration.raters import agreements
from promptforge.stages.run import open_run

ONE, TWO = np.arange(1.0, 21.0) > 5, np.arange(1.0, 21.0) > 6  # of scores 1 to 20: bad up to 5, and up to 6


def frame(values: np.ndarray, **bound: Any) -> Frame:
    gate = Gate(scorer="technical", metric="sharpness", **bound)
    sign = 1.0 if gate.min is not None else -1.0
    limit = gate.min if gate.min is not None else gate.max
    key = sign * values
    none = [None] * len(values)
    chosen = np.ones(len(values), bool)
    passes = key >= sign * limit
    return Frame("g", gate, none, chosen, passes, np.abs(values - limit), none, key, sign * limit, None)


def halves(made: Frame, times: int = 1, **good: np.ndarray) -> measure.Parts:
    """Each half has scores 1 to 20, `times` over."""
    key = np.tile(np.tile(np.arange(1.0, 21.0), 2) * made.sign, times)
    said = np.tile(np.concatenate([good["choosing"], good["reporting"]]), times)
    half = np.tile(np.repeat([True, False], 20), times)
    sample = Sample(key, said, np.zeros(len(key), np.int64))
    return sample.part(np.ones(len(key), bool)), sample.part(half), sample.part(~half)


SCORES = np.tile(np.arange(1.0, 21.0), 2)


def test_the_loosest_threshold_of_one_half_is_reported_on_the_other() -> None:
    # Choosing: at 2 there are 15 good of 19 = 0.789, at 3 15 of 18 = 0.833, the loosest that reaches 0.8.
    # Reporting: at 3 14 good of 18, and all 14 good ones pass.
    made = frame(SCORES, min=10.0)
    found = measure.calibrate(made, "quality", halves(made, choosing=ONE, reporting=TWO), 0.8)
    assert found.threshold == 3
    assert found.reported is not None
    assert found.reported.precision.value == pytest.approx(14 / 18)
    assert found.reported.recall.value == 1
    assert (found.n_yes, found.n_no) == (29, 11)
    assert not found.supported
    assert "too few labels" in str(found.reason)
    assert found.n_more is not None
    assert 20 < found.n_more < 400


def test_enough_labels_that_do_not_refute_it_support_it() -> None:
    # 14 of 18 = 0.778 on 360 labels that pass: Wilson 0.73 to 0.82 reaches 0.8 and ends above 0.7.
    made = frame(SCORES, min=10.0)
    found = measure.calibrate(made, "quality", halves(made, 20, choosing=ONE, reporting=TWO), 0.8)
    assert found.supported
    assert found.crossing is not None
    assert found.crossing[0] < 3 <= found.crossing[1]  # at 2 29 of 38 are good, at 3 29 of 36
    far = np.arange(1.0, 21.0) > 12  # on the reporting half 8 of 18: the choice was luck
    found = measure.calibrate(made, "quality", halves(made, 20, choosing=ONE, reporting=far), 0.8)
    assert "its precision is 0.44" in str(found.reason)
    assert found.n_more is None


def test_a_stratum_that_nobody_could_answer_refuses_the_whole() -> None:
    """300 labels of one stratum, and every picture of another that holds three in four was left out as unsure."""
    made = frame(SCORES, min=10.0)
    key = np.tile(np.arange(1.0, 21.0), 15)
    sample = Sample(key, key > 5, np.zeros(300, np.int64), np.array([500.0, 1500.0]))
    half = np.arange(300) % 2 == 0
    every = np.ones(300, bool)
    found = measure.calibrate(made, "quality", (sample.part(every), sample.part(half), sample.part(~half)), 0.8)
    assert not found.supported
    assert "75% of the pictures" in str(found.reason)
    assert found.threshold is None


def test_an_upper_bound_is_measured_from_the_other_side() -> None:
    made = frame(SCORES, max=10.0)
    found = measure.calibrate(made, "quality", halves(made, 20, choosing=ONE[::-1], reporting=TWO[::-1]), 0.8)
    assert found.threshold == 18  # 3 from the top
    assert found.side == "max"
    thresholds = [line.threshold for line in found.lines]
    assert thresholds == sorted(thresholds, reverse=True)  # loosest first
    assert [line.mark for line in found.lines if line.threshold in (10, 18)] == ["chosen", "in force"]


def test_yield_is_of_the_pictures_and_cost_of_both() -> None:
    # 11 of 20 scores are 10 or more, all good there; so 20 / 11 renders for each good one that passes.
    made = frame(SCORES, min=10.0)
    found = measure.calibrate(made, "quality", halves(made, choosing=ONE, reporting=TWO), 0.8)
    line = next(line for line in found.lines if line.threshold == 10)
    assert line.yields.value == pytest.approx(11 / 20)
    assert line.precision.value == 1
    assert line.cost.value == pytest.approx(20 / 11)
    assert line.cost.low < line.cost.value < line.cost.high
    assert line.recall.value == pytest.approx(22 / 29)


def test_a_half_without_five_of_each_is_too_few() -> None:
    made = frame(SCORES, min=10.0)
    mostly = np.arange(1.0, 21.0) > 4
    found = measure.calibrate(made, "quality", halves(made, choosing=ONE, reporting=mostly), 0.8)
    assert "15 yes and 5 no; 16 yes and 4 no in the halves" in str(found.reason)
    assert found.n_more == 10  # 40 labels have 4; 50 would have 5
    assert found.threshold is None


# -- on a run -------------------------------------------------------------------------------------------------------


def test_the_halves_part_no_prompt_and_no_pair(finished: Path) -> None:
    run = open_run(finished)
    with catalog.open_run(finished) as con:
        made = frame_of(con, run, "not_flat")
        groups = dict(con.sql("SELECT image_id, split_group FROM images JOIN kept USING (prompt_id)").fetchall())
        recount = con.sql(
            "SELECT image_id, value <= 0 FROM scores_in_force JOIN images i USING (image_id)"
            " WHERE scorer = 'technical' AND metric = 'flat' AND i.error IS NULL ORDER BY image_id"
        ).fetchall()
    assert list(zip(made.images, made.passes.tolist(), strict=True)) == recount
    found: dict[str, set[bool]] = {}
    for image, half in zip(made.images, made.chosen.tolist(), strict=True):
        found.setdefault(groups[image], set()).add(half)
    assert {len(each) for each in found.values()} == {1}
    assert len({half for each in found.values() for half in each}) == 2


def test_truth_is_what_the_teacher_did_and_a_run_without_it_has_none(finished: Path) -> None:
    run = open_run(finished)
    with catalog.open_run(finished) as con:
        made = frame_of(con, run, "not_flat")
        told = {image: json.loads(said) for image, said in con.sql("SELECT image_id, truth FROM images").fetchall()}
    parts = measure.by_truth(made, "text")
    assert parts is not None
    assert made.good is not None
    mistakes = [told[image]["mistake"] for image in made.images]
    assert made.good["text"].tolist() == [mistake is None for mistake in mistakes]
    frames = {"blur", "dark", "flat", "black"}
    assert made.good["quality"].tolist() == [mistake not in frames for mistake in mistakes]
    n_good = Counter(mistake is None for mistake in mistakes)
    assert parts[0].counts() == (n_good[True], n_good[False])


def test_answers_to_the_sample_are_weighted_by_it_and_others_are_left_out(copy: Path) -> None:
    run = open_run(copy)
    with catalog.open_run(copy) as con:
        made = frame_of(con, run, "not_flat")
        request = Request(made, "quality", 12, 0)
    with Lock(copy) as lock:
        first = commit_sample(run.store, request)
        assert commit_sample(run.store, request) == first
        item = first.file("label_sample")
        assert item is not None
        rows = run.store.read(item).to_pylist()
        others = sorted(set(made.images) - {row["image_id"] for row in rows})
        asked = [row["image_id"] for row in rows[:-1]] + others[:1]  # one unanswered, one beside the sample
        labels.save(run.store, [{"image_id": name, "question": "quality", "label": "yes"} for name in asked], "page")
        labels.put_in_force(run.store, lock.epoch)
    with catalog.open_run(copy) as con:
        found = measure.labelled(con, made)
    assert found is not None
    question, (every, choosing, reporting) = found
    assert question == "quality"
    assert every.counts() == (11, 0)
    assert choosing.counts()[0] + reporting.counts()[0] == 11
    sizes = Counter(row["stratum"] for row in rows)
    assert every.sample.sizes is not None
    assert sorted(every.sample.sizes) == sorted({row["stratum"]: row["n_stratum"] for row in rows}.values())
    assert len(sizes) == every.sample.n_strata


def test_lines_for_a_run_are_of_supported_gates_alone() -> None:
    made = frame(SCORES, min=10.0)
    good = measure.calibrate(made, "quality", halves(made, 20, choosing=ONE, reporting=TWO), 0.8)
    bad = measure.calibrate(made, "quality", halves(made, choosing=ONE, reporting=TWO), 0.8)
    run: Any = SimpleNamespace(teacher_fingerprint="f" * 32)
    assert measure.settings([bad], run) == []
    lines = measure.settings([good, bad], run)
    raw = recipes.override({}, [line for line in lines if not line.startswith("#")])
    assert raw["select"]["gates"]["g"] == {"min": 3.0, "validated": True, "measured_on": "f" * 32}


def test_raters_are_held_against_each_other_where_both_answered() -> None:
    con = duckdb.connect()
    con.execute("CREATE TABLE labels (image_id VARCHAR, question VARCHAR, label VARCHAR, rater VARCHAR)")
    assert agreements(con) == []
    said = [("1", "yes", "yes"), ("2", "no", "no"), ("3", "yes", "no"), ("4", "no", "no")]
    for image, one, other in said:
        con.execute("INSERT INTO labels VALUES (?, 'text', ?, 'a'), (?, 'text', ?, 'b')", [image, one, image, other])
    con.execute("INSERT INTO labels VALUES ('5', 'text', 'no', 'b'), ('1', 'quality', 'no', 'a')")
    (found,) = agreements(con)
    # Agreed 3 of 4; by chance 1/2 * 1/4 + 1/2 * 3/4 = 1/2: (0.75 - 0.5) / 0.5.
    assert (found.first, found.second, found.n, found.n_differ, found.kappa) == ("a", "b", 4, 1, pytest.approx(0.5))
