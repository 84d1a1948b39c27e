"""filter: the recipe's prompt-side checks, one after the other, on one text shard.

A row meets the checks in the recipe's order until one drops it, so it has at most one drop verdict. A shard of 50,000
rows takes 100 MB beyond what the checks hold (the language identifier's 150 MB for the most part).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from promptforge import records
from promptforge.protocols import Finding
from promptforge.schema import arrow_schema
from promptforge.stages.run import Run, Unit, digest_columns
from promptforge.store import Commit

VERSION = 1


def unit(run: Run, generated: Commit) -> Unit:
    """The work of one shard: `generated` is its commit of the stage generate."""
    filters = [(part.kind, check) for part, check in zip(run.parts.filters, run.filters, strict=True)]
    columns = sorted({"row_id", "prompt_id", "text_clean"}.union(*(check.columns for _, check in filters)))
    digest = records.digest_of(
        {
            "version": VERSION,
            "filters": [part.identity for part in run.parts.filters],
            "input": digest_columns([generated], {"prompts": columns}),
        }
    )

    def make() -> tuple[Mapping[str, pa.Table], Mapping[str, int]]:
        item = generated.file("prompts")
        assert item is not None
        rows = run.store.read(item, columns)
        rows = rows.filter(pc.is_valid(rows["text_clean"]))
        found: list[dict[str, Any]] = []
        counts = {"rows": rows.num_rows}
        for number, (name, check) in enumerate(filters, 1):
            findings = check(rows.select(list(check.columns)))
            found += _verdicts(name, rows, findings)
            dropped = [finding.row for finding in findings if finding.verdict == "drop"]
            counts[f"dropped_{name}"] = len(dropped)
            if dropped:  # what is left is copied: no column that no later check reads
                alive = np.ones(rows.num_rows, dtype=bool)
                alive[dropped] = False
                needed = {"row_id", "prompt_id"}.union(*(later.columns for _, later in filters[number:]))
                rows = rows.select(sorted(needed)).filter(pa.array(alive))
        return {"verdicts": pa.Table.from_pylist(found, schema=arrow_schema("verdicts"))}, counts

    return Unit("filter", generated.shard, digest, make)


def _verdicts(name: str, rows: pa.Table, findings: Sequence[Finding]) -> list[dict[str, Any]]:
    row_ids, prompt_ids = rows["row_id"], rows["prompt_id"]
    return [
        {
            "row_id": row_ids[finding.row].as_py(),
            "prompt_id": prompt_ids[finding.row].as_py(),
            "stage": "filter",
            "check_name": name,
            "verdict": finding.verdict,
            "reason": finding.reason,
            "value": finding.value,
            "threshold": finding.threshold,
            "detail": finding.detail,
        }
        for finding in findings
    ]
