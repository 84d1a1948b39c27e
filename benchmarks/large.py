"""The global steps over millions of rows, under a limit of memory: rows/s, peak, rows dropped.

    python benchmarks/large.py make FOLDER --data DATA [--rows 2000000] [--copies 1] [--seed 1]
    python benchmarks/large.py run FOLDER [--limit-gib 2] [--compiled] [--name NAME]

`make` writes a run folder as generate and filter would leave it: committed Parquet shards of the tables prompts and
verdicts, 50,000 rows each. A row is a real prompt of the public sets in DATA with one phrase of another put behind it
and, in half of the rows, a number before it, so that rows are as long and as much alike as prompts are, and are not all
different: one in twenty is a row said before with another case or a style suffix behind it. Its scene is that of the
first prompt, parsed once. One row in fifty was dropped by a filter.

`run` starts each step (dedup with near duplicates, decontaminate against three benchmarks, plan, select) in a process
of its own, one after the other on the same folder. With --limit-gib each runs in a control group of its own with that
much memory, where the kernel lets this process make one (version 1 or 2; it kills what takes more; the pages of files
count, but are given back), else under a watcher that ends it when its resident memory passes the limit: the record says
which. Peaks are of resident memory (VmHWM). Writes results/large.json, one entry for each name.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

RESULTS = Path(__file__).resolve().parent / "results" / "large.json"
SHARD_ROWS = 50_000
SETS = ("pickapic_train", "imagereward_refl", "laion_alttext", "t2i_compbench", "tifa_v1", "lex_bench_easy")
LISTED = ("geneval", "partiprompts", "drawbench")
SUFFIXES = (", highly detailed, 8k", ", trending on artstation", ", digital art", ", by greg rutkowski", ", photo")
STEPS = ("dedup", "decontaminate", "plan", "select")
RECIPE: dict[str, Any] = {
    "name": "large",
    "sources": [{"kind": "grammar", "axis": "image_quality", "n": 1}],
    "regime": {"teacher": "canvas", "size": 512, "mistake_rate": 0.0},
    "render": {"sample": 0.0},
    "dedup": {"compiled": False},
    "select": {"policy": "distill", "quota": dict.fromkeys(("image_quality", "semantic_understanding"), 100_000)},
}


def make(folder: Path, data: Path, rows: int, seed: int) -> None:
    """Write the run folder."""
    from promptforge import records, scenes, targets, texts
    from promptforge.stages.run import prepare

    label_sets = import_module("label_sets")
    benchmarks = []
    for name in LISTED:
        path = folder / "benchmarks" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        prompts = [" ".join(row["prompt"].split()) for row in label_sets.read(data, name) if row["prompt"]]
        path.write_text("\n".join(prompts) + "\n", "utf-8")
        benchmarks.append({"name": name, "path": str(path)})
    recipe = {**RECIPE, "decontaminate": {"benchmarks": benchmarks}}
    recipe["select"] = {**RECIPE["select"], "quota": {**RECIPE["select"]["quota"], "text_rendering": 100_000}}
    run = prepare(folder / "run", recipe, "benchmarks/large.py")

    found = [row["prompt"] for name in SETS for row in label_sets.read(data, name) if row["prompt"]]
    base = sorted({texts.clean(text).text for text in found if 15 < len(text) < 400})
    known = []
    for text in base:
        parsed = targets.parse(text)
        scene = scenes.parse(text)
        axis = texts.tell_axis(text, parsed.strings, scene)
        known.append((text, list(parsed.strings), parsed.origin, scene.to_json(), axis))
    tails = [part.strip() for text in base for part in text.split(",")[1:] if 8 < len(part.strip()) < 60]
    sys.stdout.write(f"{len(base)} prompts, {len(tails)} phrases\n")

    column = {
        "text": pa.array([item[0].rstrip(" .,") for item in known], pa.string()),
        "expected_text": pa.array([item[1] for item in known], pa.list_(pa.string())),
        "expected_origin": pa.array([item[2] for item in known], pa.string()),
        "scene": pa.array([item[3] for item in known], pa.string()),
        "axis": pa.array([item[4] for item in known], pa.string()),
    }
    behind = pa.array([f", {tail}" for tail in tails])
    for start in range(0, rows, SHARD_ROWS):
        shard, digest = f"s000.p0000.r{start:09d}", records.digest_of([seed, start])
        if run.store.committed("filter", shard, digest) is None:
            prompts, dropped = _shard(column, behind, range(start, min(start + SHARD_ROWS, rows)), seed)
            run.store.commit("generate", shard, digest, {"prompts": prompts})
            run.store.commit("filter", shard, digest, {"verdicts": dropped})


_COPY = """
COPY (
    SELECT * REPLACE (
        md5(row_id || '{copy}') AS row_id, source_row + {after} AS source_row, stream_order + {after} AS stream_order,
        {number} || text AS text, {number} || text_clean AS text_clean, md5({number} || text_clean) AS prompt_id,
        md5({number} || text_clean) AS noise_group, md5({number} || text_clean) AS split_group,
        md5({number} || lower(text_clean)) AS fold_key
    )
    FROM read_parquet('{path}')
) TO '{into}' (FORMAT parquet, COMPRESSION snappy)
"""


def multiply(folder: Path, copies: int) -> None:
    """Write every shard again, `copies` - 1 times, each time with other numbers before the prompts.

    DuckDB does it, in a tenth of the time: hashes are MD5, and what a filter dropped is kept.
    """
    import duckdb

    from promptforge.files import sha256_file
    from promptforge.records import digest_of
    from promptforge.stages.run import open_run
    from promptforge.store import Commit, TableFile

    run = open_run(folder / "run")
    made = [commit for commit in run.store.commits("generate") if ".c" not in commit.shard]
    total = sum(item.rows for commit in made for item in commit.files)
    con = duckdb.connect()
    con.execute("SET threads = 1; SET memory_limit = '1GiB'")
    for copy in range(1, copies):
        for commit in made:
            (item,) = commit.files
            shard, digest = f"{commit.shard}.c{copy}", digest_of([commit.digest, copy])
            if run.store.committed("generate", shard, digest) is not None:
                continue
            name = f"prompts/generate-{shard}-{digest[:16]}.parquet"
            words = {"copy": copy, "after": copy * total, "number": f"({100 * copy} + n_words || ' ')"}
            into = run.store.root / name
            con.execute(_COPY.format(**words, path=run.store.root / item.name, into=into))
            columns = {column: digest_of([column, shard]) for column in item.columns}
            file = TableFile("prompts", name, item.rows, sha256_file(into), columns)
            record = Commit("generate", shard, digest, (file,))
            run.store.record_path(record).write_text(json.dumps(asdict(record)), "utf-8")


def _shard(column: dict[str, pa.Array], behind: pa.Array, rows: range, seed: int) -> tuple[pa.Table, pa.Table]:
    """Prompts and verdicts of one shard."""
    from promptforge import records, texts
    from promptforge.schema import arrow_schema

    before = pa.array([f"{number} " for number in range(2, 99)] + [""] * 97)
    draw, n = np.random.default_rng([seed, rows.start]), len(rows)
    which = draw.integers(0, len(column["text"]), n)
    drawn = (draw.integers(0, len(before), n), draw.integers(0, len(behind), n))
    again = draw.random(n) < 0.05
    again[0] = False
    source = np.where(again, (draw.random(n) * np.arange(n)).astype(np.int64), np.arange(n))
    source = source[source]  # a row said before may itself be one
    which, head, tail = which[source], drawn[0][source], drawn[1][source]
    text = pc.binary_join_element_wise(before.take(head), column["text"].take(which), behind.take(tail), "")
    loud = pa.array(again & (draw.random(n) < 0.4))
    styled = pc.binary_join_element_wise(text, pa.array(SUFFIXES).take(draw.integers(0, len(SUFFIXES), n)), "")
    text = pc.if_else(loud, pc.utf8_upper(text), pc.if_else(pa.array(again), styled, text))
    said = text.to_pylist()
    prompt = pa.array([records.prompt_id(each) for each in said])
    row_id = pa.array([records.row_id("large", "0", at) for at in rows])
    place = pa.array(np.arange(rows.start, rows.stop))
    same = {"source": "large", "source_part": "made", "licence": "unstated", "split": "train"}
    same |= {"axis_origin": "told", "scene_origin": "parsed"}
    made = {
        **{name: column[name].take(which) for name in column},
        **{name: pa.array([value] * n) for name, value in same.items()},
        **dict.fromkeys(("text", "text_clean"), text),
        **dict.fromkeys(("prompt_id", "noise_group", "split_group"), prompt),
        **dict.fromkeys(("source_row", "stream_order"), place),
        "row_id": row_id,
        "fold_key": pa.array([texts.fold_key(each) for each in said]),
        "repairs": pa.array([[]] * n, pa.list_(pa.string())),
        "n_words": pa.array([len(each.split()) for each in said], pa.int32()),
        "n_chars": pc.utf8_length(text),
    }
    schema = arrow_schema("prompts")
    prompts = pa.table({name: made.get(name, pa.nulls(n, schema.field(name).type)) for name in schema.names})
    gone = np.flatnonzero(draw.random(n) < 0.02)
    words = {"stage": "filter", "check_name": "length", "verdict": "drop", "reason": "too_long"}
    dropped = pa.table(
        {
            "row_id": row_id.take(gone),
            "prompt_id": prompt.take(gone),
            **{name: pa.array([word] * len(gone)) for name, word in words.items()},
            **dict.fromkeys(("value", "threshold"), pa.nulls(len(gone), pa.float64())),
            "detail": pa.nulls(len(gone), pa.string()),
        }
    )
    return prompts, dropped


def step(folder: Path, name: str, compiled: bool) -> dict[str, Any]:
    """One step in this process; what came before it is found by its records."""
    from promptforge.stages import decontaminate, dedup, render, select
    from promptforge.stages.run import Run, open_run

    run: Run = open_run(folder / "run")
    if compiled:
        run.recipe.dedup["compiled"] = True  # type: ignore[index]
    text = [*run.store.commits("generate"), *run.store.commits("filter")]
    counted = sum(item.rows for commit in text for item in commit.files if item.table == "prompts")
    units = {
        "dedup": lambda: dedup.unit(run, text),
        "decontaminate": lambda: decontaminate.unit(run, [*text, *run.store.commits("dedup")]),
        "plan": lambda: render.plan_unit(run, _checked(run, text)),
        "select": lambda: select.unit(run, [*_checked(run, text), *run.store.commits("render")]),
    }
    before = _peak()
    clock, start = time.monotonic(), time.process_time()
    commit, _ = run.work(units[name]())
    seconds = time.monotonic() - clock
    return {
        "rows": counted,
        "clock_s": round(seconds, 1),
        "processor_s": round(time.process_time() - start, 1),
        "rows_per_s": round(counted / seconds),
        "peak_mib": _peak(),
        "before_mib": before,
        "counts": dict(commit.counts),
    }


def _checked(run: Any, text: list[Any]) -> list[Any]:
    return [*text, *run.store.commits("dedup"), *run.store.commits("decontaminate"), *run.store.commits("plan")]


def _peak() -> int:
    """MiB. Not ru_maxrss: a child's begins at what its parent held."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.split("VmHWM:")[1].split()[0]) >> 10


