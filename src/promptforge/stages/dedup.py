"""dedup: of prompts that are equal but for case, spacing and punctuation, the first in the stream stays.

With the recipe's table [dedup] near duplicates go as well: of prompts whose content resembles a survivor's, the
survivor stays, and the verdict names it and the similarity; then, with [dedup.semantic], prompts that say what a
survivor says in other words. Members of one minimal pair and prompts whose scenes or texts to be drawn differ are never
near or semantic duplicates. Axes play no part but for `prefer`. What [dedup] `against` names is accepted already: it
survives whatever the stream holds, and a verdict names its place there. Prompts that [order] student_gap measured in a
test stay out of train (evaluated.py).

One step over every shard. Texts pass in batches, and strings that verdicts and scenes need are set aside on disk (320
bytes a row). In memory stay some 200 bytes a row, and what a query may hold before it spills (catalog.memory_limit):
2 million rows take 1.7 GB, ten million 7 GB. With [dedup.semantic] come the texts and two bytes a number of a vector.
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
from promptforge.stages import earlier, evaluated
from promptforge.stages.aside import Aside, Column, aside
from promptforge.stages.extension import clashes
from promptforge.stages.hashing import I64, U64, mix
from promptforge.stages.meaning import search, telling, vectors
from promptforge.stages.resemblance import apart, compare, vocabulary
from promptforge.stages.resemblance.features import Features, collected, features, hash_strings
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


def settings_of(run: Run) -> DedupSettings:
    """The recipe's [dedup] with its defaults; without the table exact duplicates alone are dropped.

    A run that adds to a data set always compares with it, so that nothing near its tests gets into train.
    """
    settings = run.dedup or DedupSettings(near=False)
    return settings if run.extended is None else settings.model_copy(update={"near": True})


def _among(run: Run) -> bool:
    """Whether the run's own rows are compared with each other for near duplicates."""
    return run.dedup is not None and run.dedup.near


def look(run: Run) -> None:
    """Raise for what is missing of [dedup]'s files and weights; loads none of them."""
    settings = settings_of(run)
    _ = run.earlier.digest
    if settings.semantic is not None:
        vectors.identity(settings.semantic)


def unit(run: Run, text: Sequence[Commit]) -> Unit:
    """The work of the whole run: `text` holds every commit of generate and filter."""
    settings = settings_of(run)
    tested = run.gaps.tested if run.order and run.order.student_gap else None

    def make() -> tuple[Mapping[str, pa.Table], Mapping[str, int]]:
        found, counts = compared()
        if tested is not None:
            more = evaluated.held_out(run.store, text, found, tested)
            found = pa.concat_tables([found, more]).sort_by("row_id")
            counts |= {"dropped": found.num_rows, "evaluated": more.num_rows}
        return {"verdicts": found}, counts

    def compared() -> tuple[pa.Table, dict[str, int]]:
        known = run.earlier.rows()
        with catalog.connect(run.store, text) as con:
            con.register("earlier", known.append_column("number", pa.array(range(known.num_rows), pa.int64())))
            exact = con.sql(_SQL.format(rank=_rank(settings))).to_arrow_table()
            if not settings.near and not settings.semantic:
                return exact.cast(arrow_schema("verdicts")), {"dropped": exact.num_rows}
            con.register("exact", exact.select(["row_id"]))
            if run.extended:
                torn = clashes.torn(con, run.extended)
                exact = pa.concat_tables([exact.cast(torn.schema), torn])
                con.register("exact", exact.select(["row_id"]))
            with aside(run.store.root) as held:
                rows = _read(con, held, known, settings)
                con.close()  # its memory is wanted now
                more, counts = _resembling(run.store, rows, settings, _among(run))
        both = pa.concat_tables([exact.cast(arrow_schema("verdicts")), *more])
        return both.sort_by("row_id"), {"dropped": both.num_rows, "exact": exact.num_rows, **counts}

    return Unit("dedup", "all", _digest(run, text, settings, tested), make)


def _digest(run: Run, text: Sequence[Commit], settings: DedupSettings, tested: pa.Table | None) -> str:
    content: dict[str, Any] = {"version": VERSION}
    columns = {"row_id", "prompt_id", "fold_key", "stream_order"}
    if settings.near or settings.semantic:
        columns |= {"text_clean", "expected_text", "scene", "pair_id", "noise_group", "source_aesthetic"}
    if settings.near:
        content["near"] = [compare.VERSION, vocabulary.digest(), settings.identity]
    if settings.semantic:
        own = settings.semantic.model_dump(mode="json", include={"threshold", "words"})
        versions = [SEMANTIC_VERSION, telling.VERSION, vocabulary.digest()]
        content["semantic"] = [*versions, own, vectors.identity(settings.semantic), settings.identity]
    if settings.prefer:
        content["prefer"] = list(settings.prefer)
        columns |= {"axis"}
    if run.extended:
        content["extends"] = [clashes.VERSION, run.extended.sha256, _among(run)]
        columns |= {"split_group", "split"}
    if settings.against or run.extended:
        content["against"] = run.earlier.digest
    if tested is not None:
        content["evaluated"] = [evaluated.VERSION, tested.to_pylist()]
        columns |= {"split"}
    content["input"] = digest_columns(text, {"prompts": sorted(columns), "verdicts": ["row_id", "verdict"]})
    return records.digest_of(content)


