"""Velocity error: how far the student's prediction is from the teacher's, at each step of the teacher's own path.

It is the training's loss for each prompt by itself, without dropout, at the teacher's guidance: along the path the
latents move by the teacher's prediction, so an early mistake does not count again later. What the prompt matters at all
is measured beside it: the teacher's own prediction under the empty prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import isfinite
from typing import Any

import pyarrow as pa

from promptforge.distill.evaluation.held_out import Case
from promptforge.distill.evaluation.settings import Evaluation
from promptforge.distill.following import told_by
from promptforge.distill.teacher import Teacher
from promptforge.errors import DataFault
from promptforge.models.torch_setup import load_torch
from promptforge.schema import arrow_schema, conform
from promptforge.texts import length_band

VERSION = 2  # raised whenever an error changes by more than rounding


def velocity_errors(
    student: Any,
    teacher: Teacher,
    cases: Sequence[Case],
    settings: Evaluation,
    tell: Callable[[int], None] = lambda _: None,
) -> pa.Table:
    """The table student_gap of these prompts, sorted by prompt, noise and step; `tell` hears the prompts done.

    `student` is a student, or anything that makes last_hidden_state of T5's input ids.
    """
    found = []
    for start in range(0, len(cases), settings.batch):
        group = cases[start : start + settings.batch]
        found += [errors_of(student, teacher, group, number, settings) for number in range(settings.noises)]
        tell(start + len(group))
    return joined(found)


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of all of them, in the order of student_gap."""
    if not tables:
        return arrow_schema("student_gap").empty_table()
    order = [(name, "ascending") for name in ("prompt_id", "noise", "step")]
    return pa.concat_tables(tables).sort_by(order).combine_chunks()


def errors_of(student: Any, teacher: Teacher, group: Sequence[Case], number: int, settings: Evaluation) -> pa.Table:
    """The same of one batch under one noise."""
    torch = load_torch()
    texts = [case.text for case in group]
    guidance = [teacher.settings.guidance] * len(group)
    rows = []
    with torch.no_grad(), at_rest(student):
        told = teacher.tell(texts, teacher.length)
        own = told_by(student, teacher, texts, told)
        nothing = teacher.tell([""] * len(group), teacher.length)
        seeds = [case.noise_seed(number, settings.seed) for case in group]
        drawing = teacher.begin(seeds, settings.size or teacher.settings.size)
        for step, timestep in enumerate(drawing.timesteps.tolist()):
            wanted = drawing.velocity(step, told, guidance)
            found = drawing.velocity(step, own, guidance)
            errors = (found.float() - wanted.float()).square().mean(dim=(1, 2)).tolist()
            scales = wanted.float().square().mean(dim=(1, 2)).tolist()
            unprompted = drawing.velocity(step, nothing, guidance)
            blanks = (unprompted.float() - wanted.float()).square().mean(dim=(1, 2)).tolist()
            for case, error, scale, blank in zip(group, errors, scales, blanks, strict=True):
                if not (isfinite(error) and isfinite(scale)):
                    who = "student" if isfinite(scale) else "teacher"
                    raise DataFault(
                        f"prompt {case.prompt_id}: the {who}'s prediction is not finite at step {step}; its training"
                        " went astray, or the type is too narrow: try teacher.dtype bf16 or fp32"
                    )
                rows.append(
                    {
                        "prompt_id": case.prompt_id,
                        "axis": case.axis,
                        "category": case.category,
                        "split": case.split,
                        "length": length_band(case.n_words),
                        "n_words": case.n_words,
                        "noise": number,
                        "step": step,
                        "timestep": timestep,
                        "error": error,
                        "scale": scale,
                        "blank": blank,
                    }
                )
            drawing.move_on(step, wanted)
    return conform("student_gap", pa.Table.from_pylist(rows, schema=arrow_schema("student_gap")))


@contextmanager
def at_rest(student: Any) -> Iterator[None]:
    """The student without dropout inside, and as it was behind it."""
    training = getattr(student, "training", False)
    if training:
        student.eval()
    try:
        yield
    finally:
        if training:
            student.train()
