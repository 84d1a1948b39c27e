"""coverage: what the accepted prompts of a run cover, in tables to be read, and what falls short of a demand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from promptforge import catalog
from promptforge.commands import terminal
from promptforge.errors import ConfigError
from promptforge.faults import explain
from promptforge.recipe import override
from promptforge.stages.coverage import measures, minimum, rows
from promptforge.stages.coverage.measures import Prompts
from promptforge.stages.coverage.nouns import nouns_of
from promptforge.stages.coverage.settings import ALL, Bound, CoverageSettings, Minimum
from promptforge.stages.coverage.shown import HEADS, LEGEND, percent, written

By = Literal["axis", "category", "cell", "source", "template"]

_KEYS: Mapping[str, tuple[str, ...]] = {
    "category": ("axis", "category"),
    "cell": ("axis", "category", "style", "words"),
    "source": ("axis", "source"),
    "template": ("axis", "template"),
}
_MOST = 60  # rows of a table on the screen


def show(root: Path, by: By, given: Sequence[str], *, as_json: bool) -> int:
    """Print the measures; 1 where a demand of `given` is not met, else 0."""
    bounds = _bounds(given)
    with catalog.open_run(root) as con:
        prompts = rows.prompts(con, rows.ACCEPTED)
        found = _by_axis(prompts) if by == "axis" else _by(con, prompts.rows, _KEYS[by])
        short = minimum.shortfalls(con, rows.ACCEPTED, bounds, how="--min ")
        shares = _shares(prompts) if by == "axis" else {}
        kept = _counted(con)
    if as_json:
        said = {"run": str(root), "by": by, "rows": found, "source_share": shares, "short": short}
        terminal.out().print(json.dumps(said, indent=1, ensure_ascii=False), soft_wrap=True)
    else:
        _print(root, by, found, shares, kept)
    for line in short:
        terminal.err().print(terminal.safe(line), soft_wrap=True)
    return 1 if short else 0


def _bounds(given: Sequence[str]) -> tuple[Bound, ...]:
    """Demands written as measure.axis=value, by the same model as the recipe's [coverage.min]."""
    for each in given:
        measure, dot, _ = each.partition("=")[0].partition(".")
        if measure in Minimum.model_fields and (measure == "cell") == bool(dot):
            raise ConfigError(f"--min {each!r}: expected measure.axis=value, e.g. natural_share.all=0.7, or cell=20")
    raw = override({}, [f"min.{each}" for each in given])
    try:
        return tuple(CoverageSettings.model_validate(raw).min.bounds())
    except ValidationError as exc:
        raise ConfigError(explain(exc, CoverageSettings, "--min").replace("--min: min.", "--min ")) from exc


def _by_axis(prompts: Prompts) -> list[dict[str, Any]]:
    """A row for each scope and axis, all of them first."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in measures.table(prompts)[0]:
        if row["measure"] == "source_share":
            continue
        line = found.setdefault((row["scope"], row["axis"]), {"scope": row["scope"], "axis": row["axis"]})
        line[row["measure"]] = row["value"]
        if row["measure"] == "template_share":
            line["largest_template"] = row["detail"]
    return list(found.values())


def _shares(prompts: Prompts) -> dict[str, dict[str, float]]:
    """Axis -> source -> its share."""
    found: dict[str, dict[str, float]] = {}
    for row in measures.table(prompts, ("source_share",))[0]:
        found.setdefault(row["axis"], {})[row["detail"]] = row["value"]
    return found


def _by(con: duckdb.DuckDBPyConnection, table: pa.Table, keys: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each combination of the keys, the largest first."""
    names = [pc.fill_null(table[key].cast(pa.string()), "") for key in keys]
    joined = pc.binary_join_element_wise(*names, "\x1f").combine_chunks().dictionary_encode()
    groups = joined.indices.to_numpy().astype(np.int64)
    parts = [value.split("\x1f") for value in joined.dictionary.to_pylist()]
    found = measures.measure(table, groups, len(parts), nouns_of(table["text"]))
    near = rows.near_duplicates(con, keys)
    lines: list[dict[str, Any]] = []
    for place, part in enumerate(parts):
        dropped, kept = near.get(tuple(part), (0, 0))
        lines.append(
            {
                **dict(zip(keys, part, strict=True)),
                **{name: found[name][place][0] for name in HEADS if name in found},
                "near_duplicate_share": dropped / (dropped + kept) if dropped + kept else None,
            }
        )
    return sorted(lines, key=lambda line: (-line["prompts"], *(line[key] for key in keys)))


def _counted(con: duckdb.DuckDBPyConnection) -> bool:
    """Whether the run has accepted anything yet."""
    return bool(con.sql("SELECT count(*) > 0 FROM selection").fetchall()[0][0])


def _print(root: Path, by: By, found: list[dict[str, Any]], shares: Mapping[str, Any], decided: bool) -> None:
    console = terminal.out()
    if not decided:
        console.print(f"{root}: nothing is accepted yet; the run has not reached select")
        return
    if by != "axis":
        _table(list(_KEYS[by]), found)
        console.print(f"\n{LEGEND}", style="dim")
        return
    of_prompts = [row for row in found if row["scope"] == "prompts" and (row["prompts"] or row["axis"] == ALL)]
    _table(["axis"], of_prompts)
    of_pictures = [row for row in found if row["scope"] == "pictures" and row["prompts"]]
    counts = {row["axis"]: row["prompts"] for row in of_pictures}
    if any(row["prompts"] != counts.get(row["axis"]) for row in of_prompts) and of_pictures:
        console.print("\nof these, prompts whose picture may be used:")
        _table(["axis"], of_pictures)
    console.print("\nsources:")
    made = terminal.table("axis", "source", "share", numeric=("share",))
    for axis, each in shares.items():
        for source, share in each.items():
            made.add_row(axis, terminal.safe(source), percent(share))
    console.print(made)
    console.print(f"\n{LEGEND}", style="dim")


def _table(keys: Sequence[str], found: Sequence[Mapping[str, Any]]) -> None:
    hidden = {"templates", "template_share"} if "template" in keys else set()
    shown = [name for name in HEADS if name not in hidden and any(row.get(name) is not None for row in found)]
    made = terminal.table(*keys, *(HEADS[name] for name in shown), numeric=tuple(HEADS.values()))
    for row in found[:_MOST]:
        made.add_row(
            *(terminal.safe(row[key] or "(none)") for key in keys), *(written(name, row.get(name)) for name in shown)
        )
    terminal.out().print(made)
    if len(found) > _MOST:
        terminal.err().print(f"only the {_MOST} largest of {len(found):,} are shown; --json gives all of them")
