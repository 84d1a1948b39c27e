"""Kill it anywhere, run it again: the same data set to the byte, and nothing made twice.

The work is done by a process that is killed with SIGKILL, either after a time or at the n-th call that makes something
durable (fsync, rename, link), and is started again until it is done. PROMPTFORGE_KILLS sets how often: 5 in the suite.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from promptforge import catalog, recipe
from promptforge.lock import Lock
from promptforge.stages import pipeline
from promptforge.stages.run import prepare
from promptforge.stages.verify import verify
from promptforge.store import Store

KILLS = int(os.environ.get("PROMPTFORGE_KILLS", "5"))
Recipe = Callable[[], dict[str, Any]]

# Imports take seconds, so one process imports and every run is a fork of it. It starts no thread of its own before. The
# lock's heartbeat is not counted: it comes by the clock.
DRIVER = """
import importlib, json, os, signal, sys, threading, traceback
from pathlib import Path
import datasets
from promptforge import scenes
from promptforge.lock import Lock
from promptforge.protocols import RenderJob
from promptforge.stages import parts, pipeline, publish
from promptforge.stages.run import prepare
from promptforge.store import Store

for name in ("sources.files", "teachers.canvas", "scorers.technical", "scorers.agreement"):
    importlib.import_module(f"promptforge.{name}")
scenes.parse("a red cup")
calls = 0

def counted(real, deadly):
    def call(*args, **kwargs):
        global calls
        calls += threading.current_thread() is threading.main_thread()
        if calls == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    return call

def work(root, raw, deadly):
    os.fsync, os.link = counted(os.fsync, deadly), counted(os.link, deadly)
    Path.replace, Path.rename = counted(Path.replace, deadly), counted(Path.rename, deadly)
    prepare(root, raw, "test")
    with Lock(root) as lock:
        Store(root).sweep()
        pipeline.make_all(root, lock.epoch)
    (root.parent / "calls").write_text(str(calls))

