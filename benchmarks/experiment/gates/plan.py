"""What is run: the arms of the protocol, what each is held against, and how much of everything there is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gates.checks import CHECKS
from gates.pools import AXES
from promptforge.distill.named import settings_of
from promptforge.models import weights
from promptforge.models.diffusion.settings import FILES, Settings

SELECT = "promptforge:miniature-judge-select"
EVALUATE = "promptforge:miniature-judge-evaluate"
WIDTH = 64  #: of the student's encoder where an arm says no other
STEPS = 8  #: of the teacher
KEPT = 0.75  #: of the measured prompts that response, teachability and sharpness leave


@dataclass(frozen=True)
class Scale:
    """How much of everything; the defaults are those that the protocol ends with."""

    candidates: int = 4000  # of an axis in a seed's pool
    prompts: int = 200  # of an axis in an arm
    measured: int = 400  # of an axis, on which response, teachability and sharpness are measured
    takes: int = 4
    batches: int = 100
    batch: int = 8
    held_out: int = 60  # of an axis, clean and uncurated each
    gap_prompts: int = 60  # of an axis, on which the half-trained student of refill is measured


#: Everything once, in minutes: says that it runs, and nothing else.
QUICK = Scale(candidates=300, prompts=20, measured=32, takes=2, batches=2, held_out=10, gap_prompts=8)


@dataclass(frozen=True)
class Arm:
    """One arm. `rows` names what it draws from, see draws.eligible; `against` the arm that it is held against."""

    name: str
    rows: str
    against: str | None
    axes: tuple[str, ...] = AXES
    objective: str = "following"
    width: int = WIDTH
    refill: bool = False
    more: bool = False  # steps for what the renders of teachability cost
    gate: str | None = None  # what the comparison tests
    gate_is_in: bool = True  # False: the arm is the one without it

    @property
    def slug(self) -> str:
        """Name of its folders."""
        return self.name.replace(" + ", "+").replace(", ", "_").replace(" ", "-")


def _arms() -> tuple[Arm, ...]:
    found = [
        Arm("random", "all", None),
        Arm("prompt", "prompt", "random", gate="all prompt checks"),
        *(Arm(f"prompt + {name}", name, "prompt", gate=name) for name in ("response", "teachability", "aesthetic")),
        *(Arm(f"prompt without {name}", f"-{name}", "prompt", gate=name, gate_is_in=False) for name in CHECKS),
        *(Arm(f"prompt, {axis} alone", "prompt", "prompt", axes=(axis,)) for axis in AXES),
        Arm("prompt, embedding", "prompt", "prompt", objective="embedding"),
        Arm("prompt, refill", "prompt", "prompt", refill=True, gate="student_gap"),
        Arm("prompt, small", "prompt", "prompt", width=32),
        Arm("prompt, large", "prompt", "prompt", width=128),
        *(
            Arm(
                f"{name}, equal compute",
                rows,
                "prompt + teachability",
                more=True,
                gate="teachability",
                gate_is_in=False,
            )
            for name, rows in (("random", "all"), ("prompt", "prompt"), ("prompt + response", "response"))
        ),
    ]
    return tuple(found)


ARMS = _arms()


@dataclass(frozen=True)
class Experiment:
    """What every worker is told; as JSON in the folder, so that another experiment is not put into the same."""

    out: Path
    teacher: str
    scale: Scale
    select: str = SELECT
    evaluate: str = EVALUATE

    @property
    def settings(self) -> Settings:
        """The teacher as the settings `miniature` have it, `teacher` in its place."""
        given = settings_of("miniature", []).teacher
        return given.model_copy(update={"model": self.teacher, "batch": self.scale.batch})

    def identity(self) -> dict[str, Any]:
        """What decides every number but the seeds."""
        judges = [weights.identity(name, None) for name in (self.select, self.evaluate)]
        teacher = weights.identity(self.teacher, None, FILES)
        return {"teacher": teacher, "judges": judges, "scale": vars(self.scale), "version": 2}
