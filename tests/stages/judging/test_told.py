"""What why and show say of a gate is what select decided by it."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from promptforge import records
from promptforge.commands import gates
from promptforge.records import AXES
from promptforge.stages.judging.takes import judge

GATES: dict[str, Any] = {
    "style": {"scorer": "technical", "metric": "sharpness", "by": "style", "min": {"photo": 0.4, "other": 0.2}},
    "category": {
        "scorer": "technical",
        "metric": "black",
        "by": "category",
        "max": {"a": 0.5, f"{AXES[0]}/other": 0.8},
    },
    "words": {"scorer": "text", "metric": "verdict", "one_of": ["read"]},
    "quantile": {"scorer": "technical", "metric": "sharpness", "quantile": 0.3, "by": "style", "least": 3},
    "said": {"where": "text.cer < 0.5 OR technical.black > 0.7 AND n_words > 2", "axes": list(AXES[:2])},
}


def test_every_gate_is_told_as_it_was_judged(
    case: Callable[..., Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    rng = random.Random(4)
    made = case(gates=GATES)
    made.prompts(
        [
            {"axis": rng.choice(AXES), "category": rng.choice([None, "a", "b"]), "style": rng.choice([None, "photo"])}
            for _ in range(40)
        ]
    )

    def picture() -> dict[str, Any] | None:
        if rng.random() < 0.15:
            return None
        found = {
            name: rng.choice([None, math.nan, *[rng.random() for _ in range(8)]])
            for name in ("technical.sharpness", "technical.black", "text.cer")
        }
        return found | {"text.verdict": rng.choice(["read", "misread"])}

    made.pictures({(n, take): picture() for n in range(40) for take in range(2)})
    judge(made.con, made.run)
    made.con.execute("INSERT INTO policy BY NAME SELECT * FROM gates")
    made.con.execute("INSERT INTO measured BY NAME SELECT image_id, scorer, digest FROM in_force")
    told = 0
    for n in range(40):
        name = records.prompt_id(f"prompt {n}")
        gates.tell(made.con, made.run, name)
        said = [re.split(r" {2,}", line.strip()) for line in capsys.readouterr().out.splitlines()]
        failed = {(int(row[0]), row[2]) for row in said if row[-1] == "FAILS"}
        judged = made.con.execute("SELECT take, error, n_failed, first_failed FROM takes WHERE prompt_id = ?", [name])
        for take, error, n_failed, first in judged.fetchall():
            mine = [gate for gate in GATES if (take, gate) in failed]
            assert (len(mine), next(iter(mine), None)) == (n_failed, first), (n, take)
            if error is not None:  # nothing was looked at, so nothing passes either
                assert not [row for row in said if row[0] == str(take)]
        told += len(failed)
    assert told > 20