class Limited:
    """A command with so much memory: in a control group where one can be made, else watched."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.group = None if limit is None else _new_group(limit)
        self.how = "none" if limit is None else "watcher of resident memory" if self.group is None else "control group"

    def run(self, command: list[str]) -> int:
        """The command's exit code; a negative one where it was ended."""
        child = subprocess.Popen(command, preexec_fn=self._join)  # noqa: PLW1509 - one thread here
        page = os.sysconf("SC_PAGE_SIZE")
        while child.poll() is None:
            if self.limit is not None and self.group is None:
                held = int(Path(f"/proc/{child.pid}/statm").read_text("ascii").split()[1]) * page
                if held > self.limit:
                    child.kill()
            time.sleep(0.05)
        return child.wait()

    def _join(self) -> None:
        if self.group is not None:
            (self.group / "cgroup.procs").write_text(str(os.getpid()), "ascii")

    def close(self) -> None:
        """Remove the group."""
        if self.group is not None:
            self.group.rmdir()


def _new_group(limit: int) -> Path | None:
    for base, name in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(base) / f"promptforge-{os.getpid()}"
        try:
            group.mkdir()
            (group / name).write_text(str(limit), "ascii")
        except OSError:
            if group.is_dir():
                group.rmdir()
            continue
        return group
    return None


