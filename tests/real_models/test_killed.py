"""The same bytes however the work is cut, and wherever it is killed: nothing lost or twice, little asked again.

A run is a fork of a process that has imported everything, killed with SIGKILL at the n-th call of a stage that makes
something durable (fsync, rename, link), or after a time. PROMPTFORGE_MODEL_KILLS sets how often: 3 in the suite.
"""

import contextlib
import json
import os
import random
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from promptforge.recipe import override
from promptforge.stages.verify import verify

from .runs import IN_FLIGHT, INCREMENT, dataset, drive, facts, small

pytestmark = pytest.mark.models

KILLS = int(os.environ.get("PROMPTFORGE_MODEL_KILLS", "3"))
LASTS_S = 8  # a whole run on an idle machine
STAGES = ("ask", "render", "score", "respond")

DRIVER = """
import importlib, json, os, signal, sys, threading, traceback
from pathlib import Path
from promptforge.models.torch_setup import load_torch
load_torch().set_num_threads(1)
import datasets, diffusers, open_clip, openai, transformers
from diffusers import FluxPipeline
from transformers import CLIPTextModel, Owlv2ForObjectDetection, Owlv2Processor, T5EncoderModel
from promptforge import scenes
from promptforge.lock import Lock
from promptforge.stages import parts, pipeline, publish
from promptforge.stages.run import prepare
from promptforge.store import Store

for package in ("sources", "filters", "teachers", "scorers", "models", "models.language"):
    for name in parts.known(package):
        importlib.import_module(f"promptforge.{package}.{name}")
scenes.parse("a red cup")
found, stage = [], ["other"]

def counted(real, deadly):
    def call(*args, **kwargs):
        if threading.current_thread() is threading.main_thread():
            found.append(stage[-1])
            if [stage[-1], found.count(stage[-1])] == deadly:
                os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    return call

def work(root, raw, deadly):
    commit = Store.commit
    def told(self, name, *args, **kwargs):
        stage.append(name)
        try:
            return commit(self, name, *args, **kwargs)
        finally:
            stage.pop()
    Store.commit = told
    os.fsync, os.link = counted(os.fsync, deadly), counted(os.link, deadly)
    Path.replace, Path.rename = counted(Path.replace, deadly), counted(Path.rename, deadly)
    prepare(root, raw, "test")
    with Lock(root) as lock:
        Store(root).sweep()
        pipeline.make_all(root, lock.epoch)

print(threading.active_count(), flush=True)
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
            [sys.executable, "-W", "ignore", "-c", DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        assert int(self._process.stdout.readline()) == 1  # a fork has only the thread that forks

    def run(self, root: Path, raw: dict, *, deadly: tuple[str, int] | None = None, after_s: float | None = None) -> int:
        """Exit code of a run that is killed at the n-th durable call of a stage, or after a time; 0: it got through."""
        root.parent.mkdir(parents=True, exist_ok=True)
        job = {"root": str(root), "recipe": raw, "deadly": deadly}
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        pid = int(self._process.stdout.readline())
        if after_s is not None and not select.select([self._process.stdout], [], [], after_s)[0]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def driver(models):
    found = Driver()
    yield found
    found.close()


def test_ranks_increments_and_scoring_in_the_process_that_draws_change_no_byte(tmp_path, models, writer, reference):
    raw, wanted, rows = small(models, writer), dataset(reference.root), facts(reference.root)
    assert "manifest.json" in wanted
    assert len(rows["images"]) == 19
    every = f"run.score_in_render={json.dumps(sorted(raw['scorers']))}"
    for name, world, settings in (
        ("two-ranks", 2, ["run.increment=2"]),
        ("in-render", 2, ["run.increment=64", "run.bucket_images=1000", every]),
    ):
        made = tmp_path / name
        tallies = drive(made, override(raw, settings), world)
        assert dataset(made) == wanted, name
        assert facts(made) == rows, name
        assert verify(made) == []
        assert (tallies["score"].done == 0) is (name == "in-render")


def test_a_run_killed_at_random_moments_gives_the_same_bytes_makes_nothing_twice_and_asks_little_again(
    tmp_path, models, writer, reference, driver
):
    raw, wanted, rows = small(models, writer), dataset(reference.root), facts(reference.root)
    n_requests = sum(reference.asked.values())
    rng = random.Random(int(os.environ.get("PROMPTFORGE_MODEL_SEED", "20261121")))
    log: list[tuple] = []
    kills = rounds = n_moments = 0
    while kills < KILLS:
        made = tmp_path / str(rounds) / "run"
        rounds += 1
        before, killed = sum(writer.asked().values()), 0
        for _ in range(3):  # a folder that was killed more often has little left to do
            stage, n_moments = STAGES[n_moments % len(STAGES)], n_moments + 1
            by_call = {"deadly": (stage, rng.randint(1, reference.n_calls(stage)))}
            moment = by_call if rng.random() < 0.75 else {"after_s": rng.uniform(1, LASTS_S)}
            code = driver.run(made, raw, **moment)
            assert code in (0, -signal.SIGKILL), moment
            log.append((rounds, moment, "killed" if code else "through"))
            killed += code != 0
            kills += code != 0
            if code == 0 or kills >= KILLS:
                break
        assert driver.run(made, raw) == 0, log
        assert dataset(made) == wanted, log
        assert facts(made) == rows, log
        assert verify(made) == [], log
        again = sum(writer.asked().values()) - before - n_requests
        log.append(("asked again", again, killed))
        assert 0 <= again <= killed * (INCREMENT + IN_FLIGHT), log
    sys.stdout.write("\n".join(map(str, log)) + "\n")
