"""All kinds of gates together on random tables, against a recount in plain Python that shares no line with the SQL."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from promptforge import records
from promptforge.lexicon.style_kinds import KINDS, kind
from promptforge.records import AXES
from promptforge.stages.judging.takes import judge

NAN = math.nan
GATES: dict[str, Any] = {
    "black": {"scorer": "technical", "metric": "black", "max": 0.95},
    "band": {
        "scorer": "agreement",
        "metric": "colour_agreement",
        "min": 0.2,
        "max": 0.9,
        "axes": [AXES[1]],
        "decision": "keep_prompt",
    },
    "by_axis": {"scorer": "technical", "metric": "black", "by": "axis", "min": {AXES[0]: 0.1, "other": 0.05}},
    "by_category": {
        "scorer": "agreement",
        "metric": "colour_agreement",
        "by": "category",
        "min": {"a": 0.3, f"{AXES[2]}/a": 0.1},
        "max": {"b": 0.7, "other": 0.97},
        "decision": "keep_prompt",
    },
    "by_style": {
        "scorer": "technical",
        "metric": "sharpness",
        "by": "style",
        "min": {"photo": 0.2, "other": 0.05, f"{AXES[0]}/unknown": 0.4},
    },
    "reads": {"scorer": "text", "metric": "verdict", "one_of": ["read", "close"]},
    "quantile": {"scorer": "technical", "metric": "sharpness", "quantile": 0.1, "reference": 25, "least": 5},
    "top": {
        "scorer": "text",
        "metric": "cer",
        "quantile": 0.2,
        "side": "max",
        "by": "style",
        "reference": 30,
        "least": 4,
        "decision": "keep_prompt",
    },
    "ties": {
        "scorer": "agreement",
        "metric": "colour_agreement",
        "quantile": 0.15,
        "by": "category",
        "reference": 20,
        "least": 5,
        "axes": list(AXES[:2]),
    },
    "said": {
        "where": "text.cer < 0.8 OR technical.black * 2 > n_words / 3 AND category <> 'b' OR style_kind = 'photo'",
        "axes": list(AXES[1:]),
    },
}
PREFER = ["technical.sharpness", "-text.cer", "agreement.colour_agreement"]
STYLES = [None, "photograph", "oil painting", "vaporwave", "baroque", "", "Oil Painting, Octane Render", "phötö"]


def world(rng: random.Random, n: int) -> tuple[list[dict[str, Any]], dict[tuple[int, int], Any]]:
    """Prompts with every odd style, null categories; 1 to 4 takes with failures, nulls, NaN and ties."""
    prompts = [
        {
            "axis": rng.choice(AXES),
            "category": rng.choice([None, "a", "b"]),
            "style": rng.choice(STYLES),
            "text_clean": f"{rng.choice(['a fox', 'a photo of a fox', 'a sketch of a fox'])} {number}",
            "n_words": rng.randint(1, 9),
        }
        for number in range(n)
    ]

    def number(steps: int) -> float | None:
        draw = rng.random()
        return None if draw < 0.1 else NAN if draw < 0.15 else rng.randrange(steps + 1) / steps

    scores: dict[tuple[int, int], Any] = {}
    for place in range(n):
        for take in range(rng.choice([1, 2, 4])):
            scores[place, take] = (
                None
                if rng.random() < 0.1
                else {
                    "technical.sharpness": number(100),
                    "technical.black": number(50),
                    "agreement.colour_agreement": number(10),
                    "text.cer": number(20),
                    "text.verdict": rng.choice(["read", "close", "misread"]),
                }
            )
    return prompts, scores


def value_of(picture: dict[str, Any], name: str) -> Any:
    found = picture[name]
    return None if isinstance(found, float) and math.isnan(found) else found


def table_at(limit: Any, by: str | None, prompt: dict[str, Any]) -> tuple[str, float | None]:
    """How a key came to be, and the number for this prompt: the nearest of its own on its axis."""
    if not isinstance(limit, dict):
        return "", limit
    axis = prompt["axis"]
    name = {"axis": axis, "category": prompt["category"], "style": prompt["kind"]}[by or ""]
    keys = [name] if by == "axis" else [f"{axis}/{name}", name]
    keys += ["other"] if by == "axis" else [f"{axis}/other", "other"]
    return next(((key, limit[key]) for key in keys if key in limit), ("", None))


def fitted(gate: dict[str, Any], prompts: list[Any], scores: dict[tuple[int, int], Any], prompt: Any) -> float | None:
    name = f"{gate['scorer']}.{gate['metric']}"
    first = [n for n, each in enumerate(prompts) if each["axis"] == prompt["axis"]][: gate["reference"]]
    has = [(prompts[n], value_of(scores[n, 0], name)) for n in first if scores[n, 0] is not None]
    column = {"category": "category", "style": "kind"}.get(gate.get("by", ""))
    own = [v for each, v in has if v is not None and column and each[column] == prompt[column]]
    if not column or prompt[column] is None or len(own) < gate["least"]:
        own = [v for _, v in has if v is not None]
    share = gate["quantile"] if gate.get("side") != "max" else 1 - gate["quantile"]
    return float(np.quantile(own, share)) if own else None


def either(*truths: bool | None) -> bool | None:
    return True if True in truths else None if None in truths else False


def both(*truths: bool | None) -> bool | None:
    return False if False in truths else None if None in truths else True


def says(picture: dict[str, Any], prompt: dict[str, Any]) -> bool | None:
    """The predicate of `said`, by hand in three-valued logic."""
    cer, black = value_of(picture, "text.cer"), value_of(picture, "technical.black")
    return either(
        None if cer is None else cer < 0.8,
        both(
            None if black is None else black * 2 > prompt["n_words"] / 3,
            None if prompt["category"] is None else prompt["category"] != "b",
        ),
        prompt["kind"] == "photo",
    )


def fails(gate: dict[str, Any], picture: Any, prompt: Any, prompts: Any, scores: Any) -> bool:
    if prompt["axis"] not in gate.get("axes", AXES):
        return False
    if "where" in gate:
        return says(picture, prompt) is False
    value = value_of(picture, f"{gate['scorer']}.{gate['metric']}")
    if "one_of" in gate:
        return value not in gate["one_of"]
    if value is None:
        return False
    if "quantile" in gate:
        bound = fitted(gate, prompts, scores, prompt)
        return bound is not None and (value > bound + 1e-12 if gate.get("side") == "max" else value < bound - 1e-12)
    low = table_at(gate.get("min"), gate.get("by"), prompt)[1]
    high = table_at(gate.get("max"), gate.get("by"), prompt)[1]
    return (low is not None and value < low) or (high is not None and value > high)


@pytest.mark.parametrize("seed", range(3))
def test_judge_agrees_with_a_recount(case: Callable[..., Any], seed: int) -> None:
    rng = random.Random(seed)
    prompts, scores = world(rng, 220)
    made = case(policy="images", gates=GATES, prefer=PREFER)
    made.prompts(prompts)
    made.pictures(scores)
    judge(made.con, made.run)
    for prompt in prompts:
        prompt["kind"] = kind(prompt["style"], prompt["text_clean"])
    assert len({prompt["kind"] for prompt in prompts} & set(KINDS)) >= 5
    rows = made.con.sql(
        "SELECT prompt_id, take, n_failed, n_refused, first_failed, first_refused, preference FROM takes"
    ).fetchall()
    found = {(prompt, take): values for prompt, take, *values in rows}
    best = {row[0]: row[1:] for row in made.con.sql("FROM best").fetchall()}
    broken: dict[str, int] = dict.fromkeys(GATES, 0)
    for n, prompt in enumerate(prompts):
        name = records.prompt_id(f"prompt {n}")
        takes = [take for number, take in scores if number == n]
        failed = {
            take: [
                gate
                for gate, about in GATES.items()
                if scores[n, take] is not None and fails(about, scores[n, take], prompt, prompts, scores)
            ]
            for take in takes
        }
        refused = {t: [g for g in names if GATES[g].get("decision") == "keep_prompt"] for t, names in failed.items()}
        mean = dict.fromkeys(takes, 0.0)
        drawn = [take for take in takes if scores[n, take] is not None]
        if len(drawn) > 1:
            for each in PREFER:
                sign = -1 if each.startswith("-") else 1
                values = {t: value_of(scores[n, t], each.removeprefix("-")) for t in drawn}
                order = {t: -math.inf if v is None else sign * v for t, v in values.items()}
                for take in drawn:  # rank 1 is best, equal ones share the mean
                    above = sum(order[other] > order[take] for other in drawn)
                    level = sum(order[other] == order[take] for other in drawn)
                    mean[take] += (above + (level + 1) / 2) / len(PREFER)
        for take in takes:
            for gate in failed[take]:
                broken[gate] += 1
            *counts, preference = found[name, take]
            assert counts == [
                len(failed[take]),
                len(refused[take]),
                next(iter(failed[take]), None),
                next(iter(refused[take]), None),
            ], (n, take)
            assert preference == pytest.approx(mean[take], abs=1e-9)
        error = {take: scores[n, take] is None for take in takes}
        chosen = min(takes, key=lambda t: (error[t], len(failed[t]), round(mean[t], 9), t))
        mildest = min(takes, key=lambda t: (error[t], len(refused[t]), t))
        assert best[name] == (
            records.image_id(name, "t", chosen),
            "render_error" if error[chosen] else next(iter(failed[chosen]), None),
            "render_error" if error[mildest] else next(iter(refused[mildest]), None),
            len(takes),
            sum(not error[t] and not failed[t] for t in takes),
        ), n
    assert min(broken.values()) > 0, broken  # each gate decides something
