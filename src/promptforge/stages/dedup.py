"""dedup: of prompts that are equal but for case, spacing and punctuation, the first in the stream stays.

With the recipe's table [dedup] near duplicates go as well: of prompts whose content resembles a survivor's, the
survivor stays, and the verdict names it and the similarity. Members of one minimal pair and prompts whose scenes or
texts to be drawn differ are never near duplicates.

One step over every shard. Texts pass in batches; what stays in memory is some 300 bytes a row (2 million rows: 600 MB).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from promptforge import catalog, records
from promptforge.schema import arrow_schema
from promptforge.stages.resemblance import apart, compare, vocabulary
from promptforge.stages.resemblance.features import Features, features, hash_strings, joined, reordered
from promptforge.stages.resemblance.settings import DedupSettings
from promptforge.stages.run import Run, Unit, digest_columns
from promptforge.store import Commit

VERSION = 1
BATCH_ROWS = 16_384  # word arrays of a batch stay near the processor: 50,000 were slower

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

# What a scene says of its things stands between these two keys of its JSON.
_ROWS = """
SELECT row_id, prompt_id, stream_order, text_clean, source_aesthetic, scene,
    CASE WHEN pair_id IS NULL THEN '' ELSE noise_group END AS pair,
    array_to_string(expected_text, ' ') AS expected
FROM kept ANTI JOIN exact USING (row_id)
"""


def unit(run: Run, text: Sequence[Commit]) -> Unit:
    """The work of the whole run: `text` holds every commit of generate and filter."""
    table = {"near": False} if run.recipe.dedup is None else run.recipe.dedup
    settings = DedupSettings.model_validate(table)
    content: dict[str, Any] = {"version": VERSION}
    columns = ["row_id", "prompt_id", "fold_key", "stream_order"]
    if settings.near:
        content["near"] = [compare.VERSION, vocabulary.digest(), settings.identity]
        columns += ["text_clean", "expected_text", "scene", "pair_id", "noise_group", "source_aesthetic"]
    content["input"] = digest_columns(text, {"prompts": columns, "verdicts": ["row_id", "verdict"]})

    def make() -> tuple[Mapping[str, pa.Table], Mapping[str, int]]:
        with catalog.connect(run.store, text) as con:
            verdicts = con.sql(_SQL).to_arrow_table()
            if not settings.near:
                return {"verdicts": verdicts}, {"dropped": verdicts.num_rows}
            near = _near(con, verdicts, settings)
        both = pa.concat_tables([verdicts.cast(arrow_schema("verdicts")), near])
        counts = {"dropped": both.num_rows, "exact": verdicts.num_rows, "near": near.num_rows}
        return {"verdicts": both.sort_by("row_id")}, counts

    return Unit("dedup", "all", records.digest_of(content), make)


def _near(con: duckdb.DuckDBPyConnection, exact: pa.Table, settings: DedupSettings) -> pa.Table:
    """Verdicts on the near duplicates among the rows that are no exact ones."""
    con.register("exact", exact.select(["row_id"]))
    found: list[Features] = []
    kept: list[pa.Table] = []
    pairs: list[npt.NDArray[np.uint64]] = []
    for batch in con.sql(_ROWS).to_arrow_reader(BATCH_ROWS):
        rows = pa.Table.from_batches([batch]).combine_chunks()
        if not rows.num_rows:
            continue
        expected = hash_strings(rows["expected"].chunk(0))
        found.append(features(rows["text_clean"].chunk(0), settings, expected))
        pairs.append(hash_strings(rows["pair"].chunk(0)))
        kept.append(rows.select(["row_id", "prompt_id", "stream_order", "source_aesthetic", "scene"]))
    if not kept:
        return arrow_schema("verdicts").empty_table()
    rows = pa.concat_tables(kept).combine_chunks()
    order = _order_of_survival(rows, settings)
    rows = rows.take(pa.array(order))
    pair = np.concatenate(pairs)[order]
    scenes = rows["scene"].combine_chunks()
    winner, similarity = compare.survivors(
        reordered(joined(found), order), settings, lambda a, b: apart.agree(scenes, pair, a, b)
    )
    dropped = np.flatnonzero(winner != np.arange(len(winner)))
    schema = arrow_schema("verdicts")
    words = {"stage": "dedup", "check_name": "near_duplicate", "verdict": "drop", "reason": "near_duplicate"}
    row_ids = rows["row_id"].combine_chunks()
    columns: dict[str, Any] = {
        "row_id": row_ids.take(pa.array(dropped)),
        "prompt_id": rows["prompt_id"].combine_chunks().take(pa.array(dropped)),
        **{name: [word] * len(dropped) for name, word in words.items()},
        "value": similarity[dropped],
        "threshold": [settings.threshold] * len(dropped),
        "detail": row_ids.take(pa.array(winner[dropped])),
    }
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def _order_of_survival(rows: pa.Table, settings: DedupSettings) -> npt.NDArray[np.int64]:
    keys = [("stream_order", "ascending"), ("row_id", "ascending")]
    if settings.survivor == "aesthetic":
        keys.insert(0, ("source_aesthetic", "descending"))  # rows without one come last
    order: npt.NDArray[np.int64] = pc.sort_indices(rows, sort_keys=keys).to_numpy().astype(np.int64)
    return order
