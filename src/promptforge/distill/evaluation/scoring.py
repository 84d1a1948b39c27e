"""promptforge's own scorers on pictures of both models: what each prompt asks for, judged alike.

Questions are those that the prompt's scene answers for itself (promptforge.questions). What a scorer needs and a prompt
has not (strings, a scene) leaves the prompt out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from promptforge.distill.evaluation.held_out import Case
from promptforge.protocols import Picture, Pixels, Scorer
from promptforge.questions import from_scene
from promptforge.records import Scene
from promptforge.stages.parts import scores_of


def picture_of(case: Case, pixels: Pixels) -> Picture:
    """What a scorer sees."""
    scene = Scene.from_json(case.scene) if case.scene else None
    questions = from_scene(scene, case.text) if scene else ()
    return Picture(pixels, case.text, case.axis, case.expected_text, scene, questions)


def is_for(need: str, picture: Picture) -> bool:
    """Whether a scorer with this need has anything to do here."""
    return {
        "picture": True,
        "scene": picture.scene is not None,
        "expected_text": bool(picture.expected_text),
        "questions": bool(picture.questions),
    }[need]


def score_rows(
    scorer: Scorer, pairs: Sequence[tuple[Case, Pixels | None]], metrics: Mapping[str, str]
) -> list[dict[str, Any]]:
    """prompt_id, metric, value of every number in `metrics`; nothing of prompts that the scorer is not for."""
    pictures = [(case, picture_of(case, pixels)) for case, pixels in pairs if pixels is not None]
    wanted = [(case, picture) for case, picture in pictures if is_for(scorer.needs, picture)]
    found = scores_of(scorer, [picture for _, picture in wanted], lambda: None) if wanted else []
    return [
        {"prompt_id": case.prompt_id, "metric": score.metric, "value": score.value}
        for (case, _), scores in zip(wanted, found, strict=True)
        for score in scores
        if metrics.get(score.metric) == "number"
    ]
