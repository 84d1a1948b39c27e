"""decontaminate: prompts that copy a benchmark's, by rule; each is dropped or flagged as the recipe says.

One step over every row that no check dropped, in batches: what stays in memory is the list of benchmark prompts and the
hits. A verdict depends on the row and the list alone, never on other rows. The table contamination has the best hit of
each row, benchmark and rule; the verdict is the strongest: the first rule that drops, else the first that flags.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from promptforge import catalog, lexicon, records, scenes, targets, texts
from promptforge.records import Axis
from promptforge.schema import arrow_schema
from promptforge.stages.contamination import find, prompts
from promptforge.stages.contamination.grams import spread_out
from promptforge.stages.contamination.settings import COPIES, RULES, DecontaminateSettings, action_of
from promptforge.stages.resemblance import vocabulary
from promptforge.stages.run import Run, Unit, digest_columns
from promptforge.store import Commit

VERSION = 2

_COLUMNS = ["row_id", "prompt_id", "text_clean", "expected_text", "axis", "scene"]
_ROWS = """
SELECT row_id, prompt_id, text_clean, array_to_string(expected_text, ' ') AS expected, axis, scene
FROM kept ORDER BY row_id
"""
#: Names in a commit's counts: distinct prompts of all benchmarks, and rows that could not be read, by benchmark.
_LISTED, _UNREADABLE = "benchmark_prompts", "unreadable_in_"
_ACTIONS = ("off", "flag", "drop")
#: Reason of a flag by a rule that proves no copy; all else is `contaminated`.
_REASONS = {"scene": "same_scene", "other_scene": "other_scene", "skeleton": "shared_skeleton"}


def check(settings: DecontaminateSettings) -> None:
    """Look at every benchmark before any work. Raises SourceFault or EnvironmentFault for one that cannot be had."""
    prompts.check(settings.benchmarks)


def unit(run: Run, commits: Sequence[Commit]) -> Unit:
    """The work of the whole run: `commits` hold generate, filter and dedup."""
    settings = run.decontaminate
    assert settings is not None
    digest = records.digest_of(
        {
            "version": [VERSION, find.VERSION, texts.VERSION, scenes.VERSION, targets.VERSION],
            "words": [vocabulary.digest(), lexicon.digest(), unicodedata.unidata_version],
            "settings": settings.identity,
            "files": prompts.digest(settings.benchmarks),
            "input": digest_columns(commits, {"prompts": _COLUMNS, "verdicts": ["row_id", "verdict"]}),
        }
    )

    def make() -> tuple[Mapping[str, pa.Table], Mapping[str, int]]:
        known = prompts.read(settings.benchmarks)
        index = find.Index(known.texts, settings)
        listed = _Listed(known, settings)
        made: list[pa.Table] = []
        verdicts: list[pa.Table] = []
        n_rows = 0
        with catalog.connect(run.store, commits) as con:
            for batch in con.sql(_ROWS).to_arrow_reader(find.BATCH_ROWS):
                rows = pa.Table.from_batches([batch]).combine_chunks()
                if rows.num_rows:
                    n_rows += rows.num_rows
                    hits, decided = listed.tables(rows, index.find(_batch(rows)))
                    made.append(hits)
                    verdicts.append(decided)
        hits = pa.concat_tables([arrow_schema("contamination").empty_table(), *made])
        decided = pa.concat_tables([arrow_schema("verdicts").empty_table(), *verdicts])
        dropped = int(np.count_nonzero(np.array(decided["verdict"].to_pylist()) == "drop"))
        counts = {"rows": n_rows, "hits": hits.num_rows, "dropped": dropped, "flagged": decided.num_rows - dropped}
        counts[_LISTED] = len(known.texts)
        counts |= {
            f"{_UNREADABLE}{item.name}": lost
            for item, lost in zip(settings.benchmarks, known.unreadable, strict=True)
            if lost
        }
        return {"contamination": hits, "verdicts": decided}, counts

    return Unit("decontaminate", "all", digest, make)


def left_out(commit: Commit) -> list[str]:
    """A line for each benchmark of which rows could not be read: they were compared with nothing."""
    lost = {name.removeprefix(_UNREADABLE): n for name, n in commit.counts.items() if name.startswith(_UNREADABLE)}
    return [
        f"benchmark {name}: {n:,} {'row' if n == 1 else 'rows'} could not be read, so no prompt was compared with them"
        for name, n in sorted(lost.items())
    ]


def _batch(rows: pa.Table) -> find.Rows:
    column = {name: rows[name].combine_chunks() for name in ("text_clean", "expected", "axis", "scene")}
    semantic = np.array(pc.equal(column["axis"], str(Axis.SEMANTIC_UNDERSTANDING)).fill_null(False), bool)
    return find.Rows(column["text_clean"], column["expected"].fill_null(""), semantic, column["scene"])


class _Listed:
    """The benchmarks' prompts as columns, each prompt's first place in each benchmark, and what is done about a hit."""

    def __init__(self, known: prompts.Prompts, settings: DecontaminateSettings) -> None:
        self._settings = settings
        first: list[tuple[int, prompts.Member]] = []
        for number, members in enumerate(known.members):
            seen: dict[int, prompts.Member] = {}
            for member in members:
                seen.setdefault(member.benchmark, member)
            first += [(number, member) for member in seen.values()]
        owner = np.array([number for number, _ in first], np.int64)
        self._starts = np.searchsorted(owner, np.arange(len(known.texts) + 1)).astype(np.int64)
        self._benchmark = np.array([member.benchmark for _, member in first], np.int64)
        self._columns = {
            "benchmark": pa.array([settings.benchmarks[member.benchmark].name for _, member in first], pa.string()),
            "benchmark_file": pa.array([member.file for _, member in first], pa.string()),
            "benchmark_row": pa.array([member.row for _, member in first], pa.int64()),
            "benchmark_prompt_id": pa.array([records.prompt_id(known.texts[number]) for number, _ in first]),
        }
        self._action = np.array(
            [[_ACTIONS.index(action_of(rule, dict(item.action))) for rule in RULES] for item in settings.benchmarks],
            np.int64,
        )

    def tables(self, rows: pa.Table, hits: find.Hits) -> tuple[pa.Table, pa.Table]:
        """Rows of contamination and of verdicts for one batch."""
        size = self._starts[hits.prompt + 1] - self._starts[hits.prompt]
        place = spread_out(self._starts[hits.prompt], size)
        row, rule, value = (np.repeat(column, size) for column in (hits.row, hits.rule, hits.value))
        action = self._action[self._benchmark[place], rule]
        on = action > 0
        row, rule, value, place, action = row[on], rule[on], value[on], place[on], action[on]
        order = np.lexsort((place, -value, rule, self._benchmark[place], row))
        key = np.stack([row, self._benchmark[place], rule])[:, order]
        best = order[np.append(True, np.any(key[:, 1:] != key[:, :-1], axis=0))] if len(order) else order
        row, rule, value, place, action = row[best], rule[best], value[best], place[best], action[best]
        strongest = np.lexsort((place, self._benchmark[place], rule, -action, row))
        strongest = strongest[np.append(True, np.diff(row[strongest]) != 0)] if len(row) else strongest
        found = {
            **{name: rows[name].combine_chunks().take(pa.array(row)) for name in ("row_id", "prompt_id")},
            **{name: column.take(pa.array(place)) for name, column in self._columns.items()},
            "rule": pa.array([RULES[number] for number in rule], pa.string()),
            "value": pa.array(value, pa.float64()),
            "action": pa.array([_ACTIONS[number] for number in action], pa.string()),
        }
        schema = arrow_schema("contamination")
        table = pa.table({name: found[name] for name in schema.names}, schema=schema)
        return table, self._verdicts(table.take(pa.array(strongest)))

    def _verdicts(self, hits: pa.Table) -> pa.Table:
        thresholds = {"near": self._settings.near, "ngrams": self._settings.coverage}
        found: list[dict[str, Any]] = []
        for hit in hits.to_pylist():
            rule = hit["rule"]
            found.append(
                {
                    "row_id": hit["row_id"],
                    "prompt_id": hit["prompt_id"],
                    "stage": "decontaminate",
                    "check_name": "contaminated",
                    "verdict": "drop" if hit["action"] == "drop" else "near_miss",
                    "reason": "contaminated" if rule in COPIES else _REASONS[rule],
                    "value": hit["value"],
                    "threshold": thresholds.get(rule),
                    "detail": f"{rule} {hit['benchmark']} {hit['benchmark_file']}:{hit['benchmark_row']}",
                }
            )
        return pa.Table.from_pylist(found, schema=arrow_schema("verdicts"))
