"""dedup: of prompts that are equal but for case, spacing and punctuation, the first in the stream stays.

With the recipe's table [dedup] near duplicates go as well: of prompts whose content resembles a survivor's, the
survivor stays, and the verdict names it and the similarity; then, with [dedup.semantic], prompts that say what a
survivor says in other words. Members of one minimal pair and prompts whose scenes or texts to be drawn differ are never
near or semantic duplicates. Axes play no part but for `prefer`. What [dedup] `against` names is accepted already: it
survives whatever the stream holds, and a verdict names its place there.

One step over every shard. Texts pass in batches; what stays in memory is some 300 bytes a row (2 million rows: 600 MB),
and with [dedup.semantic] the texts and two bytes a number of a vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from promptforge import catalog, records
from promptforge.schema import arrow_schema
from promptforge.stages import earlier
from promptforge.stages.hashing import I64, U64, mix
from promptforge.stages.meaning import search, telling, vectors
from promptforge.stages.resemblance import apart, compare, vocabulary
from promptforge.stages.resemblance.features import Features, features, hash_strings, joined, reordered
from promptforge.stages.resemblance.settings import DedupSettings, SemanticSettings
from promptforge.stages.resemblance.words import Mask
from promptforge.stages.run import Run, Unit, digest_columns
from promptforge.store import Commit, Store

VERSION = 1
SEMANTIC_VERSION = 1
BATCH_ROWS = 16_384  # word arrays of a batch stay near the processor: 50,000 were slower

# What is accepted elsewhere wins against every row; `place` says where it stands.
_SQL = f"""
WITH known AS (SELECT fold_key, min_by(place, number) AS place FROM earlier GROUP BY fold_key),
ranked AS (
    SELECT row_id, prompt_id, known.place,
        first_value(row_id) OVER same AS winner,
        row_number() OVER same AS number
    FROM kept LEFT JOIN known USING (fold_key)
    WINDOW same AS (PARTITION BY fold_key ORDER BY {{rank}}, stream_order, row_id)
)
SELECT row_id, prompt_id, 'dedup' AS stage, 'exact_duplicate' AS check_name, 'drop' AS verdict,
    'exact_duplicate' AS reason, NULL::DOUBLE AS value, NULL::DOUBLE AS threshold,
    coalesce('{earlier.PREFIX}' || place, winner) AS detail
FROM ranked WHERE number > 1 OR place IS NOT NULL ORDER BY row_id
"""

# What a scene says of its things stands between these two keys of its JSON.
_ROWS = """
SELECT row_id, prompt_id, stream_order, text_clean, source_aesthetic, scene, {rank} AS rank,
    CASE WHEN pair_id IS NULL THEN '' ELSE noise_group END AS pair,
    array_to_string(expected_text, ' ') AS expected
FROM kept ANTI JOIN exact USING (row_id)
"""
_KEPT = ("row_id", "prompt_id", "stream_order", "source_aesthetic", "scene", "rank")


def settings_of(run: Run) -> DedupSettings:
    """The recipe's [dedup] with its defaults; without the table exact duplicates alone are dropped."""
    return run.dedup or DedupSettings(near=False)


def look(run: Run) -> None:
    """Raise for what is missing of [dedup]'s files and weights; loads none of them."""
    settings = settings_of(run)
    _ = run.earlier.digest
    if settings.semantic is not None:
        vectors.identity(settings.semantic)


