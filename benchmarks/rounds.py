"""Rounds: how much is rendered too much, and how many rounds it takes, against one-by-one rendering with hindsight.

    python benchmarks/rounds.py [--seeds 20]

Three goals of 600 each, no budget. The outcome of each prompt is the canvas teacher's own draw of a mistake from its
seed, at mistake rates of 1 less the acceptance. Hindsight renders one prompt after another and stops at the 600th that
passes; the surplus is the share of further renders. Writes benchmarks/results/rounds.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from promptforge.records import content_id, noise_seed
from promptforge.stages.rounds.replay import NEVER, Candidates, Flags, Play, Rules
from promptforge.teachers.drawing.mistakes import FRAME_KINDS, choose

RESULTS = Path(__file__).resolve().parent / "results" / "rounds.json"
WANTED, GOALS = 600, 3
ACCEPTANCES = (0.1, 0.3, 0.5, 0.7, 0.8, 0.95)
WEIGHTS = dict.fromkeys(FRAME_KINDS, 1.0)


def outcomes(acceptance: float, n: int, seed: int, goal: int) -> Flags:
    """Which prompts of a stream have no mistake."""
    seeds = (noise_seed(content_id(f"{seed} {goal} {i}"), 0, seed) for i in range(n))
    return np.array(
        [choose(1 - acceptance, WEIGHTS, FRAME_KINDS, np.random.default_rng(each)) is None for each in seeds]
    )


def measured(acceptance: float, seed: int) -> tuple[float, int]:
    """Surplus and rounds of one run."""
    n = int(WANTED / acceptance * 1.3 + 400)
    passes = [outcomes(acceptance, n, seed, goal) for goal in range(GOALS)]
    needed = sum(int(np.flatnonzero(np.cumsum(each) == WANTED)[0]) + 1 for each in passes)
    none = np.zeros(n, np.int64)
    goals = [
        Candidates(WANTED, none + NEVER, none + NEVER, none.copy(), none.copy(), np.zeros(n, bool)) for _ in passes
    ]
    rounds = 0
    while len(batch := Play(goals, Rules()).run().batch):
        rounds += 1
        for number, (goal, fine) in enumerate(zip(goals, passes, strict=True)):
            mine = batch.index[batch.goal == number]
            goal.planned[mine] = 1
            goal.accepted_at[mine] = goal.passed_at[mine] = np.where(fine[mine], 0, NEVER)
    return sum(int(goal.planned.sum()) for goal in goals) / needed - 1, rounds


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    seeds = parser.parse_args().seeds
    found = []
    for acceptance in ACCEPTANCES:
        runs = [measured(acceptance, seed) for seed in range(seeds)]
        surplus, rounds = [run[0] for run in runs], [run[1] for run in runs]
        found.append(
            {
                "acceptance": acceptance,
                "surplus_median": round(float(np.median(surplus)), 5),
                "surplus_worst": round(max(surplus), 5),
                "rounds_median": float(np.median(rounds)),
                "rounds_most": max(rounds),
            }
        )
    record = {"wanted": [WANTED] * GOALS, "seeds": seeds, "measured": found}
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
