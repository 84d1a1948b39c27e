"""dedup: of prompts that are equal but for case, spacing and punctuation, the first in the stream stays.

One relational step over every shard. Near duplicates are not looked for here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from promptforge import catalog, records
from promptforge.stages.run import Run, Unit, digest_columns
from promptforge.store import Commit

VERSION = 1

_SQL = """
WITH ranked AS (
    SELECT row_id, prompt_id,
        first_value(row_id) OVER same AS winner,
        row_number() OVER same AS place
    FROM kept
    WINDOW same AS (PARTITION BY fold_key ORDER BY stream_order, row_id)
)
SELECT row_id, prompt_id, 'dedup' AS stage, 'exact_duplicate' AS check_name, 'drop' AS verdict,
    'exact_duplicate' AS reason, NULL::DOUBLE AS value, NULL::DOUBLE AS threshold, winner AS detail
FROM ranked WHERE place > 1 ORDER BY row_id
"""


def unit(run: Run, text: Sequence[Commit]) -> Unit:
    """The work of the whole run: `text` holds every commit of generate and filter."""
    digest = records.digest_of(
        {
            "version": VERSION,
            "input": digest_columns(
                text,
                {
                    "prompts": ["row_id", "prompt_id", "fold_key", "stream_order"],
                    "verdicts": ["row_id", "verdict"],
                },
            ),
        }
    )

    def make() -> tuple[Mapping[str, pa.Table], Mapping[str, int]]:
        with catalog.connect(run.store, text) as con:
            verdicts = con.sql(_SQL).to_arrow_table()
        return {"verdicts": verdicts}, {"dropped": verdicts.num_rows}

    return Unit("dedup", "all", digest, make)
