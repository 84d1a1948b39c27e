"""Selection in SQL against a plain recount in Python, on random tables and on cases worked out by hand."""

from __future__ import annotations

import itertools
import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from promptforge import records, schema
from promptforge.errors import StoreFault
from promptforge.records import AXES
from promptforge.stages import select
from promptforge.stages.goals import ELIGIBLE
from promptforge.stages.run import Run, prepare
from promptforge.stages.score import wanted_scores

Row = dict[str, Any]
METRICS = {
    "technical": ("black", "flat", "sharpness"),
    "agreement": ("colour_agreement", "count_agreement"),
    "text": ("cer", "verdict"),
}
GATES = {
    "not_black": {"scorer": "technical", "metric": "black", "max": 0},
    "sharp": {"scorer": "technical", "metric": "sharpness", "min": 0.3, "axes": ["image_quality"]},
    "colours": {"scorer": "agreement", "metric": "colour_agreement", "min": 0.5, "max": 0.9},
    "reads": {"scorer": "text", "metric": "verdict", "one_of": ["read", "close"], "axes": ["text_rendering"]},
}


def run_of(tmp_path: Path, tiny: Callable[[], Row], **select_settings: Any) -> Run:
    raw = tiny()
    raw["scorers"] = {"technical": {}, "agreement": {}, "text": {}}
    raw["select"] = {"gates": GATES, **select_settings}
    return prepare(tmp_path, raw, "test")


def prompt(number: int, axis: str, group: str | None = None, split: str = "train") -> Row:
    name = records.prompt_id(f"prompt {number}")
    wanted = ["WORD"] if axis == "text_rendering" else []
    return {
        "row_id": f"r{number:04d}",
        "source": "s",
        "source_part": "p",
        "source_row": number,
        "stream_order": number,
        "licence": "unstated",
        "text": f"prompt {number}",
        "text_clean": f"prompt {number}",
        "prompt_id": name,
        "fold_key": name,
        "repairs": [],
        "axis": axis,
        "expected_text": wanted,
        "scene": records.Scene().to_json(),
        "noise_group": name,
        "split_group": group or name,
        "split": split,
    }


def image(of: Row, take: int, error: str | None = None) -> Row:
    return {
        "image_id": records.image_id(of["prompt_id"], "teacher", take),
        "prompt_id": of["prompt_id"],
        "take": take,
        "seed": 1,
        "teacher": "teacher",
        "regime": "{}",
        **{"licence": "CC0-1.0", "provenance": "{}"},
        "sha256": None if error else "0" * 64,
        "error": error,
    }


def drop(of: Row, verdict: str = "drop") -> Row:
    return {"row_id": of["row_id"], "stage": "filter", "check_name": "length", "verdict": verdict, "reason": "too_long"}


def database(prompts: list[Row], verdicts: list[Row], images: list[Row]) -> duckdb.DuckDBPyConnection:
    """Everything up to the scores; every image is planned."""
    con = duckdb.connect()
    for text in schema.ddl().values():
        con.execute(text)
    con.execute(schema.views_sql())
    plan = [
        {key: row[key] for key in ("image_id", "prompt_id", "take", "seed", "teacher")}
        | {"bucket": 0, "round": 0, "fixed": True}
        for row in images
    ]
    for table, rows in (("prompts", prompts), ("verdicts", verdicts), ("images", images), ("render_plan", plan)):
        insert(con, table, rows)
    return con


def insert(con: duckdb.DuckDBPyConnection, table: str, rows: list[Row]) -> None:
    con.register("incoming", schema.conform(table, pa.Table.from_pylist(rows, schema=schema.arrow_schema(table))))
    con.execute(f'INSERT INTO "{table}" SELECT * FROM incoming')


Measure = Callable[[str, str, str], tuple[float | None, str | None]]


def measured(con: duckdb.DuckDBPyConnection, run: Run, measure: Measure) -> dict[tuple[str, str, str], Any]:
    """Fill the table scores: `measure` gives value and detail by image, scorer and metric. Returns what is in force."""
    rows, force = [], {}
    for image_id, scorer, digest in con.sql(f"FROM ({wanted_scores(run.parts.scorers)})").fetchall():
        for metric in METRICS[scorer]:
            value, detail = measure(image_id, scorer, metric)
            force[image_id, scorer, metric] = (value, detail)
            for name, stale in ((digest, False), ("f" * 32, True)):  # an old measurement, which nothing may look at
                rows.append(
                    {
                        "image_id": image_id,
                        "scorer": scorer,
                        "digest": name,
                        "metric": metric,
                        "value": -99.0 if stale else value,
                        "detail": None if stale else detail,
                    }
                )
    insert(con, "scores", rows)
    return force


