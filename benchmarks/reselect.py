"""`promptforge select` over a million pictures, from the command line to the last printed row: seconds, memory.

    python benchmarks/reselect.py make FOLDER [--pictures 1000000] [--takes 1] [--increment 20000]
    python benchmarks/reselect.py measure FOLDER [--repeats 3] [--name NAME]

`make` writes a run folder through the store, as a run that has selected would leave it, without pixels: prompts of
three axes in 19 categories, one in a hundred of them dropped, pictures, and three scorers with twelve metrics of every
picture (twelve million rows of scores). Values are drawn from hashes: the same arguments give the same tables. A run
commits at most 64 pictures at a time; with --increment 64 the folder has as many files as a run would leave.

`measure` starts `promptforge select --set ...` in a process of its own for each repeat and each of two questions: a
stricter gate; and a quantile gate by style with another quota and the difference in a file. Clock and processor seconds
and the process's largest resident memory; medians. Writes results/reselect.json, one entry for each name.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

if TYPE_CHECKING:
    from promptforge.stages.run import Run

RESULTS = Path(__file__).resolve().parent / "results" / "reselect.json"
QUOTA = 200_000  # accepted prompts wanted on each axis of a million
RECIPE: dict[str, Any] = {
    "name": "select",
    "sources": [{"kind": "grammar", "axis": "image_quality", "n": 1}],
    "regime": {"teacher": "canvas", "size": 512, "mistake_rate": 0.0},
    "scorers": {"technical": {}, "agreement": {}, "text": {}},
}
GATES: dict[str, Any] = {
    "not_blurred": {"scorer": "technical", "metric": "blur", "max": 0.9},
    "sharp": {"scorer": "technical", "metric": "sharpness", "min": 0.1, "axes": ["image_quality"]},
    "contrast": {"scorer": "technical", "metric": "contrast", "min": 0.05, "max": 0.98},
    "colours_agree": {
        "scorer": "agreement",
        "metric": "colour_agreement",
        "min": 0.2,
        "axes": ["semantic_understanding"],
    },
    "text_reads": {"scorer": "text", "metric": "verdict", "one_of": ["read"], "axes": ["text_rendering"]},
}
#: Scorer -> metrics; eleven numbers in [0, 1) and a word. `reading` carries JSON, as the text scorer's does.
METRICS: dict[str, tuple[str, ...]] = {
    "technical": ("blur", "sharpness", "exposure", "contrast", "colourfulness", "entropy"),
    "agreement": ("colour_agreement", "count_agreement"),
    "text": ("cer", "ned", "verdict", "reading"),
}
QUESTIONS: dict[str, tuple[str, ...]] = {
    "a stricter gate": ("--set", "select.gates.not_blurred.max=0.8"),
    "a quantile by style, a quota, into a file": (
        *(
            "--set",
            "select.gates.sharp={scorer='technical', metric='sharpness', quantile=0.1, reference=2000, by='style'}",
        ),
        *("--set", "select.quota.text_rendering=50000", "--difference", "FOLDER/difference.parquet"),
    ),
}

_PROMPTS = """
SELECT md5('row' || i) AS row_id, 'made' AS source, 'made' AS source_part, i AS source_row, i AS stream_order,
    'CC0-1.0' AS licence, 'prompt number ' || i || ' with as many words as prompts have, in soft light' AS text,
    text AS text_clean, md5('prompt' || i) AS prompt_id, md5('fold' || i) AS fold_key, []::VARCHAR[] AS repairs,
    ['image_quality', 'semantic_understanding', 'text_rendering'][i % 3 + 1] AS axis, 'source' AS axis_origin,
    CASE i % 3 WHEN 0 THEN 'looks ' || hash(i) % 6 WHEN 1 THEN 'meaning ' || hash(i) % 8
        ELSE 'words ' || hash(i) % 5 END AS category,
    ['photo', 'oil painting', 'pencil sketch', NULL][(hash(i, 's') % 4)::INT + 1] AS style, NULL AS template,
    ['OPEN ' || i] AS expected_text, 'source' AS expected_origin,
    '{"objects":[{"noun":"cup","count":' || i || '}]}' AS scene, 'source' AS scene_origin, NULL AS parent_id,
    NULL AS pair_id, prompt_id AS noise_group, prompt_id AS split_group,
    CASE WHEN hash(i, 't') % 20 = 0 THEN 'test_words' ELSE 'train' END AS split, NULL AS source_aesthetic,
    14 AS n_words, 70 AS n_chars
