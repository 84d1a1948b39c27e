"""import-images: pictures rendered elsewhere become a run, and are scored, selected and published like any other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from promptforge import catalog
from promptforge import recipe as recipes
from promptforge.commands import run as runs
from promptforge.commands import terminal
from promptforge.commands.import_options import Import
from promptforge.errors import ConfigError
from promptforge.files import put
from promptforge.flows.params import CurateParams
from promptforge.policy import Quota
from promptforge.store import Store
from promptforge.teachers.importing.sets import ImportSet, read_set

MAX_TAKES = 64  # as render.takes


def import_images(
    path: str, options: Import, recipe: str, run: Path | None, out: str | None, settings: Sequence[str]
) -> int:
    """A new run of the import's own prompts, or with `run` the prompts of that run, in its folder; the exit code."""
    found = read_set(path, options.prompts, options.pictures)
    _tell(found)
    if run is not None:
        _tell_strangers(found, run)
    if run is None:
        return runs.run(params_of_own(path, options, recipe, out, settings))
    if out is not None:
        raise ConfigError("--run takes the prompts of that run and works in its folder; leave --out out")
    return runs.run(params_of_run(path, options, run, settings))


def params_of_run(path: str, options: Import, run: Path, settings: Sequence[str]) -> CurateParams:
    """The recipe of a run, with the import as its teacher."""
    _check_apart(path, run)
    chosen = _chosen(path, options)
    return runs.make_params(recipe=str(run / "_run.json"), out=str(run), settings=[*chosen, *settings])


def params_of_own(path: str, options: Import, recipe: str, out: str | None, settings: Sequence[str]) -> CurateParams:
    """A recipe with the import as its teacher and the import's prompts, which are written beside the run folder."""
    root = Path(out) if out else Path("runs") / recipes.validate(recipes.read(recipe), recipe).name
    _check_apart(path, root)
    source = _write_prompts(path, options, root)
    everything = dict.fromkeys(Quota.model_fields, "all")  # nobody imports pictures to have them left over
    chosen = [*_chosen(path, options), f"sources=[{toml(source)}]", f"select.quota={toml(everything)}"]
    return runs.make_params(recipe=recipe, out=str(root), settings=[*chosen, *settings])


def _chosen(path: str, options: Import) -> list[str]:
    takes = read_set(path, options.prompts, options.pictures).n_takes
    return [f"regime={toml(options.regime(path))}", f"render.takes={max(min(takes, MAX_TAKES), 1)}"]


def _check_apart(path: str, root: Path) -> None:
    """A run inside the import would be part of what is imported, and change it with each file that it writes."""
    if root.resolve().is_relative_to(Path(path).expanduser().resolve()):
        raise ConfigError(f"{root}: the run folder lies in {path}, which is imported; give another one with --out")


def _tell_strangers(found: ImportSet, run: Path) -> None:
    """How many of the import's prompts the run does not have, or dropped: their pictures are not taken."""
    if Store(run).head() is None:
        return
    with catalog.open_run(run) as con:
        known = {prompt for (prompt,) in con.sql("SELECT prompt_id FROM kept").fetchall()}
    n_strange = len({prompt for prompt, _ in found.by_take} - known)
    if n_strange:
        terminal.out().print(f"{n_strange:,} prompts are none that {run} keeps: their pictures are left out")


def _tell(found: ImportSet) -> None:
    console = terminal.out()
    takes = f", up to {found.n_takes} of each" if found.n_takes > 1 else ""
    console.print(f"{len(found.items):,} pictures for {found.n_prompts:,} prompts{takes}")
    if found.n_takes > MAX_TAKES:
        console.print(f"of each prompt the first {MAX_TAKES} pictures are taken")
    without = [item.problem for item in found.items if item.problem]
    if without:
        console.print(terminal.safe(f"{len(without):,} without a usable prompt, the first: {without[0]}"))


def _write_prompts(pictures: str, options: Import, root: Path) -> dict[str, Any]:
    """The source that reads the import's prompts: a file beside the run folder, a row a prompt, faulty ones too."""
    found = read_set(pictures, options.prompts, options.pictures)
    if found.items and all(item.text is None for item in found.items):
        raise ConfigError(
            f"{pictures}: names its pictures by prompt_id, which does not say the prompt; give --run of the run that"
            " has these prompts, or a column with the text by --prompts"
        )
    rows: dict[str, Mapping[str, Any]] = {}
    for number, item in enumerate(found.items):
        rows.setdefault(item.prompt_id or f"row {number}", {**item.carried, "text": item.text})
    lines = "".join(json.dumps(row, sort_keys=True, default=str) + "\n" for row in rows.values())
    path = root.with_name(f"{root.name}.prompts.jsonl")
    if not path.is_file() or path.read_bytes() != lines.encode():
        put(path, lines.encode())
    source = {"kind": "files", "name": options.name[:64], "paths": [str(path)], "licence": options.licence}
    return source | ({"axis": options.axis} if options.axis else {})


def toml(value: Any) -> str:
    """A string, a list or a table in a line of TOML. JSON's strings are TOML's, but for DEL."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{toml(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
