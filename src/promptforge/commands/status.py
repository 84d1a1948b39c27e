"""status: how far a run folder is, from what is on disk alone."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from promptforge.commands import terminal
from promptforge.lock import boot_id, is_gone
from promptforge.stages.run import STAGES
from promptforge.store import Commit, Store


def show_status(root: Path) -> None:
    """Print the head, the commits by stage and who is at work."""
    store = Store(root)
    console = terminal.out()
    head = store.head()
    console.print(f"run:     {root}")
    console.print(f"at work: {_holder(root)}")
    if head is None:
        console.print("head:    none yet; nothing has been finished here")
    else:
        published = "published" if "publish" in head.commits else f"through {_furthest(head.commits)}"
        console.print(f"head:    {head.number} of run {head.epoch}, {published}")
    made = terminal.table("stage", "commits", "in force", "rows", numeric=("commits", "in force", "rows"))
    commits = store.all_commits()
    on_disk = Counter(commit.stage for commit in commits)
    in_force = Counter({stage: len(keys) for stage, keys in head.commits.items()} if head else {})
    rows: Counter[str] = Counter()
    for commit in commits:
        rows[commit.stage] += _rows(commit)
    extra = sorted(set(on_disk) - set(STAGES))
    for stage in (*STAGES, *extra):
        if on_disk[stage] or stage in STAGES:
            made.add_row(stage, f"{on_disk[stage]:,}", f"{in_force[stage]:,}", f"{rows[stage]:,}")
    console.print(made)


def _rows(commit: Commit) -> int:
    """Rows of the stage's own table: prompts of generate, images of render, not their pixels or verdicts too."""
    main = {"generate": "prompts", "render": "images"}.get(commit.stage)
    return sum(item.rows for item in commit.files if main in (None, item.table))


def _furthest(commits: Any) -> str:
    return next((stage for stage in reversed(STAGES) if stage in commits), "nothing")


def _holder(root: Path) -> str:
    """Who holds the lock, judged by its record and, on this machine, by the process."""
    try:
        owner = json.loads((root / "_lock.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return "nobody"
    if not owner.get("held"):
        return "nobody"
    who = f"process {owner['pid']} on {owner['host']} (run {owner['epoch']})"
    if is_gone(owner):
        return f"nobody; {who} was killed: run again to go on"
    if owner["boot"] != boot_id():
        return f"{who}, by its record; whether it still beats can only be seen by waiting"
    return f"{who}, going on"
