"""A round in words, for whoever watches the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from promptforge.stages.run import Run
from promptforge.store import Commit

#: Why a goal ended short of what it wants.
ENDED = {
    "exhausted": "no candidate left",
    "hopeless": "given up",
    "budget": "the budget is spent",
}


def name_of(goal: Mapping[str, Any], goals: Iterable[Mapping[str, Any]]) -> str:
    """A goal as a person reads it; `goals` are all of its round, since an axis without cells has no rest."""
    axis, cell = goal["axis"], goal["cell"]
    if cell != "rest":
        return f"{axis}/{cell}"
    return f"the rest of {axis}" if any(each["axis"] == axis and each["cell"] != "rest" for each in goals) else axis


def acceptance(row: dict[str, Any]) -> str:
    """Share of the decided prompts that pass, with its interval; '' before any is decided."""
    if row["acceptance"] is None:
        return ""
    return f"acceptance {row['acceptance']:.0%} [{row['low'] * 100:.0f}, {row['high'] * 100:.0f}]"


def reached(row: dict[str, Any]) -> str:
    """Accepted prompts of those wanted."""
    if row["wanted"] is None:
        return f"{row['n_accepted']:,} accepted"
    return f"{min(row['n_accepted'], row['wanted']):,} of {row['wanted']:,}"


def _wants(row: dict[str, Any]) -> str:
    """What a round draws of a goal; a new prompt may have several pictures, and old ones further takes."""
    n_new, n_renders = row["n_new"], row["n_renders"]
    prompts = f"{n_new:,} {'prompt' if n_new == 1 else 'prompts'}"
    if n_new == n_renders:
        return prompts
    if not n_new:
        return f"{n_renders:,} further {'take' if n_renders == 1 else 'takes'}"
    return f"{n_renders:,} pictures with {n_new:,} new {'prompt' if n_new == 1 else 'prompts'}"


def round_lines(run: Run, commit: Commit) -> list[str]:
    """A line for each goal that the round works on; at the end one for each that falls short."""
    number = commit.counts["round"]
    item = commit.file("rounds")
    rows = [] if item is None else run.store.read(item).to_pylist()
    if not rows:
        n = commit.counts["images"]
        return [f"round {number}: {n:,} further takes"] if number and n else []
    lines = []
    if number == 0 and not any(gate.decision == "keep_prompt" for gate in run.recipe.select.gates.values()):
        lines.append(
            "no gate has decision 'keep_prompt': every prompt that can be drawn is accepted, whatever its picture;"
            " --set select.gates.NAME.decision=keep_prompt lets a gate decide"
        )
    for row in rows:
        about = ", ".join(filter(None, [acceptance(row), reached(row)]))
        name = name_of(row, rows)
        if row["n_renders"]:
            lines.append(f"round {number}: {_wants(row)} of {name}, {about}")
        elif not commit.counts["images"] and row["state"] in ENDED and row["wanted"] is not None:
            lines.append(f"round {number}: {name} ends at {about}: {ENDED[row['state']]}")
    return lines
