"""Near duplicates: speed beside rensa and datatrove, recall and precision against an exact join, memory.

    python benchmarks/near_duplicates.py DATA.parquet --peers PEERS/bin/python [--numba NUMBA/bin/python]
                                         [--million DATA.parquet] [--rounds 3] [--core 1]
    python benchmarks/near_duplicates.py A.parquet [B.parquet ...] --only default --limit-gib 2   # under RLIMIT_AS

DATA has a column prompt. Every measurement is a process of its own, pinned to one core with one thread, in turns (ours,
rensa, ours, rensa, ...); the medians are compared. Time is the process's own (user + system): all are single-threaded,
and a clock would measure the machine's other work. It runs from the Arrow column to the survivors, without
imports, reading the file and compiling. Two configurations: `default` is the recipe's (content, facts, spelling,
Jaccard 0.8), with which the labelled figures hold; `text` compares the bare words of the whole text at Jaccard 0.7, as
the peers do. rensa: lower-case word bigrams by re, 128 permutations, 16 bands, batch calls. datatrove: its four steps
with bigrams, 14 buckets of 8, on the first 20,000 rows. rensa and datatrove verify nothing.

The exact join is a prefix filter (each row's rarest n-grams) without MinHash: of `text` over bigrams of Python's own
re, of `default` over the features. Recall is the share of its pairs of which at least one row is dropped; precision the
share of dropped rows that have a partner in the join.
PEERS is an environment with numpy, pyarrow, rensa, datatrove, spacy and xxhash < 4; NUMBA one with promptforge's
requirements and numba. Writes benchmarks/results/near_duplicates.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

RESULTS = Path(__file__).resolve().parent / "results" / "near_duplicates.json"
CONFIGURATIONS: dict[str, dict[str, Any]] = {"default": {}, "text": {"view": "text", "threshold": 0.7}}
_WORD = re.compile(r"\w+")


def peak_mib() -> int:
    """Most memory that this process ever held. Not ru_maxrss: a child's begins at what its parent held."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.split("VmHWM:")[1].split()[0]) >> 10


def column(path: str, rows: int | None) -> pa.Array:
    """The prompts, at most `rows` of them."""
    found = pq.read_table(path, columns=["prompt"])["prompt"].combine_chunks()
    return found if rows is None else found.slice(0, rows)


def bigrams(text: str) -> list[str]:
    """Lower-case word bigrams; one word is its own."""
    words = _WORD.findall(text.lower())
    return [f"{a} {b}" for a, b in zip(words, words[1:])] or words  # noqa: B905, RUF007


def ours(path: str, rows: int | None, name: str, compiled: bool) -> dict[str, Any]:
    """One run of the stage's kernel: features in batches, then survivors."""
    from promptforge.stages.dedup import BATCH_ROWS
    from promptforge.stages.resemblance import compare
    from promptforge.stages.resemblance.features import features, joined
    from promptforge.stages.resemblance.settings import DedupSettings

    settings = DedupSettings(**CONFIGURATIONS[name], compiled=compiled)

    def run(texts: pa.Array) -> np.ndarray:
        parts = [features(texts.slice(at, BATCH_ROWS), settings) for at in range(0, len(texts), BATCH_ROWS)]
        return compare.survivors(joined(parts), settings)[0]

    texts = column(path, rows)
    before = peak_mib()
    run(texts.slice(0, 2000))  # tables and, with numba, compiling
    start = time.process_time()
    winner = run(texts)
    seconds = time.process_time() - start
    return {
        "rows": len(texts),
        "seconds": seconds,
        "dropped": np.flatnonzero(winner != np.arange(len(winner))).tolist(),
        "mib_before": before,
    }


def limited(paths: list[str], gib: float, name: str, compiled: bool) -> dict[str, Any]:
    """The same over files that are read in batches, in a process that may not take more address space."""
    from promptforge.stages.dedup import BATCH_ROWS
    from promptforge.stages.resemblance import compare
    from promptforge.stages.resemblance.features import features, joined
    from promptforge.stages.resemblance.settings import DedupSettings

    resource.setrlimit(resource.RLIMIT_AS, (int(gib * 2**30), int(gib * 2**30)))
    settings = DedupSettings(**CONFIGURATIONS[name], compiled=compiled)
    compare.survivors(features(pa.array(["a fox in the snow"] * 2), settings), settings)  # tables, compiling
    clock, start = time.perf_counter(), time.process_time()
    parts = []
    for path in paths:
        for batch in pq.ParquetFile(path).iter_batches(BATCH_ROWS, columns=["prompt"]):
            parts.append(features(batch.column(0), settings))
    found = joined(parts)
    parts.clear()
    winner = compare.survivors(found, settings)[0]
    return {
        "rows": len(found),
        "limit_gib": gib,
        "seconds": round(time.process_time() - start, 2),
        "clock_s": round(time.perf_counter() - clock, 2),
        "dropped": int((winner != np.arange(len(winner))).sum()),
        "peak_mib": peak_mib(),
    }


