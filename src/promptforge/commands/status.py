"""status: how far a run folder is, from what is on disk alone."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from promptforge import catalog
from promptforge.commands import terminal
from promptforge.lock import boot_id, is_gone
from promptforge.recipe import Rounds
from promptforge.stages.rounds.spending import most_seconds, spending
from promptforge.stages.rounds.told import ENDED, acceptance, name_of, reached
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
        for said in _spent(root, store, commits):
            console.print(f"budget:  {said}")
        for said in _short(store, commits):
            console.print(f"short:   {said}")
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


def _newest(store: Store, commits: list[Commit]) -> list[Commit]:
    """The newest plan, or every plan of the chain of rounds that it belongs to, in order; [] before the first."""
    plans = [commit for commit in commits if commit.stage == "plan"]
    if not plans:
        return []
    newest = max(plans, key=lambda commit: (store.record_path(commit).stat().st_mtime_ns, commit.key))
    chain = newest.counts.get("chain")
    if chain is None:
        return [newest]
    return sorted(
        (each for each in plans if each.counts.get("chain") == chain), key=lambda each: (each.counts["round"], each.key)
    )


def _spent(root: Path, store: Store, commits: list[Commit]) -> list[str]:
    """What of each limit of [rounds] is spent, as the recipe in the folder has it."""
    given = json.loads((root / "_run.json").read_text("utf-8")).get("rounds")
    if given is None:
        return []
    rounds, said = Rounds.model_validate(given), []
    if rounds.max_renders is not None:
        n = sum(each.counts["images"] for each in _newest(store, commits))
        said.append(f"{n:,} of {rounds.max_renders:,} renders")
    if (limit := most_seconds(rounds)) is not None:
        spent = spending(store).seconds
        price = rounds.price_per_gpu_hour
        worth = "" if price is None else f", {spent / 3600 * price:,.2f} of {limit / 3600 * price:,.2f} of money"
        said.append(f"{spent:,.0f} of {limit:,.0f} s of drawing{worth}")
    return said


def _short(store: Store, commits: list[Commit]) -> list[str]:
    """Each goal of the newest round that had fewer accepted prompts than it wants; why, where it has ended."""
    plans = _newest(store, commits)
    item = plans[-1].file("rounds") if plans else None
    if item is None:
        return []
    rows = store.read(item).to_pylist()
    return [
        f"{name_of(row, rows)}, {', '.join(filter(None, [reached(row), acceptance(row)]))}"
        + ("" if row["state"] == "open" else f": {ENDED[row['state']]}")
        for row in rows
        if row["wanted"] is not None and row["state"] != "full" and row["n_accepted"] < row["wanted"]
    ]


def _pictures(store: Store, commits: list[Commit]) -> str | None:
    """How many pictures of the newest plan, or chain of rounds, exist and are measured; None before the first plan."""
    rounds = _newest(store, commits)
    if not rounds:
        return None
    chain = rounds[-1].counts.get("chain")
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
