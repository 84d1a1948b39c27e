"""The README.md of an export: what it holds, under which terms, what a trainer is started with."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from types import ModuleType

import pyarrow as pa

from promptforge.export.folder.published import Published


def card(module: ModuleType, source: Published, rows: pa.Table) -> str:
    """The card of one export; `rows` are those that it holds."""
    fmt = module.__name__.rpartition(".")[2].replace("_", "-")
    title = source.manifest["recipe"]["publish"]["pretty_name"]
    counts = (
        rows.group_by(["split", "axis"])
        .aggregate([([], "count_all")])
        .sort_by([("split", "ascending"), ("axis", "ascending")])
    )
    licences = sorted(set(rows["licence"].to_pylist()))
    teachers = sorted({str(item) for item in rows["teacher_licence"].to_pylist() if item})
    sections = [
        f"# {title}: {fmt}",
        f"Made from the data set {source.digest[:16]} of promptforge {source.manifest['promptforge']}, format {fmt},"
        f" version {module.VERSION}. Every file's SHA-256 is in export.json.",
        inspect.cleandoc(module.__doc__ or ""),
        "## Rows",
        _table(("split", "axis", "rows"), [(r["split"], r["axis"], f"{r['count_all']:,}") for r in counts.to_pylist()]),
        "## Use, from inside this folder",
        f"```sh\n{module.USE.format(folder='.')}\n```",
        "## Terms",
        f"Prompts: {', '.join(licences)}. Pictures: {', '.join(teachers) or 'none here'}.",
    ]
    return "\n\n".join(sections) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