FROM range(?, ?) r(i)
"""
_DROPPED = """
SELECT md5('row' || i) AS row_id, md5('prompt' || i) AS prompt_id, 'filter' AS stage, 'length' AS check_name,
    'drop' AS verdict, 'too_long' AS reason, 80 AS value, 60 AS threshold, NULL AS detail
FROM range(?, ?) r(i) WHERE hash(i, 'd') % 100 = 0
"""
_PLAN = """
SELECT md5(prompt_id || t) AS image_id, prompt_id, t::INTEGER AS take, 1 AS seed, '{teacher}' AS teacher,
    0 AS bucket, 0 AS round, true AS fixed
FROM kept, range({takes}) r(t) ORDER BY image_id
"""
_IMAGES = """
SELECT image_id, prompt_id, take, seed, teacher, '{}' AS regime, 'CC0-1.0' AS licence, '{}' AS provenance,
    512 AS width, 512 AS height, CASE WHEN hash(image_id, 'e') % 200 = 0 THEN 'no glyph' END AS error,
    CASE WHEN error IS NULL THEN image_id || image_id END AS sha256, NULL AS truth
FROM render_plan WHERE starts_with(image_id, ?) ORDER BY image_id
"""
_SCORES = """
SELECT f.image_id, m.scorer, f.digest, m.metric,
    CASE WHEN m.metric NOT IN ('verdict', 'reading') THEN round((hash(f.image_id, m.metric) % 100000) / 100000, 5) END
        AS value,
    CASE m.metric WHEN 'verdict' THEN ['read', 'read', 'read', 'misread', 'unreadable'][(hash(f.image_id) % 5)::INT + 1]
                  WHEN 'reading' THEN '[{"wanted":"OPEN","read":"OPEN","box":[[10,20],[90,20],[90,60],[10,60]]}]' END
        AS detail
