"""What must hold between the tables of a run folder: no id twice, no reference into nothing, every row accounted for.

Each check is a question in SQL whose answer is empty where all is well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """A question to the tables: `sql` gives (key, fault) for each bad row; `key` finds its file in `tables[0]`.

    `scope` head: the records in force; all: every record of the folder. `stage`: asked only where it is in force.
    """

    scope: Literal["head", "all"]
    tables: tuple[str, ...]
    key: str
    sql: str
    stage: str = "generate"


def _once(scope: Literal["head", "all"], table: str, key: str, stage: str = "generate") -> Check:
    label = key.replace("'", "''")
    return Check(
        scope,
        (table,),
        key,
        f"SELECT {key} AS key, '{label} {{}} is there ' || count(*) || ' times' FROM {table}"
        f" GROUP BY {key} HAVING count(*) > 1",
        stage,
    )


# One score: a measurement is never made twice.
_SCORE = "concat_ws(' ', image_id, scorer, digest, metric)"
_DECIDED = ("selection", "prompts", "verdicts")

CHECKS = (
    _once("head", "prompts", "row_id"),
    _once("head", "arrangement", "row_id", "arrange"),
    _once("head", "arrangement", "concat_ws(' ', axis, 'place', place)", "arrange"),
    Check(
        "head",
        ("arrangement",),
        "row_id",
        "SELECT row_id, 'row {} is to be taken, but stands behind one that is left over' FROM arrangement a"
        " WHERE NOT left_over AND place > (SELECT min(place) FROM arrangement b WHERE b.left_over AND b.axis = a.axis)",
        "arrange",
    ),
    Check(
        "head",
        ("selection", "arrangement"),
        "row_id",
        "SELECT row_id, 'row {} is accepted, but has no place in the order' FROM selection"
        " ANTI JOIN (FROM arrangement WHERE NOT left_over) USING (row_id)"
        " WHERE keep_prompt AND EXISTS (FROM arrangement)",
        "select",
    ),
    _once("head", "render_plan", "image_id", "plan"),
    _once("head", "rounds", "concat_ws(' ', round, axis, cell)", "plan"),
    Check(
        "head",
        ("rounds", "render_plan"),
        "NULL",
        "SELECT NULL, 'round ' || r.round || ' of ' || r.axis || ' says ' || r.n || ' pictures, its plan has '"
        " || coalesce(p.n, 0) FROM (SELECT round, axis, sum(n_renders) AS n FROM rounds GROUP BY ALL) r"
        " LEFT JOIN (SELECT round, axis, count(*) AS n FROM render_plan JOIN kept USING (prompt_id) GROUP BY ALL)"
        " p ON p.round = r.round AND p.axis = r.axis WHERE r.n <> coalesce(p.n, 0)",
        "plan",
    ),
    Check(
        "head",
        ("rounds",),
        "NULL",
        "SELECT NULL, 'before round ' || r.round || ' ' || r.axis || ' ' || r.cell || ' had ' || r.n_spent"
        " || ' pictures, the rounds before it say ' || coalesce(sum(e.n_renders), 0) FROM rounds r"
        " LEFT JOIN rounds e ON e.round < r.round AND e.axis = r.axis AND e.cell = r.cell"
        " GROUP BY r.round, r.axis, r.cell, r.n_spent HAVING coalesce(sum(e.n_renders), 0) <> r.n_spent",
        "plan",
    ),
    Check(
        "head",
        ("selection", "rounds"),
        "NULL",
        "SELECT NULL, 'the last round says ' || r.n || ' accepted of ' || r.axis || ', selected are '"
        " || coalesce(s.n, 0) FROM (SELECT axis, sum(least(n_accepted, coalesce(wanted, n_accepted))) AS n FROM rounds"
        " WHERE round = (SELECT max(round) FROM rounds) GROUP BY axis) r"
        " LEFT JOIN (SELECT axis, count(*) AS n FROM selection WHERE keep_prompt GROUP BY axis) s ON s.axis = r.axis"
        " WHERE r.n <> coalesce(s.n, 0)",
        "select",
    ),
    _once("head", "selection", "prompt_id", "select"),
    _once("head", "selection", "row_id", "select"),
    _once("head", "take_outcomes", "prompt_id", "select"),
    _once("head", "teachability", "prompt_id", "select"),
    Check(
        "head",
        ("teachability", "take_outcomes"),
        "prompt_id",
        "SELECT prompt_id, 'the teachability of prompt {} is not that of its takes' FROM teachability t"
        " ANTI JOIN take_outcomes o ON o.prompt_id = t.prompt_id AND o.fixed AND o.n_rendered = t.n_takes"
        " AND o.n_passed = t.n_passed",
        "select",
    ),
    _once("head", "published", "prompt_id", "publish"),
    _once("all", "images", "image_id"),
    _once("all", "responses", "request_id"),
    _once("all", "prompt_scores", "concat_ws(' ', prompt_id, scorer, digest, metric)"),
    _once("all", "scores", _SCORE),
    Check(
        "head",
        ("verdicts",),
        "row_id",
        "SELECT row_id, 'row {} was dropped ' || count(*) || ' times' FROM verdicts WHERE verdict = 'drop'"
        " GROUP BY row_id HAVING count(*) > 1",
    ),
    Check(
        "head",
        ("verdicts", "prompts"),
        "row_id",
        "SELECT DISTINCT row_id, 'a verdict on row {}, which is not in prompts' FROM verdicts"
        " ANTI JOIN prompts USING (row_id)",
    ),
    Check(
        "head",
        ("prompts", "verdicts"),
        "prompt_id",
        "SELECT prompt_id, 'prompt {} was kept ' || count(*) || ' times' FROM kept GROUP BY 1 HAVING count(*) > 1",
        "dedup",
    ),
    Check(
        "head",
        ("render_plan", "images"),
        "image_id",
        "SELECT image_id, 'picture {} is planned and not in images' FROM render_plan ANTI JOIN images USING (image_id)",
        "render",
    ),
    Check(
        "all",
        ("scores", "images"),
        "image_id",
        "SELECT DISTINCT image_id, 'a score of picture {}, which is not in images' FROM scores"
        " ANTI JOIN (FROM images WHERE error IS NULL) USING (image_id)",
    ),
    Check(
        "head",
        ("selection", "images"),
        "image_id",
        "SELECT image_id, 'picture {} is selected and not in images' FROM selection"
        " ANTI JOIN images USING (image_id) WHERE image_id IS NOT NULL"
        " UNION ALL SELECT image_id, 'picture {} is to be kept, but its render failed' FROM selection"
        " SEMI JOIN (FROM images WHERE error IS NOT NULL) USING (image_id) WHERE keep_image",
        "select",
    ),
    Check(
        "head",
        _DECIDED,
        "row_id",
        "SELECT row_id, 'row {} is selected, but a check dropped it or it is not in prompts' FROM selection"
        " ANTI JOIN kept USING (row_id)",
        "select",
    ),
    Check(
        "head",
        ("prompts", "verdicts", "selection"),
        "row_id",
        "SELECT row_id, 'row {} is not accounted for: its fate is ' || fate FROM fates"
        " WHERE fate NOT IN ('unreadable', 'dropped', 'not_needed', 'not_selected', 'accepted')",
        "select",
    ),
    Check(
        "head",
        ("prompts", "verdicts", "selection"),
        "NULL",
        "SELECT NULL, n || ' rows came in and ' || (SELECT count(*) FROM fates) || ' have a fate'"
        " FROM (SELECT count(*) AS n FROM prompts) WHERE n <> (SELECT count(*) FROM fates)",
        "select",
    ),
    Check(
        "head",
        ("published", "selection"),
        "prompt_id",
        "SELECT prompt_id, 'prompt {} is published, but not accepted with this picture and split' FROM published p"
        " ANTI JOIN selection s ON p.prompt_id = s.prompt_id AND s.keep_prompt AND p.split = s.split"
        " AND p.keep_image = s.keep_image AND p.image_id IS NOT DISTINCT FROM s.image_id",
        "publish",
    ),
    Check(
        "head",
        ("selection", "published"),
        "prompt_id",
        "SELECT prompt_id, 'prompt {} is accepted, but not published' FROM selection"
        " ANTI JOIN published USING (prompt_id) WHERE keep_prompt",
        "publish",
    ),
    Check(
        "all",
        ("prompts", "tombstones"),
        "prompt_id",
        "SELECT DISTINCT prompt_id, 'prompt {} was purged and its text is here; run purge again' FROM prompts"
        " WHERE prompt_id IN (SELECT prompt_id FROM tombstones) OR fold_key IN (SELECT fold_key FROM tombstones)",
    ),
)