def decided(con: duckdb.DuckDBPyConnection, run: Run) -> dict[str, Row]:
    table = schema.conform("selection", select.decide(con, run))
    return {row["row_id"]: row for row in table.to_pylist()}


# -- the recount ------------------------------------------------------------------------------------------------


def first_failed(
    run: Run, scores: dict[tuple[str, str, str], Any], image_id: str, axis: str, kinds: set[str]
) -> list[str]:
    """Gates of these decisions that a picture fails, in the recipe's order."""
    failed = []
    for name, gate in run.recipe.select.gates.items():
        if axis not in gate.axes or gate.decision not in kinds or (image_id, gate.scorer, gate.metric) not in scores:
            continue
        value, detail = scores[image_id, gate.scorer, gate.metric]
        low = gate.min is not None and value is not None and value < gate.min
        high = gate.max is not None and value is not None and value > gate.max
        if low or high or (gate.one_of is not None and detail not in gate.one_of):
            failed.append(name)
    return failed


def eligible(prompts: Iterable[Row], dropped: set[str]) -> tuple[list[Row], dict[str, list[Row]]]:
    """Kept prompts in stream order, and by axis those whose split group lies in one split."""
    kept = sorted((row for row in prompts if row["row_id"] not in dropped), key=lambda row: row["stream_order"])
    splits = defaultdict(set)
    for row in kept:
        splits[row["split_group"]].add(row["split"])
    whole: dict[str, list[Row]] = {axis: [] for axis in AXES}
    for row in kept:
        if len(splits[row["split_group"]]) == 1 and row["split"] != "mixed":
            whole[row["axis"]].append(row)
    return kept, whole


def reach(run: Run, axis: str) -> int | None:
    """Prompts of an axis that are rendered at most."""
    quota = getattr(run.recipe.select.quota, axis)
    images = run.recipe.select.policy == "images"
    return None if quota == "all" else math.ceil(quota * run.recipe.select.oversample) if images else quota


def look(run: Run, row: Row, takes: list[Row], scores: dict[tuple[str, str, str], Any]) -> tuple[Row, str | None]:
    """What is known of a prompt's pictures, and the gate that refuses the prompt where no take gets past those."""

    def fails(kinds: set[str]) -> dict[str, list[str]]:
        return {
            take["image_id"]: ["render_error"]
            if take["error"]
            else first_failed(run, scores, take["image_id"], row["axis"], kinds)
            for take in takes
        }

    def least(failed: dict[str, list[str]]) -> Row:
        return min(takes, key=lambda take: (take["error"] is not None, len(failed[take["image_id"]])))

    if not takes:
        return {"image_id": None, "n_takes": 0, "n_passed": 0, "image_reason": "not_rendered"}, "not_rendered"
    failed, refused = fails({"keep_image", "keep_prompt"}), fails({"keep_prompt"})
    best = least(failed)["image_id"]
    known = {
        "image_id": best,
        "n_takes": len(takes),
        "n_passed": sum(not gates for gates in failed.values()),
        "image_reason": next(iter(failed[best]), None),
    }
    return known, next(iter(refused[least(refused)["image_id"]]), None)


def recount(
    run: Run, prompts: list[Row], dropped: set[str], images: list[Row], scores: dict[tuple[str, str, str], Any]
) -> dict[str, Row]:
    """What select should say, one prompt after the other in stream order."""
    by_prompt = defaultdict(list)
    for row in sorted(images, key=lambda row: row["take"]):
        by_prompt[row["prompt_id"]].append(row)
    kept, whole = eligible(prompts, dropped)
    result: dict[str, Row] = {}
    accepted = dict.fromkeys(AXES, 0)
    for row in kept:
        axis, most = row["axis"], reach(run, row["axis"])
        quota = getattr(run.recipe.select.quota, axis)
        full = quota != "all" and accepted[axis] >= quota
        known, refusal = look(run, row, by_prompt[row["prompt_id"]], scores)
        if run.recipe.select.policy == "distill":
            refusal = None
        if row not in whole[axis]:
            refusal = "split_group_straddles"
        elif most is not None and whole[axis].index(row) >= most and not known["n_takes"] and full:
            refusal = None  # nobody looked at it, and nobody needed to
        if refusal:
            result[row["row_id"]] = known | {"state": "not_selected", "reason": refusal}
        elif full:
            result[row["row_id"]] = known | {"state": "not_needed", "reason": "quota_full"}
        else:
            accepted[axis] += 1
            result[row["row_id"]] = known | {"state": "accepted", "reason": None}
    for out in result.values():
        out["keep_prompt"] = out["state"] == "accepted"
        out["keep_image"] = out["keep_prompt"] and out["n_passed"] > 0
    return result


