"""The stage decontaminate: what it finds in a run, what it drops and flags, and when it is done again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptforge import catalog
from promptforge.errors import ConfigError, SourceFault
from promptforge.recipe import validate
from promptforge.stages import pipeline, progress
from promptforge.stages.parts import resolve
from promptforge.stages.run import Run, prepare

ROWS = [
    "A Dog, left of a cat!",  # 0: the benchmark's prompt in other punctuation
    "a cat left of a dog",  # 1: roles changed
    "a wooden lighthouse on a grassy hill, oil on canvas",  # 2: with style behind it
    "hill grassy a on lighthouse wooden a",  # 3: words in another order
    "a horse left of a chair",  # 4: the same template
    "seven lemons in a blue bowl",  # 5: nothing of it
    "a cat right of a dog",  # 6: the first one's scene in other words
]
BENCHMARK = ["a dog left of a cat", "a wooden lighthouse on a grassy hill"]


def _run(folder: Path, table: dict[str, Any], rows: list[str] = ROWS, where: str = "lists") -> Run:
    (folder / where).mkdir(parents=True, exist_ok=True)
    source, listed = folder / "p.txt", folder / where / "bench.txt"
    source.write_text("\n".join(rows) + "\n", "utf-8")
    if not listed.exists():
        listed.write_text("\n".join(BENCHMARK) + "\n", "utf-8")
    raw: dict[str, Any] = {
        "name": "decon",
        "sources": [{"kind": "files", "paths": [str(source)], "axis": "semantic_understanding"}],
        "regime": {"teacher": "canvas", "size": 128},
        "decontaminate": {"benchmarks": [{"name": "bench", "path": str(listed), **table}]},
    }
    return prepare(folder / "run", raw, "test")


def _through(run: Run) -> None:
    for position in range(pipeline.text_shards(run.root)):
        pipeline.make_text(run.root, position)
    pipeline.make_dedup(run.root)
    pipeline.make_decontaminate(run.root)


def _rows(run: Run, sql: str) -> list[tuple[Any, ...]]:
    with catalog.connect(run.store, pipeline._checked(run)) as con:
        found: list[tuple[Any, ...]] = con.sql(sql).fetchall()
        return found


def _verdicts(run: Run) -> dict[int, tuple[str, str, str]]:
    """Row -> verdict, reason, rule."""
    found = _rows(
        run,
        "SELECT source_row, verdict, reason, split_part(detail, ' ', 1) FROM verdicts JOIN prompts USING (row_id)"
        " WHERE stage = 'decontaminate' AND check_name = 'contaminated'",
    )
    assert len({row for row, *_ in found}) == len(found)
    return {row: (verdict, reason, rule) for row, verdict, reason, rule in found}


def test_copies_are_dropped_and_what_is_only_shared_is_flagged(tmp_path: Path) -> None:
    run = _run(tmp_path, {})
    _through(run)
    assert _verdicts(run) == {
        0: ("drop", "contaminated", "exact"),
        1: ("near_miss", "other_scene", "other_scene"),
        2: ("drop", "contaminated", "contained"),
        3: ("drop", "contaminated", "word_order"),
        4: ("near_miss", "shared_skeleton", "skeleton"),
        6: ("near_miss", "same_scene", "scene"),
    }
    assert pipeline.kept(run.root) == (7, 4)


def test_a_hit_names_the_benchmarks_row_and_its_verdict_says_so(tmp_path: Path) -> None:
    run = _run(tmp_path, {})
    _through(run)
    hits = _rows(
        run,
        "SELECT source_row, benchmark, benchmark_file, benchmark_row, value, action FROM contamination"
        " JOIN prompts USING (row_id) WHERE rule IN ('exact', 'contained') ORDER BY source_row",
    )
    # Seven words of the ten in row 2 are the prompt's.
    assert hits == [(0, "bench", "bench.txt", 0, 1.0, "drop"), (2, "bench", "bench.txt", 1, 0.7, "drop")]
    ((detail,),) = _rows(run, "SELECT detail FROM rejects WHERE source_row = 2")
    assert detail == "contained bench bench.txt:1"


def test_the_report_counts_by_benchmark_and_rule(tmp_path: Path) -> None:
    run = _run(tmp_path, {})
    _through(run)
    counts = {
        (rule, action): (n, of, semantic)
        for _, rule, action, n, of, _, semantic, _ in _rows(run, "FROM contamination_report")
    }
    assert counts[("exact", "drop")] == (1, 1, 1)
    assert counts[("other_scene", "flag")] == counts[("skeleton", "flag")] == (1, 1, 1)
    assert counts.keys() == {(rule, "drop") for rule in ("exact", "word_order", "contained")} | {
        (rule, "flag") for rule in ("scene", "other_scene", "skeleton")
    }


def test_actions_are_chosen_by_benchmark_and_rule(tmp_path: Path) -> None:
    run = _run(tmp_path, {"action": {"exact": "flag", "word_order": "off", "scene": "drop", "skeleton": "off"}})
    _through(run)
    found = _verdicts(run)
    assert found[0] == ("near_miss", "contaminated", "exact")
    assert found[6][0] == "drop"
    assert 4 not in found
    assert 3 not in found


def test_several_benchmarks_have_their_own_hits(tmp_path: Path) -> None:
    run = _run(tmp_path, {})
    other = tmp_path / "lists" / "other.jsonl"
    other.write_text(json.dumps({"q": "seven lemons in a blue bowl"}) + "\n" + json.dumps({"q": BENCHMARK[0]}) + "\n")
    raw = run.recipe.model_dump(mode="json", exclude_unset=True)
    raw["decontaminate"]["benchmarks"].append({"name": "other", "path": str(other), "column": "q"})
    run = prepare(tmp_path / "two", raw, "test")
    _through(run)
    exact = _rows(
        run,
        "SELECT source_row, benchmark, benchmark_row FROM contamination JOIN prompts USING (row_id)"
        " WHERE rule = 'exact' ORDER BY ALL",
    )
    assert exact == [(0, "bench", 0), (0, "other", 1), (5, "other", 0)]


def test_the_files_place_changes_nothing_and_their_content_does(tmp_path: Path) -> None:
    from promptforge.stages import decontaminate

    def digest(run: Run) -> str:
        for position in range(pipeline.text_shards(run.root)):
            pipeline.make_text(run.root, position)
        pipeline.make_dedup(run.root)
        return decontaminate.unit(run, pipeline._deduplicated(run)).digest

    first = digest(_run(tmp_path / "a", {}))
    assert digest(_run(tmp_path / "b", {}, where="elsewhere")) == first
    changed = _run(tmp_path / "c", {})
    (tmp_path / "c" / "lists" / "bench.txt").write_text("a dog\n", "utf-8")
    assert digest(changed) != first
    assert digest(_run(tmp_path / "d", {"action": {"exact": "flag"}})) != first


def test_rows_of_a_benchmark_that_cannot_be_read_are_counted_and_told(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    listed = tmp_path / "lists" / "bench.jsonl"
    listed.write_text(json.dumps({"q": BENCHMARK[0]}) + "\n{\n" + json.dumps({"q": 7}) + "\n")
    run = _run(tmp_path, {"path": str(listed), "column": "q"})
    _through(run)
    (commit,) = run.store.commits("decontaminate")
    assert commit.counts["benchmark_prompts"] == 1
    assert commit.counts["unreadable_in_bench"] == 2
    assert progress.meter(run.root).notes == [
        "benchmark bench: 2 rows could not be read, so no prompt was compared with them"
    ]


def test_done_work_is_found_again(tmp_path: Path) -> None:
    run = _run(tmp_path, {})
    _through(run)
    assert pipeline.make_decontaminate(run.root).skipped == 1


def test_batches_and_more_rows_change_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from promptforge.stages.contamination import find

    whole = _run(tmp_path / "whole", {})
    _through(whole)
    expected = _verdicts(whole)
    monkeypatch.setattr(find, "BATCH_ROWS", 2)
    batched = _run(tmp_path / "batched", {}, [*ROWS, "a lamp under a tree", "a dog left of a cat at night"])
    _through(batched)
    assert {row: verdict for row, verdict in _verdicts(batched).items() if row < len(ROWS)} == expected


def test_without_the_table_nothing_is_compared(tmp_path: Path) -> None:
    run = _run(tmp_path, {})
    raw = run.recipe.model_dump(mode="json", exclude_unset=True)
    del raw["decontaminate"]
    run = prepare(tmp_path / "none", raw, "test")
    _through(run)
    assert pipeline.kept(run.root) == (7, 7)
    assert _rows(run, "FROM contamination") == []


def test_no_folder_of_this_machine_is_in_what_a_run_states(tmp_path: Path) -> None:
    run = _run(tmp_path, {})
    assert str(tmp_path) not in json.dumps(run.resolved["decontaminate"])


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"coverag": 0.5}, "decontaminate.coverag: no such field; did you mean 'coverage'?"),
        ({"benchmarks": []}, "decontaminate.benchmarks"),
        ({"short_words": 40}, "short_words 40 is above long_words 16"),
        ({"benchmarks": [{"name": "a", "path": "x", "action": {"skeleton": "drop"}}]}, "skeleton cannot drop"),
        ({"benchmarks": [{"name": "a", "path": "x"}, {"name": "a", "path": "y"}]}, "two benchmarks are called 'a'"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_name(table: dict[str, Any], words: str) -> None:
    raw = {
        "name": "decon",
        "sources": [{"kind": "grammar", "axis": "image_quality", "n": 1}],
        "regime": {"teacher": "canvas", "size": 128},
        "decontaminate": {"benchmarks": [{"name": "b", "path": "x"}], **table},
    }
    with pytest.raises(ConfigError) as caught:
        resolve(validate(raw, "test"), "test")
    assert words in str(caught.value)


def test_a_missing_file_is_told_before_any_work(tmp_path: Path) -> None:
    run = _run(tmp_path, {"path": str(tmp_path / "nothing.txt")})
    with pytest.raises(SourceFault, match="no such file"):
        pipeline.text_shards(run.root)
