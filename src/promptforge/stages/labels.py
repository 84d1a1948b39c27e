"""Labels that a person gives to pictures, and the bounds of gates measured against them.

A label answers one question about one picture: quality (is it a clean picture), matches (does it show what the prompt
says), text (does it show the wanted text). Labels are facts, never made again by a run; a rater's later
label takes the place of an earlier one.

A bound is chosen and its precision reported on the same labels, so the report is on the bright side; with labels of
some 20 pictures an axis it finds a bound that is grossly wrong for a teacher, and no more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from promptforge import catalog
from promptforge.policy import Gate
from promptforge.records import digest_of
from promptforge.schema import arrow_schema
from promptforge.stages.run import Row, Run
from promptforge.store import Store

STAGE = "label"
QUESTIONS: Mapping[str, str] = {
    "quality": "Is it a clean picture, without visible faults?",
    "matches": "Does it show what the prompt says: things, colours, counts, places?",
    "text": "Does it show the wanted text, letter for letter?",
}
#: Which question judges the gates of a scorer; of every other scorer it is quality.
_ASKED = {"text": "text", **dict.fromkeys(("agreement", "alignment", "detector", "questions"), "matches")}
_LEAST_RECALL = 0.5  # a bound that refuses more than half of the good pictures is too strict, however precise
MIN_LABELS = 5  # of yes and of no each: with fewer, a bound says more of the draw than of the teacher

# Of each rater the store has one label; where raters differ, nobody has said anything.
SAID = """
SELECT image_id, question, any_value(label) AS label FROM labels
GROUP BY image_id, question HAVING count(DISTINCT label) = 1 AND any_value(label) IN ('yes', 'no')
"""
_VALUES = f"""
SELECT l.label = 'yes' AS good, s.value, s.detail
FROM ({SAID}) l
JOIN images i ON i.image_id = l.image_id
JOIN kept k ON k.prompt_id = i.prompt_id
JOIN scores_in_force s ON s.image_id = l.image_id
WHERE l.question = $question AND s.scorer = $scorer AND s.metric = $metric AND list_contains($axes, k.axis)
    AND (s.value IS NOT NULL OR s.detail IS NOT NULL)
