"""The difference between two policies against a plain recount of both, on random tables in a real run folder."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from promptforge import catalog, schema
from promptforge.lock import Lock
from promptforge.records import AXES, digest_of
from promptforge.stages import select
from promptforge.stages.difference import replayed
from promptforge.stages.run import Run
from promptforge.stages.score import wanted_scores
from promptforge.store import Commit
from tests.stages.test_select import METRICS, Row, drop, eligible, image, prompt, recount, run_of, settings_of, world_of

Scores = dict[tuple[str, str, str], tuple[float | None, str | None]]


def commit(run: Run, stage: str, shard: str = "all", **tables: list[Row]) -> Commit:
    made = {name: pa.Table.from_pylist(rows, schema=schema.arrow_schema(name)) for name, rows in tables.items()}
    return run.store.commit(stage, shard, digest_of([stage, shard]), made)


def measured(run: Run, commits: list[Commit], rng: random.Random) -> tuple[list[Row], Scores]:
    """Rows of the table scores, and the same by image, scorer and metric."""
    with catalog.connect(run.store, commits) as con:
        wanted = con.sql(f"FROM ({wanted_scores(run.parts.scorers)}) ORDER BY ALL").fetchall()
    rows, known = [], {}
    for image_id, scorer, digest in wanted:
        for metric in METRICS[scorer]:
            value: float | None = rng.choice([None, 0.1, 0.3, 0.5, 0.9, 1.0])
            detail = None
            if metric == "verdict":
                value, detail = None, rng.choice(["read", "read", "close", "misread"])
            elif metric == "black":
                value = float(rng.random() < 0.2)
            known[image_id, scorer, metric] = (value, detail)
            named = {"image_id": image_id, "scorer": scorer, "digest": digest, "metric": metric}
            rows.append(named | {"value": value, "detail": detail})
    return rows, known


def put_in_force(run: Run, commits: list[Commit]) -> None:
    """Select under the run's policy, as a run would, and make that the newest head."""
    made, _ = run.work(select.unit(run, commits))
    keys: dict[str, list[str]] = {}
    for each in (*commits, made):
        keys.setdefault(each.stage, []).append(each.key)
    with Lock(run.root) as lock:
        run.store.new_head(lock.epoch, run.resolved, keys)


def four(run: Run, verdicts: list[Row], shard: str = "all") -> list[Commit]:
    """Four prompts with a black picture, a grey one, and two takes of which the first is grey, the second better."""
    prompts = [prompt(number, "image_quality") for number in range(4)]
    images = [image(prompts[0], 0), image(prompts[1], 0), image(prompts[2], 0), image(prompts[2], 1)]
    facts = [
        commit(run, "generate", prompts=prompts),
        commit(run, "filter", shard, verdicts=verdicts),
        commit(run, "plan", shard, render_plan=plan(images)),
        commit(run, "render", images=images),
    ]
    with catalog.connect(run.store, facts) as con:
        wanted = con.sql(f"FROM ({wanted_scores(run.parts.scorers)})").fetchall()
    sharp = dict(zip((row["image_id"] for row in images), (0.1, 0.5, 0.5, 0.9), strict=True))
    rows = [
        {
            "image_id": name,
            "scorer": scorer,
            "digest": digest,
            "metric": "sharpness",
            "value": sharp[name],
            "detail": None,
        }
        for name, scorer, digest in wanted
    ]
    return [*facts, commit(run, "score", scores=rows)]


def sharper(least: float, decision: str = "keep_image") -> Row:
    return {"gates": {"sharp": {"scorer": "technical", "metric": "sharpness", "min": least, "decision": decision}}}


def test_a_stricter_gate_takes_the_take_that_still_passes(tmp_path: Path, tiny: Callable[[], Row]) -> None:
    run = run_of(tmp_path, tiny, **sharper(0.3))
    put_in_force(run, four(run, []))
    with replayed(tmp_path, ["select.gates.sharp.min=0.7"]) as replay:
        assert replay.settings() == [("select.gates.sharp.min", 0.3, 0.7)]
        (axis,) = replay.axes()
        # the first has no picture on either side, the fourth was never drawn
        assert (axis["before"], axis["after"], axis["unrendered"]) == (4, 4, 1)
        assert (axis["pictures_before"], axis["pictures_after"], axis["pictures_lost"], axis["other_takes"]) == (
            2,
            1,
            1,
            1,
        )
        lost, other = sorted(replay.examples(5), key=lambda row: row["kind"], reverse=True)
    assert (lost["kind"], lost["text"], lost["gate"]) == ("picture_lost", "prompt 1", "sharp")
    assert (lost["value"], lost["minimum"], lost["maximum"]) == (0.5, 0.7, None)
    assert (other["kind"], other["text"], other["take_before"], other["take_after"]) == ("other_take", "prompt 2", 0, 1)


