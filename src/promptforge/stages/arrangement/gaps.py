"""Where a trained student is worst: what cells of prompts get more of an axis, from the table student_gap.

A cell is axis x category x length in words. A prompt's gap is its error / scale (the student's squared error as a share
of the teacher's squared velocity), the mean over its noises and steps; a cell's is the mean over its prompts. Where few
prompts were measured that mean is mostly chance, so it is drawn towards the axis mean m by the rule of credibility

    estimate = m + z (mean - m),   z = n / (n + within / between),

n being the cell's prompts, within and between the variances inside and between cells, both estimated from the same rows
by the moments of a one-way analysis of variance with cells of unequal sizes (Buhlmann and Straub 1970; Searle, Casella
and McCulloch, Variance Components, 1992, section 3.6): the empirical Bayes estimate of a normal mean. Where
cells differ no more than chance makes them, between is 0 and every cell has the axis mean, as one never measured has.

A cell is worth (estimate / m) to the power of gap_power, within LEAST and MOST, and has that times its share of the
candidates, the sum brought back to 1. Row number j of a cell of weight w stands at (j - 1/2) / w: by Sainte-Lague's
divisors every length of the order has the cells' shares to about a row, a longer one contains the shorter, and the
share of a cell that has run out goes to the others by their weights.

Not covered: a cell's worth as rows of it are taken, and what the student has learnt since it was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from promptforge import texts
from promptforge.errors import SourceFault
from promptforge.files import sha256_file
from promptforge.records import AXES
from promptforge.stages.hashing import I64

VERSION = 1  # raised whenever any file gives a cell another weight or any weights another order
LEAST, MOST = 0.1, 10.0  # no cell is starved or takes all, however few prompts say so

#: A prompt's cell in SQL over prompts k: category and length, '' for no category.
CELL = f"concat(coalesce(k.category, ''), ' ', {texts.length_band_sql('k.n_words')})"
_WORDS = dict.fromkeys(("prompt_id", "axis", "category", "split", "length"), "a string")
_SPLITS = ("train", "test_words", "test_composition", "test_natural")
_NUMBERS = {"step": "a whole number", "error": "a number", "scale": "a number"}
_EXPECTED = "expected a student_gap that an evaluation of a student wrote"
_MICRO = 1_000_000  # worths are whole millionths: the same order on every machine


class Cell(NamedTuple):
    """What was measured in one cell: prompts, the mean of their gaps, and that mean drawn to the axis mean."""

    n_measured: int
    gap: float
    estimate: float


@dataclass(frozen=True)
class Measured:
    """One axis of the files: its mean gap and its cells, by `CELL`."""

    mean: float
    cells: Mapping[str, Cell]

    @property
    def flat(self) -> bool:
        """Whether no cell differs from the axis by more than chance."""
        return all(cell.estimate == self.mean for cell in self.cells.values())

    def worth(self, name: str, power: float) -> int:
        """What a row of this cell is worth beside one of the axis mean, in millionths."""
        cell = self.cells.get(name)
        ratio = 1.0 if cell is None or not self.mean else cell.estimate / self.mean
        return round(min(MOST, max(LEAST, ratio**power if power else 1.0)) * _MICRO)


class Gaps:
    """The files of [order] student_gap; each is read and checked at the first question."""

    def __init__(self, paths: Sequence[str], power: float) -> None:
        self._paths = [Path(path).expanduser() for path in paths]
        self.power = power

    @cached_property
    def digest(self) -> list[Any]:
        """What decides the cells' worths: version, power and the files' SHA-256, in no order."""
        for path in self._paths:
            if not path.is_file():
                whence = "" if path.is_absolute() else f" in {Path.cwd()}, where relative paths start"
                raise SourceFault(f"{path}: no such file{whence}; check order.student_gap")
        sums = sorted(sha256_file(path) for path in self._paths)
        if twice := {each for each in sums if sums.count(each) > 1}:
            name = next(path for path in self._paths if sha256_file(path) in twice)
            raise SourceFault(f"{name}: order.student_gap names this content twice; name it once")
        return [VERSION, self.power, sums]

    @cached_property
    def _tables(self) -> list[pa.Table]:
        _ = self.digest
        return [_read(path) for path in self._paths]

    @cached_property
    def tested(self) -> pa.Table:
        """prompt_id and split of each prompt that was measured in a test, sorted; of two splits the first by name."""
        rows = pa.concat_tables(self._tables).select(["prompt_id", "split"])
        held_out = rows.filter(pc.not_equal(rows["split"], "train")).group_by("prompt_id").aggregate([("split", "min")])
        return held_out.rename_columns(["prompt_id", "split"]).sort_by("prompt_id")

    @cached_property
    def axes(self) -> dict[str, Measured]:
        """Axis -> what was measured on it. Raises SourceFault for a file that does not say it."""
        tables = self._tables
        steps = [frozenset(table["step"].unique().to_pylist()) for table in tables]
        for path, seen in zip(self._paths[1:], steps[1:], strict=True):
            if seen != steps[0]:
                raise SourceFault(
                    f"{path}: measured at {len(seen)} steps ({_few(seen)}), {self._paths[0]} at {len(steps[0])}"
                    f" ({_few(steps[0])}); errors of other steps do not compare: evaluate both at the same"
                )
        return _measured(pa.concat_tables(tables))


def _read(path: Path) -> pa.Table:
    """prompt_id, axis, split, cell, step, gap of every row. Raises SourceFault, naming the first bad row (from 0)."""
    try:
        with pq.ParquetFile(path) as file:
            types = {field.name: field.type for field in file.schema_arrow}
            for name, wanted in (_WORDS | _NUMBERS).items():
                if name not in types:
                    raise SourceFault(f"{path}: no column {name!r}; {_EXPECTED}")
                if not _fits(name, types[name]):
                    raise SourceFault(f"{path}: column {name!r} is {types[name]}; expected {wanted}")
            table = file.read(columns=[*_WORDS, *_NUMBERS])
    except (pa.ArrowException, OSError) as exc:
        raise SourceFault(f"{path}: cannot be read as Parquet ({exc}); {_EXPECTED}") from exc
    if not table.num_rows:
        raise SourceFault(f"{path}: no rows; evaluate the student on at least one prompt")

    def refuse(bad: Any, name: str, wanted: str) -> None:
        place = pc.index(pc.fill_null(bad, True), True).as_py()
        if place >= 0:
            raise SourceFault(f"{path} row {place}: {name} is {table[name][place].as_py()!r}; expected {wanted}")

    refuse(pc.is_null(table["prompt_id"]), "prompt_id", "a prompt's id")
    refuse(pc.invert(pc.is_in(table["axis"], pa.array(AXES))), "axis", f"one of {', '.join(AXES)}")
    bands = texts.LENGTH_BANDS
    refuse(pc.invert(pc.is_in(table["length"], pa.array(bands))), "length", f"one of {', '.join(bands)}")
    refuse(pc.invert(pc.is_in(table["split"], pa.array(_SPLITS))), "split", f"one of {', '.join(_SPLITS)}")
    refuse(pc.is_null(table["step"]), "step", "a step's number")
    for name, least in (("error", pc.greater_equal), ("scale", pc.greater)):
        good = pc.and_(pc.is_finite(table[name]), least(table[name], 0.0))
        refuse(pc.invert(good), name, "a number from 0 up" if name == "error" else "a number above 0")
    _same_steps(path, table)
    category = pc.fill_null(table["category"].cast(pa.string()), "")
    cell = pc.binary_join_element_wise(category, table["length"].cast(pa.string()), " ")
    gap = pc.divide(table["error"].cast(pa.float64()), table["scale"].cast(pa.float64()))
    words = {name: table[name].cast(pa.string()) for name in ("prompt_id", "axis", "split")}
    return pa.table({**words, "cell": cell, "step": table["step"].cast(pa.int64()), "gap": gap})


def _fits(name: str, kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if name in _WORDS:  # a table in which no prompt has a category may have no type for it
        return (
            pa.types.is_string(kind)
            or pa.types.is_large_string(kind)
            or (name == "category" and pa.types.is_null(kind))
        )
    return pa.types.is_integer(kind) or (name != "step" and pa.types.is_floating(kind))


def _same_steps(path: Path, table: pa.Table) -> None:
    """Errors differ by a factor of ten between steps: a prompt that lacks one would seem better or worse than it is."""
    counts = table.group_by(["prompt_id", "step"]).aggregate([([], "count_all")])
    each = counts.group_by("prompt_id").aggregate([("step", "count"), ("count_all", "min"), ("count_all", "max")])
    n_steps = pc.count_distinct(counts["step"]).as_py()
    for row in each.sort_by("prompt_id").to_pylist():
        if row["step_count"] != n_steps or row["count_all_min"] != row["count_all_max"]:
            raise SourceFault(
                f"{path}: prompt {row['prompt_id']} is not measured equally often at each of the {n_steps} steps, so it"
                " does not compare with the others; finish the evaluation"
            )


def _few(steps: frozenset[int]) -> str:
    listed = sorted(steps)
    return ", ".join(map(str, listed[:4])) + (", ..." if len(listed) > 4 else "")


def _measured(rows: pa.Table) -> dict[str, Measured]:
    """The axes of all rows; every sum is exact before it is rounded, so the order of the rows is nothing to it."""
    values: dict[str, dict[str, dict[str, list[float]]]] = {}
    columns = (rows[name].to_pylist() for name in ("axis", "cell", "prompt_id", "gap"))
    for axis, cell, prompt, gap in zip(*columns, strict=True):
        values.setdefault(axis, {}).setdefault(cell, {}).setdefault(prompt, []).append(gap)
    return {
        axis: shrunk(
            {cell: [_mean(each) for _, each in sorted(found.items())] for cell, found in sorted(cells.items())}
        )
        for axis, cells in sorted(values.items())
    }


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def shrunk(cells: Mapping[str, Sequence[float]]) -> Measured:
    """The cells' means drawn to the axis mean, from the gap of each prompt of each cell, by the module's rule.

    A single cell, and cells of one prompt each, tell nothing of chance: every estimate is the axis mean.
    """
    gaps = [gap for each in cells.values() for gap in each]
    mean, n, n_cells = _mean(gaps), len(gaps), len(cells)
    means = {name: _mean(each) for name, each in cells.items()}
    between = within = 0.0
    if 1 < n_cells < n:
        inside = math.fsum((gap - means[name]) ** 2 for name, each in cells.items() for gap in each)
        across = math.fsum(len(each) * (means[name] - mean) ** 2 for name, each in cells.items())
        within = inside / (n - n_cells)
        size = (n - sum(len(each) ** 2 for each in cells.values()) / n) / (n_cells - 1)  # mean cell size, corrected
        between = max(0.0, (across / (n_cells - 1) - within) / size)
    trust = {name: len(each) / (len(each) + within / between) if between else 0.0 for name, each in cells.items()}
    found = {name: mean + trust[name] * (means[name] - mean) for name in cells}
    return Measured(mean, {name: Cell(len(cells[name]), means[name], found[name]) for name in cells})


def merged(cells: I64, sizes: I64, worth: I64) -> I64:
    """The units in the order that gives each cell its share; inside a cell they stay as they are.

    `cells` is the cell of each unit, `sizes` its rows, `worth` that of each cell.
    """
    n_rows = np.bincount(cells, weights=sizes, minlength=len(worth)).astype(np.int64)
    grouped = np.argsort(cells, kind="stable")
    ends = np.cumsum(sizes[grouped])
    first = np.cumsum(n_rows) - n_rows  # rows of the cells before
    middle = np.empty(len(cells), np.int64)
    middle[grouped] = (
        2 * (ends - first[cells[grouped]]) - sizes[grouped]
    )  # twice the middle of its rows within the cell
    # Whole numbers below 2 ** 53 divided: rounded the same everywhere. Of equal ones the earlier goes first.
    place: npt.NDArray[np.float64] = middle / (n_rows * worth)[cells]
    return np.argsort(place, kind="stable").astype(np.int64)


def rows_of(axis: str, measured: Measured, n_candidates: Mapping[str, int], power: float) -> list[dict[str, Any]]:
    """Rows of the table gap_cells: every cell of this axis that has candidates or was measured."""
    worths = {name: measured.worth(name, power) for name in n_candidates.keys() | measured.cells.keys()}
    total = sum(n_candidates.values())
    whole = sum(n * worths[name] for name, n in n_candidates.items())
    made = []
    for name in sorted(worths):
        category, _, words = name.rpartition(" ")
        cell = measured.cells.get(name)
        n = n_candidates.get(name, 0)
        made.append(
            {
                "axis": axis,
                "category": category or None,
                "words": words,
                "n_measured": 0 if cell is None else cell.n_measured,
                "gap": None if cell is None else cell.gap,
                "estimate": measured.mean if cell is None else cell.estimate,
                "factor": worths[name] / _MICRO,
                "n_candidates": n,
                "candidate_share": n / total if total else 0.0,
                "wanted_share": n * worths[name] / whole if whole else 0.0,
            }
        )
    return made
