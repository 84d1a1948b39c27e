"""dedup across axes, and against what is accepted in other runs, data sets and files."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptforge import catalog, records, texts
from promptforge.errors import ConfigError, SourceFault, StoreFault
from promptforge.recipe import validate
from promptforge.stages import dedup, earlier, pipeline
from promptforge.stages.parts import resolve
from promptforge.stages.resemblance.settings import DedupSettings
from promptforge.stages.run import Run, prepare

FOX = "a red fox asleep in the snow"
STYLED = "photo of a red fox asleep in the snow, highly detailed, 8k, trending on artstation"
Rows = list[dict[str, Any]]


def start(root: Path, rows: Rows, settings: dict[str, Any] | None) -> Run:
    """A run of these rows that has only been prepared."""
    root.mkdir(parents=True, exist_ok=True)
    source = root.with_suffix(".jsonl")
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    raw: dict[str, Any] = {
        "name": "near",
        "sources": [{"kind": "files", "paths": [str(source)]}],
        "regime": {"teacher": "canvas", "size": 128},
        "render": {"sample": 0},
    }
    return prepare(root, raw | ({} if settings is None else {"dedup": settings}), "test")


def verdicts(run: Run) -> dict[int, tuple[str, str, float | None]]:
    """Row -> check, survivor (row number, or the detail as it is), similarity."""
    for position in range(pipeline.text_shards(run.root)):
        pipeline.make_text(run.root, position)
    pipeline.make_dedup(run.root)
    text = pipeline._text(run)
    commit = run.store.committed("dedup", "all", dedup.unit(run, text).digest)
    assert commit is not None
    with catalog.connect(run.store, [*text, commit]) as con:
        found = con.sql(
            "SELECT p.source_row, check_name, coalesce(w.source_row::VARCHAR, detail), value FROM verdicts v"
            " JOIN prompts p USING (row_id) LEFT JOIN prompts w ON w.row_id = v.detail WHERE stage = 'dedup'"
        ).fetchall()
    return {row: (check, survivor, value) for row, check, survivor, value in found}


def _texts(*prompts: str) -> Rows:
    return [{"text": prompt} for prompt in prompts]


@pytest.mark.parametrize("first", ["image_quality", "semantic_understanding"])
def test_of_equal_prompts_on_two_axes_the_first_in_the_stream_is_the_one_row(tmp_path: Path, first: str) -> None:
    (other,) = {"image_quality", "semantic_understanding"} - {first}
    rows = [
        {"text": FOX, "axis": first},
        {"text": FOX.upper(), "axis": other},
        {"text": STYLED, "axis": other},
        {"text": "a lamp", "axis": other},
    ]
    found = verdicts(start(tmp_path / "run", rows, {}))
    assert found == {1: ("exact_duplicate", "0", None), 2: ("near_duplicate", "0", 1.0)}


def test_a_preferred_axis_wins_whatever_the_stream_says(tmp_path: Path) -> None:
    rows = [
        {"text": FOX, "axis": "image_quality"},
        {"text": FOX + "!", "axis": "semantic_understanding"},
        {"text": STYLED, "axis": "text_rendering"},
    ]
    settings = {"prefer": ["text_rendering", "semantic_understanding"]}
    found = verdicts(start(tmp_path / "run", rows, settings))
    # Of the two equal ones the second axis of the list wins over one that is not in it; of the two near ones the first.
    assert found == {0: ("exact_duplicate", "1", None), 1: ("near_duplicate", "2", 1.0)}


def test_prompts_of_a_file_survive_and_are_named_by_set_row_and_id(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"a lamp\n\n{FOX}\na blue fox asleep in the snow\n", "utf-8")
    rows = _texts(FOX.title(), STYLED, "a green fox asleep in the snow", "A lamp.", "two lamps")
    run = start(tmp_path / "run", rows, {"against": [str(listed)]})
    place = f"accepted in list.txt row 2: {records.prompt_id(FOX)}"
    assert verdicts(run) == {
        0: ("exact_duplicate", place, None),
        1: ("near_duplicate", place, 1.0),
        3: ("exact_duplicate", f"accepted in list.txt row 0: {records.prompt_id('a lamp')}", None),
    }
    for path in [*(run.root / "_commits").rglob("*.json"), *(run.root / "verdicts").iterdir()]:
        assert str(tmp_path).encode() not in path.read_bytes()
    assert str(tmp_path) not in json.dumps(run.resolved["dedup"])
    assert run.resolved["dedup"]["against"] == ["list.txt"]


def test_two_near_prompts_that_are_both_accepted_stay_the_first_of_them_named(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"{STYLED}\n{FOX}\n", "utf-8")
    found = verdicts(
        start(tmp_path / "run", _texts(FOX + ", bokeh"), {"against": [{"path": str(listed), "name": "v0"}]})
    )
    assert found == {0: ("near_duplicate", f"accepted in v0/list.txt row 0: {records.prompt_id(STYLED)}", 1.0)}


def test_a_run_and_its_published_data_set_say_the_same(
    tmp_path: Path, finished: Path, tiny: Callable[[], dict[str, Any]]
) -> None:
    with catalog.open_run(finished) as con:
        accepted = [text for (text,) in con.sql("SELECT text FROM accepted ORDER BY prompt_id").fetchall()]
        ((lost,),) = con.sql("SELECT text FROM rejects WHERE fate = 'not_needed' ORDER BY ALL LIMIT 1").fetchall()
    rows = _texts(*(f"{text}, 8k, trending on artstation" for text in accepted), lost)
    for name, path in (("tiny", finished), ("tiny/dataset", finished / "dataset")):
        found = verdicts(start(tmp_path / path.name, rows, {"against": [str(path)]}))
        ids = [f"accepted in {name}: {records.prompt_id(texts.clean(text).text)}" for text in accepted]
        assert {row: survivor for row, (_, survivor, _) in found.items()} == dict(enumerate(ids))  # `lost` is free


def test_more_accepted_elsewhere_is_other_work_and_the_same_elsewhere_is_not(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("a lamp\n", "utf-8")
    rows = _texts(FOX)
    first = start(tmp_path / "run", rows, {"against": [str(listed)]})
    assert verdicts(first) == {}
    moved = tmp_path / "elsewhere" / "list.txt"
    moved.parent.mkdir()
    shutil.copy(listed, moved)
    again = start(tmp_path / "run", rows, {"against": [str(moved)]})
    text = pipeline._text(again)
    assert dedup.unit(again, text).digest == dedup.unit(first, text).digest
    moved.write_text(f"a lamp\n{FOX}\n", "utf-8")
    assert list(verdicts(start(tmp_path / "run", rows, {"against": [str(moved)]}))) == [0]


def test_another_column_of_a_list_is_other_work(tmp_path: Path) -> None:
    """The file is the same, so its SHA-256 says nothing of it."""
    path = tmp_path / "list.jsonl"
    path.write_text(json.dumps({"old": FOX, "new": "a lamp"}) + "\n", "utf-8")
    place = "accepted in list.jsonl row 0: "
    for column, row, prompt in (("old", 0, FOX), ("new", 1, "a lamp"), ("old", 0, FOX)):
        against = [{"path": str(path), "column": column}]
        found = verdicts(start(tmp_path / "run", _texts(FOX, "a lamp"), {"against": against}))
        assert found == {row: ("exact_duplicate", place + records.prompt_id(prompt), None)}


@pytest.mark.parametrize("module", ["texts", "targets", "scenes", "files"])
def test_a_list_that_is_read_otherwise_is_other_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    path = tmp_path / "list.txt"
    path.write_text(FOX + "\n", "utf-8")
    sets = DedupSettings.model_validate({"against": [str(path)]}).against
    before = earlier.Earlier(sets, tmp_path / "run").digest
    monkeypatch.setattr(getattr(earlier, module), "VERSION", 99)
    assert earlier.Earlier(sets, tmp_path / "run").digest != before


def test_of_a_prompt_in_two_sets_the_first_counts_however_many_are_read_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, lines in (("a.txt", [FOX, "a lamp", FOX]), ("b.txt", ["a lamp", "a tent"])):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), "utf-8")
    sets = DedupSettings.model_validate({"against": [str(tmp_path / "a.txt"), str(tmp_path / "b.txt")]}).against
    wanted = [(FOX, "a.txt row 0"), ("a lamp", "a.txt row 1"), ("a tent", "b.txt row 1")]
    for size in (10_000, 2):
        monkeypatch.setattr(earlier, "BATCH_ROWS", size)
        rows = earlier.Earlier(sets, tmp_path / "run").rows().to_pylist()
        assert [(row["text_clean"], row["place"].partition(":")[0]) for row in rows] == wanted


def test_files_that_changed_or_are_missing_are_named(tmp_path: Path, finished: Path) -> None:
    rows = _texts(FOX)
    with pytest.raises(SourceFault, match=r"gone: no such run, data set or file of prompts; check dedup\.against"):
        pipeline.text_shards(start(tmp_path / "a", rows, {"against": [str(tmp_path / "gone")]}).root)
    copy = Path(shutil.copytree(finished / "dataset", tmp_path / "set"))
    pq.write_table(pa.table({"text": ["x"]}), copy / "index.parquet")
    with pytest.raises(SourceFault, match=r"set/index\.parquet: sha256 is .* its manifest says"):
        verdicts(start(tmp_path / "b", rows, {"against": [str(copy)]}))
    run = Path(shutil.copytree(finished, tmp_path / "changed"))
    victim = next((run / "selection").iterdir())
    victim.write_bytes(victim.read_bytes() + b"x")
    with pytest.raises(StoreFault, match=re.escape(victim.name)):
        verdicts(start(tmp_path / "c", rows, {"against": [str(run)]}))


def test_a_run_is_not_compared_with_itself(tmp_path: Path) -> None:
    for path in (tmp_path / "run", tmp_path / "run" / "dataset"):
        path.mkdir(exist_ok=True)
        with pytest.raises(ConfigError, match="names the run itself"):
            pipeline.text_shards(start(tmp_path / "run", _texts(FOX), {"against": [str(path)]}).root)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"against": ["a/list.txt", "b/list.txt"]}, "two of against are called 'list.txt'"),
        ({"against": [{"path": "a", "colum": "x"}]}, "colum"),
        ({"prefer": ["quality"]}, "dedup.prefer"),
        ({"semantic": {}}, "expected either model or vectors"),
        ({"semantic": {"model": "owner/name"}}, "expected the 40 hex digits of a commit"),
        ({"semantic": {"vectors": "a", "threshold": 2}}, "dedup.semantic.threshold"),
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