def test_a_quota_that_is_not_met_is_told_with_what_nobody_has_drawn(tmp_path: Path, tiny: Callable[[], Row]) -> None:
    run = run_of(tmp_path, tiny, policy="images", **sharper(0.3, "keep_prompt"), quota={"image_quality": 2})
    put_in_force(run, four(run, []))
    with replayed(tmp_path, ["select.gates.sharp.min=0.7"]) as replay:
        # two wanted; the first two fail, the third passes, the fourth has no picture
        assert replay.short() == [
            {"cell": "image_quality", "axis": "image_quality", "wanted": 2, "accepted": 1, "unrendered": 1}
        ]
    with replayed(tmp_path, []) as replay:
        assert replay.short() == []


def test_cells_that_fall_short_are_told_one_by_one(tmp_path: Path, tiny: Callable[[], Row]) -> None:
    run = run_of(tmp_path, tiny, policy="images", **sharper(0.3, "keep_prompt"), quota={"image_quality": 3})
    put_in_force(run, four(run, []))
    cells = "select.cells={'image_quality/a/any/any' = 2}"
    # none of the four prompts has a category: the cell has none, and the rest of the axis wants one and has it
    with replayed(tmp_path, [cells]) as replay:
        assert replay.short() == [
            {"axis": "image_quality", "cell": "image_quality/a/any/any", "wanted": 2, "accepted": 0, "unrendered": 0}
        ]
    # 5 wanted, 2 of them in the cell: the rest wants 3, and of its four prompts two pass at most
    with replayed(tmp_path, [cells, "select.quota.image_quality=5"]) as replay:
        named = {row["cell"]: row["wanted"] for row in replay.short()}
    assert named == {"image_quality/a/any/any": 2, "the rest of image_quality": 3}


def test_a_text_that_was_withheld_since_is_counted_and_not_shown(tmp_path: Path, tiny: Callable[[], Row]) -> None:
    run = run_of(tmp_path, tiny, **sharper(0.0))
    put_in_force(run, four(run, []))
    bad = prompt(1, "image_quality")
    found = drop(bad) | {"prompt_id": bad["prompt_id"], "check_name": "safety", "reason": "unsafe_sexual_minors"}
    put_in_force(run, four(run, [found], "again"))
    with replayed(tmp_path, ["select.quota.image_quality=1"], against=1) as replay:
        gone = {row[0]: row[4] for row in replay.changed().fetchall()}
        shown = replay.examples(9)
    assert gone == {bad["row_id"]: "absent", "r0002": "not_needed", "r0003": "not_needed"}
    assert {row["text"] for row in shown} == {"prompt 2", "prompt 3"}


def test_a_replay_leaves_nothing_behind_and_writes_no_file(tmp_path: Path, tiny: Callable[[], Row]) -> None:
    run = run_of(tmp_path, tiny, **sharper(0.3))
    put_in_force(run, four(run, []))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with replayed(tmp_path, ["select.gates.sharp.min=0.7"]) as replay:
        ((spill,),) = replay.con.sql("SELECT current_setting('temp_directory')").fetchall()
        assert not Path(spill).is_relative_to(tmp_path)
        replay.axes()
    assert not Path(spill).exists()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def fate(row: Row | None) -> tuple[str, str | None, str | None]:
    """State, reason and picture, as the difference tells them."""
    if row is None:
        return "absent", None, None
    if row["keep_image"]:
        return row["state"], None, row["image_id"]
    return row["state"], row["image_reason"] if row["keep_prompt"] else row["reason"], None


def kind(before: tuple[Any, ...], after: tuple[Any, ...]) -> str:
    was, is_now = before[0] == "accepted", after[0] == "accepted"
    if was != is_now:
        return "gained" if is_now else "lost"
    if not was or before[2] == after[2]:
        return "reason"
    if before[2] and after[2]:
        return "other_take"
    return "picture_gained" if after[2] else "picture_lost"


