"""Distributions of metrics over the chosen pictures, counted in SQL: a histogram, bars of a few values, or words.

A histogram has 30 bins from the 0.5% to the 99.5% quantile, widened to every bound; what lies outside is counted in
the first or last bin. A metric with at most 12 different values is counted value by value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import duckdb

BINS = 30
FEW = 12  # different values up to which each has a bar of its own

_BINNED = """
WITH spread AS (
    SELECT {group} AS g, approx_count_distinct(value) <= $few AS few,
        least(quantile_cont(value, 0.005), min(low), min(high)) AS lowest,
        greatest(quantile_cont(value, 0.995), max(low), max(high)) AS highest
    FROM report_measured GROUP BY ALL
)
SELECT {columns}, s.few, s.lowest, s.highest,
    CASE WHEN s.few OR s.highest <= s.lowest THEN m.value
         ELSE greatest(0, least($bins - 1, floor((m.value - s.lowest) / (s.highest - s.lowest) * $bins))) END AS place,
    coalesce(m.passes, false) AS passes, count(*) AS n
FROM report_measured m JOIN spread s ON s.g = {group}
GROUP BY ALL ORDER BY ALL
"""

_GATED = """
CREATE OR REPLACE TEMP TABLE report_measured AS
SELECT axis, gate AS name, key, scorer, metric, value, passes, minimum AS low, maximum AS high FROM report_bounds
"""

_OTHER = """
CREATE OR REPLACE TEMP TABLE report_measured AS
SELECT '' AS axis, s.scorer || '.' || s.metric AS name, NULL::VARCHAR AS key, s.scorer, s.metric, s.value, p.passes,
    NULL::DOUBLE AS low, NULL::DOUBLE AS high
FROM scores_in_force s JOIN report_pictures p USING (image_id)
ANTI JOIN report_bounds b ON b.scorer = s.scorer AND b.metric = s.metric
WHERE s.value IS NOT NULL AND isfinite(s.value)
"""

_WORDS = """
SELECT p.axis, g.gate, g.scorer, g.metric, coalesce(s.detail, '(none)') AS word,
    list_contains(g.one_of, s.detail) AS allowed, coalesce(p.passes, false) AS passes, count(*) AS n
FROM report_gates g
JOIN report_pictures p ON p.axis = g.axis
JOIN scores_in_force s ON s.image_id = p.image_id AND s.scorer = g.scorer AND s.metric = g.metric
WHERE g.kind = 'one_of' GROUP BY ALL ORDER BY ALL
"""

# The groups of a bound: the key null stands for all that have no bound of their own.
_LIMITS = """
SELECT axis, gate, key, minimum, maximum FROM report_gates WHERE kind IN ('bound', 'quantile')
ORDER BY axis, gate, key NULLS FIRST
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """A count; `start` and `end` are the ends of a bin, equal for a single value. `word` is set for words."""

    start: float
    end: float
    passes: bool
    n: int
    word: str | None = None


@dataclass
class Distribution:
    """One metric on one axis ('' for all), of the pictures that one bound is for: its bars, and the bounds.

    `key` is None for those that have no bound of their own. All keys of a metric and axis share their bins.
    """

    name: str
    axis: str
    key: str | None
    metric: str
    few: bool
    bars: list[Bar] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)

    @property
    def is_flag(self) -> bool:
        """Whether it is 0 or 1, or always the same."""
        return self.few and all(bar.word is None for bar in self.bars) and len({bar.start for bar in self.bars}) <= 2

    @property
    def n(self) -> int:
        """Pictures that were counted."""
        return sum(bar.n for bar in self.bars)


def gated(con: duckdb.DuckDBPyConnection) -> list[Distribution]:
    """For each gate and axis that has pictures, in the order of the policy's names; words too."""
    con.execute(_GATED)
    found = _binned(con)
    for axis, gate, key, minimum, maximum in con.sql(_LIMITS).fetchall():
        for each in found:
            if (each.axis, each.name, each.key) == (axis, gate, key):
                each.limits += [value for value in (minimum, maximum) if value is not None]
    words: dict[tuple[str, str], Distribution] = {}
    for axis, gate, scorer, metric, word, allowed, passes, n in con.sql(_WORDS).fetchall():
        one = words.setdefault((gate, axis), Distribution(gate, axis, None, f"{scorer}.{metric}", few=True))
        one.bars.append(Bar(0, 0, passes, n, f"{word} (passes)" if allowed else word))
    return sorted([*found, *words.values()], key=lambda each: (each.name, each.axis, each.key or ""))


def others(con: duckdb.DuckDBPyConnection) -> list[Distribution]:
    """For each metric that no gate bounds, over all axes."""
    con.execute(_OTHER)
    return sorted(_binned(con), key=lambda each: each.name)


def _binned(con: duckdb.DuckDBPyConnection) -> list[Distribution]:
    columns = ("m.axis", "m.name", "m.key", "m.scorer", "m.metric")
    sql = _BINNED.format(group="axis || ' ' || name", columns=", ".join(columns))
    found: dict[tuple[str, str, str | None], Distribution] = {}
    rows: Sequence[tuple[str, str, str | None, str, str, bool, float, float, float, bool, int]] = con.execute(
        sql, {"few": FEW, "bins": BINS}
    ).fetchall()
    for axis, name, key, scorer, metric, few, lowest, highest, place, passes, n in rows:
        single = few or highest <= lowest
        one = found.setdefault((name, axis, key), Distribution(name, axis, key, f"{scorer}.{metric}", few=single))
        width = 0.0 if single else (highest - lowest) / BINS
        start = place if single else lowest + place * width
        one.bars.append(Bar(start, start + width, passes, n))
    return list(found.values())
