"""Labels are facts of a run, and bounds are measured against them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
from scipy.stats import binomtest

from promptforge import catalog
from promptforge.errors import ConfigError
from promptforge.lock import Lock
from promptforge.stages import labels, pipeline
from promptforge.stages.run import open_run, prepare


def say(root: Path, rows: list[dict[str, Any]], rater: str = "page") -> None:
    with Lock(root) as lock:
        labels.save(open_run(root).store, rows, rater)
        pipeline.advance(root, lock.epoch, "publish")


def by_truth(root: Path) -> list[dict[str, Any]]:
    """What a careful person would say of canvas drawings: the recorded mistakes decide."""
    frame = {"blur", "dark", "flat", "black"}
    with catalog.open_run(root) as con:
        asked = labels.to_label(con)
        made = dict(con.sql("SELECT image_id, json_extract_string(truth, '$.mistake') FROM images").fetchall())
    return [
        {"image_id": row["image_id"], "question": row["question"], "label": "no" if bad else "yes"}
        for row in asked
        for bad in [made[row["image_id"]] in frame or (row["question"] != "quality" and bool(made[row["image_id"]]))]
    ]


def test_wilson_is_that_of_scipy() -> None:
    for hits, n in [(0, 3), (3, 3), (7, 12), (59, 63)]:
        wanted = binomtest(hits, n).proportion_ci(method="wilson")
        assert labels.wilson(hits, n) == pytest.approx((wanted.low, wanted.high))


def test_each_picture_gets_the_questions_that_fit_its_axis(finished: Path) -> None:
    with catalog.open_run(finished) as con:
        asked = {(row["axis"], row["question"]) for row in labels.to_label(con)}
    assert asked == {
        ("image_quality", "quality"),
        ("semantic_understanding", "quality"),
        ("semantic_understanding", "matches"),
        ("text_rendering", "quality"),
        ("text_rendering", "text"),
    }


def test_labels_are_rows_of_the_run_and_an_equal_second_save_changes_nothing(copy: Path) -> None:
    rows = by_truth(copy)
    say(copy, rows)
    say(copy, list(reversed(rows)))
    with catalog.open_run(copy) as con:
        assert con.sql("SELECT count(*), count(DISTINCT (image_id, question)) FROM labels").fetchall() == [
            (len(rows), len(rows))
        ]


def test_a_rater_who_changes_a_mind_twice_is_believed_last_and_another_is_left_alone(copy: Path) -> None:
    rows = by_truth(copy)[:3]
    image, question = rows[0]["image_id"], rows[0]["question"]
    say(copy, rows, "other.csv")
    for label in ("yes", "no", "yes"):
        say(copy, [{**rows[0], "label": label}, *rows[1:]])
        with catalog.open_run(copy) as con:
            mine = con.sql("SELECT image_id, question, label FROM labels WHERE rater = 'page'").fetchall()
            assert len(mine) == 3
            assert (image, question, label) in mine
            assert con.sql("SELECT count(*) FROM labels WHERE rater = 'other.csv'").fetchall() == [(3,)]


def test_with_few_labels_nothing_is_validated(copy: Path) -> None:
    say(copy, by_truth(copy)[:4])
    run = open_run(copy)
    with catalog.open_run(copy) as con:
        bounds = labels.measure(con, run, 0.9)
    assert [bound.validated for bound in bounds] == [False, False]
    assert "at least 5 of each are needed" in str(bounds[0].reason)
    assert labels.settings(bounds, run) == []


def measured(values: list[tuple[str, float]], second: tuple[str, ...] = (), **gate: Any) -> labels.Bound:
    """One gate against (label, value) pairs, through the same SQL; `second`: what another rater said."""
    con = duckdb.connect()
    con.execute("CREATE TABLE labels (image_id VARCHAR, question VARCHAR, label VARCHAR, rater VARCHAR)")
    con.execute("CREATE TABLE images (image_id VARCHAR, prompt_id VARCHAR)")
    con.execute("CREATE TABLE kept (prompt_id VARCHAR, axis VARCHAR)")
    con.execute(
        "CREATE TABLE scores_in_force (image_id VARCHAR, scorer VARCHAR, metric VARCHAR, value DOUBLE, detail VARCHAR)"
    )
    for number, (label, value) in enumerate(values):
        con.execute("INSERT INTO labels VALUES (?, 'quality', ?, 'a')", [str(number), label])
        con.execute("INSERT INTO images VALUES (?, ?)", [str(number), str(number)])
        con.execute("INSERT INTO kept VALUES (?, 'image_quality')", [str(number)])
        con.execute("INSERT INTO scores_in_force VALUES (?, 'technical', 'blur', ?, NULL)", [str(number), value])
    for number, label in enumerate(second):
        con.execute("INSERT INTO labels VALUES (?, 'quality', ?, 'b')", [str(number), label])
    # As much of a run as measuring reads: the gates, and which scorer is which module.
    bound = labels.Gate(scorer="technical", metric="blur", **gate)
    part = SimpleNamespace(name="technical", kind="technical")
    recipe = SimpleNamespace(select=SimpleNamespace(gates={"g": bound}))
    run: Any = SimpleNamespace(parts=SimpleNamespace(scorers=(part,)), recipe=recipe)
    (found,) = labels.measure(con, run, 0.8)
    return found


GOOD, BAD = [("yes", float(n)) for n in range(4, 10)], [("no", float(n)) for n in range(6)]  # overlap at 4 and 5


def test_a_bound_that_is_precise_enough_stays() -> None:
    # At 5: passing are 5 to 9 good and 5 bad, 5 of 6 = 0.83.
    bound = measured(GOOD + BAD, min=5)
    assert (bound.value, bound.precision, bound.recall, bound.validated) == (5, 5 / 6, 5 / 6, True)


def test_a_bound_that_is_not_moves_to_the_loosest_that_is() -> None:
    # At 3: 6 good of 9. At 4: 6 of 8 = 0.75. At 5: 5 of 6 = 0.83, the loosest that reaches 0.8.
    bound = measured(GOOD + BAD, min=3)
    assert (bound.value, bound.precision, bound.validated) == (5, 5 / 6, True)


def test_a_bound_that_refuses_most_good_pictures_is_loosened() -> None:
    bound = measured(GOOD + BAD, min=9)  # precise, but 1 of 6 good ones pass
    assert (bound.value, bound.validated) == (5, True)


def test_an_upper_bound_is_measured_from_the_other_side() -> None:
    bound = measured([("no" if label == "yes" else "yes", value) for label, value in GOOD + BAD], max=9)
    assert (bound.value, bound.validated) == (4, True)  # at 4: 5 good of 6; at 5: 6 of 8


def test_labels_that_raters_disagree_on_count_for_nothing() -> None:
    bound = measured(GOOD + BAD, second=("no", "yes", "yes"), min=5)
    assert (bound.n_yes, bound.n_no) == (5, 6)  # the first is in dispute, the other raters agree


def test_questions_that_raters_answer_differently_are_counted_with_their_raters() -> None:
    con = duckdb.connect()
    con.execute("CREATE TABLE labels (image_id VARCHAR, question VARCHAR, label VARCHAR, rater VARCHAR)")
    assert labels.disputed(con) == (0, [])
    said = [("1", "yes", "b"), ("1", "no", "a"), ("2", "yes", "a"), ("2", "yes", "c"), ("3", "no", "c")]
    con.executemany("INSERT INTO labels VALUES (?, 'quality', ?, ?)", said)
    con.execute("INSERT INTO labels VALUES ('1', 'text', 'no', 'c')")  # another question about the same picture
    assert labels.disputed(con) == (1, ["a", "b"])


def test_a_measure_that_tells_nothing_is_not_validated() -> None:
    bound = measured([(label, 1.0) for label, _ in GOOD + BAD], min=1)
    assert bound.validated is False
    assert "no bound reaches a precision of 0.8" in str(bound.reason)


def test_a_bound_measured_on_another_teacher_is_refused_until_it_is_accepted(tiny: Any, tmp_path: Path) -> None:
    raw = tiny()
    raw["select"]["gates"]["not_flat"]["measured_on"] = "f" * 32
    with pytest.raises(ConfigError, match=r"measured on teacher f+, this one is .*select.other_regime=true"):
        prepare(tmp_path / "a", raw, "test")
    raw["select"]["other_regime"] = True
    fingerprint = prepare(tmp_path / "b", raw, "test").teacher_fingerprint
    raw["select"]["gates"]["not_flat"]["measured_on"] = fingerprint
    raw["select"]["other_regime"] = False
    prepare(tmp_path / "c", raw, "test")