for line in sys.stdin:
    job = json.loads(line)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work(Path(job["root"]), job["recipe"], job["deadly"])
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Driver:
    """Runs of a recipe in processes of their own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def run(self, root: Path, raw: dict[str, Any], *, deadly: int = -1, after_s: float | None = None) -> int:
        """Exit code of a run that is killed at its deadly-th durable call, or after a time; 0 where it got through."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        root.parent.mkdir(parents=True, exist_ok=True)
        job = {"root": str(root), "recipe": raw, "deadly": deadly}
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        pid = int(self._process.stdout.readline())
        if after_s is not None and not select.select([self._process.stdout], [], [], after_s)[0]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End the process; a run at work goes with it."""
        self._process.communicate(timeout=60)


def dataset(root: Path) -> dict[str, str]:
    """SHA-256 of every file of the data set."""
    folder = root / "dataset"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def facts(root: Path, stage: str, table: str, *columns: str) -> list[tuple[Any, ...]]:
    """Keys of every row that any record of the folder holds."""
    store = Store(root)
    found: list[tuple[Any, ...]] = []
    for commit in store.commits(stage):
        item = commit.file(table)
        if item:
            found += [tuple(row.values()) for row in store.read(item, columns).to_pylist()]
    return found


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    found = Driver()
    yield found
    found.close()


def calls(root: Path) -> int:
    """How many durable calls the last finished run of a folder made."""
    return int((root.parent / "calls").read_text())


def killed_at_random(driver: Driver, folder: Path, raw: dict[str, Any], n_kills: int) -> Iterator[Path]:
    """Folders of runs that were killed, `n_kills` times in all, and finished; each has the bytes of a whole run."""
    whole = folder / "whole" / "run"
    begun = time.monotonic()
    assert driver.run(whole, raw) == 0
    lasted, n_calls, wanted = time.monotonic() - begun, calls(whole), dataset(whole)
    assert n_calls > 50
    assert "manifest.json" in wanted
    assert verify(whole) == []

    rng = random.Random(20261121)
    kills = rounds = 0
    while kills < n_kills:
        root = folder / str(rounds) / "run"
        rounds += 1
        for _ in range(6):  # a folder that was killed more often has little left to do
            moment: dict[str, Any] = (
                {"deadly": rng.randint(1, n_calls)} if rng.random() < 0.6 else {"after_s": rng.uniform(0, lasted)}
            )
            code = driver.run(root, raw, **moment)
            assert code in (0, -signal.SIGKILL), moment
            kills += code != 0
            if code == 0 or kills >= n_kills:
                break
        assert driver.run(root, raw) == 0
        assert dataset(root) == wanted, rounds
        assert verify(root) == []
        yield root


def test_a_run_killed_at_random_moments_gives_the_same_bytes_and_makes_nothing_twice(
    driver: Driver, tmp_path: Path, tiny: Recipe
) -> None:
    for root in killed_at_random(driver, tmp_path, tiny(), KILLS):
        for keys in (
            facts(root, "render", "images", "image_id"),
            facts(root, "score", "scores", "image_id", "scorer", "digest", "metric"),
        ):
            assert len(keys) == len(set(keys)) > 0


def test_a_kill_during_checks_of_the_whole_set_changes_no_verdict_place_or_byte(
    driver: Driver, tmp_path: Path, checked: Recipe
) -> None:
    """Near and semantic duplicates, prompts accepted elsewhere, a benchmark, an order with a cap, a demand."""
    for root in killed_at_random(driver, tmp_path, checked(), max(2, KILLS // 2)):
        with catalog.open_run(root) as con:
            reasons = {name for (name,) in con.sql("SELECT DISTINCT reason FROM fates").fetchall()}
        wanted = {"exact_duplicate", "near_duplicate", "semantic_duplicate", "contaminated", "source_cap", "quota_full"}
        assert wanted <= reasons


def test_a_kill_while_a_set_is_added_to_changes_no_byte_of_it(
    driver: Driver, tmp_path: Path, tiny: Recipe, finished: Path
) -> None:
    """What the first set's quotas left over comes in; the pictures of both sides are in the end what they are whole."""
    raw = tiny()
    raw["select"]["quota"] = {}
    raw["publish"] = {"extends": str(finished)}
    for root in killed_at_random(driver, tmp_path, raw, 2):
        said = json.loads((root / "dataset/manifest.json").read_text("utf-8"))
        assert (
            0
            < said["extends"]["rows"]
            < sum(said["files"][f"prompts/{split}-00000-of-00001.parquet"]["rows"] for split in said["counts"])
        )


