"""Two measurements of published files, part of readers.py: a random picture, and SQL over a million rows."""

from __future__ import annotations

import hashlib
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np


def access(folder: Path) -> dict[str, float]:
    """Processor time of one random picture, by its offset and with its row group; opening is not counted."""
    import pyarrow.parquet as pq

    from promptforge.reader import Pictures
    from promptforge.reader.places import value_places

    data = Pictures(folder / "dataset", columns=("image",), decode=False)
    paths = sorted((folder / "dataset/data").glob("*.parquet"))
    begun = time.process_time()
    for path in paths:
        value_places(path, "image.bytes")
    build_ms = 1e3 * (time.process_time() - begun)
    rows = np.random.default_rng(0).integers(0, len(data), 2000).tolist()
    data[0]
    begun = time.process_time()
    for row in rows:
        data[row]
    one = 1e6 * (time.process_time() - begun) / len(rows)
    files = [pq.ParquetFile(path) for path in paths]
    begun = time.process_time()
    for n in range(24):
        files[n % len(files)].read_row_group(0, ["image"], use_threads=False)["image"][n]
    group = 1e6 * (time.process_time() - begun) / 24
    per_row = build_ms / len(data)
    rows_a_group = files[0].metadata.row_group(0).num_rows
    return {
        "offset_us": one,
        "row_group_us": group,
        "ratio": group / one,
        "rows_a_group": rows_a_group,
        "index_ms_a_picture": per_row,
    }


QUERIES = {
    "group-by": "SELECT axis, category, count(*), avg(technical_contrast) FROM t GROUP BY ALL",
    "filter": "SELECT count(*), avg(n_words) FROM t WHERE axis = 'text_rendering' AND text_cer < 0.1 AND n_words > 30",
    "point": "SELECT text, axis, image_id FROM t WHERE prompt_id = '{id}'",
}


def queries(folder: Path, rows: int = 1_000_000) -> dict[str, Any]:
    """Median ms of each query, in turns, on index.parquet as publish writes it and on DuckDB's own file."""
    import duckdb
    import pyarrow.parquet as pq

    ours, plain = folder / "index.parquet", folder / "plain.parquet"
    if not plain.exists():
        con = duckdb.connect()
        con.execute("SELECT setseed(0.5)").fetchall()
        table = con.sql(
            f"""SELECT md5(i::VARCHAR) AS prompt_id, 'train' AS split,
            'a ' || repeat(md5((i*7)::VARCHAR) || ' ', 4) AS text,
            ['image_quality', 'semantic_understanding', 'text_rendering'][1 + i % 3] AS axis,
            'category ' || (i % 11) AS category, md5((i + 1)::VARCHAR) AS image_id, (i * 37 % 90)::INTEGER AS n_words,
            random() AS text_cer, random() AS technical_contrast, random() AS technical_entropy,
            '[{{"noun": "' || md5((i % 5000)::VARCHAR) || '"}}]' AS scene, sha256(i::VARCHAR) AS sha256,
            'data/train-' || (i // 1000) AS file, (i % 1000)::BIGINT AS file_row
            FROM range({rows}) r(i) ORDER BY split, prompt_id"""
        ).to_arrow_table()
        pq.write_table(table, ours, compression="ZSTD", write_page_index=True)
        con.register("made", table)
        con.execute(f"COPY made TO '{plain}' (FORMAT parquet)").fetchall()
    found: dict[str, Any] = {}
    con = duckdb.connect()
    con.execute("SET threads = 2").fetchall()
    for name, query in QUERIES.items():
        times: dict[str, list[tuple[float, float]]] = {"index": [], "plain": []}
        for n in range(12):
            asked = query.format(id=hashlib.md5(str(n * 7919).encode()).hexdigest())
            for kind, path in (("index", ours), ("plain", plain)):
                clock, begun = time.perf_counter(), time.process_time()
                con.execute(asked.replace("FROM t", f"FROM '{path}'")).fetchall()
                times[kind].append((1e3 * (time.perf_counter() - clock), 1e3 * (time.process_time() - begun)))
        found[name] = {
            f"{kind}_{unit}": statistics.median(each[place] for each in times[kind][2:])
            for kind in times
            for place, unit in enumerate(("ms", "cpu_ms"))
        }
        found[name]["ratio_cpu"] = found[name]["index_cpu_ms"] / found[name]["plain_cpu_ms"]
    return found
