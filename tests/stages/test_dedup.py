"""The stage dedup: exact and near duplicates of a run, and what its verdicts say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptforge import catalog
from promptforge.errors import ConfigError
from promptforge.recipe import validate
from promptforge.stages import dedup, pipeline
from promptforge.stages.parts import resolve
from promptforge.stages.run import Run, prepare

ROWS: list[dict[str, Any]] = [
    {"text": "a red fox asleep in the snow"},
    {"text": "A red fox, asleep in the snow!"},  # exact
    {"text": "photo of a red fox asleep in the snow, highly detailed, 8k, trending on artstation"},  # near
    {"text": "a blue fox asleep in the snow"},  # another colour
    {"text": "two red foxes asleep in the snow, highly detailed, 8k, trending on artstation"},  # another count
    {"text": "a lamp left of a chair", "pair": "p"},
    {"text": "a lamp left of a chair, sharp focus", "pair": "p"},  # one minimal pair
    {"text": 'a wooden sign that says "OPEN"'},
    {"text": 'a wooden sign that says "CLOSED"'},
    {"text": 'a wooden sign that says "OPEN", studio lighting'},  # near
]


def _run(tmp_path: Path, rows: list[dict[str, Any]], settings: dict[str, Any] | None) -> Run:
    tmp_path.mkdir(exist_ok=True)
    source = tmp_path / "p.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    columns = {name: name for name in ("text", "pair_id", "source_aesthetic") if any(name in row for row in rows)}
    raw: dict[str, Any] = {
        "name": "near",
        "sources": [{"kind": "files", "paths": [str(source)], "columns": columns}],
        "regime": {"teacher": "canvas", "size": 128},
    }
    if settings is not None:
        raw["dedup"] = settings
    return prepare(tmp_path / "run", raw, "test")


def _verdicts(run: Run) -> dict[int, tuple[str, int, float | None, float | None]]:
    """Row -> check, row of the survivor, similarity, threshold."""
    for position in range(pipeline.text_shards(run.root)):
        pipeline.make_text(run.root, position)
    pipeline.make_dedup(run.root)
    text = pipeline._text(run)
    commit = run.store.committed("dedup", "all", dedup.unit(run, text).digest)
    assert commit is not None
    with catalog.connect(run.store, [*text, commit]) as con:
        found = con.sql(
            "SELECT p.source_row, check_name, w.source_row, value, threshold FROM verdicts v JOIN prompts p"
            " USING (row_id) JOIN prompts w ON w.row_id = v.detail WHERE stage = 'dedup'"
        ).fetchall()
    return {row: (check, survivor, value, threshold) for row, check, survivor, value, threshold in found}


def _with_pairs(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"text": row["text"], "pair_id": row.get("pair")} for row in rows]


def test_without_the_table_only_exact_duplicates_go(tmp_path: Path) -> None:
    assert _verdicts(_run(tmp_path, _with_pairs(ROWS), None)) == {1: ("exact_duplicate", 0, None, None)}


def test_a_near_duplicate_names_its_survivor_and_the_similarity(tmp_path: Path) -> None:
    # Without style, articles and the like rows 2 and 9 say what rows 0 and 7 say: all n-grams are equal.
    assert _verdicts(_run(tmp_path, _with_pairs(ROWS), {})) == {
        1: ("exact_duplicate", 0, None, None),
        2: ("near_duplicate", 0, 1.0, 0.8),
        9: ("near_duplicate", 7, 1.0, 0.8),
    }


def test_members_of_a_minimal_pair_both_stay_and_others_do_not(tmp_path: Path) -> None:
    alone = [{"text": row["text"]} for row in ROWS]
    assert 6 in _verdicts(_run(tmp_path / "alone", alone, {}))
    assert 6 not in _verdicts(_run(tmp_path / "pair", _with_pairs(ROWS), {}))


def test_the_better_row_survives_where_the_recipe_says_so(tmp_path: Path) -> None:
    rows = [{**row, "source_aesthetic": 5.0 + number / 10} for number, row in enumerate(_with_pairs(ROWS))]
    found = _verdicts(_run(tmp_path, rows, {"survivor": "aesthetic"}))
    # Exact duplicates go by the stream, so 1 is gone before; 2 has 5.2 and 0 has 5.0, 9 has 5.9 and 7 has 5.7.
    assert {row: survivor for row, (_, survivor, _, _) in found.items()} == {1: 0, 0: 2, 7: 9}


def test_more_rows_behind_a_run_change_no_verdict_of_the_first_ones(tmp_path: Path) -> None:
    short = _verdicts(_run(tmp_path / "short", _with_pairs(ROWS[:5]), {}))
    whole = _verdicts(_run(tmp_path / "whole", _with_pairs(ROWS), {}))
    assert short == {row: verdict for row, verdict in whole.items() if row < 5}


def test_batches_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _verdicts(_run(tmp_path / "whole", _with_pairs(ROWS), {}))
    monkeypatch.setattr(dedup, "BATCH_ROWS", 3)
    assert _verdicts(_run(tmp_path / "batches", _with_pairs(ROWS), {})) == whole


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"treshold": 0.7}, "dedup.treshold: no such field; did you mean 'threshold'?"),
        ({"threshold": 2}, "dedup.threshold"),
        ({"bands": 100, "rows": 16}, "bands x rows is 1600"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_name(settings: dict[str, Any], words: str) -> None:
    raw = {
        "name": "near",
        "sources": [{"kind": "grammar", "axis": "image_quality", "n": 1}],
        "regime": {"teacher": "canvas", "size": 128},
        "dedup": settings,
    }
    with pytest.raises(ConfigError) as caught:
        resolve(validate(raw, "test"), "test")
    assert words in str(caught.value)
