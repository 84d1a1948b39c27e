"""Which new rows may not stand beside the rows of the data set that a run adds to, whatever their words say.

A pair or family is never torn between splits: a new row whose split_group lies there in another split goes. Exact and
near duplicates of its rows are dropped by dedup itself, in whose order its rows come first; reserved words and
compositions keep train and tests apart by the lexicon alone, which is the same for both (fitness.py).
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from promptforge.schema import arrow_schema
from promptforge.stages.earlier import PREFIX
from promptforge.stages.extension.published import Extended

VERSION = 1
CHECK = "extends"
REASON = "split_group_straddles"

_TORN = f"""
SELECT k.row_id, k.prompt_id, 'dedup' AS stage, '{CHECK}' AS check_name, 'drop' AS verdict, '{REASON}' AS reason,
    NULL::DOUBLE AS value, NULL::DOUBLE AS threshold,
    '{PREFIX}' || $name || ': ' || e.prompt_id || ' in ' || e.split || ', this row is of ' || k.split AS detail
FROM kept k ANTI JOIN exact USING (row_id) JOIN groups e USING (split_group)
WHERE k.split <> e.split ORDER BY k.row_id
"""


def torn(con: duckdb.DuckDBPyConnection, extended: Extended) -> pa.Table:
    """Verdicts on rows of `kept` that are not in the relation `exact`, as the table verdicts."""
    con.register("extended_index", extended.index.select(["prompt_id", "split_group", "split"]))
    con.execute(
        "CREATE TEMP TABLE groups AS SELECT split_group, min(split) AS split, min(prompt_id) AS prompt_id"
        " FROM extended_index GROUP BY split_group"
    )
    return con.sql(_TORN, params={"name": extended.name}).to_arrow_table().cast(arrow_schema("verdicts"))
