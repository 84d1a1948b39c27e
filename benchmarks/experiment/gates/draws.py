"""The prompts of each arm for one seed: pool, checks, measurements, choice. Kept in seed-<n>/draws.json."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gates import choice, pools
from gates.checks import CHECKS, as_json, from_json, survivors
from gates.choice import Tokens
from gates.measured import Measures
from gates.plan import ARMS, KEPT, Experiment
from gates.pools import AXES, Row, place
from promptforge.files import put
from promptforge.models.torch_setup import load_torch
from promptforge.records import Axis

#: Of these axes the judge has a say.
JUDGED = (Axis.IMAGE_QUALITY.value, Axis.SEMANTIC_UNDERSTANDING.value)


def tokens_of(teacher: Path) -> Tokens:
    """Counts tokens as the teacher's T5 tokenizer does, its end included, cut at 16."""
    load_torch()
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(teacher / "tokenizer_2", local_files_only=True)
    return lambda text: min(16, len(tokenizer(text, truncation=False, verbose=False).input_ids))


def prepare(experiment: Experiment, seed: int) -> dict[str, Any]:
    """Draws, funnel and costs of a seed; done once."""
    folder = experiment.out / f"seed-{seed}"
    done = folder / "draws.json"
    if done.is_file():
        return _read(done)
    folder.mkdir(parents=True, exist_ok=True)
    scale, start = experiment.scale, time.process_time()
    rows = pools.pools(seed, scale.candidates)
    left: dict[str, list[Row]] = {"all": rows}
    left["prompt"], funnel = survivors(rows, folder)
    for name in CHECKS:
        left[f"-{name}"], _ = survivors(rows, folder, name)
    checked_s = time.process_time() - start
    from promptforge.models import weights

    tokens = tokens_of(weights.path_of(experiment.teacher))
    wanted = {axis: choice.strata(choice.drawn(_of(rows, axis), scale.prompts, seed), tokens) for axis in AXES}
    sample = {
        axis: choice.choose(_of(left["prompt"], axis), choice.scaled(wanted[axis], scale.measured), tokens, seed).rows
        for axis in AXES
    }
    more, costs = _measured(Measures(experiment, seed), sample, scale.takes, seed)
    left |= more
    draws = {}
    for arm in ARMS:
        n = scale.prompts * len(AXES) // len(arm.axes)
        picked = [
            choice.choose(_of(left[arm.rows], axis), choice.scaled(wanted[axis], n), tokens, seed) for axis in arm.axes
        ]
        draws[arm.name] = {
            "rows": as_json([row for each in picked for row in each.rows]),
            "n_filled": sum(each.n_filled for each in picked),
            "n_eligible": sum(len(_of(left[arm.rows], axis)) for axis in arm.axes),
        }
    found = {
        "draws": draws,
        "prompt": as_json(left["prompt"]),
        "strata": {axis: {str(stratum): n for stratum, n in counts.items()} for axis, counts in wanted.items()},
        "funnel": funnel,
        "costs": {**costs, "checked_rows": len(rows) * (1 + len(CHECKS)), "checked_s": checked_s},
    }
    put(done, json.dumps(found, sort_keys=True).encode())
    return _read(done)


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    found["prompt"] = from_json(found["prompt"])
    for draw in found["draws"].values():
        draw["rows"] = from_json(draw["rows"])
    return found


def _of(rows: Sequence[Row], axis: str) -> list[Row]:
    return [row for row in rows if row.axis == axis]


def _measured(
    measures: Measures, sample: Mapping[str, Sequence[Row]], n_takes: int, seed: int
) -> tuple[dict[str, list[Row]], dict[str, float]]:
    """What response, teachability and aesthetic leave of the measured prompts, and what they cost."""
    left: dict[str, list[Row]] = {"response": [], "teachability": [], "aesthetic": []}
    costs = dict.fromkeys(("responses", "response_s", "renders_teachability", "renders_aesthetic", "render_s"), 0.0)
    for axis, rows in sample.items():
        answers = measures.responses(rows).to_pylist()
        costs["responses"] += len(answers)
        costs["response_s"] += sum(each["seconds"] for each in answers)
        left["response"] += best(rows, {each["prompt_id"]: each["value"] for each in answers}, seed)
        numbers = range(n_takes if axis in JUDGED else 1)
        takes = measures.takes(rows, numbers).to_pylist()
        costs["render_s"] += sum(each["seconds"] for each in takes)
        costs["renders_aesthetic"] += len(rows)
        costs["renders_teachability"] += len(takes) if axis in JUDGED else 0
        first = {each["prompt_id"]: each["sharpness"] for each in takes if each["take"] == 0}
        left["aesthetic"] += best(rows, first, seed)
        left["teachability"] += best(rows, pass_shares(takes), seed)
    costs["renders"] = costs["renders_teachability"] + len(sample[Axis.TEXT_RENDERING.value])
    return left, costs


def pass_shares(takes: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """prompt_id -> share of its judged takes that are right; None where none could be judged."""
    judged: dict[str, list[float]] = {}
    for each in takes:
        judged.setdefault(each["prompt_id"], [])
        if each["right"] is not None:
            judged[each["prompt_id"]].append(each["right"])
    return {name: math.fsum(values) / len(values) if values else None for name, values in judged.items()}


def best(rows: Sequence[Row], values: Mapping[str, float | None], seed: int) -> list[Row]:
    """The KEPT share with the highest values, of equal ones those of lowest hash; rows without a value stay.

    So promptforge's own gates have it: a metric that does not apply passes.
    """
    valued = [(value, row) for row in rows if (value := values[row.prompt_id]) is not None]
    ranked = sorted(valued, key=lambda each: (-each[0], place(seed, each[1].text)))
    kept = {row.text for _, row in ranked[: math.ceil(KEPT * len(ranked))]}
    return [row for row in rows if row.text in kept or values[row.prompt_id] is None]