def rensa(path: str, rows: int | None) -> dict[str, Any]:
    """Flags by signatures and bands: both sides of a pair are flagged, so what is dropped is not known."""
    import rensa as library

    texts = column(path, rows).to_pylist()
    start = time.process_time()
    sets = [bigrams(text) for text in texts]
    matrix = library.RMinHash.digest_matrix_from_token_sets(sets, 128, 42)
    index = library.RMinHashLSH(threshold=0.7, num_perm=128, num_bands=16)
    flags = np.array(index.query_duplicate_flags_matrix_one_shot(matrix))
    return {
        "rows": len(texts),
        "seconds": time.process_time() - start,
        "dropped": np.flatnonzero(flags).tolist(),
        "both": True,
    }


def datatrove(path: str, rows: int | None) -> dict[str, Any]:
    """Its own pipeline of four steps, one task, on disk."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import ParquetWriter
    from datatrove.utils.hashing import HashConfig

    texts = column(path, rows).to_pylist()
    base = Path(tempfile.mkdtemp())
    (base / "in").mkdir()
    pq.write_table(pa.table({"text": texts, "id": [str(i) for i in range(len(texts))]}), base / "in" / "a.parquet")
    config = MinhashConfig(n_grams=2, num_buckets=14, hashes_per_bucket=8, hash_config=HashConfig(precision=64))
    steps = [
        ([MinhashDedupSignature(f"{base}/sig", config=config, language="en")], True, 1),
        ([MinhashDedupBuckets(f"{base}/sig", f"{base}/bk", config=config)], False, 14),
        ([MinhashDedupCluster(f"{base}/bk", f"{base}/rm", config=config)], False, 1),
        (
            [
                MinhashDedupFilter(f"{base}/rm", exclusion_writer=ParquetWriter(f"{base}/removed")),
                ParquetWriter(f"{base}/out"),
            ],
            True,
            1,
        ),
    ]
    start = time.process_time()
    for number, (pipeline, reads, tasks) in enumerate(steps):
        reader = [ParquetReader(f"{base}/in", text_key="text", id_key="id")] if reads else []
        LocalPipelineExecutor(
            pipeline=[*reader, *pipeline], tasks=tasks, workers=1, logging_dir=f"{base}/log{number}"
        ).run()
    seconds = time.process_time() - start
    dropped = [
        int(row) for file in (base / "removed").glob("*.parquet") for row in pq.read_table(file)["id"].to_pylist()
    ]
    shutil.rmtree(base)
    return {"rows": len(texts), "seconds": seconds, "dropped": sorted(dropped)}


def exact_join(codes: np.ndarray, offsets: np.ndarray, threshold: float) -> np.ndarray:
    """Every pair of rows with Jaccard similarity >= threshold, shape (n, 2), by a prefix filter."""
    row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    pairs = np.unique(np.stack([row, codes], axis=1), axis=0)
    row, codes = pairs[:, 0], pairs[:, 1]
    count = np.bincount(codes)
    order = np.lexsort((codes, count[codes], row))  # rarest first in each row
    row, codes = row[order], codes[order]
    size = np.bincount(row, minlength=len(offsets) - 1)
    begin = np.concatenate([[0], np.cumsum(size)])
    place = np.arange(len(row)) - begin[row]
    prefix = place < size[row] - np.ceil(threshold * size[row] - 1e-9) + 1
    prefix &= count[codes] > 1
    order = np.lexsort((row[prefix], codes[prefix]))
    by_code, members = codes[prefix][order], row[prefix][order]
    edges = np.flatnonzero(np.diff(by_code, prepend=-1, append=-1))
    sets = [set(codes[begin[i] : begin[i + 1]].tolist()) for i in range(len(size))]
    seen: set[tuple[int, int]] = set()
    found = []
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        group = members[first:last].tolist()
        for k, a in enumerate(group):
            for b in group[k + 1 :]:
                if threshold * max(size[a], size[b]) - 1e-9 > min(size[a], size[b]) or (a, b) in seen:
                    continue
                seen.add((a, b))
                both = len(sets[a] & sets[b])
                if both >= threshold * (len(sets[a]) + len(sets[b]) - both) - 1e-9:
                    found.append((a, b))
    return np.array(sorted(found), np.int64).reshape(-1, 2)


def truth(path: str, rows: int | None, name: str) -> np.ndarray:
    """The pairs of the exact join for a configuration."""
    texts = column(path, rows)
    if name == "text":
        lists = [bigrams(text) for text in texts.to_pylist()]
        offsets = np.concatenate([[0], np.cumsum([len(each) for each in lists])])
        flat = pa.array([each for item in lists for each in item]).dictionary_encode()
        return exact_join(flat.indices.to_numpy().astype(np.int64), offsets, 0.7)
    from promptforge.stages.resemblance.features import features
    from promptforge.stages.resemblance.settings import DedupSettings

    settings = DedupSettings()
    found = features(texts, settings)
    # Facts are part of every n-gram, so that rows with other facts share none.
    owner = np.repeat(found.facts, np.diff(found.offsets))
    _, codes = np.unique(owner * np.uint64(0x9E3779B97F4A7C15) + found.shingles, return_inverse=True)
    pairs = exact_join(codes.astype(np.int64), found.offsets, settings.threshold)
    media = found.media[pairs[:, 0]] & found.media[pairs[:, 1]]
    return pairs[(media == found.media[pairs[:, 0]]) | (media == found.media[pairs[:, 1]])]


def quality(result: dict[str, Any], pairs: np.ndarray) -> dict[str, Any]:
    """Recall and precision of what was dropped (or, where both sides are flagged, of that)."""
    pairs = pairs[pairs[:, 1] < result["rows"]]
    dropped, real = np.zeros(result["rows"], bool), np.zeros(result["rows"], bool)
    dropped[result["dropped"]] = True
    real[pairs.ravel()] = True
    first, second = dropped[pairs[:, 0]], dropped[pairs[:, 1]]
    hit = first & second if result.get("both") else first | second
    return {
        "recall": round(float(hit.mean()), 4),
        "precision": round(float((dropped & real).sum() / max(dropped.sum(), 1)), 4),
        "dropped": int(dropped.sum()),
        "true_pairs": len(pairs),
    }


def child(python: str, core: int, *words: str) -> dict[str, Any]:
    """One measurement in a process of its own."""
    env = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "ARROW_NUM_THREADS"), "1")}
    env["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # mimalloc reserves address space, which a limit would count
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = ["taskset", "-c", str(core), python, __file__, *words, "--into", out.name]
        subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        found: dict[str, Any] = json.loads(Path(out.name).read_text("utf-8"))
    return found


def compare_all(given: argparse.Namespace) -> dict[str, Any]:
    """Every contender in turns, then the figures."""
    here = sys.executable
    turns = [("default", here, "default"), ("text", here, "text"), ("rensa", given.peers, "rensa")]
    if given.numba:
        turns += [("default+numba", given.numba, "default+numba"), ("text+numba", given.numba, "text+numba")]
    runs: dict[str, list[dict[str, Any]]] = {}
    for number in range(given.rounds):
        for name, python, what in turns:
            runs.setdefault(name, []).append(child(python, given.core, given.data, "--only", what))
        if number == 0:
            small = child(given.peers, given.core, given.data, "--only", "datatrove", "--rows", "20000")
            runs["datatrove"] = [small]
    true = {name: truth(given.data, given.rows, name) for name in CONFIGURATIONS}
    table: dict[str, Any] = {}
    for name, found in runs.items():
        seconds = statistics.median(each["seconds"] for each in found)
        table[name] = {
            "rows": found[0]["rows"],
            "prompts_per_s": round(found[0]["rows"] / seconds),
            "runs_s": [round(each["seconds"], 3) for each in found],
            "peak_mib": max(each["peak_mib"] for each in found),
            **quality(found[0], true["default" if name.startswith("default") else "text"]),
        }
    for name in [name for name in table if name.split("+")[0] in CONFIGURATIONS]:
        table[name]["times_rensa"] = round(table[name]["prompts_per_s"] / table["rensa"]["prompts_per_s"], 2)
        table[name]["times_datatrove"] = round(table[name]["prompts_per_s"] / table["datatrove"]["prompts_per_s"])
    result: dict[str, Any] = {"data": Path(given.data).name, "table": table}
    if given.million:
        result["million"] = {
            name: child(python, given.core, given.million, "--only", name, "--limit-gib", "3")
            for name, python, _ in turns
            if name != "rensa"
        }
    return result


def _brief(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "rows": found["rows"],
        "seconds": round(found["seconds"], 2),
        "peak_mib": found["peak_mib"],
        "dropped": len(found["dropped"]),
    }


def main() -> None:
    """Run one contender (--only), or all in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("more", nargs="*")
    parser.add_argument("--limit-gib", type=float)
    parser.add_argument("--peers")
    parser.add_argument("--numba")
    parser.add_argument("--million")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--only")
    parser.add_argument("--into", type=Path)
    given = parser.parse_args()
    if given.limit_gib:
        name, _, compiled = (given.only or "default").partition("+")
        found = limited([given.data, *given.more], given.limit_gib, name, bool(compiled))
        if given.into:
            given.into.write_text(json.dumps(found), "utf-8")
        else:
            sys.stdout.write(json.dumps(found) + "\n")
        return
    if given.only:
        name, _, compiled = given.only.partition("+")
        if name in CONFIGURATIONS:
            found = ours(given.data, given.rows, name, bool(compiled))
        else:
            found = {"rensa": rensa, "datatrove": datatrove}[name](given.data, given.rows)
        found["peak_mib"] = peak_mib()
        if given.into:
            given.into.write_text(json.dumps(found), "utf-8")
        else:
            sys.stdout.write(json.dumps(_brief(found)) + "\n")
        return
    result = compare_all(given)
    result["machine"] = {"processor": platform.processor() or platform.machine(), "python": platform.python_version()}
    result["machine"] |= {"numpy": np.__version__, "pyarrow": pa.__version__}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