def toml(value: Any) -> str:
    """A value as TOML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f'"{name}" = {toml(each)}' for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def drawn(run: Run, prompts: list[Row], dropped: set[str], rng: random.Random) -> list[Row]:
    """Up to three takes of most prompts of the plan."""
    _, whole = eligible(prompts, dropped)
    return [
        image(row, take, "no glyph" if rng.random() < 0.1 else None)
        for rows in whole.values()
        for row in rows
        if rng.random() < 0.9
        for take in range(rng.choice([1, 3]))
    ]


def plan(images: list[Row]) -> list[Row]:
    names = ("image_id", "prompt_id", "take", "seed", "teacher")
    return [{name: row[name] for name in names} | {"bucket": 0, "round": 0, "fixed": True} for row in images]


@pytest.mark.parametrize("seed", range(10))
def test_the_difference_equals_a_recount_of_both_policies(tmp_path: Path, tiny: Callable[[], Row], seed: int) -> None:
    rng = random.Random(seed)
    first, second = settings_of(rng), settings_of(rng)
    run = run_of(tmp_path / "run", tiny, **first)
    prompts, verdicts = world_of(rng)
    for row in prompts:
        row["category"] = rng.choice(["a", "b", None])
    dropped = {row["row_id"] for row in verdicts if row["verdict"] == "drop"}
    images = drawn(run, prompts, dropped, rng)
    commits = [
        commit(run, "generate", prompts=prompts),
        commit(run, "filter", verdicts=verdicts),
        commit(run, "plan", render_plan=plan(images)),
        commit(run, "render", images=images),
    ]
    rows, scores = measured(run, commits, rng)
    commits.append(commit(run, "score", scores=rows))
    put_in_force(run, commits)

    other = run_of(tmp_path / "other", tiny, **second)
    old = recount(run, prompts, dropped, images, scores)
    new = recount(other, prompts, dropped, images, scores)
    fates = {row_id: (fate(old.get(row_id)), fate(new.get(row_id))) for row_id in old.keys() | new.keys()}
    changed = {row_id: both for row_id, both in fates.items() if both[0] != both[1]}
    assert changed
    known = {row["row_id"]: row for row in prompts}

    with replayed(tmp_path / "run", [f"select={toml(second)}"]) as replay:
        names = replay.changed().columns
        found = {row[0]: dict(zip(names, row, strict=True)) for row in replay.changed().fetchall()}
        axes, categories = replay.axes(), replay.categories()
        moves, examples, short = replay.moves(), replay.examples(3), replay.short()
    told = {
        row_id: (
            (row["before"], row["reason_before"], row["image_before"]),
            (row["after"], row["reason_after"], row["image_after"]),
        )
        for row_id, row in found.items()
    }
    assert told == changed

    kinds = {row_id: kind(*both) for row_id, both in changed.items()}
    for row in axes:
        mine = {row_id for row_id in fates if known[row_id]["axis"] == row["axis"]}
        counted = Counter(kinds[row_id] for row_id in mine if row_id in kinds)
        assert row["before"] == sum(fates[each][0][0] == "accepted" for each in mine)
        assert row["after"] == sum(fates[each][1][0] == "accepted" for each in mine)
        assert row["pictures_before"] == sum(fates[each][0][2] is not None for each in mine)
        assert row["pictures_after"] == sum(fates[each][1][2] is not None for each in mine)
        assert (row["gained"], row["lost"]) == (counted["gained"], counted["lost"])
        assert row["other_takes"] == counted["other_take"]
        assert row["pictures_gained"] == sum(
            fates[each][0][2] is None and fates[each][1][2] is not None for each in mine
        )
        assert row["pictures_lost"] == sum(fates[each][0][2] is not None and fates[each][1][2] is None for each in mine)
    for name in ("gained", "lost", "other_takes"):
        wanted = Counter(
            (known[each]["axis"], known[each]["category"]) for each in kinds if kinds[each] == name.removesuffix("s")
        )
        assert {(row["axis"], row["category"]): row[name] for row in categories if row[name]} == wanted
    wanted_moves = Counter(
        (known[each]["axis"], *before[:2], *after[:2])
        for each, (before, after) in changed.items()
        if kinds[each] != "other_take"
    )
    seen = {
        tuple(row[name] for name in ("axis", "before", "reason_before", "after", "reason_after")): row["n"]
        for row in moves
    }
    assert seen == wanted_moves

    shown = Counter(kinds[row["row_id"]] for row in examples)
    assert shown == {name: min(n, 3) for name, n in Counter(kinds.values()).items() if name != "reason"}
    for row in examples:
        assert row["text"] == known[row["row_id"]]["text_clean"]
        if row.get("metric") is not None:
            gate = (first if row["kind"].endswith("gained") else second)["gates"][row["gate"]]
            assert (row["scorer"], row["metric"]) == (gate["scorer"], gate["metric"])
            assert row["key"] is None
            assert (row["minimum"], row["maximum"], row["one_of"]) == (
                gate.get("min"),
                gate.get("max"),
                gate.get("one_of"),
            )
            (of,) = [each for each in images if each["prompt_id"] == row["prompt_id"] and each["take"] == row["take"]]
            assert scores[of["image_id"], gate["scorer"], gate["metric"]] == (row["value"], row["detail"])

    quota = second["quota"]
    accepted = Counter(known[each]["axis"] for each, both in fates.items() if both[1][0] == "accepted")
    wanted_short = {
        axis: (quota[axis], accepted[axis]) for axis in AXES if quota[axis] != "all" and accepted[axis] < quota[axis]
    }
    assert {row["cell"]: (row["wanted"], row["accepted"]) for row in short} == wanted_short
