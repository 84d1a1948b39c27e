"""How far raters agree where two of them answered the same question about the same picture."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from promptforge.stages.calibration.estimates import kappa

_PAIRS = """
SELECT a.rater, b.rater, list(a.label ORDER BY a.image_id, a.question), list(b.label ORDER BY a.image_id, a.question)
FROM labels a JOIN labels b ON b.image_id = a.image_id AND b.question = a.question AND b.rater > a.rater
GROUP BY a.rater, b.rater ORDER BY a.rater, b.rater
"""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two raters: questions that both answered, those answered differently, Cohen's kappa over yes, no and unsure."""

    first: str
    second: str
    n: int
    n_differ: int
    kappa: float


def agreements(con: duckdb.DuckDBPyConnection) -> list[Agreement]:
    """Every pair of raters that met, sorted by name."""
    return [
        Agreement(first, second, len(one), sum(a != b for a, b in zip(one, other, strict=True)), kappa(one, other))
        for first, second, one, other in con.sql(_PAIRS).fetchall()
    ]
