"""arrange: in which order the kept prompts of each axis are taken, where the recipe has [order].

Inside a block of the stream what adds most that is new comes first, and an earlier block comes before a later one. Over
that order caps hold back what would give a source or template too much. Balance is an order, never a verdict: a prompt
that came too late is not needed. The order knows nothing of quotas, so a larger one contains the smaller.

Members of a minimal pair are taken together, at places side by side, as one row with the concepts of all: the block is
that of the first. A quota that ends inside a pair still takes exactly as many rows as it says.

With student_gap an axis that the files measured has an order over all its blocks: cells in which a student is further
from its teacher come more often (gaps.py), inside a cell the rows stay as they are. Caps act on that order.

Text passes a block at a time; some 300 bytes a row stay in memory, and DuckDB sorts within 1 GiB, on disk beyond that.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from promptforge import catalog, records, texts
from promptforge.schema import arrow_schema
from promptforge.stages.arrangement import concepts, gaps, greedy
from promptforge.stages.arrangement.caps import Caps, Claim, Placed
from promptforge.stages.arrangement.caps import Unit as CapUnit
from promptforge.stages.arrangement.gaps import Gaps, Measured
from promptforge.stages.arrangement.settings import CAPS, OrderSettings
from promptforge.stages.goals import WHOLE
from promptforge.stages.hashing import I64
from promptforge.stages.run import Run, Unit, digest_columns
from promptforge.store import Commit

VERSION = 1
BATCH_ROWS = 10_000
MEMORY = "1GiB"  # of DuckDB while it sorts

_READS = [
    *("row_id", "prompt_id", "axis", "source", "template", "stream_order", "noise_group", "pair_id"),
    *("split", "split_group", "text_clean", "scene", "category", "style", "n_words"),
]

# Narrow rows first: windows and joins over texts would carry these through memory.
_UNITS = f"""
CREATE TEMP TABLE units AS
WITH whole AS (SELECT row_id, axis, stream_order, pair_id, noise_group FROM ({WHOLE})),
pairs AS (SELECT axis, noise_group, min(stream_order) AS first FROM whole WHERE pair_id IS NOT NULL GROUP BY ALL)
SELECT w.row_id, w.axis, w.stream_order, coalesce(p.first, w.stream_order) AS first,
    CASE WHEN w.pair_id IS NULL THEN w.row_id ELSE w.noise_group END AS unit
FROM whole w LEFT JOIN pairs p ON w.pair_id IS NOT NULL AND p.axis = w.axis AND p.noise_group = w.noise_group
"""

_ROWS = """
SELECT u.row_id, k.prompt_id, u.axis, k.source, k.template, u.unit, u.first // $block AS block, k.text_clean, k.scene,
    concat_ws(' ', k.category, {length}, k.style) AS cell{more}
FROM units u JOIN prompts k ON k.row_id = u.row_id
ORDER BY u.axis, u.first, u.unit, u.stream_order, u.row_id
"""


def look(run: Run) -> None:
    """Raise for what is missing or wrong of [order]'s files."""
    if run.order is not None and run.order.student_gap:
        _ = run.gaps.axes


def unit(run: Run, text: Sequence[Commit]) -> Unit:
    """The work of the whole run: `text` holds every commit up to the last check of the text."""
    settings = run.order
    assert settings is not None
    digest = records.digest_of(
        {
            "version": [VERSION, concepts.VERSION, greedy.VERSION, texts.VERSION, unicodedata.unidata_version],
            "settings": settings.identity,
            **({"gaps": run.gaps.digest} if settings.student_gap else {}),
            "input": digest_columns(text, {"prompts": _READS, "verdicts": ["row_id", "verdict"]}),
        }
    )

    def make() -> tuple[Mapping[str, pa.Table], Mapping[str, int]]:
        with catalog.connect(run.store, text) as con:
            table, cells = arrange(con, settings, run.gaps if settings.student_gap else None)
        left = table.filter(table["left_over"])
        return {"arrangement": table, **({"gap_cells": cells} if settings.student_gap else {})}, {
            "rows": table.num_rows,
            "held": table.num_rows - table["held"].null_count,
            **_moved(cells),
            **{
                f"left_over {axis} {cap}": n
                for (axis, cap), n in sorted(
                    Counter(zip(left["axis"].to_pylist(), left["held"].to_pylist(), strict=True)).items()
                )
            },
        }

    return Unit("arrange", "all", digest, make)


def _moved(cells: pa.Table) -> dict[str, int]:
    """Axis by axis, how many measured cells have another share than that of their candidates."""
    rows = cells.to_pylist()
    return {
        f"moved {axis}": sum(row["axis"] == axis and row["factor"] != 1 for row in rows)
        for axis in sorted({row["axis"] for row in rows})
    }


def unmoved(commit: Commit) -> Iterator[str]:
    """A line for the person about each axis whose cells all keep the candidates' shares, in spite of student_gap."""
    for name, n in commit.counts.items():
        if name.startswith("moved ") and not n:
            yield f"{name[6:]}: the student's gaps differ no more between cells than chance makes them; none gets more"


