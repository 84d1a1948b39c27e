"""Order of prompts: speed and memory of [order], and what a prefix of it covers beside stream order and chance.

    python benchmarks/arrange.py NAME=A.parquet [NAME=B.parquet ...] [--rows 1000000]

Files have a column prompt. The measures are of one block, the first 10,000 prompts of each file: distinct nouns and
bindings (nouns with their looks, as the scene reader finds them), words, bigrams, distinct-2, and words a prompt, of
the first tenth and quarter. For speed, the prompts of all files are repeated up to `rows` (each copy with a word of its
own), and the stage's own function makes the table arrangement of them, with and without caps, in a process of its own:
the whole of it with DuckDB's sort, one thread, processor and clock time, peak memory.
Writes benchmarks/results/arrange.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from promptforge import scenes
from promptforge.schema import ddl, views_sql
from promptforge.stages.arrange import arrange
from promptforge.stages.arrangement.concepts import concepts
from promptforge.stages.arrangement.greedy import Coverage
from promptforge.stages.arrangement.settings import OrderSettings

RESULTS = Path(__file__).resolve().parent / "results" / "arrange.json"
BLOCK = 10_000
SETTINGS: dict[str, dict[str, Any]] = {
    "coverage": {},
    "coverage, capped": {"max_source_share": 0.4, "max_template_share": 0.05},
    "stream, capped": {"by": "stream", "max_source_share": 0.4, "max_template_share": 0.05},
}
_WORD = re.compile(r"\w+")

# Three axes and sources in turn, half of the rows of 200 templates, every fifth in a minimal pair.
_PROMPTS = """
SELECT md5(n::VARCHAR) AS row_id, 'source' || (n // 1024 % 3) AS source, 'p' AS source_part, n AS source_row,
    n AS stream_order, 'x' AS licence, NULL::VARCHAR AS text,
    k.text || ' w' || (n // (SELECT count(*) FROM known)) AS text_clean, md5(n::VARCHAR) AS prompt_id,
    md5(n::VARCHAR) AS fold_key, []::VARCHAR[] AS repairs,
    ['image_quality', 'semantic_understanding', 'text_rendering'][1 + n % 3] AS axis, 'source' AS axis_origin,
    NULL::VARCHAR AS category, NULL::VARCHAR AS style, CASE WHEN n % 2 = 0 THEN 't' || (hash(n) % 200) END AS template,
    []::VARCHAR[] AS expected_text, NULL::VARCHAR AS expected_origin, k.scene, 'parsed' AS scene_origin,
    NULL::VARCHAR AS parent_id, CASE WHEN n % 30 < 6 THEN pair END AS pair_id,
    CASE WHEN n % 30 < 6 THEN pair ELSE md5(n::VARCHAR) END AS noise_group,
    CASE WHEN n % 30 < 6 THEN pair ELSE md5(n::VARCHAR) END AS split_group, 'train' AS split,
    NULL::DOUBLE AS source_aesthetic, 10::INTEGER AS n_words, length(k.text)::INTEGER AS n_chars
FROM (SELECT n, md5('pair' || (n // 30 * 3 + n % 3)) AS pair FROM range($n) r(n)) rows
JOIN known k ON k.i = n % (SELECT count(*) FROM known) ORDER BY n
"""


def rows_of(texts: list[str]) -> pa.Table:
    """What the concepts are read from; no template, one cell."""
    return pa.table(
        {
            "text_clean": texts,
            "scene": [scenes.parse(text).to_json() for text in texts],
            "template": pa.nulls(len(texts), pa.string()),
            "cell": [""] * len(texts),
        }
    )


def measures(rows: pa.Table) -> dict[str, float]:
    """What these prompts cover."""
    things = [thing for scene in rows["scene"].to_pylist() for thing in json.loads(scene)["objects"]]
    words = [_WORD.findall(text.lower()) for text in rows["text_clean"].to_pylist()]
    bigrams = [pair for each in words for pair in zip(each, each[1:], strict=False)]  # noqa: RUF007
    return {
        "nouns": len({thing["noun"] for thing in things}),
        "bindings": len({json.dumps(thing, sort_keys=True) for thing in things}),
        "words": len({word for each in words for word in each}),
        "bigrams": len(set(bigrams)),
        "distinct_2": round(len(set(bigrams)) / max(1, len(bigrams)), 3),
        "words_a_prompt": round(sum(map(len, words)) / max(1, len(words)), 1),
    }


def covered(path: str) -> dict[str, Any]:
    """The measures of prefixes of one block in three orders."""
    texts = pq.read_table(path, columns=["prompt"])["prompt"].to_pylist()[:BLOCK]
    rows = rows_of(texts)
    order, _ = Coverage().order(concepts(rows, np.arange(len(texts))))
    orders = {"stream": list(range(len(texts))), "chance": random.Random(1).sample(range(len(texts)), len(texts))}
    orders["coverage"] = order
    return {
        "prompts": len(texts),
        "all": measures(rows),
        **{
            f"first {share:.0%}": {
                name: measures(rows.take(each[: int(len(texts) * share)])) for name, each in orders.items()
            }
            for share in (0.1, 0.25)
        },
    }


def prepare(paths: list[str], n: int, target: Path) -> None:
    """A table prompts of n rows, as far as the stage reads it."""
    con = duckdb.connect()
    con.execute(ddl()["prompts"])
    texts = [text for path in paths for text in pq.read_table(path, columns=["prompt"])["prompt"].to_pylist()]
    made = pa.table({"text": texts, "scene": [scenes.parse(text).to_json() for text in texts]})
    con.register("made", made)
    con.execute("CREATE TABLE known AS SELECT row_number() OVER () - 1 AS i, * FROM made WHERE length(text) < 2000")
    con.execute(f"COPY ({_PROMPTS}) TO '{target}' (FORMAT parquet)", {"n": n})


def _peak_mib() -> int:
    """Of this process alone: ru_maxrss begins with that of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) >> 10


def once(path: str, name: str) -> dict[str, Any]:
    """One run of the stage's function in this process."""
    con = duckdb.connect()
    con.execute("SET threads = 1")
    con.execute(f"SET temp_directory = '{path}.spill'")
    for table, text in ddl().items():
        con.execute(f"CREATE VIEW prompts AS FROM '{path}'" if table == "prompts" else text)
    con.execute(views_sql())
    before = _peak_mib()
    clock, busy = time.monotonic(), time.process_time()
    table, _ = arrange(con, OrderSettings.model_validate(SETTINGS[name]))
    busy, clock = time.process_time() - busy, time.monotonic() - clock
    return {
        "rows": table.num_rows,
        "left_over": table["left_over"].to_pylist().count(True),
        "processor_s": round(busy, 1),
        "clock_s": round(clock, 1),
        "rows_per_s": round(table.num_rows / busy),
        "peak_mib": _peak_mib(),
        "before_mib": before,
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="+")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--once", choices=SETTINGS)
    args = parser.parse_args()
    if args.once:
        sys.stdout.write(json.dumps(once(args.files[0], args.once)))
        return
    named = dict(item.split("=", 1) for item in args.files)
    result: dict[str, Any] = {"machine": platform.machine(), "python": platform.python_version()}
    result["coverage"] = {name: covered(path) for name, path in named.items()}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "prompts.parquet"
        prepare(list(named.values()), args.rows, target)
        result["speed"] = {
            name: json.loads(
                subprocess.run(
                    [sys.executable, __file__, str(target), "--once", name], check=True, capture_output=True, text=True
                ).stdout
            )
            for name in SETTINGS
        }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
