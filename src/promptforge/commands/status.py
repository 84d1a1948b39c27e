"""status: how far a run folder is, from what is on disk alone."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from promptforge import catalog
from promptforge.commands import terminal
from promptforge.lock import boot_id, is_gone
from promptforge.stages.run import OPTIONAL, STAGES
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
        console.print(f"head:    {head.number} (made by run {head.epoch}), {published}")
    commits = store.all_commits()
    if (pictures := _pictures(store, commits)) is not None:
        console.print(f"wanted:  {pictures}")
    made = terminal.table("stage", "commits", "in force", "rows", numeric=("commits", "in force", "rows"))
    on_disk = Counter(commit.stage for commit in commits)
    in_force = Counter({stage: len(keys) for stage, keys in head.commits.items()} if head else {})
    rows: Counter[str] = Counter()
    for commit in commits:
        rows[commit.stage] += _rows(commit)
    extra = sorted(set(on_disk) - set(STAGES))
    for stage in (*STAGES, *extra):
        if on_disk[stage] or stage not in OPTIONAL:
            made.add_row(stage, f"{on_disk[stage]:,}", f"{in_force[stage]:,}", f"{rows[stage]:,}")
    console.print(made)
    console.print(
        "commits: pieces of work done; in force: those that the head names; rows: of all commits", style="dim"
    )


def _pictures(store: Store, commits: list[Commit]) -> str | None:
    """How many pictures of the newest plan, or chain of rounds, exist and are measured; None before the first plan."""
    plans = [commit for commit in commits if commit.stage == "plan"]
    if not plans:
        return None
    newest = max(plans, key=lambda commit: (store.record_path(commit).stat().st_mtime_ns, commit.key))
    chain = newest.counts.get("chain")
    rounds = [newest] if chain is None else [each for each in plans if each.counts.get("chain") == chain]
    facts = [commit for commit in commits if commit.stage in {"render", "score"}]
    with catalog.connect(store, [*rounds, *facts], check=()) as con:
        ((wanted, rendered, failed, scored),) = con.sql(
            "SELECT count(*), count(*) FILTER (made), count(*) FILTER (NOT made), count(*) FILTER (image_id IN"
            " (SELECT image_id FROM scores)) FROM render_plan LEFT JOIN"
            " (SELECT image_id, error IS NULL AS made FROM images) USING (image_id)"
        ).fetchall()
    lost = f", {failed:,} could not be made" if failed else ""
    noun = "picture" if wanted == 1 else "pictures"
    n_rounds = sum(each.counts["images"] > 0 for each in rounds)
    in_rounds = "" if chain is None else f" in {n_rounds:,} {'round' if n_rounds == 1 else 'rounds'}"
    return f"{wanted:,} {noun}{in_rounds}; rendered {rendered:,}, scored {scored:,}{lost}"


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
