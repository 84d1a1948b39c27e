"""What was purged in the run whose set is added to is purged here: the tombstones become this run's own.

So a set that adds to this one knows them as well, whatever becomes of the first run's folder.
"""

from __future__ import annotations

import pyarrow as pa

from promptforge.records import digest_of
from promptforge.schema import arrow_schema
from promptforge.stages.extension.published import Extended
from promptforge.store import Store


def take_over(store: Store, extended: Extended) -> int:
    """Commit the tombstones that this folder lacks; returns their number. Older files keep their texts until purge."""
    known = {
        row["prompt_id"]
        for commit in store.commits("purge")
        if (item := commit.file("tombstones"))
        for row in store.read(item).to_pylist()
    }
    stones = [row for row in extended.stones if row["prompt_id"] not in known]
    if stones:
        table = pa.Table.from_pylist(stones, schema=arrow_schema("tombstones"))
        store.commit("purge", "all", digest_of(stones), {"tombstones": table}, {"prompts": len(stones)})
    return len(stones)
