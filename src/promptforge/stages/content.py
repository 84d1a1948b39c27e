"""What a data set is made of, read out of the catalog: its rows, the figures of its card, the recipe.

All in SQL over the commits in force. The digest covers the rows themselves and no commit, so shard counts and
interruptions change nothing; nothing in it names a folder of this machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from promptforge import __version__, catalog, lexicon, records
from promptforge.errors import ConfigError, StoreFault
from promptforge.schema import arrow_schema
from promptforge.stages.coverage import measures, rows
from promptforge.stages.coverage import nouns as noun_lists
from promptforge.stages.run import Run
from promptforge.stages.score import wanted_scores
from promptforge.stages.shards import INDEX_COLUMNS, LATER_COLUMNS, PICTURE_COLUMNS, PROMPT_COLUMNS
from promptforge.store import Commit

VERSION = 3

#: DuckDB's own: point queries over a million rows take 10 ms of processor time, with one group 18.
INDEX_GROUP_ROWS = 122_880

#: Columns that are no scores.
_NAMED = frozenset({*PROMPT_COLUMNS, *PICTURE_COLUMNS, *INDEX_COLUMNS})

#: Figures of the card and the manifest, over the catalog and the relation dataset_index.
_FIGURES: Mapping[str, str] = {
    "splits": "SELECT split, axis, count(*), count(*) FILTER (keep_image) FROM dataset_index GROUP BY ALL ORDER BY ALL",
    "coverage": "SELECT axis, coalesce(category, ''), count(*), count(*) FILTER (keep_image) FROM dataset_index"
    " GROUP BY ALL ORDER BY ALL",
    "fates": "SELECT coalesce(axis, ''), fate, count(*) FROM fates GROUP BY ALL ORDER BY ALL",
    "lost": "SELECT coalesce(axis, ''), stage, check_name, reason, sum(n_dropped)::BIGINT FROM funnel WHERE step > 0"
    " GROUP BY ALL ORDER BY ALL",
    "withheld": "SELECT axis, coalesce(image_reason, ''), count(*) FROM dataset_index WHERE NOT keep_image"
    " GROUP BY ALL ORDER BY ALL",
    "sources": "SELECT p.source, p.licence, count(*), count(d.prompt_id) FROM prompts p"
    " LEFT JOIN selection s ON s.row_id = p.row_id LEFT JOIN dataset_index d ON d.prompt_id = s.prompt_id"
    " GROUP BY ALL ORDER BY ALL",
    "grammar": "SELECT count(*) FROM dataset_index JOIN selection s USING (prompt_id) JOIN prompts p"
    " ON p.row_id = s.row_id WHERE p.source_part = 'grammar'",
    "teachers": "SELECT i.teacher, i.regime, count(i.sha256), count(i.error), i.licence FROM render_plan r"
    " JOIN images i USING (image_id) GROUP BY ALL ORDER BY ALL",
    # For every gate and axis its keys in one line: photo: 5.2, other: 4.5.
    "gates": """
        SELECT gate, decision, axes, scorer, metric, low, high, words, fitted, validated FROM (
            SELECT gate, decision, string_agg(axis, ', ' ORDER BY axis) AS axes, scorer, metric, low, high, words,
                fitted, validated
            FROM (
                SELECT gate, decision, axis, coalesce(scorer, '') AS scorer, coalesce(metric, predicate) AS metric,
                    string_agg(says || format('{:.6g}', minimum), ', ' ORDER BY key NULLS LAST) AS low,
                    string_agg(says || format('{:.6g}', maximum), ', ' ORDER BY key NULLS LAST) AS high,
                    max(array_to_string(one_of, ', ')) AS words,
                    max(format('{:g} of ', quantile) || n_reference) FILTER (key IS NULL) AS fitted,
                    CASE WHEN bool_and(validated) THEN 'yes' ELSE 'no' END AS validated
                FROM (SELECT *, CASE WHEN coalesce("by", 'axis') = 'axis' THEN ''
                                     ELSE coalesce(key, 'other') || ': ' END AS says FROM policy)
                GROUP BY gate, decision, axis, scorer, metric, predicate
            ) GROUP BY ALL
        ) ORDER BY ALL""",
    # Rounded: a sum in another order, by other threads, differs in its last digits.
    "teachability": "SELECT axis, count(*), count(teachability), round(avg(teachability), 4),"
    " count(*) FILTER (teachability_high < 0.5), count(*) FILTER (teachability_low > 0.5) FROM dataset_index"
    " GROUP BY axis ORDER BY axis",
    "examples": "SELECT axis, text FROM dataset_index WHERE split = 'train'"
    " QUALIFY row_number() OVER (PARTITION BY axis ORDER BY prompt_id) <= 3 ORDER BY axis, prompt_id",
}

# A metric with details (a verdict, a reading) becomes a column of words, any other a column of numbers. The column is
# scorer_metric, or the metric alone where its name says the scorer's: text_cer, colour_agreement.
_METRICS = """
SELECT scorer, metric, count(detail) > 0 AS in_words FROM scores JOIN in_force USING (image_id, scorer, digest)
JOIN chosen USING (image_id) GROUP BY ALL ORDER BY scorer, metric
"""

_WORKED_OUT = ("text", "n_takes", "n_passed", *LATER_COLUMNS)

_CHOSEN = f"""
CREATE TEMP TABLE chosen AS
SELECT s.split, {", ".join(f"p.{name}" for name in PROMPT_COLUMNS if name not in _WORKED_OUT)},
    p.text_clean AS text, s.n_takes, s.n_passed, t.estimate AS teachability, t.low AS teachability_low,
    t.high AS teachability_high, s.keep_image, s.image_reason, s.image_id
