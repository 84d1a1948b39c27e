"""The table pictured: every planned picture in one row, with its prompt's groups and the metrics that are asked for."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from promptforge.lexicon.style_kinds import kinds_sql
from promptforge.stages.judging.predicates import Metrics


class Columns:
    """The column of pictured that holds a metric, by scorer and metric; given out as they are asked for."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.names: dict[tuple[str, str], str] = {}

    def __call__(self, scorer: str, metric: str) -> str:
        """Its name, unquoted."""
        return self.names.setdefault((scorer, metric), f"m{len(self.names)}")

    def is_word(self, scorer: str, metric: str) -> bool:
        """Whether the metric is a detail, not a value."""
        return self.metrics[scorer][metric] == "word"


def make_pictured(con: duckdb.DuckDBPyConnection, columns: Columns, by_style: bool) -> None:
    """Make it: image_id, prompt_id, take, error, axis, category, n_words, style_kind, m0, m1, ...

    style_kind is null without `by_style`. A word has a second column, m.._seen: whether it was measured, since the
    detail may be null all the same.
    """
    scorers, metrics = [scorer for scorer, _ in columns.names], [metric for _, metric in columns.names]
    types = pa.schema({"scorer": pa.string(), "metric": pa.string(), "place": pa.int32()})
    con.register("needed", pa.table([scorers, metrics, list(range(len(scorers)))], schema=types))
    wide = ["f.image_id"]
    for place, (pair, name) in enumerate(columns.names.items()):
        field = "detail" if columns.is_word(*pair) else "value"
        wide.append(f"max(s.{field}) FILTER (n.place = {place}) AS {name}")
        if columns.is_word(*pair):
            wide.append(f"count(*) FILTER (n.place = {place}) > 0 AS {name}_seen")
    about = "prompt_id, axis, category, n_words"
    prompts = f"SELECT {about}, NULL::VARCHAR AS style_kind FROM kept"
    if by_style:
        planned = f"SELECT {about}, style, text_clean, scene_origin FROM kept SEMI JOIN render_plan USING (prompt_id)"
        prompts = f"SELECT {about}, style_kind FROM ({kinds_sql(planned)})"
    con.execute(f"""
    CREATE TEMP TABLE pictured AS
    WITH measures AS (
        SELECT {", ".join(wide)}
        FROM scores s
        JOIN needed n ON n.scorer = s.scorer AND n.metric = s.metric
        JOIN in_force f ON f.image_id = s.image_id AND f.scorer = s.scorer AND f.digest = s.digest
        GROUP BY f.image_id
    )
    SELECT r.image_id, r.prompt_id, r.take, i.error, k.* EXCLUDE (prompt_id), m.* EXCLUDE (image_id)
    FROM render_plan r
    JOIN images i ON i.image_id = r.image_id
    LEFT JOIN ({prompts}) k ON k.prompt_id = r.prompt_id
    LEFT JOIN measures m ON m.image_id = r.image_id
    """)
