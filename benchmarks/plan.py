"""How near promptforge plan comes: the recipe mini is planned by a pilot of 100 prompts an axis, run, and compared.

    python benchmarks/plan.py --out /tmp/plan          # some three minutes on two processors; again: goes on
    python benchmarks/plan.py --out /tmp/plan --record # writes results/plan.json

The goal is 15% of the actual rows by stage and axis, and of the disk. Clock time is told beside it and is no goal: what
else the machine does decides it. Disk is compared for every item of at least a hundredth of the whole.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from promptforge.stages.forecast.saved import Compared, against

GOAL = 0.15
RESULT = Path(__file__).parent / "results" / "plan.json"


def command(*given: str) -> None:
    """Run promptforge in a process of its own."""
    subprocess.run([sys.executable, "-m", "promptforge.cli", *given], check=True)


def row_of(each: Compared) -> dict[str, Any]:
    """A line for the record."""
    line = each.line
    return {
        "item": f"{line.part} {line.item} {line.axis or 'all'}",
        "low": round(line.low, 1),
        "expected": None if line.expected is None else round(line.expected, 1),
        "high": None if line.high is None else round(line.high, 1),
        "actual": round(each.actual, 1),
        "error_share": None if each.error_share is None else round(each.error_share, 4),
        "inside": each.is_inside,
    }


def main() -> int:
    """Plan, run, compare; 1 where a figure of the goal is further off."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the run and its pilot")
    parser.add_argument("--recipe", default="mini")
    parser.add_argument("--pilot", type=int, default=100)
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    root = given.out / Path(given.recipe).stem
    if not (root / "forecast").exists():
        command("plan", given.recipe, "--pilot", str(given.pilot), "--out", str(root))
    command("run", given.recipe, "--out", str(root))
    compared = against(root)
    whole = next(each.actual for each in compared if (each.line.part, each.line.item) == ("disk", "all"))
    told = [each for each in compared if each.line.part != "disk" or each.actual >= whole / 100]
    goals = [each for each in told if each.line.part in ("rows", "disk")]
    worst = max(goals, key=lambda each: abs(each.error_share or 0.0))
    record = {
        "recipe": given.recipe,
        "pilot": given.pilot,
        "goal": GOAL,
        "worst": row_of(worst),
        "inside_of_rows_and_disk": f"{sum(each.is_inside for each in goals)} of {len(goals)}",
        "lines": [row_of(each) for each in told],
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[2], 1),
            **{name: version(name) for name in ("promptforge", "duckdb", "pyarrow", "numpy")},
        },
    }
    print(json.dumps(record, indent=1))
    if given.record:
        RESULT.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    return int(abs(worst.error_share or 0.0) > GOAL)


if __name__ == "__main__":
    sys.exit(main())