@pytest.mark.parametrize("in_rounds", [True, False])
def test_a_kill_between_and_inside_rounds_and_waves_of_takes_changes_no_byte(
    driver: Driver, tmp_path: Path, tiny: Recipe, in_rounds: bool
) -> None:
    raw = recipe.override(tiny(), ["regime.mistake_rate=0.5", "run.workers=1"])
    raw["render"] = {"takes": 3, "until_pass": True, "fixed_share": 0.3}
    raw["select"]["quota"] = dict.fromkeys(raw["select"]["quota"], 4)
    if in_rounds:
        raw["rounds"] = {"round_renders": 20, "max_renders": 45}
        raw["select"]["policy"] = "images"
        for gate in raw["select"]["gates"].values():
            gate["decision"] = "keep_prompt"
    for root in killed_at_random(driver, tmp_path, raw, 1 if KILLS < 10 else KILLS // 5):
        made = facts(root, "render", "images", "image_id")
        assert len(made) == len(set(made))
        with catalog.open_run(root) as con:
            plan = con.sql("SELECT count(*), max(round), bool_or(fixed), bool_and(fixed) FROM render_plan").fetchall()
        assert len(made) == plan[0][0]  # the plans of a killed run are those of a whole one: nothing drawn in vain
        assert plan[0][1] >= 2
        assert plan[0][2:] == (True, False)


def test_shards_ranks_and_increments_change_no_byte_of_what_the_checks_leave(
    tmp_path: Path, checked: Recipe, drive: Callable[..., Any]
) -> None:
    cuts = (["run.workers=1"], ["run.shard_rows=4", "run.workers=2", "run.increment=2", "run.bucket_images=3"])
    made = []
    for world, settings in enumerate(cuts, 1):
        root = tmp_path / str(world)
        drive(root, recipe.override(checked(), settings), world)
        made.append((dataset(root), [item.name for each in Store(root).commits("arrange") for item in each.files]))
    assert made[0] == made[1]


def test_a_kill_while_a_new_data_set_takes_the_place_of_the_old_is_made_good(
    driver: Driver, tmp_path: Path, finished: Path, tiny: Recipe
) -> None:
    """A changed gate has select, publish and the head made anew: killed at durable calls of that, the last included."""
    changed = recipe.override(tiny(), ["select.gates.colours_agree.min=0.5"])
    whole = Path(shutil.copytree(finished, tmp_path / "whole" / "run"))
    assert driver.run(whole, changed) == 0
    assert dataset(whole) != dataset(finished)
    n_calls = calls(whole)
    moments = random.Random(20261121).sample(range(1, n_calls), min(KILLS, n_calls) - 1)
    for deadly in (*moments, n_calls):
        root = Path(shutil.copytree(finished, tmp_path / str(deadly) / "run"))
        assert driver.run(root, changed, deadly=deadly) == -signal.SIGKILL
        assert driver.run(root, changed) == 0
        assert dataset(root) == dataset(whole), deadly
        assert verify(root) == []


def stepwise(root: Path, raw: dict[str, Any], ranks: list[int]) -> None:
    """Every stage, the ranks of render and score in this order."""
    prepare(root, raw, "test")
    with Lock(root) as lock:
        for shard in range(pipeline.text_shards(root)):
            pipeline.make_text(root, shard)
        pipeline.make_dedup(root)
        pipeline.make_plan(root)
        for stage in (pipeline.make_render, pipeline.make_score):
            for rank in ranks:
                stage(root, rank, len(ranks))
        pipeline.make_select(root)
        pipeline.make_publish(root)
        pipeline.advance(root, lock.epoch, "publish")


def test_ranks_in_either_order_make_what_one_makes(tmp_path: Path, tiny: Recipe, finished: Path) -> None:
    for ranks in ([0, 1], [1, 0]):
        root = tmp_path / "".join(map(str, ranks))
        stepwise(root, tiny(), ranks)
        assert dataset(root) == dataset(finished)
        assert len(Store(root).commits("render")) > 2


def test_three_shards_and_eight_make_the_same_data_set(tmp_path: Path, tiny: Recipe) -> None:
    raw = tiny()
    rows = []
    for source in raw["sources"]:
        for line in Path(source["paths"][0]).read_text("utf-8").splitlines()[:8]:
            rows.append(json.loads(line) | {"axis": source["axis"]})
    own = tmp_path / "own.jsonl"
    own.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    raw["sources"] = [{"kind": "files", "paths": [str(own)]}]
    sets = []
    for shards, size in ((3, 8), (8, 3)):
        root = tmp_path / str(shards)
        stepwise(root, recipe.override(raw, [f"run.shard_rows={size}"]), [0])
        assert len(Store(root).commits("generate")) == shards
        sets.append(dataset(root))
    assert sets[0] == sets[1]


def test_a_changed_threshold_renders_and_scores_nothing(copy: Path, tiny: Recipe, drive: Callable[..., Any]) -> None:
    before = dataset(copy)
    tallies = drive(copy, recipe.override(tiny(), ["select.gates.colours_agree.min=0.5"]))
    assert {stage: tally.done for stage, tally in tallies.items() if tally.done} == {"select": 1, "publish": 1}
    assert dataset(copy) != before
    drive(copy, tiny())
    assert dataset(copy) == before