ORDER BY s.value, s.detail, good
"""


@dataclass(frozen=True, slots=True)
class Bound:
    """One gate against the labels. `precision` is the share of good pictures among those that pass `value`.

    `low` and `high` are its Wilson interval at 95%; `recall` the share of the good ones that pass. `value` is None
    where the gate has no single number to move; `reason` says why it is not validated.
    """

    gate: str
    question: str
    n_yes: int
    n_no: int
    value: float | None
    precision: float | None
    low: float | None
    high: float | None
    recall: float | None
    reason: str | None = None

    @property
    def validated(self) -> bool:
        """Whether the bound may be called measured."""
        return self.reason is None


def question_of(run: Run, gate: Gate) -> str:
    """The question whose labels judge a gate."""
    kind = next((part.kind for part in run.parts.scorers if part.name == gate.scorer), "")
    return _ASKED.get(kind, "quality")


def to_label(con: duckdb.DuckDBPyConnection) -> list[Row]:
    """Every picture of the plan with each question that fits its prompt, by axis and prompt: what a person is asked."""
    rows = con.sql(
        "SELECT r.image_id, k.axis, k.text_clean AS text, k.expected_text FROM render_plan r"
        " JOIN images i USING (image_id) JOIN kept k ON k.prompt_id = r.prompt_id WHERE i.error IS NULL"
        " ORDER BY k.axis, k.stream_order, r.take"
    ).to_arrow_table()
    fitting = {"image_quality": ("quality",), "semantic_understanding": ("quality", "matches")}
    return [
        {**row, "question": question}
        for row in rows.to_pylist()
        for question in fitting.get(row["axis"], ("quality", "text"))
    ]


def disputed(con: duckdb.DuckDBPyConnection) -> tuple[int, list[str]]:
    """How many questions raters answer differently, so that nobody has said anything; and those raters, sorted."""
    found = con.execute(
        "SELECT count(DISTINCT (image_id, question)), list_sort(list(DISTINCT rater)) FROM labels"
        " SEMI JOIN (SELECT image_id, question FROM labels GROUP BY ALL HAVING count(DISTINCT label) > 1)"
        " USING (image_id, question)"
    ).fetchone()
    assert found is not None
    return int(found[0]), list(found[1] or ())


def save(store: Store, rows: Sequence[Row], rater: str) -> None:
    """Commit labels (image_id, question, label); what a rater said before of the same is taken out of its commit."""
    latest = {(row["image_id"], row["question"]): row["label"] for row in rows}
    earlier = [
        (commit, store.read(item).to_pylist()) for commit in store.commits(STAGE) if (item := commit.file("labels"))
    ]
    said = {_key(row): row["label"] for _, lines in earlier for row in lines if row["rater"] == rater}
    fresh = {key: label for key, label in latest.items() if said.get(key) != label}
    for commit, lines in earlier:
        left = [row for row in lines if row["rater"] != rater or _key(row) not in fresh]
        if len(left) < len(lines):
            store.rewrite(commit, {"labels": _table(left)})
    if fresh:
        lines = [
            {"image_id": image, "question": question, "label": label, "rater": rater}
            for (image, question), label in sorted(fresh.items())
        ]
        # Numbered: who changes a mind twice says again what a commit held that is empty by now.
        digest = digest_of([len(earlier), lines])
        store.commit(STAGE, "all", digest, {"labels": _table(lines)}, {"labels": len(lines)})


def put_in_force(store: Store, epoch: int) -> None:
    """Make a head that names every sample and label, and for the rest what the newest names: labels decide nothing."""
    head = store.head()
    assert head is not None
    commits = {**head.commits, STAGE: [commit.key for commit in store.commits(STAGE)]}
    made = store.new_head(epoch, head.recipe, commits)
    catalog.write_tables_sql(store, store.in_force(made))


def _key(row: Row) -> tuple[str, str]:
    return row["image_id"], row["question"]


def _table(lines: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(lines), schema=arrow_schema("labels"))


def measure(con: duckdb.DuckDBPyConnection, run: Run, precision: float) -> list[Bound]:
    """Each gate of the recipe against the labels.

    A bound stays where its precision is at least `precision` and half of the good pictures pass it; else it moves to
    the loosest one that reaches the precision.
    """
    return [_measure(con, run, name, gate, precision) for name, gate in run.recipe.select.gates.items()]


def _measure(con: duckdb.DuckDBPyConnection, run: Run, name: str, gate: Gate, precision: float) -> Bound:
    question = question_of(run, gate)
    if gate.kind in ("quantile", "where") or gate.by is not None:
        unmeasured = "only gates with one bound or a list of words are measured here; calibrate takes the others"
        return Bound(name, question, 0, 0, None, None, None, None, None, unmeasured)
    low, high = gate.min, gate.max
    assert not isinstance(low, dict) and not isinstance(high, dict)
    wanted: dict[str, Any] = {"question": question, "scorer": gate.scorer, "metric": gate.metric}
    found = con.execute(_VALUES, {**wanted, "axes": [str(axis) for axis in gate.axes]}).fetchall()
    n_yes = sum(good for good, _, _ in found)
    n_no = len(found) - n_yes
    value = low if low is not None else high
    movable = gate.one_of is None and (low is None) != (high is None)
    reason: str | None = None
    if min(n_yes, n_no) < MIN_LABELS:
        reason = f"{n_yes} yes and {n_no} no; at least {MIN_LABELS} of each are needed"
    elif movable:
        assert value is not None
        upwards = gate.min is not None
        bounds = sorted({number for _, number, _ in found}, reverse=not upwards)  # loosest first
        hits, n = _passing(found, value, upwards)
        if n == 0 or hits / n < precision or hits / n_yes < _LEAST_RECALL:
            fitting = (bound for bound in bounds if _share(*_passing(found, bound, upwards)) >= precision)
            moved = next(fitting, None)
            reason = None if moved is not None else f"no bound reaches a precision of {precision:g}"
            value = value if moved is None else moved
    passing = [good for good, number, word in found if _passes(gate, number, word, value if movable else None)]
    share = sum(passing) / len(passing) if passing else None
    if reason is None and not movable and (share is None or share < precision):
        reason = f"its precision is under {precision:g}"
    least, most = wilson(sum(passing), len(passing)) if passing else (None, None)
    recall = sum(passing) / n_yes if n_yes else None
    return Bound(name, question, n_yes, n_no, value if movable else None, share, least, most, recall, reason)


def _passing(found: Sequence[tuple[bool, float, str]], bound: float, upwards: bool) -> tuple[int, int]:
    """Good ones that pass, and all that pass."""
    passing = [good for good, number, _ in found if (number >= bound if upwards else number <= bound)]
    return sum(passing), len(passing)


def _share(hits: int, n: int) -> float:
    return hits / n if n else 0.0


def _passes(gate: Gate, number: float | None, word: str | None, moved: float | None) -> bool:
    if gate.one_of is not None:
        return word in gate.one_of
    assert number is not None
    low, high = gate.min, gate.max
    assert not isinstance(low, dict) and not isinstance(high, dict)
    if moved is not None:
        low, high = (moved, None) if low is not None else (None, moved)
    return (low is None or number >= low) and (high is None or number <= high)


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Wilson score interval at 95% of a share, in [0, 1] (Wilson 1927)."""
    z = 1.959963984540054
    share = hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def settings(bounds: Sequence[Bound], run: Run) -> list[str]:
    """Lines for `--set @FILE` that put the measured bounds in, with the teacher that they were measured on."""
    lines = []
    for bound in bounds:
        if not bound.validated:
            continue
        gate = run.recipe.select.gates[bound.gate]
        path = f"select.gates.{bound.gate}"
        if bound.value is not None:
            lines.append(f"{path}.{'min' if gate.min is not None else 'max'}={bound.value!r}")
        lines += [f"{path}.validated=true", f"{path}.measured_on={run.teacher_fingerprint}"]
    return lines
