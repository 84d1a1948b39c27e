"""The prompt checks on a seed's pool: promptforge's own stages generate, filter and dedup, each check left out once.

What a check drops is dropped by the same code, from the same recipe tables, as in any run. Without [dedup] exact
duplicates alone are dropped, which no recipe can leave out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gates.pools import Row
from promptforge.errors import StoreFault
from promptforge.files import put
from promptforge.stages import dedup, filter, generate
from promptforge.stages.run import Run, prepare
from promptforge.store import Commit

#: The checks with the parameters of the protocol, in the order in which a row meets them.
FILTERS: Mapping[str, Mapping[str, Any]] = {
    "expected_text": {"max_chars": 4},
    "language": {},
    "visualness": {},
    "boilerplate": {},
    "repetition": {},
}
NEAR = "near_duplicates"
CHECKS = (*FILTERS, NEAR)


def survivors(rows: Sequence[Row], folder: Path, without: str | None = None) -> tuple[list[Row], dict[str, Any]]:
    """What the checks leave, in the pool's order, and kind -> check -> number dropped; `without` leaves one out."""
    written = folder / "pool.jsonl"
    if not written.is_file():
        lines = [json.dumps({"text": row.text, "axis": row.axis, "expected_text": row.expected}) for row in rows]
        put(written, ("\n".join(lines) + "\n").encode())
    run = prepare(folder / "text", _recipe(written, without), "experiment")
    commits: list[Commit] = []
    for shard in generate.shards(run):
        made, _ = run.work(generate.unit(run, shard))
        commits += [made, run.work(filter.unit(run, made))[0]]
    commits.append(run.work(dedup.unit(run, commits))[0])
    return _left(rows, run, commits)


def _recipe(written: Path, without: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": "experiment",
        "sources": [{"kind": "files", "paths": [str(written)], "name": "pool", "licence": "CC0-1.0"}],
        "filters": {name: dict(params) for name, params in FILTERS.items() if name != without},
        "regime": {"teacher": "canvas"},  # nothing is rendered here
    }
    return found if without == NEAR else found | {"dedup": {}}


def _left(rows: Sequence[Row], run: Run, commits: Sequence[Commit]) -> tuple[list[Row], dict[str, Any]]:
    place: dict[str, int] = {}
    dropped: dict[int, str] = {}
    for commit in commits:
        for item in (commit.file("prompts"), commit.file("verdicts")):
            if item is None:
                continue
            for each in run.store.read(item).to_pylist():
                if "source_row" in each:
                    place[each["row_id"]] = each["source_row"]
                elif each["verdict"] == "drop":
                    dropped[place[each["row_id"]]] = each["check_name"]
    if len(place) != len(rows):
        raise StoreFault(f"{run.root}: {len(place):,} rows, the pool has {len(rows):,}")
    counts = Counter((rows[number].kind, check) for number, check in dropped.items())
    funnel: dict[str, Any] = {
        kind: {"rows": n, **{check: counts[kind, check] for check in sorted({name for _, name in counts})}}
        for kind, n in sorted(Counter(row.kind for row in rows).items())
    }
    return [row for number, row in enumerate(rows) if number not in dropped], funnel


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as JSON takes them."""
    return [asdict(row) for row in rows]


def from_json(raw: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The rows again."""
    return [Row(**{**each, "expected": tuple(each["expected"])}) for each in raw]
