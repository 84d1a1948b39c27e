"""Gates of every kind against a plain recount, and preferences among takes against scipy's ranks."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import rankdata

from promptforge import records
from promptforge.errors import DataFault
from promptforge.lexicon.style_kinds import kind
from promptforge.records import AXES
from promptforge.stages.judging.reference import frozen, reference_prompts
from promptforge.stages.judging.takes import judge

SHARP = {"scorer": "technical", "metric": "sharpness"}
Q = {**SHARP, "quantile": 0.25}


def rows_of(case: Any, what: str) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = case.con.sql(what).fetchall()
    return found


@pytest.mark.parametrize(
    ("gate", "passing"),
    [
        # sharpness 1, 2, 3, 4 of a photo, a painting, a plain prompt of category c, a plain prompt of text_rendering
        ({"by": "style", "min": {"photo": 2}}, [1, 2, 3]),
        ({"by": "style", "min": {"photo": 1, "other": 3}}, [0, 2, 3]),
        ({"by": "style", "max": {"painting": 1.5, "plain": 3.5}}, [0, 2]),
        ({"by": "style", "max": {"plain": 2, "text_rendering/plain": 4}}, [0, 1, 3]),
        ({"by": "style", "max": {"other": 2, "text_rendering/other": 4}}, [0, 1, 3]),
        ({"by": "category", "min": {"c": 3.5}}, [0, 1, 3]),
        ({"by": "category", "min": {"c": 3, "other": 4}}, [2, 3]),
        ({"by": "axis", "min": {"text_rendering": 5, "other": 2}}, [1, 2]),
        ({"by": "style", "min": {"photo": 0.5}, "max": {"other": 3}}, [0, 1, 2]),
        ({"by": "axis", "min": {"image_quality": 2}, "axes": ["image_quality"]}, [1, 2, 3]),
    ],
)
def test_bounds_differ_by_group(case: Callable[..., Any], gate: dict[str, Any], passing: list[int]) -> None:
    made = case(gates={"g": SHARP | gate})
    texts = ["a photo of a fox", "an oil painting of a fox", "a fox", "a fox that reads WORD"]
    made.prompts(
        [
            {"text_clean": texts[0]},
            {"text_clean": texts[1]},
            {"text_clean": texts[2], "category": "c"},
            {"text_clean": texts[3], "axis": "text_rendering"},
        ]
    )
    made.pictures({(n, 0): {"technical.sharpness": n + 1.0} for n in range(4)})
    judge(made.con, made.run)
    assert [n for (n, _), failed in sorted(made.failed().items()) if failed is None] == passing


def world(rng: random.Random, n: int) -> tuple[list[dict[str, Any]], dict[tuple[int, int], Any]]:
    prompts = [
        {
            "axis": rng.choice(AXES),
            "category": rng.choice([None, "a", "b"]),
            "style": rng.choice([None, "photograph", "oil painting"]),
        }
        for _ in range(n)
    ]
    scores: dict[tuple[int, int], Any] = {}
    for number in range(n):
        for take in range(rng.choice([1, 2])):
            value = None if rng.random() < 0.1 else round(rng.random(), 2)
            scores[number, take] = None if rng.random() < 0.1 else {"technical.sharpness": value}
    return prompts, scores


@pytest.mark.parametrize("by", [None, "axis", "category", "style"])
@pytest.mark.parametrize("side", ["min", "max"])
def test_a_quantile_is_numpys_over_the_first_prompts(case: Callable[..., Any], by: str | None, side: str) -> None:
    rng = random.Random(7)
    prompts, scores = world(rng, 240)
    gate = Q | {"side": side, "reference": 40, "least": 8} | ({} if by is None else {"by": by})
    made = case(gates={"q": gate})
    made.prompts(prompts)
    made.pictures(scores)
    judge(made.con, made.run)
    values: dict[tuple[str, str | None], list[float]] = defaultdict(list)
    for axis in AXES:
        first = [n for n, prompt in enumerate(prompts) if prompt["axis"] == axis][:40]
        for n in first:
            sharp = (scores[n, 0] or {}).get("technical.sharpness")
            if sharp is not None:
                key = {"category": prompts[n]["category"], "style": kind(prompts[n]["style"])}.get(by or "")
                for each in {None, key}:
                    values[axis, each].append(sharp)
    share = 0.25 if side == "min" else 0.75
    wanted = {
        group: (np.quantile(found, share), len(found))
        for group, found in values.items()
        if group[1] is None or len(found) >= 8
    }
    found = rows_of(made, "SELECT axis, key, coalesce(minimum, maximum), n_reference FROM gates")
    assert {(axis, key): n for axis, key, _, n in found} == {group: n for group, (_, n) in wanted.items()}
    bounds = {(axis, key): bound for axis, key, bound, _ in found}
    assert bounds == pytest.approx({group: bound for group, (bound, _) in wanted.items()}, abs=1e-12)
    assert len(bounds) > (3 if by in ("category", "style") else 2)
    for (n, take), failed in made.failed().items():
        sharp = (scores[n, take] or {}).get("technical.sharpness")
        key = {"category": prompts[n]["category"], "style": kind(prompts[n]["style"])}.get(by or "")
        bound = bounds.get((prompts[n]["axis"], key), bounds[prompts[n]["axis"], None])
        refused = sharp is not None and (sharp < bound if side == "min" else sharp > bound)
        assert failed == ("q" if refused else None)


def test_later_prompts_and_takes_never_move_a_quantile(case: Callable[..., Any], tmp_path: Any) -> None:
    bounds = []
    for n, takes in ((6, 1), (9, 1), (9, 3)):
        made = case(gates={"q": Q | {"reference": 5, "least": 5}})
        made.prompts([{}] * n)
        # by hand: 1, 2, 3, 4, 5 of take 0, so a quarter of the way along four steps is 2
        made.pictures({(k, t): {"technical.sharpness": k + 1.0 - 10 * t} for k in range(n) for t in range(takes)})
        judge(made.con, made.run)
        bounds.append(rows_of(made, "SELECT minimum, n_reference FROM gates"))
        assert reference_prompts(made.run.recipe) == dict.fromkeys(AXES, 5)
    assert bounds == [[(2.0, 5)]] * 3


def test_a_quantile_of_too_few_pictures_is_refused(case: Callable[..., Any]) -> None:
    made = case(gates={"q": Q | {"least": 4}})
    made.prompts([{}] * 5)
    made.pictures({(0, 0): {"technical.sharpness": 1.0}, (1, 0): None, (2, 0): {}, (3, 0): {"technical.sharpness": 2}})
    with pytest.raises(
        DataFault, match=r"gate 'q': of the first 200 prompts of image_quality 2 have .* at least 4 are"
    ):
        judge(made.con, made.run)


def test_frozen_numbers_judge_as_the_quantiles_did(case: Callable[..., Any]) -> None:
    prompts, scores = world(random.Random(3), 120)
    verdicts = []
    gates: dict[str, Any] = {"q": Q | {"by": "style", "reference": 30, "least": 5, "side": "max"}}
    for _ in range(2):
        made = case(gates=gates)
        made.prompts(prompts)
        made.pictures(scores)
        judge(made.con, made.run)
        verdicts.append(made.failed())
        lines = frozen(made.con, made.run)
        if lines:
            from promptforge import recipe

            assert len(lines) == 1 and lines[0].startswith("select.gates.q={")
            gates = recipe.override({"select": {"gates": gates}}, lines)["select"]["gates"]
            assert gates["q"]["measured_on"] == made.run.teacher_fingerprint
            assert "quantile" not in gates["q"] and len(gates["q"]["max"]) > 3
    assert verdicts[0] == verdicts[1] and "q" in verdicts[0].values()


def test_a_predicate_passes_where_it_is_null(case: Callable[..., Any]) -> None:
    where = "text.cer <= 0.1 AND (technical.sharpness > 0.2 OR style_kind = 'photo') OR text.verdict = 'close'"
    made = case(gates={"w": {"where": where, "axes": ["image_quality"]}})
    made.prompts([{}, {}, {}, {"style": "photograph"}, {}, {"axis": "text_rendering"}, {}])
    made.pictures(
        {
            (0, 0): {"text.cer": 0.0, "technical.sharpness": 0.3, "text.verdict": "read"},
            (1, 0): {"text.cer": 0.0, "technical.sharpness": 0.1, "text.verdict": "read"},
            (2, 0): {"text.cer": 0.2, "technical.sharpness": 0.3, "text.verdict": "close"},
            (3, 0): {"text.cer": 0.1, "technical.sharpness": 0.1, "text.verdict": "misread"},
            (4, 0): {"text.cer": None, "technical.sharpness": 0.9, "text.verdict": "misread"},  # null AND true
            (5, 0): {"text.cer": 0.9, "technical.sharpness": 0.1, "text.verdict": "misread"},  # another axis
            (6, 0): {"text.cer": None, "technical.sharpness": 0.1, "text.verdict": "misread"},  # null AND false
        }
    )
    judge(made.con, made.run)
    assert [n for (n, _), failed in sorted(made.failed().items()) if failed] == [1, 6]
    assert rows_of(made, "SELECT kind, axis, predicate FROM gates") == [("where", "image_quality", where)]


@pytest.mark.parametrize("seed", range(4))
def test_the_preferred_take_has_the_lowest_mean_rank(case: Callable[..., Any], seed: int) -> None:
    rng = random.Random(seed)
    made = case(gates={"g": SHARP | {"min": 0.5}}, prefer=["technical.sharpness", "-text.cer"])
    made.prompts([{}] * 40)
    scores: dict[tuple[int, int], Any] = {}
    for n in range(40):
        for take in range(rng.choice([1, 2, 3, 5])):
            values = {"technical.sharpness": rng.choice([0.2, 0.6, 0.8]), "text.cer": rng.choice([None, 0.0, 0.1, 0.5])}
            scores[n, take] = None if rng.random() < 0.15 else values
    made.pictures(scores)
    judge(made.con, made.run)
    found = dict(rows_of(made, "SELECT prompt_id, image_id FROM best"))
    for n in range(40):
        takes = sorted(take for number, take in scores if number == n)
        drawn = [take for take in takes if scores[n, take] is not None]
        sharp = rankdata([-scores[n, take]["technical.sharpness"] for take in drawn])
        # a metric that does not apply comes last
        cer = rankdata([9 if (c := scores[n, take]["text.cer"]) is None else c for take in drawn])
        mean = {take: s + c for take, s, c in zip(drawn, sharp, cer, strict=True)}

        def order(take: int, n: int = n, mean: dict[int, float] = mean) -> tuple[Any, ...]:
            values = scores[n, take]
            return (
                (True, 0, 0, take) if values is None else (False, values["technical.sharpness"] < 0.5, mean[take], take)
            )

        name = records.prompt_id(f"prompt {n}")
        assert found[name] == records.image_id(name, "t", min(takes, key=order)), n


def test_without_preferences_the_earliest_take_is_the_best(case: Callable[..., Any]) -> None:
    made = case(gates={})
    made.prompts([{}])
    made.pictures({(0, take): {"technical.sharpness": float(take)} for take in range(3)})
    judge(made.con, made.run)
    name = records.prompt_id("prompt 0")
    assert rows_of(made, "SELECT image_id, image_reason, n_takes, n_passed FROM best") == [
        (records.image_id(name, "t", 0), None, 3, 3)
    ]
