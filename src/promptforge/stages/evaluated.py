"""Prompts that a student was evaluated on, as the files of [order] student_gap name them, never get into train.

test_natural is drawn by publish.natural_test_share: a run with a smaller one would train on prompts that the first run
held out. Dropped is what is left of such a prompt after deduplication, be it in another spelling or a near duplicate
that stays for it. Not covered: what resembles a prompt that no source of this run has, which [dedup] against drops.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from promptforge import catalog
from promptforge.schema import arrow_schema
from promptforge.store import Commit, Store

VERSION = 1
CHECK = "evaluated"
REASON = "evaluated_in_test"

# A dropped duplicate's detail names the row that stays for it, which may be dropped for another one in turn.
_HELD_OUT = f"""
WITH RECURSIVE led AS (
    SELECT k.row_id, t.prompt_id, t.split FROM kept k JOIN tested t USING (prompt_id)
    UNION
    SELECT d.detail, led.prompt_id, led.split FROM led JOIN dropped d USING (row_id)
),
told AS (
    SELECT row_id, 'prompt ' || min(prompt_id) || ' was measured in ' || arg_min(split, prompt_id) AS detail
    FROM led GROUP BY row_id
)
SELECT k.row_id, k.prompt_id, 'dedup' AS stage, '{CHECK}' AS check_name, 'drop' AS verdict, '{REASON}' AS reason,
    NULL::DOUBLE AS value, NULL::DOUBLE AS threshold, told.detail
FROM kept k JOIN told USING (row_id) ANTI JOIN dropped USING (row_id) WHERE k.split = 'train' ORDER BY k.row_id
"""


def held_out(store: Store, text: Sequence[Commit], dropped: pa.Table, tested: pa.Table) -> pa.Table:
    """Verdicts on rows of train that are, or stay for, one of `tested` (prompt_id, split); `dropped`: dedup's own."""
    with catalog.connect(store, text) as con:
        con.register("dropped", dropped.select(["row_id", "detail"]))
        con.register("tested", tested)
        return con.sql(_HELD_OUT).to_arrow_table().cast(arrow_schema("verdicts"))
