"""Speed of the text filters, a column at once against the same code row by row.

    taskset -c 0 python benchmarks/filters.py DATA [--rows 200000] [--rounds 3] [--seed 1]

The rows are real prompts of the public sets in DATA, drawn with one seed, each set in proportion to its size but
CommonText, of which as many as of the next largest; the strings to be drawn are those that a run would parse. One
thread, processor time: other work on the machine slows caches, but its own time does not count. Each filter of the GPU
recipes, without tokenizers; then the chain as a run does it, each filter on the rows that those before it left. In the
row-by-row chain each text meets the same checks in the same order in plain Python, with Python's own re, until one
drops it, and the language of every row is told by py3langid, the library that the column's screens leave a few rows
to; checks without plain code of their own are given to it as fast as they are. It gets fewer rows, since it is slow.
Rounds alternate the two ways; medians are written, with the least and the most, to results/filters.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from promptforge.filters import boilerplate, language, personal_data, repetition, safety, specificity, visualness
from promptforge.protocols import Finding
from promptforge.recipe import read
from promptforge.targets import parse
from promptforge.texts import clean

RESULTS = Path(__file__).resolve().parent / "results" / "filters.json"
SLOW_ROWS = 2_000
SETS = (
    *("pickapic_train", "imagereward_refl", "laion_alttext", "t2i_compbench", "tifa_v1", "partiprompts", "geneval"),
    *("drawbench", "hpsv2_photo", "flow_grpo_ocr_test", "lex_bench_easy", "ud_ewt", "distillt5_commontext_train"),
)
MOST = 23_051  # of one set: the size of pickapic_train


def table_of(data: Path, n: int, seed: int) -> pa.Table:
    """`n` rows with the columns that filters read."""
    label_sets = import_module("label_sets")
    rng = np.random.default_rng(seed)
    found = []
    for name in SETS:
        some = [row["prompt"] for row in label_sets.read(data, name) if row["prompt"]]
        found += [some[i] for i in rng.permutation(len(some))[:MOST]]
    found = [clean(found[i]).text for i in rng.integers(0, len(found), n)]
    parsed = {text: parse(text) for text in set(found)}
    rows = [parsed[text] for text in found]
    columns = {
        "text_clean": pa.array(found, pa.string()),
        "expected_text": pa.array([each.strings for each in rows], pa.list_(pa.string())),
        "expected_origin": pa.array([each.origin for each in rows], pa.string()),
        "axis": pa.array(["text_rendering" if each.strings else "image_quality" for each in rows], pa.string()),
        "repairs": pa.array([[]] * n, pa.list_(pa.string())),
        "split": pa.array(["train"] * n, pa.string()),
        "n_words": pa.array([len(text.split()) for text in found], pa.int32()),
        "n_chars": pa.array([len(text) for text in found], pa.int32()),
    }
    return pa.table(columns)


def _gone(check: Any, table: pa.Table) -> set[int]:
    return {finding.row for finding in check(table.select(list(check.columns))) if finding.verdict == "drop"}


def chain(table: pa.Table, filters: dict[str, Any]) -> int:
    """Rows that are left, as the stage filter finds them."""
    checks = list(filters.values())
    for number, check in enumerate(checks, 1):
        gone = _gone(check, table)
        if gone:
            alive = np.ones(table.num_rows, bool)
            alive[sorted(gone)] = False
            needed = {"text_clean"}.union(*(later.columns for later in checks[number:]))
            table = table.select(sorted(needed)).filter(pa.array(alive))
    return int(table.num_rows)


def row_by_row(table: pa.Table, filters: dict[str, Any]) -> int:
    """Rows that are left; filters without plain code of their own see the column, as fast as they are."""
    left = 0
    gone = {name: _gone(check, table) for name, check in filters.items() if name not in LOOKS}
    params = {name: import_module(f"promptforge.filters.{name}").Params() for name in LOOKS}
    for place, row in enumerate(table.select(["text_clean", "expected_text"]).to_pylist()):
        text, expected = row["text_clean"], row["expected_text"] or ()
        for name in filters:
            if name == "language":
                language._identified(text)
            if name in LOOKS:
                finding = LOOKS[name](text, expected, params[name])
            elif place in gone[name]:
                break
            else:
                continue
            if finding is not None and finding.verdict == "drop":
                break
        else:
            left += 1
    return left


LOOKS: dict[str, Callable[[str, Any, Any], Finding | None]] = {
    "safety": lambda text, expected, params: safety.look(0, text, params),
    "personal_data": lambda text, expected, params: personal_data.look(0, text, params),
    "repetition": lambda text, expected, params: repetition.look(0, text, params),
    "specificity": lambda text, expected, params: specificity.look(0, text, params),
    "boilerplate": lambda text, expected, params: boilerplate.look(0, text, expected, params),
    "language": lambda text, expected, params: language.look(0, text, expected, params),
    "visualness": lambda text, expected, params: visualness.look(0, text, expected, params),
}


def seconds(work: Callable[[], Any]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": round(statistics.median(values), 1), "min": round(min(values), 1), "max": round(max(values), 1)}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    table = table_of(given.data, given.rows, given.seed)
    named = read("flux-dev")["filters"]
    filters = {}
    for name, params in named.items():
        module = import_module(f"promptforge.filters.{name}")
        filters[name] = module.build(module.Params(**params))
    slow = table.slice(0, SLOW_ROWS)
    kept = chain(table.slice(0, SLOW_ROWS), filters), row_by_row(slow, filters)  # warm: patterns, the identifier
    assert kept[0] == kept[1], kept
    each: dict[str, list[float]] = {name: [] for name in filters}
    fast_rates, slow_rates = [], []
    for _ in range(given.rounds):
        fast_rates.append(given.rows / seconds(lambda: chain(table, filters)))
        slow_rates.append(SLOW_ROWS / seconds(lambda: row_by_row(slow, filters)))
        for name, check in filters.items():
            part = table.select(list(check.columns))
            each[name].append(1e6 * seconds(lambda check=check, part=part: check(part)) / given.rows)
    record = {
        "rows": given.rows,
        "slow_rows": SLOW_ROWS,
        "rounds": given.rounds,
        "mean_words": round(float(np.mean(table["n_words"].to_numpy())), 1),
        "kept": [chain(table, filters), given.rows],
        "chain_rows_per_s": spread(fast_rates),
        "row_by_row_rows_per_s": spread(slow_rates),
        "ratio": spread([fast / one for fast, one in zip(fast_rates, slow_rates, strict=True)]),
        "us_per_row": {name: spread(values) for name, values in each.items()},
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} core(s) usable",
        "versions": {"python": platform.python_version(), "pyarrow": pa.__version__, "numpy": np.__version__},
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
