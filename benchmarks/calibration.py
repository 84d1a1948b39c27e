"""How often the 95% intervals of `promptforge calibrate` cover what is known, under the draw of `promptforge label`.

    python benchmarks/calibration.py [--repetitions 1000]

Each case: 20,000 scores (normal, or 6 * beta(2, 5) - 2), P(good | score) logistic, so that the precision of every
threshold, and the threshold at which it is what is asked, are sums over the scores. Each repetition draws a stratified
sample around the bound in force and answers for each drawn picture by its chance. Counted: intervals that hold the
known threshold, the known precision at it, and at the bound in force; intervals of the threshold that are open at an
end. `chance` is the binomial error of a count, one standard deviation.
Writes benchmarks/results/calibration.json.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from promptforge.stages.calibration.draw import allocate, bands
from promptforge.stages.calibration.estimates import Sample, threshold_interval

RESULTS = Path(__file__).resolve().parent / "results" / "calibration.json"


@dataclass(frozen=True, slots=True)
class Case:
    """Logistic `offset + slope * score`; labels are drawn around `bound`, and `precision` is asked for."""

    offset: float
    slope: float
    bound: float
    precision: float
    n: int
    skewed: bool = False


CASES = (
    Case(1.0, 2.0, 0.0, 0.9, 100),
    Case(1.0, 2.0, 0.0, 0.9, 200),
    Case(1.0, 2.0, 0.0, 0.9, 400),
    Case(0.5, 3.0, -0.5, 0.9, 200),
    Case(1.0, 1.0, 0.0, 0.8, 200),
    Case(1.0, 2.0, 0.3, 0.8, 200),
    Case(0.0, 2.0, 0.0, 0.8, 200, skewed=True),
    Case(0.0, 2.0, 0.5, 0.9, 400, skewed=True),
)


def coverage(case: Case, repetitions: int, seed: int) -> dict[str, float]:
    """Shares of repetitions in which each interval holds what is known; `open_share` of the threshold's intervals."""
    rng = np.random.default_rng(seed)
    score = np.sort(6 * rng.beta(2, 5, 20_000) - 2 if case.skewed else rng.normal(size=20_000))
    chance = 1 / (1 + np.exp(-(case.offset + case.slope * score)))
    known = np.cumsum(chance[::-1])[::-1] / np.arange(len(score), 0, -1)  # precision of the threshold at each score
    threshold = float(score[np.argmax(known >= case.precision)])
    places = np.array([np.searchsorted(score, threshold), np.searchsorted(score, case.bound)])
    strata = bands(np.abs(score - case.bound), score >= case.bound)
    sizes = np.bincount(strata, minlength=8)
    drawn = allocate(sizes, case.n, range(8))
    members = [(np.flatnonzero(strata == place), n) for place, n in enumerate(drawn.tolist())]
    hits = np.zeros(3)
    n_open = 0
    for _ in range(repetitions):
        taken = np.concatenate([own[np.argpartition(rng.random(len(own)), n - 1)[:n]] for own, n in members])
        good = rng.random(len(taken)) < chance[taken]
        part = Sample(score[taken], good, strata[taken], sizes.astype(float)).part(np.ones(len(taken), bool))
        found = part.precision(score[places])
        ends = threshold_interval(part, case.precision)
        hits[0] += ends is not None and ends[0] <= threshold <= ends[1]
        hits[1:] += (found.low <= known[places]) & (known[places] <= found.high)
        n_open += ends is not None and not np.isfinite(ends).all()
    shares = (hits / repetitions).round(4).tolist()
    names = ("threshold", "precision_at_threshold", "precision_at_bound")
    return {**dict(zip(names, shares, strict=True)), "open_share": round(n_open / repetitions, 4)}


def main() -> None:
    """Measure every case and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000)
    repetitions = parser.parse_args().repetitions
    start = time.monotonic()
    cases: list[dict[str, Any]] = []
    for seed, case in enumerate(CASES):
        cases.append({**asdict(case), **coverage(case, repetitions, seed)})
        print(json.dumps(cases[-1]), flush=True)
    record = {
        "repetitions": repetitions,
        "chance": round(math.sqrt(0.95 * 0.05 / repetitions), 4),
        "seconds": round(time.monotonic() - start, 1),
        "cases": cases,
    }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