def unit(run: Run, text: Sequence[Commit]) -> Unit:
    """The work of the whole run: `text` holds every commit of generate and filter."""
    settings = settings_of(run)
    content: dict[str, Any] = {"version": VERSION}
    columns = ["row_id", "prompt_id", "fold_key", "stream_order"]
    if settings.near or settings.semantic:
        columns += ["text_clean", "expected_text", "scene", "pair_id", "noise_group", "source_aesthetic"]
    if settings.near:
        content["near"] = [compare.VERSION, vocabulary.digest(), settings.identity]
    if settings.semantic:
        own = settings.semantic.model_dump(mode="json", include={"threshold", "words"})
        versions = [SEMANTIC_VERSION, telling.VERSION, vocabulary.digest()]
        content["semantic"] = [*versions, own, vectors.identity(settings.semantic), settings.identity]
    if settings.prefer:
        content["prefer"] = list(settings.prefer)
        columns.append("axis")
    if settings.against:
        content["against"] = run.earlier.digest
    content["input"] = digest_columns(text, {"prompts": columns, "verdicts": ["row_id", "verdict"]})

    def make() -> tuple[Mapping[str, pa.Table], Mapping[str, int]]:
        known = run.earlier.rows()
        rank = _rank(settings)
        with catalog.connect(run.store, text) as con:
            con.register("earlier", known.append_column("number", pa.array(range(known.num_rows), pa.int64())))
            verdicts = con.sql(_SQL.format(rank=rank)).to_arrow_table()
            if not settings.near and not settings.semantic:
                return {"verdicts": verdicts}, {"dropped": verdicts.num_rows}
            con.register("exact", verdicts.select(["row_id"]))
            rows = _read(con, known, settings)
        found = [verdicts.cast(arrow_schema("verdicts"))]
        counts = {"exact": verdicts.num_rows}
        alive = np.arange(rows.n)
        if settings.near:
            winner, value = _near(rows, settings)
            found.append(rows.verdicts("near_duplicate", (winner, value), settings.threshold))
            counts["near"] = found[-1].num_rows
            alive = np.flatnonzero(winner == alive)
        if settings.semantic:
            winner, value, n_without = _semantic(run.store, rows, alive, settings.semantic)
            found.append(rows.verdicts("semantic_duplicate", (winner, value), settings.semantic.threshold))
            counts |= {"semantic": found[-1].num_rows, "without_vector": n_without}
        both = pa.concat_tables(found)
        return {"verdicts": both.sort_by("row_id")}, {"dropped": both.num_rows, **counts}

    return Unit("dedup", "all", records.digest_of(content), make)


def _rank(settings: DedupSettings) -> str:
    """SQL for the place of a row's axis among the preferred ones."""
    cases = "".join(f" WHEN '{axis}' THEN {number}" for number, axis in enumerate(settings.prefer))
    return f"CASE axis{cases} ELSE {len(settings.prefer)} END" if cases else "0"