def _resembling(
    store: Store, rows: _Rows, settings: DedupSettings, among: bool
) -> tuple[list[pa.Table], dict[str, int]]:
    """Verdicts on near duplicates, then on semantic ones of what is left, and their numbers."""
    found: list[pa.Table] = []
    counts: dict[str, int] = {}
    alive = np.arange(rows.n)
    if settings.near:
        winner, value = _near(rows, settings, among)
        found.append(rows.verdicts("near_duplicate", (winner, value), settings.threshold))
        counts["near"] = found[-1].num_rows
        alive = np.flatnonzero(winner == alive)
    if settings.semantic:
        winner, value, n_without = _semantic(store, rows, alive, settings.semantic)
        found.append(rows.verdicts("semantic_duplicate", (winner, value), settings.semantic.threshold))
        counts |= {"semantic": found[-1].num_rows, "without_vector": n_without}
    return found, counts


def _rank(settings: DedupSettings) -> str:
    """SQL for the place of a row's axis among the preferred ones."""
    cases = "".join(f" WHEN '{axis}' THEN {number}" for number, axis in enumerate(settings.prefer))
    return f"CASE axis{cases} ELSE {len(settings.prefer)} END" if cases else "0"


@dataclass(frozen=True)
class _Rows:
    """What is compared, in order of survival: first the `n_fixed` prompts that are accepted elsewhere.

    Strings lie on disk: of ten million rows they would be 4 GB.
    """

    names: Column  # row_id, or where it is accepted
    prompts: Column
    scenes: Column
    texts: Column
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


def _read(con: duckdb.DuckDBPyConnection, held: Aside, known: pa.Table, settings: DedupSettings) -> _Rows:
    """The rows that are no exact duplicates, behind those that are accepted elsewhere."""
    found: list[Features] = []
    pairs: list[U64] = [np.empty(0, np.uint64)]
    expected: list[U64] = [np.empty(0, np.uint64)]
    keys: list[pa.Table] = []

    def take(rows: pa.Table, name: pa.Array) -> None:
        column = {
            name: rows[name].combine_chunks() for name in ("text_clean", "expected", "pair", "prompt_id", "scene")
        }
        expected.append(hash_strings(column["expected"]))
        pairs.append(hash_strings(column["pair"]))
        if settings.near:
            found.append(features(column["text_clean"], settings, expected[-1]))
        texts = column["text_clean"] if settings.semantic else pa.nulls(len(name), pa.string())
        strings = {"name": name, "prompt": column["prompt_id"], "scene": column["scene"], "text": texts}
        held.add(pa.RecordBatch.from_pydict(strings))

    for start in range(0, known.num_rows, BATCH_ROWS):
        rows = known.slice(start, BATCH_ROWS).combine_chunks()
        take(rows, pc.binary_join_element_wise(earlier.PREFIX, rows["place"].combine_chunks(), ""))
    for batch in con.sql(_ROWS.format(rank=_rank(settings))).to_arrow_reader(BATCH_ROWS):
        rows = pa.Table.from_batches([batch]).combine_chunks()
        if rows.num_rows:
            take(rows, rows["row_id"].combine_chunks())
            keys.append(rows.select(["rank", "source_aesthetic", "stream_order"]))
    order = np.arange(known.num_rows)
    if keys:
        order = np.concatenate([order, known.num_rows + _order_of_survival(keys, held, known.num_rows, settings)])
    return _Rows(
        held.column("name", order),
        held.column("prompt", order),
        held.column("scene", order),
        held.column("text", order),
        np.concatenate(pairs)[order],
        np.concatenate(expected)[order],
        collected(found, order) if settings.near else None,
        known.num_rows,
    )


def _near(rows: _Rows, settings: DedupSettings, among: bool) -> tuple[I64, npt.NDArray[np.float64]]:
    """Survivor and similarity of each row; without `among` only what is accepted elsewhere drops one."""
    assert rows.features is not None

    def agree(a: I64, b: I64) -> Mask:
        free: Mask = b >= rows.n_fixed  # a < b: of two that are accepted already both stay
        free &= among | (a < rows.n_fixed)
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


def _order_of_survival(parts: list[pa.Table], held: Aside, start: int, settings: DedupSettings) -> I64:
    """Rows by rank, aesthetic score where that decides (those without one last), place in the stream, then row_id.

    `start` is the number of the first row among those that are held.
    """
    rows = pa.concat_tables(parts)
    keys = [rows["stream_order"].to_numpy(), rows["rank"].to_numpy()]
    if settings.survivor == "aesthetic":
        worth = pc.fill_null(rows["source_aesthetic"], -np.inf).to_numpy()
        keys.insert(1, -np.where(np.isnan(worth), -np.inf, worth))
    order: I64 = np.lexsort(keys)
    same = np.logical_and.reduce([key[order[1:]] == key[order[:-1]] for key in keys])
    if same.any():  # a stream has each place once, unless files were put together by hand
        tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
        run = np.cumsum(~np.append(False, same))[tied]
        names = np.array(held.column("name", start + order[tied]).take(pa.array(range(len(tied)))).to_pylist())
        order[tied] = order[tied][np.lexsort([names, run])]
    return order