def left_over(commit: Commit) -> Iterator[str]:
    """A line for the person about each axis and cap that leaves prompts over."""
    for name, n in commit.counts.items():
        if name.startswith("left_over "):
            _, axis, cap = name.split()
            setting = next(key for key, value in CAPS.items() if value == cap)
            yield f"{axis}: {n:,} prompts could only come by breaking order.{setting}; none of them is taken"


def arrange(
    con: duckdb.DuckDBPyConnection, settings: OrderSettings, student: Gaps | None = None
) -> tuple[pa.Table, pa.Table]:
    """The tables arrangement, its rows by axis and place, and gap_cells, from a catalog of the text."""
    measured = student.axes if student else {}
    con.execute(f"SET memory_limit = '{MEMORY}'")
    con.execute(_UNITS)
    more = f", {gaps.CELL} AS gap_cell" if student else ""
    rows_sql = _ROWS.format(length=texts.length_band_sql("k.n_words"), more=more)
    reader = con.sql(rows_sql, params={"block": settings.block}).to_arrow_reader(BATCH_ROWS)
    done: list[pa.Table] = []
    cells: list[dict[str, Any]] = []
    axis: _Axis | None = None
    for name, block, rows in _blocks(reader):
        if axis is None or axis.name != name:
            if axis is not None:
                done.append(axis.table())
            axis = _Axis(name, settings, measured.get(name), cells)
        axis.add(block, rows)
    if axis is not None:
        done.append(axis.table())
    arranged = pa.concat_tables([arrow_schema("arrangement").empty_table(), *done]).combine_chunks()
    return arranged, pa.Table.from_pylist(cells, schema=arrow_schema("gap_cells"))


def _blocks(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, int, pa.Table]]:
    """Axis, block, and its rows; the batches are sorted by both."""
    waiting: list[pa.Table] = []
    at: tuple[str, int] | None = None
    for batch in batches:
        rows = pa.Table.from_batches([batch])
        runs = pc.run_end_encode(pc.binary_join_element_wise(rows["axis"], rows["block"].cast(pa.string()), " "))
        start = 0
        for end in (int(end) for chunk in runs.chunks for end in chunk.run_ends.to_pylist()):
            here = (rows["axis"][start].as_py(), rows["block"][start].as_py())
            if at is not None and here != at:
                yield *at, pa.concat_tables(waiting).combine_chunks()
                waiting = []
            at = here
            waiting.append(rows.slice(start, end - start))
            start = end
    if at is not None:
        yield *at, pa.concat_tables(waiting).combine_chunks()


