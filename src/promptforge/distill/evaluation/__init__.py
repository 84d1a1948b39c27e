"""How good is a student? It is held against its teacher on prompts that it never saw.

    settings   what is measured, on which prompts, with which models
    held_out   the prompts and their noise
    velocity   the loss of the training, by prompt and timestep: the table student_gap
    pictures   both models' pictures from the same noise
    distances  how far two pictures, or two sets of embeddings, are apart; features has the image model
    scoring    promptforge's own scorers on both models' pictures
    cost       parameters, memory and time of both text encoders
    intervals, summary, table   what it comes to

    errors = velocity.velocity_errors(student, teacher, cases, settings)       in process, nothing is written
    evaluate(settings, folder)                                                 everything, kept piece by piece

Not covered: likeness to real photographs (FID), people's judgement.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptforge.distill.settings import DistillSettings


def evaluate(
    settings: DistillSettings,
    folder: Path,
    tell: Callable[[str, int, int], None] = lambda *_: None,
    student: Path | None = None,
) -> Path:
    """Measure the student in `folder`/student, or another; the folder with table, numbers and student_gap.

    `tell` hears what is being done, how many pieces of it are done, and of how many.
    """
    from promptforge.distill.evaluation.run import run  # it needs DistillSettings, which holds this package's settings

    return run(settings, folder, tell, student)
