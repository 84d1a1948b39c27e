"""The table pictured: every planned picture in one row, with its prompt's groups and the metrics that are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from promptforge.errors import StoreFault
from promptforge.lexicon.style_kinds import kinds_sql
from promptforge.stages.judging.predicates import Metrics
from promptforge.stages.parts import Part
from promptforge.stages.score import wanted_digests

#: SQL of a number; in DuckDB NaN is above every bound, but it measures nothing.
NO_NAN = "nullif({}, 'nan'::DOUBLE)"


class Columns:
    """The column of pictured that holds a metric, by scorer and metric; given out as they are asked for."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.names: dict[tuple[str, str], str] = {}

    def __call__(self, scorer: str, metric: str) -> str:
        """Its name, unquoted."""
        return self.names.setdefault((scorer, metric), f"m{len(self.names)}")

    def of(self, scorer: str) -> dict[str, str]:
        """Metric -> column of one scorer."""
        return {metric: name for (each, metric), name in self.names.items() if each == scorer}


def make_pictured(con: duckdb.DuckDBPyConnection, parts: Sequence[Part], columns: Columns, by_style: bool) -> None:
    """Make it, and the view in_force: (image_id, scorer, digest) of the scores that count.

    pictured: image_id, prompt_id, take, error, axis, category, n_words, style_kind (null without `by_style`), m0, m1,
    ... A word has a second column, m.._seen: whether it was measured, since the detail may be null all the same. Raises
    StoreFault where a planned picture is not rendered or a score not measured.
    """
    about, drawn = ("axis", "category", "n_words"), [f"d{place}" for place in range(len(parts))]
    if by_style:
        prompts = f"SELECT * FROM ({kinds_sql(wanted_digests(parts, *about, 'style', 'text_clean', 'scene_origin'))})"
    else:
        prompts = f"SELECT *, NULL::VARCHAR AS style_kind FROM ({wanted_digests(parts, *about)})"
    groups = [f"k.{name}" for name in (*about, "style_kind")]
    digests = [f"CASE WHEN i.error IS NULL THEN k.{name} END AS {name}" for name in drawn]
    con.execute(f"""
    CREATE TEMP TABLE planned AS
    SELECT {", ".join(["r.image_id", "r.prompt_id", "r.take", "i.error", *groups, *digests])}
    FROM render_plan r
    JOIN images i ON i.image_id = r.image_id
    LEFT JOIN ({prompts}) k ON k.prompt_id = r.prompt_id
    """)
    forces = [
        f"SELECT image_id, {literal(part.name)} AS scorer, d{place} AS digest FROM planned WHERE d{place} IS NOT NULL"
        for place, part in enumerate(parts)
    ]
    none = "SELECT NULL::VARCHAR AS image_id, NULL::VARCHAR AS scorer, NULL::VARCHAR AS digest WHERE false"
    con.execute(f"CREATE TEMP VIEW in_force AS {' UNION ALL '.join([none, *forces])}")
    con.execute(_measures(parts, columns))
    _check_complete(con, len(parts))
    left_out = [f"{name}{place}" for place in range(len(parts)) for name in ("d", "seen")]
    con.execute(
        f"CREATE TEMP TABLE pictured AS SELECT * EXCLUDE ({', '.join(['picture', *left_out])})"
        " FROM planned p LEFT JOIN measures m ON m.picture = p.rowid"
    )
    con.execute("DROP TABLE measures")


def _measures(parts: Sequence[Part], columns: Columns) -> str:
    """SQL of the table measures: what the scores in force say of each row of planned, and whose scores there are.

    A scorer gives all its metrics or none, so those that are read tell whether it measured; of one of which none is
    read, any does. Each is a small number from the scan on: to compare names in every sum takes half as long again.
    """
    wide, codes, digests, n = ["p.rowid AS picture"], [], [], 0
    for place, part in enumerate(parts):
        first, mine = n, f"scorer = {literal(part.name)}"
        for metric, name in columns.of(part.name).items():
            this = f"FILTER (s.code = {n})"
            word = columns.metrics[part.name][metric] == "word"
            found = f"max(s.{'detail' if word else 'value'}) {this}"
            wide.append(f"{found if word else NO_NAN.format(found)} AS {name}")
            if word:
                wide.append(f"count(*) {this} > 0 AS {name}_seen")
            codes.append(f"WHEN {mine} AND metric = {literal(metric)} THEN {n}")
            n += 1
        if n == first:
            codes.append(f"WHEN {mine} THEN {n}")
            n += 1
        wide.append(f"count(*) FILTER (s.code BETWEEN {first} AND {n - 1}) > 0 AS seen{place}")
        digests += [f"WHEN {code} THEN p.d{place}" for code in range(first, n)]
    if not parts:
        codes, digests = ["WHEN false THEN 0"], ["WHEN 0 THEN NULL"]
    return (
        f"CREATE TEMP TABLE measures AS SELECT {', '.join(wide)}"
        f" FROM (SELECT *, (CASE {' '.join(codes)} END)::USMALLINT AS code FROM scores WHERE code IS NOT NULL) s"
        f" JOIN planned p ON p.image_id = s.image_id WHERE s.digest = CASE s.code {' '.join(digests)} END"
        " GROUP BY p.rowid"
    )


def _check_complete(con: duckdb.DuckDBPyConnection, n_parts: int) -> None:
    """Raise StoreFault where a planned picture or a wanted score is not there: a decision would rest on a gap."""
    gaps = [f"count(*) FILTER (d{place} IS NOT NULL AND seen{place} IS NOT TRUE)" for place in range(n_parts)]
    ((unmade, unscored),) = con.sql(
        f"SELECT (SELECT count(*) FROM render_plan) - count(*), {' + '.join(['0', *gaps])}"
        " FROM planned p LEFT JOIN measures m ON m.picture = p.rowid"
    ).fetchall()
    if unmade or unscored:
        raise StoreFault(
            f"{unmade} planned pictures are not rendered and {unscored} scores not measured; run render and score"
        )


def literal(text: str) -> str:
    """A word in SQL."""
    quoted = str(text).replace("'", "''")
    return f"'{quoted}'"