@dataclass(frozen=True)
class _Rows:
    """What is compared, in order of survival: first the `n_fixed` prompts that are accepted elsewhere.

    `texts` is empty where no meanings are compared.
    """

    names: pa.Array  # row_id, or where it is accepted
    prompts: pa.Array
    scenes: pa.Array
    texts: pa.Array
    pair: U64
    expected: U64
    features: Features | None
    n_fixed: int

    @property
    def n(self) -> int:
        return len(self.names)

    def verdicts(self, check: str, found: tuple[I64, npt.NDArray[np.float64]], threshold: float) -> pa.Table:
        """A verdict on each row that another one stays for."""
        winner, value = found
        dropped = np.flatnonzero(winner != np.arange(self.n))
        schema = arrow_schema("verdicts")
        words = {"stage": "dedup", "check_name": check, "verdict": "drop", "reason": check}
        columns: dict[str, Any] = {
            "row_id": self.names.take(pa.array(dropped)),
            "prompt_id": self.prompts.take(pa.array(dropped)),
            **{name: [word] * len(dropped) for name, word in words.items()},
            "value": value[dropped],
            "threshold": [threshold] * len(dropped),
            "detail": self.names.take(pa.array(winner[dropped])),
        }
        return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def _read(con: duckdb.DuckDBPyConnection, known: pa.Table, settings: DedupSettings) -> _Rows:
    """The rows that are no exact duplicates, behind those that are accepted elsewhere."""
    found: list[Features] = []
    kept: list[pa.Table] = []
    texts: list[pa.Array] = []
    pairs: list[U64] = []
    expected: list[U64] = []

    def take(rows: pa.Table) -> None:
        column = {name: rows[name].combine_chunks() for name in ("text_clean", "expected", "pair")}
        expected.append(hash_strings(column["expected"]))
        pairs.append(hash_strings(column["pair"]))
        if settings.near:
            found.append(features(column["text_clean"], settings, expected[-1]))
        if settings.semantic:
            texts.append(column["text_clean"])

    for start in range(0, known.num_rows, BATCH_ROWS):
        take(known.slice(start, BATCH_ROWS).combine_chunks())
    for batch in con.sql(_ROWS.format(rank=_rank(settings))).to_arrow_reader(BATCH_ROWS):
        rows = pa.Table.from_batches([batch]).combine_chunks()
        if rows.num_rows:
            take(rows)
            kept.append(rows.select(list(_KEPT)))
    none = known.slice(0, 0)
    places = pc.binary_join_element_wise(earlier.PREFIX, known["place"].combine_chunks(), "")
    names, prompts, scenes = [places], [known["prompt_id"].combine_chunks()], [known["scene"].combine_chunks()]
    order = np.arange(known.num_rows)
    if kept:
        rows = pa.concat_tables(kept).combine_chunks()
        new = _order_of_survival(rows, settings)
        order = np.concatenate([order, new + known.num_rows])
        rows = rows.take(pa.array(new)).combine_chunks()
        for target, name in ((names, "row_id"), (prompts, "prompt_id"), (scenes, "scene")):
            target.append(rows[name].combine_chunks())
    empty = none["text_clean"].combine_chunks()
    return _Rows(
        pa.concat_arrays(names),
        pa.concat_arrays(prompts),
        pa.concat_arrays(scenes),
        pa.concat_arrays([empty, *texts]).take(pa.array(order)) if settings.semantic else empty,
        np.concatenate([np.empty(0, np.uint64), *pairs])[order],
        np.concatenate([np.empty(0, np.uint64), *expected])[order],
        reordered(joined(found), order) if settings.near else None,
        known.num_rows,
    )


def _near(rows: _Rows, settings: DedupSettings) -> tuple[I64, npt.NDArray[np.float64]]:
    """Survivor and similarity of each row."""
    assert rows.features is not None

    def agree(a: I64, b: I64) -> Mask:
        free: Mask = b >= rows.n_fixed  # a < b: of two that are accepted already both stay
        free[free] = apart.agree(rows.scenes, rows.pair, a[free], b[free])
        return free

    return compare.survivors(rows.features, settings, agree)


def _semantic(
    store: Store, rows: _Rows, alive: I64, settings: SemanticSettings
) -> tuple[I64, npt.NDArray[np.float64], int]:
    """Survivor and cosine of each row, and how many rows have no vector; only `alive` ones are compared."""
    chosen = pa.array(alive)
    texts = rows.texts.take(chosen)
    made = vectors.of_prompts(store, settings, rows.prompts.take(chosen), texts)
    scenes, pair, groups = rows.scenes.take(chosen), rows.pair[alive], mix(rows.expected[alive])
    told = telling.Telling(texts.to_pylist()) if settings.words else None
    if told is not None:
        groups = mix(groups + told.sets)

    def agree(a: I64, b: I64) -> Mask:
        fine = apart.agree(scenes, pair, a, b)
        if told is not None:
            fine[fine] = told.agree(a[fine], b[fine])
        return fine

    n_fixed = int(np.searchsorted(alive, rows.n_fixed))
    own, cosine = search.survivors(made, groups, settings.threshold, n_fixed=n_fixed, agree=agree)
    winner, value = np.arange(rows.n), np.ones(rows.n)
    winner[alive], value[alive] = alive[own], cosine
    n_without = int(np.count_nonzero(~np.isfinite(made[n_fixed:]).all(axis=1)))
    return winner, value, n_without


def _order_of_survival(rows: pa.Table, settings: DedupSettings) -> I64:
    keys = [("rank", "ascending"), ("stream_order", "ascending"), ("row_id", "ascending")]
    if settings.survivor == "aesthetic":
        keys.insert(1, ("source_aesthetic", "descending"))  # rows without one come last
    order: I64 = pc.sort_indices(rows, sort_keys=keys).to_numpy().astype(np.int64)
    return order
