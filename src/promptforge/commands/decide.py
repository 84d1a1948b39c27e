"""select: what other thresholds or quotas would change, from stored scores; verify and purge."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from promptforge import catalog
from promptforge import recipe as recipes
from promptforge.commands import terminal
from promptforge.errors import ConfigError, PromptforgeError
from promptforge.report.rejects import REJECTS, write_rejects
from promptforge.stages import parts, select
from promptforge.stages.run import DATASET, Run
from promptforge.store import NOT_REDONE, Commit, Store

_DECIDING = ("select", "publish")
_NAMED = 5  # paths in one line of remedy

_DIFFERENCE = """
SELECT coalesce(b.axis, a.axis) AS axis,
    count(*) FILTER (b.keep_prompt) AS before,
    count(*) FILTER (a.keep_prompt) AS after,
    count(*) FILTER (coalesce(a.keep_prompt, false) AND NOT coalesce(b.keep_prompt, false)) AS gained,
    count(*) FILTER (coalesce(b.keep_prompt, false) AND NOT coalesce(a.keep_prompt, false)) AS lost,
    count(*) FILTER (b.keep_image) AS pictures_before,
    count(*) FILTER (a.keep_image) AS pictures_after,
    count(*) FILTER (coalesce(a.keep_image, false) AND NOT coalesce(b.keep_image, false)) AS pictures_gained,
    count(*) FILTER (coalesce(b.keep_image, false) AND NOT coalesce(a.keep_image, false)) AS pictures_lost,
    count(*) FILTER (a.keep_prompt AND a.n_takes = 0) AS unrendered
FROM before b FULL JOIN after a USING (row_id)
GROUP BY 1 ORDER BY 1
"""


def compare(root: Path, settings: Sequence[str]) -> pa.Table:
    """One row an axis: accepted prompts and usable pictures under the newest head and under changed settings."""
    store = Store(root)
    head = store.head()
    if head is None or "select" not in head.commits:
        raise ConfigError(f"{root}: nothing has been selected here yet; finish it with: promptforge run")
    wrong = [item for item in settings if not item.partition("=")[0].strip().startswith("select.")]
    if wrong:
        raise ConfigError(f"--set {wrong[0]!r}: select changes select.* alone; anything else is a run: promptforge run")
    where = str(root / "_run.json")
    raw = recipes.override(json.loads((root / "_run.json").read_text("utf-8")), settings)
    recipe = recipes.validate(raw, where)
    run = Run(root, recipe, parts.resolve(recipe, where), store)
    with catalog.open_run(root) as con:
        before = con.sql("SELECT * FROM selection").to_arrow_table()
    commits = [commit for commit in store.in_force(head) if commit.stage not in _DECIDING]
    with catalog.connect(store, commits, check=()) as con:
        after = select.decide(con, run)
        con.register("before", before)
        con.register("after", after)
        return con.sql(_DIFFERENCE).to_arrow_table()


def show_difference(root: Path, settings: Sequence[str], *, apply: bool) -> None:
    """Print what would change, and how to do it."""
    rows = compare(root, settings).to_pylist()
    console = terminal.out()
    columns = ("accepted", "would be", "gained", "lost", "pictures", "would be", "gained", "lost")
    made = terminal.table("axis", *columns, numeric=columns)
    names = [f"{kind}{name}" for kind in ("", "pictures_") for name in ("before", "after", "gained", "lost")]
    for row in rows:
        made.add_row(row["axis"], *(f"{row[name]:,}" for name in names))
    console.print(made)
    changed = any(row[name] for row in rows for name in names if name.endswith(("gained", "lost")))
    unrendered = sum(row["unrendered"] for row in rows)
    if not changed:
        console.print("nothing would change")
        return
    if unrendered:
        console.print(f"{unrendered:,} of the accepted have no picture yet; a run renders what the recipe wants")
    if not apply:
        console.print("nothing was changed; do it with --apply")


def show_faults(root: Path) -> int:
    """verify: print every fault; 1 where there is any."""
    from promptforge.stages.verify import verify

    faults = verify(root)
    console = terminal.out()
    for fault in faults:
        console.print(terminal.safe(f"{fault.file}: {fault.fault}").plain)
    if faults:
        err = terminal.err()
        err.print(f"{root}: {len(faults)} {'fault' if len(faults) == 1 else 'faults'}")
        for line in _remedies(root, sorted({fault.file for fault in faults})):
            err.print(terminal.safe(line).plain)
        return 1
    console.print(f"{root}: every committed file is what its record says")
    return 0


def _remedies(root: Path, bad: Sequence[str]) -> list[str]:
    """How files at fault are mended, a line for each kind; none for what the next run mends by itself."""
    records: dict[str, list[str]] = {}  # file -> the records that name it: equal output of two digests is one file
    for path in sorted((root / "_commits").glob("*/*.json")):
        try:
            named = [item.name for item in Commit.from_json(path.read_text("utf-8")).files]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            named = []
        for name in (*named, path.relative_to(root).as_posix()):
            records.setdefault(name, []).append(str(path))
    redone: set[str] = set()
    lost: set[str] = set()
    for name in bad:
        for record in records.get(name, ()):
            if Path(record).parent.name in NOT_REDONE:
                lost.add(str(root / name))
            else:
                redone.add(record)
    lines = []
    if any(name.partition("/")[0] == DATASET for name in bad):
        lines.append(
            f"data set: remove {root / DATASET} and run the recipe again: it is rebuilt from the committed tables"
        )
    if redone:
        lines.append(
            "tables: restore the file from a copy, or remove its record and run the recipe again: its work is redone;"
            f" {'record' if len(redone) == 1 else 'records'}: {_some(redone)}"
        )
    if lost:
        lines.append(f"restore from a copy, since no run makes it again: {_some(lost)}")
    return lines


def _some(names: Iterable[str]) -> str:
    first, rest = sorted(names)[:_NAMED], sorted(names)[_NAMED:]
    return " ".join(first) + (f" and {len(rest)} more" if rest else "")


def purge_texts(root: Path, ids: Sequence[str], reason: str) -> None:
    """purge: remove texts for good; hash and reason stay."""
    from promptforge.stages.purge import purge

    (root / REJECTS).unlink(missing_ok=True)  # its examples may show the text; first, so that a cut leaves none
    before = _accepted(root)
    done = purge(root, ids, reason)
    if Store(root).head() is not None:
        with catalog.open_run(root) as con:
            write_rejects(root, con)
    counted = f"{len(done.prompts)} {'text' if len(done.prompts) == 1 else 'texts'}"
    terminal.out().print(f"{root}: purged {counted}, {done.rewritten} records rewritten; hash and reason stay")
    after = _accepted(root)
    if before is not None and after is not None and (risen := len(after - before)):
        terminal.out().print(f"{risen:,} of the other prompts moved up into the selection")


def _accepted(root: Path) -> set[str] | None:
    """prompt_ids of the selection in force; None where there is none, or it cannot be read: purge is to go on."""
    try:
        with catalog.open_run(root) as con:
            return {name for (name,) in con.sql("SELECT prompt_id FROM accepted").fetchall()}
    except (PromptforgeError, duckdb.Error):
        return None