@dataclass
class _Axis:
    """The order of one axis, as its blocks come in."""

    name: str
    settings: OrderSettings
    measured: Measured | None = None
    cells: list[dict[str, Any]] = field(default_factory=list)  # rows of gap_cells, added to
    _covered: greedy.Coverage = field(default_factory=greedy.Coverage)
    _rows: list[pa.Table] = field(default_factory=list)  # row_id, prompt_id in the order of turns
    _gain: list[npt.NDArray[np.float64]] = field(default_factory=list)
    _block: list[I64] = field(default_factory=list)
    _sizes: list[I64] = field(default_factory=list)  # rows of each unit, kept where student_gap is to sort them
    _turns: list[int] = field(default_factory=list)  # turn of each place settled so far
    _held: list[tuple[int, int]] = field(default_factory=list)  # turn, cap
    _n_rows: int = 0

    def __post_init__(self) -> None:
        shares = {number: self.settings.share(cap, self.name) for number, cap in enumerate(CAPS)}
        on = {number: share for number, share in shares.items() if share is not None}
        self._caps = Caps(on, self.settings.caps_from) if on else None
        self._claims: dict[tuple[str, str | None], tuple[Claim, ...]] = {}
        self._on = sorted(on)

    def add(self, block: int, rows: pa.Table) -> None:
        """The next block: its units in order, and those of before that may go now."""
        names = rows["unit"].combine_chunks()
        change = np.append(True, pc.not_equal(names[1:], names[:-1]).to_numpy(zero_copy_only=False))
        starts = np.flatnonzero(change)
        sizes = np.diff(np.append(starts, rows.num_rows))
        if self.settings.by == "coverage":
            sequence, added = self._covered.order(concepts.concepts(rows, np.cumsum(change) - 1))
            order = np.array(sequence, np.int64)
            gain = np.array(added, np.float64) / greedy.ONE
        else:
            order, gain = np.arange(len(starts)), np.full(len(starts), np.nan)
        starts, sizes = starts[order], sizes[order]
        ends = np.cumsum(sizes)
        taken = np.repeat(starts - (ends - sizes), sizes) + np.arange(rows.num_rows)
        wanted = ["row_id", "prompt_id", "source", "template", *(["gap_cell"] if self.measured else [])]
        rows = rows.select(wanted).take(pa.array(taken))
        self._gain.append(np.repeat(gain, sizes))
        self._block.append(np.full(rows.num_rows, block, np.int64))
        if self.measured is None:
            self._turn(rows, sizes)
            return
        for name in ("source", "template", "gap_cell"):
            rows = rows.set_column(rows.column_names.index(name), name, pc.dictionary_encode(rows[name]))
        self._rows.append(rows)
        self._sizes.append(sizes)

    def _turn(self, rows: pa.Table, sizes: I64) -> None:
        """Units whose turn is settled: they come next, as far as caps let them."""
        self._rows.append(rows.select(["row_id", "prompt_id"]))
        if self._caps is not None:
            self._through_caps(rows, sizes)
        self._n_rows += rows.num_rows

    def _by_gap(self, measured: Measured) -> None:
        """All units of the axis by the shares of their cells, a pair by the cell of its first row."""
        rows = pa.concat_tables(self._rows).unify_dictionaries().combine_chunks()
        sizes = np.concatenate(self._sizes)
        starts = np.cumsum(sizes) - sizes
        coded = rows["gap_cell"].combine_chunks()
        names, of_rows = coded.dictionary.to_pylist(), coded.indices.to_numpy().astype(np.int64)
        power = self.settings.gap_power
        cells = of_rows[starts]
        n_rows = np.bincount(cells, weights=sizes, minlength=len(names)).astype(np.int64)
        counts = {name: n for name, n in zip(names, n_rows.tolist(), strict=True) if n}
        self.cells += gaps.rows_of(self.name, measured, counts, power)
        order = gaps.merged(cells, sizes, np.array([measured.worth(name, power) for name in names], np.int64))
        starts, sizes = starts[order], sizes[order]
        ends = np.cumsum(sizes)
        taken = np.repeat(starts - (ends - sizes), sizes) + np.arange(rows.num_rows)
        self._gain, self._block = [np.concatenate(self._gain)[taken]], [np.concatenate(self._block)[taken]]
        self._rows = []
        for first in range(0, len(sizes), BATCH_ROWS):
            some = slice(first, first + BATCH_ROWS)
            part = rows.take(pa.array(taken[ends[first] - sizes[first] : ends[some][-1]]))
            self._turn(part, sizes[some])

    def _through_caps(self, rows: pa.Table, sizes: I64) -> None:
        assert self._caps is not None
        of = list(zip(rows["source"].to_pylist(), rows["template"].to_pylist(), strict=True))
        at = 0
        for size in sizes.tolist():
            claims = self._claims_of(of[at]) if size == 1 else self._claims_of_pair(of[at : at + size])
            for placed in self._caps.put(CapUnit(self._n_rows + at + 1, size, claims)):
                self._settle(placed)
            at += size

    def _claims_of(self, row: tuple[str, str | None]) -> tuple[Claim, ...]:
        found = self._claims.get(row)
        if found is None:
            found = self._claims[row] = tuple((cap, who, 1) for cap in self._on if (who := row[cap]) is not None)
        return found

    def _claims_of_pair(self, rows: Sequence[tuple[str, str | None]]) -> tuple[Claim, ...]:
        counts = Counter(claim[:2] for row in rows for claim in self._claims_of(row))
        return tuple((cap, who, n) for (cap, who), n in sorted(counts.items()))

    def _settle(self, placed: Placed) -> None:
        turns = range(placed.unit.turn, placed.unit.turn + placed.unit.rows)
        self._turns.extend(turns)
        if placed.held is not None:
            self._held.extend((turn, placed.held) for turn in turns)

    def table(self) -> pa.Table:
        """Every row of the axis, by place."""
        if self.measured is not None:
            self._by_gap(self.measured)
        if self._caps is None:
            turn = np.arange(self._n_rows)
            n_taken = self._n_rows
        else:
            n_taken = len(self._turns)
            for placed in self._caps.rest():
                self._settle(placed)
            turn = np.array(self._turns, np.int64) - 1
        held = np.full(self._n_rows, -1, np.int64)
        for at, cap in self._held:
            held[at - 1] = cap
        rows = pa.concat_tables(self._rows).combine_chunks().take(pa.array(turn))
        gain = np.concatenate(self._gain)[turn]
        words = pa.array([*CAPS.values(), None], pa.string())
        columns = {
            "row_id": rows["row_id"],
            "prompt_id": rows["prompt_id"],
            "axis": pa.repeat(self.name, self._n_rows),
            "place": np.arange(1, self._n_rows + 1),
            "turn": turn + 1,
            "block": np.concatenate(self._block)[turn],
            "gain": pa.array(gain, mask=np.isnan(gain)),
            "held": words.take(pa.array(np.where(held < 0, len(CAPS), held)[turn])),
            "left_over": np.arange(self._n_rows) >= n_taken,
        }
        schema = arrow_schema("arrangement")
        return pa.table({name: columns[name] for name in schema.names}, schema=schema)