FROM selection s JOIN prompts p ON p.row_id = s.row_id
LEFT JOIN teachability t ON t.prompt_id = s.prompt_id
WHERE s.keep_prompt AND p.text_clean IS NOT NULL
    AND p.prompt_id NOT IN (SELECT prompt_id FROM tombstones)
    AND p.fold_key NOT IN (SELECT fold_key FROM tombstones)
"""

# The rows of this run; where they lie is told once those of the set that they are added to are among them.
_OWN = """
WITH measured AS (
    SELECT image_id {pivot} FROM scores JOIN in_force USING (image_id, scorer, digest)
    JOIN chosen USING (image_id) GROUP BY image_id
)
SELECT c.*, i.take, i.seed, i.width, i.height, i.teacher,
    i.licence AS teacher_licence, i.sha256, NULL::VARCHAR AS file, NULL::BIGINT AS file_row, m.* EXCLUDE (image_id)
FROM chosen c
LEFT JOIN images i ON i.image_id = c.image_id
LEFT JOIN measured m ON m.image_id = c.image_id
"""

_INDEX = """
WITH placed AS (
    SELECT *, row_number() OVER same - 1 AS place,
        (count(*) OVER same_all + $most - 1) // $most AS n_files,
        (count(*) OVER same_all + n_files - 1) // n_files AS per_file  -- of one length, so that ranks get equal shares
    FROM united
    WINDOW same AS (PARTITION BY split, keep_image ORDER BY prompt_id), same_all AS (PARTITION BY split, keep_image)
)
SELECT * EXCLUDE (place, n_files, per_file) REPLACE (
    CASE WHEN keep_image THEN printf('data/%s-%05d-of-%05d.parquet', split, place // per_file, n_files) END AS file,
    CASE WHEN keep_image THEN place % per_file END AS file_row)
FROM placed ORDER BY split, prompt_id
"""


@dataclass(frozen=True)
class Content:
    """All that dataset/ is made of, but for the pictures, whose SHA-256 stand in `index`.

    `index` has a row for each accepted prompt, sorted by split and prompt_id; `index_file` is the same as Parquet.
    """

    index: pa.Table
    index_file: bytes
    scores: tuple[str, ...]
    figures: Mapping[str, Sequence[Sequence[Any]]]
    recipe: Mapping[str, Any]
    measures: pa.Table  # coverage_measures
    nouns: pa.Table  # prompt_nouns
    extends: Mapping[str, Any] | None = None  # what the manifest says of the set that this one adds to
    theirs: pa.ChunkedArray | None = None  # prompt_id of the rows that are taken over from there

    @property
    def n_pictures(self) -> int:
        """Accepted prompts whose picture may be used."""
        return int(pc.sum(self.index["keep_image"], min_count=0).as_py())

    def own(self, rows: pa.Table) -> pa.ChunkedArray:
        """Which of these rows of `index` are of this run, and not of the set that it adds to."""
        theirs = pa.chunked_array([], pa.string()) if self.theirs is None else self.theirs
        return pc.invert(pc.is_in(rows["prompt_id"], value_set=theirs.combine_chunks()))

    @property
    def digest(self) -> str:
        """64 hex digits; equal digests, equal bytes of dataset/ (same versions of the libraries)."""
        return records.digest_of(
            {
                "version": [VERSION, __version__],
                "recipe": self.recipe,
                "lexicon": lexicon.digest(),
                "coverage": [measures.VERSION, noun_lists.digest(), self.measures.to_pylist()],
                "index": hashlib.sha256(self.index_file).hexdigest(),
                "figures": self.figures,
                **({} if self.extends is None else {"extends": self.extends}),
            }
        )


def gather(run: Run, commits: Sequence[Commit]) -> Content:
    """Read everything that decides the data set, in SQL over the commits in force."""
    with catalog.connect(run.store, [*commits, *run.store.commits("purge")]) as con:
        con.execute(f"CREATE TEMP TABLE in_force AS {wanted_scores(run.parts.scorers)}")
        con.execute(_CHOSEN)
        metrics = [
            (scorer, metric, metric if scorer in metric else f"{scorer}_{metric}", in_words)
            for scorer, metric, in_words in con.execute(_METRICS).fetchall()
        ]
        con.execute(f"CREATE TEMP TABLE own AS {_OWN.format(pivot=''.join(_column(*metric) for metric in metrics))}")
        taken = _unite(con, run)
        index = con.sql(_INDEX, params={"most": run.recipe.publish.rows_per_file}).to_arrow_table()
        con.register("dataset_index", index)
        figures = {name: con.execute(query).fetchall() for name, query in _FIGURES.items()}
        covered, nouns = _coverage(con)
    sink = pa.BufferOutputStream()
    pq.write_table(index, sink, row_group_size=INDEX_GROUP_ROWS, compression="ZSTD", write_page_index=True)
    return Content(
        index,
        sink.getvalue().to_pybytes(),
        tuple(name for name in index.column_names if name not in _NAMED),
        json.loads(records.canonical_json(figures)),
        portable(run.resolved),
        covered,
        nouns,
        *(
            (None, None)
            if taken is None or run.extended is None
            else (run.extended.statement(taken), taken["prompt_id"])
        ),
    )


def _unite(con: duckdb.DuckDBPyConnection, run: Run) -> pa.Table | None:
    """Make the relation united: own, and the rows of the set that the run adds to, which are given back."""
    if run.extended is None:
        con.execute("CREATE TEMP VIEW united AS FROM own")
        return None
    stones = con.sql("SELECT prompt_id, fold_key FROM tombstones").fetchall()
    taken = run.extended.rows(frozenset(name for row in stones for name in row))
    con.register("extended", taken)
    ours, theirs = (
        dict(con.sql(f"SELECT column_name, column_type FROM (DESCRIBE {name})").fetchall())
        for name in ("own", "extended")
    )
    for name in ours.keys() & theirs.keys():
        if ours[name] != theirs[name]:
            raise ConfigError(
                f"publish.extends: {run.extended.root}: column {name} is {theirs[name]} there and {ours[name]} here;"
                " take the scorers that it was made with, or other names for yours"
            )
    ((twice,),) = con.sql("SELECT count(*) FROM own SEMI JOIN extended USING (prompt_id)").fetchall()
    if twice:
        raise StoreFault(f"{run.root}: {twice} accepted prompts stand in {run.extended.root} too; run again")
    con.execute("CREATE TEMP VIEW united AS SELECT * FROM own UNION ALL BY NAME SELECT * FROM extended")
    return taken


def _coverage(con: duckdb.DuckDBPyConnection) -> tuple[pa.Table, pa.Table]:
    """The tables coverage_measures and prompt_nouns of the data set."""
    chosen = "SELECT s.row_id, d.keep_image FROM dataset_index d JOIN selection s USING (prompt_id) WHERE s.keep_prompt"
    prompts = rows.prompts(con, chosen)
    made, nouns = measures.table(prompts)
    assert nouns is not None
    columns = [prompts.rows["prompt_id"], nouns.lists(prompts.rows.num_rows)]
    return (
        pa.Table.from_pylist(made, schema=arrow_schema("coverage_measures")),
        pa.Table.from_arrays(columns, names=["prompt_id", "nouns"]),
    )


def _column(scorer: str, metric: str, name: str, in_words: bool) -> str:
    scorer, metric = scorer.replace("'", "''"), metric.replace("'", "''")
    chosen = f"FILTER (scorer = '{scorer}' AND metric = '{metric}')"
    quoted = name.replace('"', '""')
    return f', max({"detail" if in_words else "value"}) {chosen} AS "{quoted}"'


def portable(settings: Any) -> Any:
    """The same settings without this machine's folders: of a path its last part.

    A path is a value under a key `path` or `paths`, and any string that is an absolute path.
    """
    if isinstance(settings, Mapping):
        return {key: _names(value) if key in {"path", "paths"} else portable(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [portable(item) for item in settings]
    if isinstance(settings, str) and PurePath(settings).is_absolute():
        return PurePath(settings).name
    return settings


def _names(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_names(item) for item in value]
    return PurePath(value).name if isinstance(value, str) else portable(value)
