"""The scorers against what the canvas teacher knows it did: flat-coloured drawings only.

benchmarks/text_check.py is the full measurement of the text check; here runs a twelfth of it.
"""

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from promptforge import scenes
from promptforge.protocols import Picture, Pixels, RenderJob, Scorer
from promptforge.records import Scene
from promptforge.scorers import agreement, technical
from promptforge.teachers import canvas

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
NOUNS = ("dog", "car", "tree", "chair", "fish", "clock", "kite", "boat", "house", "cup", "carrot", "globe", "bicycle")
COLOURS = ("red", "blue", "green", "yellow", "orange", "purple", "brown", "black", "white", "teal", "silver", "beige")
COUNTS = {1: "one", 2: "two", 3: "three", 4: "four", 6: "six"}
JOINS = ("and", "to the left of", "below", "next to")
WEIGHTS: dict[Any, float] = {"wrong_colour": 2, "wrong_count": 2, "blur": 1, "dark": 1, "flat": 1, "black": 1}


@dataclass(frozen=True)
class Drawing:
    """A picture with what is true of it."""

    prompt: str
    scene: Scene
    pixels: Pixels
    truth: dict[str, Any]


def prompts(n: int, seed: int) -> Iterator[str]:
    """Two kinds of thing, each with a count and a colour, no colour twice."""
    rng = np.random.default_rng(seed)

    def thing(noun: str, colour: str) -> str:
        count = int(rng.choice(list(COUNTS)))
        return f"a {colour} {noun}" if count == 1 else f"{COUNTS[count]} {colour} {noun}{'' if noun == 'fish' else 's'}"

    for _ in range(n):
        nouns, colours = rng.choice(NOUNS, 2, replace=False), rng.choice(COLOURS, 2, replace=False)
        join = JOINS[int(rng.integers(len(JOINS)))]
        yield f"{thing(str(nouns[0]), str(colours[0]))} {join} {thing(str(nouns[1]), str(colours[1]))}"


@pytest.fixture(scope="module")
def drawings() -> list[Drawing]:
    teacher = canvas.build(canvas.Params(mistake_rate=0.6, weights=WEIGHTS))
    found = []
    for number, prompt in enumerate(prompts(120, 5)):
        drawn = teacher.render(RenderJob(prompt, number))
        assert drawn.pixels is not None
        found.append(Drawing(prompt, scenes.parse(prompt), drawn.pixels, dict(drawn.truth or {})))
    return found


Values = dict[str, float | None]


@pytest.fixture(scope="module")
def technical_values(drawings: list[Drawing]) -> list[Values]:
    return [values(technical.build(technical.Params()), drawing) for drawing in drawings]


@pytest.fixture(scope="module")
def agreement_values(drawings: list[Drawing]) -> list[Values]:
    scorer = agreement.build(agreement.Params())
    return [values(scorer, drawing) for drawing in drawings]


def values(scorer: Scorer, drawing: Drawing) -> Values:
    picture = Picture(drawing.pixels, drawing.prompt, "semantic_understanding", (), drawing.scene)
    return {score.metric: score.value for score in scorer.score(picture)}


def shares(pairs: list[tuple[bool, bool]]) -> tuple[float, float]:
    """Recall and precision over (true, said)."""
    hits = sum(true and said for true, said in pairs)
    return hits / sum(true for true, _ in pairs), hits / sum(said for _, said in pairs)


@pytest.mark.parametrize(
    ("metric", "kinds", "at_least"),
    [("flat", {"flat"}, 6), ("black", {"black", "dark"}, 12), ("blurred", {"blur"}, 6)],
)
def test_faults_of_the_frame_are_found_and_nothing_else_is(
    drawings: list[Drawing], technical_values: list[Values], metric: str, kinds: set[str], at_least: int
) -> None:
    pairs = [
        (drawing.truth["mistake"] in kinds, said[metric] == 1)
        for drawing, said in zip(drawings, technical_values, strict=True)
    ]
    assert sum(true for true, _ in pairs) >= at_least
    assert min(shares(pairs)) >= 0.97


@pytest.mark.parametrize("metric", ["colour_agreement", "count_agreement"])
def test_wrong_colours_and_counts_are_found_and_nothing_else_is(
    drawings: list[Drawing], agreement_values: list[Values], metric: str
) -> None:
    pairs = [
        (_wrong(drawing, metric), said[metric] != 1)
        for drawing, said in zip(drawings, agreement_values, strict=True)
        if drawing.truth["mistake"] not in ("blur", "dark", "flat", "black")
    ]
    assert sum(true for true, _ in pairs) >= 12
    assert min(shares(pairs)) >= 0.97


def _wrong(drawing: Drawing, metric: str) -> bool:
    drawn = {each["colour"]: each["count"] for each in drawing.truth["objects"]}
    wanted = {each.colour: each.count for each in drawing.scene.objects}
    if metric == "colour_agreement":
        return any(colour not in drawn for colour in wanted)
    return any(drawn.get(colour) != count for colour, count in wanted.items())


@pytest.fixture(scope="module")
def text_check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("text_check", BENCHMARKS / "text_check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_wrong_text_is_found_and_right_text_is_not_accused(text_check: ModuleType) -> None:
    found = list(text_check.cases(80, 0.3, 7))
    total = text_check.figures(found)
    assert (total.n, total.n_wrong >= 16) == (80, True)
    # So few pictures cannot show 0.97; they must not contradict it: the 95% interval has to reach it.
    assert total.recall_interval[1] >= 0.97
    assert total.precision_interval[1] >= 0.97
    assert total.unreadable_share <= 0.05


def test_the_interval_is_wilsons(text_check: ModuleType) -> None:
    # 8 of 10 at z = 1.96: (0.8 + 0.19208) / 1.38416 -+ 1.96 / 1.38416 * sqrt(0.016 + 0.009604) = 0.7167 -+ 0.2266
    assert text_check.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=2e-4)
