"""verify: every file against its record, and how faults are mended; purge: texts that must not be kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import duckdb

from promptforge import catalog
from promptforge.commands import terminal
from promptforge.errors import PromptforgeError
from promptforge.report.page import REPORT, write_report
from promptforge.report.rejects import REJECTS, write_rejects
from promptforge.stages.run import DATASET
from promptforge.store import NOT_REDONE, Commit, Store

_NAMED = 5  # paths in one line of remedy


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

    for name in (REJECTS, REPORT):
        (root / name).unlink(missing_ok=True)  # they may show the text; first, so that a cut leaves none
    before = _accepted(root)
    done = purge(root, ids, reason)
    if Store(root).head() is not None:
        with catalog.open_run(root) as con:
            write_rejects(root, con)
            write_report(root, con)
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
