"""From numbers by prompt to what is said, recounted by hand; no model is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from promptforge.distill.evaluation.held_out import Case
from promptforge.distill.evaluation.scoring import is_for, picture_of, score_rows
from promptforge.distill.evaluation.settings import Evaluation
from promptforge.distill.evaluation.summary import Findings, summarise
from promptforge.distill.evaluation.table import grids, markdown
from promptforge.protocols import Picture, Score
from promptforge.records import Scene, SceneObject
from promptforge.schema import arrow_schema

SETTINGS = Evaluation(resamples=100)


def _case(name: str, axis: str, split: str, category: str | None = None) -> Case:
    return Case(name * 32, f"prompt {name}", axis, split, category)


CASES = (
    _case("a", "text_rendering", "test_words"),
    _case("b", "text_rendering", "test_words"),
    _case("c", "text_rendering", "test_natural"),
    _case("d", "semantic_understanding", "test_composition", "color"),
    _case("e", "semantic_understanding", "test_composition", "numeracy"),
    _case("f", "image_quality", "test_natural"),
)
IDS = {case.prompt_id[0]: case.prompt_id for case in CASES}


def _gap(rows: list[tuple[str, int, int, float, float]]) -> pa.Table:
    """Rows of (prompt, noise, step, error, scale); blank is twice the scale."""
    of = {case.prompt_id: case for case in CASES}
    found = [
        {"prompt_id": IDS[name], "axis": of[IDS[name]].axis, "category": None, "split": of[IDS[name]].split}
        | {"length": "01-05", "n_words": 2, "noise": noise, "step": step, "timestep": 1000.0 - 500 * step}
        | {"error": error, "scale": scale, "blank": 2.0 * scale}
        for name, noise, step, error, scale in rows
    ]
    return pa.Table.from_pylist(found, schema=arrow_schema("student_gap"))


GAP = _gap(
    [("a", 0, 0, 1, 4), ("a", 0, 1, 2, 4), ("a", 1, 0, 3, 4), ("a", 1, 1, 4, 4), ("f", 0, 0, 1, 2), ("f", 0, 1, 0, 2)]
)


def _values(**given: float | None) -> dict[str, float | None]:
    return {IDS[name]: value for name, value in given.items()}


def _findings(**more: Any) -> Findings:
    found = Findings(CASES, GAP, CASES, {"text": "text", "agreement": "agreement"})
    found.scores = {
        ("text", "cer"): {"teacher": _values(a=0.0, b=0.4, c=1.0), "student": _values(a=0.5, b=1.5, c=0.0)},
        ("text", "exact"): {"teacher": _values(a=1.0, b=0.0, c=0.0), "student": _values(a=0.0, b=0.0, c=1.0)},
        ("agreement", "colour_agreement"): {"teacher": _values(d=1.0, e=None), "student": _values(d=0.5, e=None)},
        ("agreement", "count_agreement"): {"teacher": _values(d=0.0, e=1.0), "student": _values(d=0.5, e=0.25)},
    }
    for name, value in more.items():
        setattr(found, name, value)
    return found


def test_velocity_shares_are_means_over_steps_and_noises_then_over_prompts() -> None:
    told = summarise(_findings(), SETTINGS)["velocity"]
    # a: (1/4 + 2/4 + 3/4 + 4/4) / 4 = 0.625; f: (1/2 + 0) / 2 = 0.25. Of a blank prompt's error, half of that.
    assert told["of_blank"]["all"]["mean"] == pytest.approx((0.625 + 0.25) / 4)
    assert told["all"]["mean"] == pytest.approx((0.625 + 0.25) / 2)
    assert told["axis"]["text_rendering"] == {"mean": 0.625, "low": None, "high": None, "n": 1}
    assert told["split"]["test_natural"]["mean"] == 0.25
    assert [(step["timestep"], step["all"]["mean"]) for step in told["steps"]] == [
        (1000.0, pytest.approx((0.5 + 0.5) / 2)),
        (500.0, pytest.approx((0.75 + 0.0) / 2)),
    ]


def test_text_counts_on_words_that_were_held_out_and_edits_beyond_the_wanted_length_are_no_worse_than_none() -> None:
    (told,) = summarise(_findings(), SETTINGS)["text"]
    assert told["splits"] == ["test_words"]
    assert told["characters"]["teacher"]["mean"] == pytest.approx((1.0 + 0.6) / 2)
    assert told["characters"]["student"]["mean"] == pytest.approx((0.5 + 0.0) / 2)  # 1 - 1.5 counts as 0
    assert told["characters"]["difference"]["mean"] == pytest.approx(-0.55)
    assert told["exact"]["teacher"]["mean"] == 0.5
    assert told["claimed"]


def test_nothing_is_claimed_of_text_where_the_teacher_itself_cannot_write() -> None:
    summary = summarise(_findings(), Evaluation(resamples=100, text_floor=0.9))
    assert not summary["text"][0]["claimed"]
    page = markdown(summary)
    assert "text: not claimed: the teacher itself reaches 0.80 (character accuracy, floor 0.90)." in page
    assert [row[2] for row in grids(summary)[0].rows].count("not claimed") == 2
    nothing = {"teacher": _values(a=None), "student": _values(a=0.0)}
    silent = summarise(_findings(scores={("text", "cer"): nothing}), SETTINGS)
    assert "text: not claimed: the teacher has no reading" in markdown(silent)


def test_semantics_are_the_mean_of_what_was_answered_by_category() -> None:
    (told,) = summarise(_findings(), SETTINGS)["semantic"]
    # d: (1 + 0) / 2 against (0.5 + 0.5) / 2; e has a count alone: 1 against 0.25.
    assert told["teacher"]["mean"] == pytest.approx(0.75)
    assert told["student"]["mean"] == pytest.approx(0.375)
    assert {name: told["category"]["student"][name]["mean"] for name in ("color", "numeracy")} == {
        "color": 0.5,
        "numeracy": 0.25,
    }
    assert ("numeracy", "1", "100.0", "25.0", "-75.0 ") in grids(summarise(_findings(), SETTINGS))[2].rows


def test_differences_are_paired_and_prompts_without_both_are_left_out() -> None:
    scores = {("clip", "clip_score"): {"teacher": _values(a=20, b=40, f=30), "student": _values(a=21, b=41, f=None)}}
    summary = summarise(_findings(scores=scores, kinds={"clip": "alignment"}), SETTINGS)
    told = summary["scores"]["clip"]["clip_score"]
    assert told["difference"]["all"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "n": 2}  # pairs differ by 1, always
    assert told["teacher"]["all"]["mean"] == 30.0
    assert told["n_left_out"] == 1
    assert ("clip, CLIP score (n=2)", "30.00", "31.00", "+1.00 [1.00, 1.00]") in grids(summary)[0].rows


def test_embeddings_that_are_not_finite_and_other_axes_are_no_part_of_cmmd() -> None:
    quality = tuple(_case(name, "image_quality", "test_natural") for name in "ghij")
    vectors = {case.prompt_id: np.eye(4)[n] for n, case in enumerate(quality)}
    moved = {case.prompt_id: np.eye(4)[n] * (np.nan if n == 3 else 1) for n, case in enumerate(quality)}
    found = Findings(quality, GAP.slice(0, 0), (*quality, CASES[0]), {}, vectors={"teacher": vectors, "student": moved})
    assert summarise(found, SETTINGS)["cmmd"] == {"value": 0.0, "n": 3}


def test_a_table_without_models_says_what_is_left_out_and_how_many_failed() -> None:
    found = Findings(CASES, GAP, CASES, failures={"teacher": 0, "student": 2})
    page = markdown(summarise(found, SETTINGS))
    assert (
        "Left out, since no model or scorer is named for it: DINO distance, CMMD, text accuracy, CLIP score, aesthetic"
        " mark, semantic score." in page
    )
    assert "No picture came of 0 prompts by the teacher, 2 by the student." in page
    lines = [line for line in page.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines[:5]}) == 1


def test_costs_are_shown_side_by_side_with_their_ratio() -> None:
    one = {"parameters": 4_700_000_000, "weight_mib": 9000.0, "batch": 4, "ms_1": 20.0, "ms_n": 10.0, "peak_mib": None}
    two = {"parameters": 94_000_000, "weight_mib": 180.0, "batch": 4, "ms_1": 4.0, "ms_n": 1.0, "peak_mib": None}
    main = grids(summarise(_findings(cost={"teacher": one, "student": two}), SETTINGS))[0]
    assert ("encoder, million parameters", "4,700", "94", "1/50") in main.rows
    assert "encoding memory, MiB" not in [row[0] for row in main.rows]


class _Reader:
    """A scorer of the protocol: one number, one word."""

    needs = "scene"
    inputs = ("scene",)

    def score(self, picture: Picture) -> list[Score]:
        return [Score("things", float(len(picture.scene.objects if picture.scene else ()))), Score("word", None, "x")]


def test_scorers_see_prompts_that_they_are_for_and_give_numbers() -> None:
    scene = Scene(objects=(SceneObject("cup", colour="red"),)).to_json()
    with_scene = Case("a" * 32, "a red cup", "semantic_understanding", "test_words", scene=scene)
    pixels = np.zeros((8, 8, 3), np.uint8)
    pairs = [(with_scene, pixels), (CASES[0], pixels), (CASES[1], None)]
    found = score_rows(_Reader(), pairs, {"things": "number", "word": "word"})
    assert found == [{"prompt_id": "a" * 32, "metric": "things", "value": 1.0}]
    picture = picture_of(with_scene, pixels)
    assert [question.noun for question in picture.questions if question.kind == "object"] == ["cup"]
    assert is_for("questions", picture)
    assert not is_for("expected_text", picture)
