"""What drawing has cost in this folder, and how many pictures the rest of a budget of time or money pays for.

Seconds are those of ranks, loading the teacher included, committed with the costs after each round. What a killed run
drew and had no time to record counts at the measured seconds a picture.
"""

from __future__ import annotations

from dataclasses import dataclass

from promptforge.recipe import Rounds
from promptforge.stages.run import Tally
from promptforge.store import Store

PROBE = 64  # pictures of the first round, where nobody knows how long one takes
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Spending:
    """Seconds of ranks that drawing took in this folder, and seconds a picture; None before any is measured."""

    seconds: float
    each_s: float | None


def recorded(tally: Tally) -> dict[str, int]:
    """The counts that a commit of costs carries, from the tally of a round's ranks."""
    return {"render_ranks_ms": round(tally.ranks_s * 1000), "render_rows": tally.rows}


def spending(store: Store) -> Spending:
    """As of now, from the commit records alone."""
    counts = [commit.counts for commit in store.commits("cost")]
    seconds = sum(each.get("render_ranks_ms", 0) for each in counts) / 1000
    rows = sum(each.get("render_rows", 0) for each in counts)
    if not rows:
        return Spending(seconds, None)
    drawn = sum(item.rows for commit in store.commits("render") if (item := commit.file("images")))
    each = seconds / rows
    return Spending(seconds + max(0, drawn - rows) * each, each)


def most_seconds(rounds: Rounds) -> float | None:
    """The limit in seconds of ranks; of a limit in money its worth; None without either."""
    limits = [] if rounds.max_gpu_s is None else [rounds.max_gpu_s]
    if rounds.max_money is not None and rounds.price_per_gpu_hour is not None:
        limits.append(rounds.max_money / rounds.price_per_gpu_hour * _HOUR_S)
    return min(limits) if limits else None


def affordable(rounds: Rounds, store: Store, least: int = 0) -> int | None:
    """Pictures that may yet be drawn; None without a limit of time or money.

    Where nothing is measured yet, PROBE, or `least` where that is more.
    """
    limit = most_seconds(rounds)
    if limit is None:
        return None
    known = spending(store)
    if known.each_s is None:
        return max(PROBE, least)
    return max(0, int((limit - known.seconds) / known.each_s)) if known.each_s else None
