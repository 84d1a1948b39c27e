"""push: a data set or an export onto the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from promptforge.commands import terminal
from promptforge.errors import ConfigError
from promptforge.export.hub.push import KEPT, pack, present, push
from promptforge.stages.run import DATASET

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def run_push(repository: str, folder: Path | None, run: Path | None, *, private: bool, dry: bool) -> None:
    """Compare the files, say what will go up and what will be removed there, and do it unless `dry`."""
    if not _REPOSITORY.fullmatch(repository):
        raise ConfigError(f"{repository!r} is no repository of the hub; expected owner/name")
    parcel = pack(folder or terminal.find_run(run) / DATASET)
    there = present(repository)
    console = terminal.out()
    state = "a new repository" if there is None else f"which has {len(there):,} files"
    console.print(
        f"{parcel.folder}: {len(parcel.files):,} files, {parcel.bytes / 1e6:,.1f} MB, to {repository}, {state}"
    )
    for line in _terms(parcel.folder):
        console.print(line)
    for name in sorted((there or frozenset()) - parcel.files.keys() - KEPT):
        console.print(f"removed there: {terminal.safe(name).plain}")
    if dry:
        console.print("nothing was sent (--dry-run)")
        return
    console.print(f"pushed: {push(parcel, repository, private=private)}")


def _terms(folder: Path) -> list[str]:
    """The lines of the card that state licences: of a data set's head, of an export its terms."""
    lines = (folder / "README.md").read_text("utf-8").splitlines()
    found = [line for line in lines[:12] if line.startswith(("license:", "license_name:"))]
    return found or [line for line in lines if line.startswith("Prompts: ")]
