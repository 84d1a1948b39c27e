"""export: a published data set in a trainer's own form."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from promptforge import export, recipe, records
from promptforge.commands import terminal
from promptforge.errors import ConfigError
from promptforge.export.folder.card import card
from promptforge.export.folder.output import Output, check
from promptforge.export.folder.published import Chosen, Published
from promptforge.faults import explain, nearest
from promptforge.stages.run import DATASET


def formats() -> tuple[str, ...]:
    """Names of the formats: modules of export/, with a hyphen for each underscore."""
    modules = (item.name for item in pkgutil.iter_modules(export.__path__) if not item.ispkg)
    return tuple(sorted(name.replace("_", "-") for name in modules))


def show_formats() -> None:
    """Print each format with the first line of what it is."""
    made = terminal.table("format", "what it is")
    for name in formats():
        made.add_row(name, (_module(name).__doc__ or "").split("\n", 1)[0])
    terminal.out().print(made)


def run_export(name: str, dataset: Path | None, run: Path | None, out: Path, settings: Sequence[str]) -> None:
    """Write an export of a data set (that of the run where none is named), or compare one that is there with itself."""
    module = _module(name)
    params = _params(module, settings)
    source = Published.open(dataset or terminal.find_run(run) / DATASET)
    rows, more = _rows(module, source, params)
    stated = {
        "format": name,
        "version": module.VERSION,
        "dataset": source.digest,
        "params": params.model_dump(mode="json"),
        **more,
    }
    output = Output(out, records.digest_of(stated))
    console = terminal.out()
    if output.is_whole:
        console.print(f"nothing to do: {out} is this export, and its {check(out):,} files are as they were written")
        return
    module.write(source, rows, params, output)
    n_files = output.finish({**stated, "rows": rows.num_rows}, card(module, source, rows))
    found = f"; {output.n_found:,} pieces were there already" if output.n_found else ""
    left_out = f"; {more['left_out']:,} left out: {module.LEFT_OUT}" if more.get("left_out") else ""
    console.print(f"{out}: {rows.num_rows:,} rows in {n_files:,} files{found}{left_out}")
    console.print(f"next:  {module.USE.format(folder=out)}")


def _rows(module: ModuleType, source: Published, params: Chosen) -> tuple[pa.Table, dict[str, Any]]:
    """The rows that the format holds; of a format that cannot hold all, also what export.json says of that choice."""
    rows = source.rows(params, pictures=module.PICTURES)
    if not hasattr(module, "fitting"):
        return rows, {}
    fit: pa.Table = module.fitting(source, rows, params)
    if not fit.num_rows:
        raise ConfigError(f"{source.root}: none of {rows.num_rows:,} rows can be exported: {module.LEFT_OUT}")
    found = [name for name in fit.column_names if name not in rows.column_names]
    digest = records.digest_of([fit[name].to_pylist() for name in ("prompt_id", *found)])
    return fit, {"left_out": rows.num_rows - fit.num_rows, "found": digest}


def _module(name: str) -> ModuleType:
    if name not in formats():
        raise ConfigError(f"no format {name!r}{nearest(name, formats())}")
    return importlib.import_module(f"promptforge.export.{name.replace('-', '_')}")


def _params(module: ModuleType, settings: Sequence[str]) -> Chosen:
    given: dict[str, Any] = recipe.override({}, settings)
    try:
        params: Chosen = module.Params.model_validate(given)
    except ValidationError as exc:
        raise ConfigError(explain(exc, module.Params, "--set")) from exc
    return params