def settings_of(rng: random.Random) -> dict[str, Any]:
    policy = rng.choice(["distill", "images"])
    gates = {name: dict(gate) for name, gate in GATES.items() if rng.random() < 0.8}
    if policy == "images":
        for gate in gates.values():
            gate["decision"] = rng.choice(["keep_prompt", "keep_image"])
    return {
        "policy": policy,
        "gates": gates,
        "quota": {axis: rng.choice([0, 1, 3, 6, 10, "all"]) for axis in AXES},
        "oversample": rng.choice([1.0, 1.3, 2.0]),
    }


def world_of(rng: random.Random) -> tuple[list[Row], list[Row]]:
    """Prompts of three axes in mixed order with a few families over two splits, and verdicts on some."""
    splits = ["train"] * 6 + ["test_words", "mixed"]
    prompts = [
        prompt(number, rng.choice(AXES), rng.choice([None, None, "family-a", "family-b"]), rng.choice(splits))
        for number in range(50)
    ]
    rng.shuffle(prompts)
    return prompts, [drop(row, rng.choice(["drop", "near_miss"])) for row in rng.sample(prompts, 12)]


@pytest.mark.parametrize("seed", range(14))
def test_the_decisions_equal_a_recount(tmp_path: Path, tiny: Callable[[], Row], seed: int) -> None:
    rng = random.Random(seed)
    run = run_of(tmp_path, tiny, **settings_of(rng))
    prompts, verdicts = world_of(rng)
    dropped = {row["row_id"] for row in verdicts if row["verdict"] == "drop"}
    _, whole = eligible(prompts, dropped)
    images = []
    for axis, rows in whole.items():
        for row in rows[: reach(run, axis)]:
            if rng.random() < 0.9:  # the rest was not sampled
                for take in range(rng.choice([1, 3])):
                    images.append(image(row, take, "no glyph" if rng.random() < 0.15 else None))
    with database(prompts, verdicts, images) as con:
        places = con.sql(f"SELECT axis, row_id FROM ({ELIGIBLE}) ORDER BY axis, place").fetchall()
        assert places == [(axis, row["row_id"]) for axis in AXES for row in whole[axis]]

        def measure(_: str, scorer: str, metric: str) -> tuple[float | None, str | None]:
            if metric == "verdict":
                return None, rng.choice(["read", "read", "misread", "unreadable"])
            if metric in ("black", "flat"):
                return float(rng.random() < 0.2), None
            return rng.choice([None, 0.1, 0.3, 0.5, 0.9, 1.0]), None

        scores = measured(con, run, measure)
        found = decided(con, run)
    wanted = recount(run, prompts, dropped, images, scores)
    assert found.keys() == wanted.keys()
    for row, out in wanted.items():
        assert {key: found[row][key] for key in out} == out, row


@pytest.mark.parametrize("policy", ["distill", "images"])
@pytest.mark.parametrize("seed", range(2))
def test_a_larger_quota_contains_the_smaller(tmp_path: Path, tiny: Callable[[], Row], policy: str, seed: int) -> None:
    rng = random.Random(seed)
    prompts, verdicts = world_of(rng)
    dropped = {row["row_id"] for row in verdicts if row["verdict"] == "drop"}
    _, whole = eligible(prompts, dropped)
    black = {row["prompt_id"]: float(rng.random() < 0.4) for row in prompts}
    sets = []
    for quota in (2, 3, 7, "all"):
        gates = {"not_black": GATES["not_black"] | ({"decision": "keep_prompt"} if policy == "images" else {})}
        run = run_of(tmp_path, tiny, policy=policy, gates=gates, quota=dict.fromkeys(AXES, quota))
        images = [image(row, 0) for axis, rows in whole.items() for row in rows[: reach(run, axis)]]
        of = {row["image_id"]: black[row["prompt_id"]] for row in images}
        with database(prompts, verdicts, images) as con:
            measured(con, run, lambda name, _, metric, of=of: (of[name] if metric == "black" else 0.5, "read"))
            sets.append({row for row, out in decided(con, run).items() if out["keep_prompt"]})
    assert all(small <= large for small, large in itertools.pairwise(sets))
    assert len(sets[0]) < len(sets[-1])


# -- by hand ----------------------------------------------------------------------------------------------------


