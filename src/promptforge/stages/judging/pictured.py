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
    about = "prompt_id, axis, category, n_words"
    prompts = f"SELECT {about}, NULL::VARCHAR AS style_kind FROM kept"
    if by_style:
        planned = f"SELECT {about}, style, text_clean, scene_origin FROM kept SEMI JOIN render_plan USING (prompt_id)"
        prompts = f"SELECT {about}, style_kind FROM ({kinds_sql(planned)})"
    digests = [f"CASE WHEN i.error IS NULL THEN d.d{place} END AS d{place}" for place in range(len(parts))]
    con.execute(f"""
    CREATE TEMP TABLE planned AS
    SELECT {", ".join(["r.image_id", "r.prompt_id", "r.take", "i.error", "k.* EXCLUDE (prompt_id)", *digests])}
    FROM render_plan r
    JOIN images i ON i.image_id = r.image_id
    LEFT JOIN ({prompts}) k ON k.prompt_id = r.prompt_id
    LEFT JOIN ({wanted_digests(parts)}) d ON d.prompt_id = r.prompt_id
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
    read, any does.
    """
    wide, read = ["p.rowid AS picture"], []
    for place, part in enumerate(parts):
        mine = f"s.scorer = {literal(part.name)}"
        wide.append(f"count(*) FILTER ({mine}) > 0 AS seen{place}")
        for metric, name in columns.of(part.name).items():
            this = f"({mine} AND s.metric = {literal(metric)})"
            word = columns.metrics[part.name][metric] == "word"
            found = f"max(s.{'detail' if word else 'value'}) FILTER {this}"
            wide.append(f"{found if word else NO_NAN.format(found)} AS {name}")
            if word:
                wide.append(f"count(*) FILTER {this} > 0 AS {name}_seen")
        metrics = ", ".join(map(literal, columns.of(part.name)))
        read.append(f"({mine}{f' AND s.metric IN ({metrics})' if metrics else ''} AND s.digest = p.d{place})")
    return (
        f"CREATE TEMP TABLE measures AS SELECT {', '.join(wide)} FROM scores s"
        f" JOIN planned p ON p.image_id = s.image_id WHERE {' OR '.join(read) or 'false'} GROUP BY p.rowid"
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