FROM force f JOIN metrics m ON m.scorer = f.scorer WHERE starts_with(f.image_id, ?) ORDER BY ALL
"""


def make(folder: Path, pictures: int, takes: int, increment: int) -> None:
    """Write the run folder."""
    from promptforge import catalog
    from promptforge.lock import Lock
    from promptforge.stages import select
    from promptforge.stages.run import prepare
    from promptforge.stages.score import wanted_scores

    prompts = pictures // takes
    quota = dict.fromkeys(("image_quality", "semantic_understanding", "text_rendering"), QUOTA * prompts // 1_000_000)
    recipe = {**RECIPE, "render": {"takes": takes}, "select": {"quota": quota, "gates": GATES}}
    run = prepare(folder, recipe, "benchmarks/reselect.py")
    with duckdb.connect() as con:
        for start in range(0, prompts, 50_000):
            for stage, table, sql in (("generate", "prompts", _PROMPTS), ("filter", "verdicts", _DROPPED)):
                rows = con.sql(sql, params=[start, min(start + 50_000, prompts)]).to_arrow_table()
                _commit(run, stage, f"s000.p0000.r{start:09d}", table, rows)
    text = [*run.store.commits("generate"), *run.store.commits("filter")]
    with catalog.connect(run.store, text, check=()) as con:
        rows = con.sql(_PLAN.format(teacher=run.teacher_fingerprint, takes=takes)).to_arrow_table()
        _commit(run, "plan", "all", "render_plan", rows)
    text += run.store.commits("plan")
    with catalog.connect(run.store, text, check=()) as con:
        con.execute("CREATE TEMP TABLE plan AS FROM render_plan")
        for name, rows in _cut(con, _IMAGES.replace("render_plan", "plan"), increment):
            _commit(run, "render", name, "images", rows)
    text += run.store.commits("render")
    with catalog.connect(run.store, text, check=()) as con:
        said = [(scorer, metric) for scorer, metrics in METRICS.items() for metric in metrics]
        con.register("metrics", pa.table({"scorer": [s for s, _ in said], "metric": [m for _, m in said]}))
        con.execute(f"CREATE TEMP TABLE force AS {wanted_scores(run.parts.scorers)}")
        for name, rows in _cut(con, _SCORES, increment * len(said)):
            _commit(run, "score", name, "scores", rows)
    commits = [*text, *run.store.commits("score")]
    clock = time.monotonic()
    made, _ = run.work(select.unit(run, commits))
    sys.stdout.write(f"the stage select took {time.monotonic() - clock:.1f} s\n")
    by_stage: dict[str, list[str]] = {}
    for commit in (*commits, made):
        by_stage.setdefault(commit.stage, []).append(commit.key)
    with Lock(folder) as lock:
        run.store.new_head(lock.epoch, run.resolved, by_stage)


def _cut(con: duckdb.DuckDBPyConnection, sql: str, size: int) -> Iterator[tuple[str, pa.Table]]:
    """Rows in pieces of a commit each, by the first digit or two of image_id."""
    for first in range(16):
        rows = con.sql(sql, params=[f"{first:x}"]).to_arrow_table()
        for start in range(0, rows.num_rows, size):
            yield f"b{first:02d}{start:09d}", rows.slice(start, size)


def _commit(run: Run, stage: str, shard: str, table: str, rows: pa.Table) -> None:
    from promptforge.records import digest_of
    from promptforge.schema import arrow_schema

    schema = arrow_schema(table)
    run.store.commit(stage, shard, digest_of([stage, shard]), {table: rows.select(schema.names).cast(schema)})


def measure(folder: Path, repeats: int) -> dict[str, Any]:
    """Every question, `repeats` times each in a process of its own; the medians."""
    found: dict[str, Any] = {}
    for question, given in QUESTIONS.items():
        asked = [item.replace("FOLDER", str(folder.parent)) for item in given]
        tried = [
            _once([sys.executable, "-m", "promptforge.cli", "select", "--run", str(folder), *asked])
            for _ in range(repeats)
        ]
        found[question] = {name: statistics.median(each[name] for each in tried) for name in tried[0]}
        sys.stdout.write(f"{question}: {json.dumps(found[question])}\n")
    return found


def _once(command: list[str]) -> Mapping[str, float]:
    """Clock and processor seconds and the largest resident memory of one process; what it prints is thrown away."""
    clock = time.monotonic()
    pid = os.posix_spawn(
        command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    )
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: ended with {os.waitstatus_to_exitcode(status)}")
    seconds = usage.ru_utime + usage.ru_stime
    # the largest memory begins at what this process holds, which is a tenth of the child's
    return {
        "clock_s": round(time.monotonic() - clock, 2),
        "processor_s": round(seconds, 2),
        "peak_mib": usage.ru_maxrss >> 10,
    }


def main() -> None:
    """Make a folder, or measure in one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("make", "measure"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=1_000_000)
    parser.add_argument("--takes", type=int, default=1)
    parser.add_argument("--increment", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--name", default="one take")
    given = parser.parse_args()
    if given.action == "make":
        make(given.folder, given.pictures, given.takes, given.increment)
        return
    record = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    machine = {"processor": platform.machine(), "cores": len(os.sched_getaffinity(0)), "duckdb": duckdb.__version__}
    machine["load"] = round(os.getloadavg()[0], 1)
    record[given.name] = {"machine": machine, **measure(given.folder, given.repeats)}
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
