"""What a person is told of teachability, and of what each take brought."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

#: Published column -> the column of the tables that says what it means.
DOCUMENTED_AT = {
    "teachability": ("teachability", "estimate"),
    "teachability_low": ("teachability", "low"),
    "teachability_high": ("teachability", "high"),
}


def on_card(rows: Sequence[Sequence[Any]]) -> list[str]:
    """The card's section in Markdown; a row is (axis, prompts, measured, mean, surely under half, surely over)."""
    if not any(row[2] for row in rows):
        return []
    lines = [
        "| axis | prompts | with teachability | mean | surely under 1/2 | surely over 1/2 |",
        "|---|---|---|---|---|---|",
        *(
            f"| {axis} | {n} | {n_measured} | {'' if mean is None else f'{mean:.2f}'} | {under} | {over} |"
            for axis, n, n_measured, mean, under, over in rows
        ),
    ]
    return [
        "## Teachability",
        "How often the teacher does what the prompt says: the share of a fixed number of takes that pass every gate,"
        " drawn to that of the prompts of the same axis and category by a beta-binomial model, with the ends of its 95%"
        " credible interval (surely: the interval lies on that side). It is as good as the gates are. Null: fewer than"
        " two takes of the prompt were rendered, or they stopped at the first that passed. No prompt was dropped for"
        " it.",
        "\n".join(lines),
    ]
