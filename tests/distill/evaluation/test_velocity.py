"""Velocity errors against a loop written with diffusers' own parts, and a student that is the teacher."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from promptforge import catalog
from promptforge.distill.evaluation.held_out import Case
from promptforge.distill.evaluation.settings import Evaluation
from promptforge.errors import DataFault
from promptforge.records import noise_seed, prompt_id
from promptforge.texts import length_band
from tests.distill.conftest import LENGTH, STEPS

pytestmark = pytest.mark.models

TEXTS = ["a red cup", "two dogs on a bench", 'a sign that says "OPEN" over the door of a shop']
CASES = [
    Case(prompt_id(text), text, axis, "test_words", category)
    for text, axis, category in zip(
        TEXTS, ["image_quality", "semantic_understanding", "text_rendering"], [None, "numeracy", None], strict=True
    )
]
SETTINGS = Evaluation(batch=2, noises=2, seed=5)


def _by_hand(pipe: Any, student: Any, case: Case, number: int) -> list[tuple[float, float, float, float]]:
    """Timestep, error, scale and blank of each step for one prompt alone, from the pipeline's and torch's own parts."""
    import torch

    ids, empty = (
        pipe.tokenizer_2(
            [text], padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
        ).input_ids
        for text in (case.text, "")
    )
    seed = noise_seed(case.prompt_id, number, 5)
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator("cpu").manual_seed(seed))
    latent = noise.reshape(1, 4, 4, 2, 4, 2).permute(0, 2, 4, 1, 3, 5).reshape(1, 16, 16)
    rows, columns = np.divmod(np.arange(16), 4)
    # FLUX's shift for 16 patches: mu goes straight from 0.5 at 256 patches to 1.15 at 4096.
    mu = 0.5 + (1.15 - 0.5) * (16 - 256) / (4096 - 256)
    sigmas = [np.exp(mu) / (np.exp(mu) + 1 / sigma - 1) for sigma in (1.0, 0.75, 0.5, 0.25)] + [0.0]
    found = []
    with torch.no_grad():
        teachers = pipe.text_encoder_2
        embeds = teachers(ids)[0], student(ids).last_hidden_state, teachers(empty)[0]
        for now, after in itertools.pairwise(sigmas):
            wanted, seen, blank = (
                pipe.transformer(
                    hidden_states=latent,
                    timestep=torch.full((1,), float(now)),
                    guidance=torch.tensor([3.5]),
                    pooled_projections=torch.zeros(1, 32),
                    txt_ids=torch.zeros(LENGTH, 3),
                    img_ids=torch.tensor(np.stack([np.zeros(16), rows, columns], 1), dtype=torch.float32),
                    encoder_hidden_states=each,
                ).sample
                for each in embeds
            )
            a, b, c = (each.double().numpy() for each in (wanted, seen, blank))
            measured = ((a - b) ** 2, a**2, (a - c) ** 2)
            found.append((1000 * float(now), *(float(each.mean()) for each in measured)))
            latent = latent + float(after - now) * wanted
    return found


def test_errors_are_those_of_a_loop_written_by_hand_prompt_by_prompt(teacher: Any, student: Any) -> None:
    from promptforge.distill.evaluation.velocity import velocity_errors

    student.train()  # dropout is put off for the measuring
    rows = velocity_errors(student, teacher, CASES, SETTINGS).to_pylist()
    assert student.training
    student.eval()
    assert len(rows) == 3 * 2 * STEPS
    for case in CASES:
        for number in range(2):
            mine = [row for row in rows if row["prompt_id"] == case.prompt_id and row["noise"] == number]
            wanted = _by_hand(teacher.pipe, student, case, number)
            assert [row["step"] for row in mine] == list(range(STEPS))
            for row, (timestep, error, scale, blank) in zip(mine, wanted, strict=True):
                assert row["timestep"] == pytest.approx(timestep, rel=1e-5)
                assert row["error"] == pytest.approx(error, abs=1e-7)
                assert row["scale"] == pytest.approx(scale, rel=1e-5)
                assert row["blank"] == pytest.approx(blank, abs=1e-7)
    assert min(row["error"] for row in rows) > 1e-6


def test_a_student_that_is_the_teachers_own_encoder_has_no_error(teacher: Any) -> None:
    from promptforge.distill.evaluation.velocity import velocity_errors

    rows = velocity_errors(teacher.pipe.text_encoder_2, teacher, CASES, SETTINGS).to_pylist()
    assert {row["error"] for row in rows} == {0.0}
    assert min(row["scale"] for row in rows) > 0


def test_a_student_that_went_astray_is_named_with_prompt_and_step(teacher: Any, student: Any) -> None:
    from promptforge.distill.evaluation.velocity import velocity_errors

    student.projection[3].weight.data.fill_(float("nan"))
    with pytest.raises(DataFault, match=f"{CASES[0].prompt_id}: the student's prediction is not finite at step 0"):
        velocity_errors(student, teacher, CASES, SETTINGS)


def test_a_row_says_what_the_prompt_is(teacher: Any, student: Any) -> None:
    from promptforge.distill.evaluation.velocity import velocity_errors

    rows = velocity_errors(student, teacher, CASES, SETTINGS).to_pylist()
    said = {
        row["prompt_id"]: (row["axis"], row["category"], row["split"], row["length"], row["n_words"]) for row in rows
    }
    assert said == {
        CASES[0].prompt_id: ("image_quality", None, "test_words", "01-05", 3),
        CASES[1].prompt_id: ("semantic_understanding", "numeracy", "test_words", "01-05", 5),
        CASES[2].prompt_id: ("text_rendering", None, "test_words", "11-20", 11),
    }


def test_bands_of_length_are_those_of_the_view_cells() -> None:
    import re

    from promptforge.schema import views_sql

    case = re.search(r"CASE WHEN n_words.*?END", views_sql(), re.DOTALL)
    assert case is not None
    with catalog.duckdb.connect() as con:
        wanted = con.sql(f"SELECT {case[0]} FROM range(60) t(n_words) ORDER BY n_words").fetchall()
    assert [length_band(n) for n in range(60)] == [band for (band,) in wanted]