def run_all(given: argparse.Namespace) -> None:
    """Every step under the limit; the record is written after each."""
    limit = None if given.limit_gib is None else int(given.limit_gib * 2**30)
    found: dict[str, Any] = {"limit_gib": given.limit_gib, "compiled": given.compiled, "steps": {}}
    for name in given.steps:
        held = Limited(limit)
        into = given.folder / f"{name}.json"
        into.unlink(missing_ok=True)
        command = [sys.executable, __file__, "step", str(given.folder), "--only", name, "--into", str(into)]
        code = held.run([*command, *(["--compiled"] if given.compiled else [])])
        found["limited_by"] = held.how
        held.close()
        if code:
            found["steps"][name] = {"failed": f"ended with {code}: over the limit, or see above"}
            break
        found["steps"][name] = json.loads(into.read_text("utf-8"))
        sys.stdout.write(f"{name}: {json.dumps(found['steps'][name])}\n")
    found["left_in_spill_folder"] = len(list((given.folder / "run").glob(".tmp-duckdb/*")))
    found["machine"] = {"processor": platform.machine(), "cores": len(os.sched_getaffinity(0)), "numpy": np.__version__}
    found["machine"] |= {"pyarrow": pa.__version__, "python": platform.python_version()}
    record = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    record[given.name] = found
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


def main() -> None:
    """Make rows, run every step, or one (as `run` does in a process of its own)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("make", "run", "step"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--limit-gib", type=float)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--name", default="two_million")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--only", choices=STEPS)
    parser.add_argument("--into", type=Path)
    given = parser.parse_args()
    if given.action == "make":
        make(given.folder, given.data, given.rows, given.seed)
        multiply(given.folder, given.copies)
    elif given.action == "run":
        run_all(given)
    else:
        given.into.write_text(json.dumps(step(given.folder, given.only, given.compiled)), "utf-8")


if __name__ == "__main__":
    main()
