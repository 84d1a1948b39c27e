"""Decontamination: speed beside a Python set of 8-grams, and what each rule flags of clean rows.

    python benchmarks/decontamination.py DATA.parquet BENCH.parquet [--rounds 5] [--core 1]

Both files have a column prompt; 200,000 and 20,000 rows in the committed figures, made by one generator with other
seeds, so no row is a copy, and boilerplate is shared. Every hundredth row gets 8 to 12 words in a row out of a prompt
of the list, in other case and punctuation. Each measurement is a process of its own, pinned to one core, in turns; the
medians are compared. Time is the process's own, from the Arrow column to the rows found, without imports, reading the
files and building the list's tables (that is stated apart). `ours` is every rule with the default settings; the rows
have no scenes, as those of other axes than the semantic one. `set`: lower-case words by re, 8-grams joined by blanks, a
Python set. The recall of both is over the rows with such words; what is flagged of the others is a false alarm.
Writes benchmarks/results/decontamination.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

RESULTS = Path(__file__).resolve().parent / "results" / "decontamination.json"
_WORD = re.compile(r"\w+")
_N = 8


def prompts(path: str) -> list[str]:
    """The column prompt."""
    found: list[str] = pq.read_table(path, columns=["prompt"])["prompt"].to_pylist()
    return found


def words(text: str) -> list[str]:
    """Lower-case words."""
    return _WORD.findall(text.lower())


def spoiled(texts: list[str], listed: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The texts, of which every hundredth holds a passage of the list; and which."""
    rng = random.Random(3)
    long = [found for found in map(words, listed) if len(found) >= _N]
    held = np.zeros(len(texts), bool)
    for row in range(0, len(texts), 100):
        source = rng.choice(long)
        size = rng.randint(_N, min(12, len(source)))
        start = rng.randint(0, len(source) - size)
        passage = source[start : start + size]
        texts[row] += ", " + (" - ".join(passage[:3]) + " " + " ".join(passage[3:])).title()
        held[row] = True
    return texts, held


def by_set(texts: Sequence[str], listed: Sequence[str]) -> tuple[np.ndarray, float, float]:
    """Rows that share an 8-gram with the list; seconds to build the set, and to look."""
    start = time.process_time()
    known = {" ".join(w[at : at + _N]) for w in map(words, listed) for at in range(len(w) - _N + 1)}
    built = time.process_time()
    found = np.zeros(len(texts), bool)
    for row, text in enumerate(texts):
        own = words(text)
        found[row] = any(" ".join(own[at : at + _N]) in known for at in range(len(own) - _N + 1))
    return found, built - start, time.process_time() - built


def by_rules(texts: Sequence[str], listed: Sequence[str]) -> tuple[np.ndarray, float, float]:
    """Rows that a rule finds which drops by default; seconds to build the index, and to look."""
    from promptforge.stages.contamination.find import BATCH_ROWS, Index, Rows
    from promptforge.stages.contamination.settings import COPIES, RULES, Benchmark, DecontaminateSettings

    drops = np.array([rule in COPIES for rule in RULES])
    column = pa.array(texts, pa.string())
    start = time.process_time()
    settings = DecontaminateSettings(benchmarks=(Benchmark(name="list", path="list"),))
    index = Index(tuple(dict.fromkeys(listed)), settings)
    built = time.process_time()
    found = np.zeros(len(texts), bool)
    for at in range(0, len(texts), BATCH_ROWS):
        part = column.slice(at, BATCH_ROWS)
        none = pa.nulls(len(part), pa.string())
        hits = index.find(Rows(part, none.fill_null(""), np.zeros(len(part), bool), none))
        found[at + hits.row[drops[hits.rule]]] = True
    return found, built - start, time.process_time() - built


def one(data: str, bench: str, method: str) -> dict[str, Any]:
    """One measurement."""
    listed = prompts(bench)
    texts, held = spoiled(prompts(data), listed)
    found, built, seconds = {"set": by_set, "ours": by_rules}[method](texts, listed)
    return {
        "build_s": built,
        "scan_s": seconds,
        "rows_per_s": len(texts) / seconds,
        "recall": float((found & held).sum() / held.sum()),
        "clean_flagged": float((found & ~held).sum() / (~held).sum()),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def compare(data: str, bench: str, rounds: int, core: int) -> dict[str, Any]:
    """Medians of both, in turns."""
    runs: dict[str, list[dict[str, Any]]] = {"set": [], "ours": []}
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for _ in range(rounds):
        for method, made in runs.items():
            call = [sys.executable, __file__, data, bench, "--one", method, "--core", str(core)]
            made.append(json.loads(subprocess.run(call, env=env, check=True, capture_output=True).stdout))
    medians = {
        method: {name: round(statistics.median(run[name] for run in made), 4) for name in made[0]}
        for method, made in runs.items()
    }
    return {
        **medians,
        "times_as_fast_with_index": round(
            sum(medians["set"][name] for name in ("build_s", "scan_s"))
            / sum(medians["ours"][name] for name in ("build_s", "scan_s")),
            2,
        ),
        "times_as_fast": round(medians["ours"]["rows_per_s"] / medians["set"]["rows_per_s"], 2),
        "rounds": rounds,
        "rows": [pq.read_metadata(data).num_rows, pq.read_metadata(bench).num_rows],
        "machine": platform.processor() or platform.machine(),
    }


def main(arguments: Sequence[str]) -> int:
    """Compare, or make one measurement and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("bench")
    parser.add_argument("--one", choices=("set", "ours"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=1)
    chosen = parser.parse_args(arguments)
    if chosen.one:
        os.sched_setaffinity(0, {chosen.core})
        pa.set_cpu_count(1)
        found = one(chosen.data, chosen.bench, chosen.one)
    else:
        found = compare(chosen.data, chosen.bench, chosen.rounds, chosen.core)
        RESULTS.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
