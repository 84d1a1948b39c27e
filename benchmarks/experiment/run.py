"""Which checks on prompts help a student? Runs the experiment of PROTOCOL.md in the miniature world.

    python benchmarks/experiment/run.py --out DIR [--seeds 5] [--workers 2] [--only ARM ...] [--quick]
    python benchmarks/experiment/report.py DIR

Every (arm, seed) that is done is a file in DIR/done and is not done again; killed anywhere, the same command goes on.
A worker is a process with one thread. `--list` names the arms. What an (arm, seed) costs is in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded, here and in the workers

from gates import draws, training
from gates.plan import ARMS, EVALUATE, QUICK, SELECT, STEPS, Arm, Experiment, Scale

from promptforge.errors import ConfigError, PromptforgeError
from promptforge.files import put
from promptforge.lock import Lock

#: What is done of a job, for the screen.
Job = tuple[str, Callable[..., Any], tuple[Any, ...]]


def main(argv: Sequence[str] | None = None) -> int:
    """What the command line says; the exit code."""
    told = _told(argv)
    if told.list:
        print("\n".join(arm.name for arm in ARMS))
        return 0
    try:
        arms = chosen(told.only)
        experiment = Experiment(told.out.absolute(), told.teacher, QUICK if told.quick else Scale(), *told.judges)
        with Lock(experiment.out, say=print):
            claim(experiment)
            _run(experiment, arms, range(2 if told.quick and told.seeds is None else told.seeds or 5), told.workers)
    except PromptforgeError as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


def chosen(names: Sequence[str]) -> tuple[Arm, ...]:
    """The arms of these names, all where none is named. Raises ConfigError for another name."""
    if unknown := sorted(set(names) - {arm.name for arm in ARMS}):
        raise ConfigError(f"no arm {', '.join(map(repr, unknown))}; --list names them")
    return tuple(arm for arm in ARMS if not names or arm.name in names)


def claim(experiment: Experiment) -> None:
    """Write experiment.json, or see that it is there and the same."""
    stated, text = experiment.out / "experiment.json", json.dumps(experiment.identity(), indent=1, sort_keys=True)
    if stated.is_file() and stated.read_text("utf-8") != text:
        raise ConfigError(f"{experiment.out}: holds an experiment with another teacher, judge or scale; choose another")
    if not stated.is_file():
        put(stated, text.encode())


def _run(experiment: Experiment, arms: Sequence[Arm], seeds: Sequence[int], workers: int) -> None:
    seeds = list(seeds)
    _work([(f"prompts of seed {seed}", prepare, (experiment, seed)) for seed in seeds], workers)
    pairs = [(arm, seed) for seed in seeds for arm in arms if not training.done_file(experiment, arm, seed).is_file()]
    _work([_job(experiment, arm, seed) for arm, seed in pairs if not arm.more], workers)
    more = [(arm, seed) for arm, seed in pairs if arm.more]
    if more:
        price = price_of(experiment, seeds)
        _work([_job(experiment, arm, seed, n_more(experiment, seed, price)) for arm, seed in more], workers)


def _job(experiment: Experiment, arm: Arm, seed: int, n: int = 0) -> Job:
    return f"{arm.name}, seed {seed}", training.run, (experiment, arm, seed, n)


def prepare(experiment: Experiment, seed: int) -> None:
    """The prompts of a seed; nothing comes back from the worker."""
    draws.prepare(experiment, seed)


def price_of(experiment: Experiment, seeds: Sequence[int]) -> float:
    """Optimiser steps that a render of the teacher is worth: both measured here, written down once."""
    path = experiment.out / "price.json"
    if not path.is_file():
        costs = [draws.prepare(experiment, seed)["costs"] for seed in seeds]
        render_s = sum(each["render_s"] for each in costs) / sum(each["renders"] for each in costs)
        batches = [
            found["seconds_a_batch"]
            for file in sorted((experiment.out / "done").glob("*.json"))
            if (found := json.loads(file.read_text("utf-8")))["arm"] in ("random", "prompt", "prompt + teachability")
        ]
        known = sorted(each for each in batches if each)
        if not known:
            raise ConfigError("equal compute: no time of a step is known; run random, prompt or prompt + teachability")
        step_s = known[len(known) // 2] / STEPS
        told = {"render_s": render_s, "step_s": step_s, "steps_a_render": render_s / step_s}
        put(path, json.dumps(told, indent=1, sort_keys=True).encode())
    return float(json.loads(path.read_text("utf-8"))["steps_a_render"])


def n_more(experiment: Experiment, seed: int, price: float) -> int:
    """Batches that the renders of teachability would have paid for."""
    return round(draws.prepare(experiment, seed)["costs"]["renders_teachability"] * price / STEPS)


def _work(jobs: Sequence[Job], workers: int) -> None:
    start = time.monotonic()
    for done, name in enumerate(_done(jobs, workers), 1):
        passed = time.monotonic() - start
        left = passed / done * (len(jobs) - done)
        print(f"{done}/{len(jobs)} {name}; {passed:.0f} s passed, {left:.0f} s left", flush=True)


def _done(jobs: Sequence[Job], workers: int) -> Iterator[str]:
    """The names of the jobs as they are done; one worker is this process."""
    if workers == 1 or len(jobs) < 2:
        for name, work, told in jobs:
            work(*told)
            yield name
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(work, *told): name for name, work, told in jobs}
        try:
            for future in as_completed(waiting):
                future.result()
                yield waiting[future]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _told(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/experiment"), help="folder of the experiment")
    parser.add_argument("--seeds", type=int, help="seeds 0 to this many less one; 5, with --quick 2")
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--only", nargs="+", default=[], metavar="ARM", help="arms; left out: all")
    parser.add_argument("--quick", action="store_true", help="everything once and small; its numbers say nothing")
    parser.add_argument("--teacher", default="promptforge:miniature", help="folder of a FLUX pipeline")
    parser.add_argument(
        "--judges", nargs=2, default=[SELECT, EVALUATE], metavar="FOLDER", help="the judge that selects, that evaluates"
    )
    parser.add_argument("--list", action="store_true", help="name the arms and end")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