def example(
    tmp_path: Path, tiny: Callable[[], Row], settings: dict[str, Any], images: list[Row], values: dict[str, Any]
) -> dict[str, Row]:
    """Four prompts of image quality; `values` gives blackness and sharpness of pictures, else 0 and 1."""
    run = run_of(tmp_path, tiny, **settings)
    prompts = [prompt(number, "image_quality") for number in range(4)]
    with database(prompts, [], images) as con:

        def measure(name: str, _: str, metric: str) -> tuple[float | None, str | None]:
            black, sharp = values.get(name, (0.0, 1.0))
            return {"black": (black, None), "sharpness": (sharp, None)}.get(metric, (None, None))

        measured(con, run, measure)
        return decided(con, run)


P = [prompt(number, "image_quality") for number in range(4)]
TWO = {"gates": {name: GATES[name] for name in ("not_black", "sharp")}}


def test_the_best_take_fails_fewest_gates_and_is_the_earliest_of_those(tmp_path: Path, tiny: Any) -> None:
    images = [image(P[0], take) for take in range(4)] + [image(P[1], 0, "no glyph"), image(P[1], 1)]
    names = [row["image_id"] for row in images]
    # take 0 fails both, take 1 is blurred, take 2 and 3 pass; of P1 the drawn one fails a gate, the other was not drawn
    values = {names[0]: (1.0, 0.1), names[1]: (0.0, 0.2), names[5]: (1.0, 1.0)}
    found = example(tmp_path, tiny, TWO, images, values)
    first, second = found["r0000"], found["r0001"]
    assert (first["image_id"], first["image_reason"], first["n_passed"]) == (names[2], None, 2)
    assert (second["image_id"], second["image_reason"]) == (names[5], "not_black")
    assert (second["keep_prompt"], second["keep_image"]) == (True, False)
    assert (found["r0002"]["image_id"], found["r0002"]["image_reason"]) == (None, "not_rendered")


def test_a_prompt_whose_every_render_failed_stays_for_the_student_and_goes_for_pictures(
    tmp_path: Path, tiny: Any
) -> None:
    images = [image(P[0], 0, "no glyph")] + [image(row, 0) for row in P[1:]]
    distill = example(tmp_path / "a", tiny, TWO, images, {})["r0000"]
    assert (distill["state"], distill["keep_image"], distill["image_reason"]) == ("accepted", False, "render_error")
    pictures = example(tmp_path / "b", tiny, TWO | {"policy": "images"}, images, {})["r0000"]
    assert (pictures["state"], pictures["reason"]) == ("not_selected", "render_error")


def test_what_lies_beyond_the_oversample_is_never_accepted_unseen(tmp_path: Path, tiny: Any) -> None:
    """Quota 2, oversample 1: two are drawn and both are black, so nothing is accepted; not the two nobody looked at."""
    gates = {"not_black": GATES["not_black"] | {"decision": "keep_prompt"}}
    settings = {"policy": "images", "gates": gates, "oversample": 1.0, "quota": {"image_quality": 2}}
    images = [image(P[0], 0), image(P[1], 0)]
    found = example(tmp_path / "a", tiny, settings, images, {row["image_id"]: (1.0, 1.0) for row in images})
    assert [(row["state"], row["reason"]) for _, row in sorted(found.items())] == [
        *2 * [("not_selected", "not_black")],
        *2 * [("not_selected", "not_rendered")],
    ]
    full = example(tmp_path / "b", tiny, settings, images, {})
    assert [(row["state"], row["reason"]) for _, row in sorted(full.items())] == [
        *2 * [("accepted", None)],
        *2 * [("not_needed", "quota_full")],
    ]


def test_a_row_that_fits_neither_side_is_not_accepted_even_without_its_filter(tmp_path: Path, tiny: Any) -> None:
    run = run_of(tmp_path, tiny)
    with database([prompt(0, "image_quality", split="mixed")], [], []) as con:
        (row,) = decided(con, run).values()
    assert (row["state"], row["reason"]) == ("not_selected", "split_group_straddles")


def test_a_gap_in_the_pictures_or_scores_is_refused(tmp_path: Path, tiny: Any) -> None:
    run = run_of(tmp_path, tiny)
    with database([P[0]], [], [image(P[0], 0)]) as con, pytest.raises(StoreFault, match=r"0 planned .* 2 scores not"):
        select.decide(con, run)
    with database([P[0]], [], [image(P[0], 0)]) as con:
        con.execute("DELETE FROM images")
        with pytest.raises(StoreFault, match="1 planned pictures are not rendered and 0 scores"):
            select.decide(con, run)
