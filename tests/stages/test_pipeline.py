"""The stages together, without a scheduler: what changes redoes, what does not, and that every input row is told of."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from promptforge import catalog, recipe
from promptforge.errors import ConfigError
from promptforge.stages.run import Tally

Drive = Callable[..., dict[str, Tally]]


def small(**sources: Any) -> dict[str, Any]:
    """The mini recipe, cut down: 10 rows an axis at 128 px, 8 wanted, no OCR."""
    raw = recipe.override(recipe.read("mini"), ["regime.size=128", "seed=3"])
    for source in raw["sources"]:
        source["n"] = 10
    raw["select"]["quota"] = dict.fromkeys(raw["select"]["quota"], 8)
    del raw["scorers"]["text"], raw["select"]["gates"]["text_reads"]
    return {**raw, **sources}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, drive: Drive) -> Path:
    """A finished tiny run; tests that change it work on a copy of the recipe in a folder of their own."""
    root = tmp_path_factory.mktemp("runs") / "tiny"
    drive(root, small())
    return root


def test_the_share_of_natural_tests_redoes_no_grammar(done: Path, drive: Drive, tmp_path: Path) -> None:
    tallies = drive(shutil.copytree(done, tmp_path / "copy"), {**small(), "publish": {"natural_test_share": 0.2}})
    assert [stage for stage, tally in tallies.items() if tally.done] == ["publish"]  # whose manifest has the recipe


def test_a_second_run_does_no_work_and_makes_no_head(done: Path, drive: Drive) -> None:
    before = sorted(path.name for path in (done / "heads").iterdir())
    again = drive(done, small())
    assert all(tally.done == 0 for tally in again.values()), again
    assert sorted(path.name for path in (done / "heads").iterdir()) == before


def test_every_input_row_has_one_fate(done: Path) -> None:
    with catalog.open_run(done) as con:
        fates = dict(con.sql("SELECT fate, count(*) FROM fates GROUP BY 1").fetchall())
        assert sum(fates.values()) == con.execute("SELECT count(DISTINCT row_id) FROM prompts").fetchall()[0][0]
        assert sum(fates.values()) == 30
    assert fates["accepted"] == 24
    assert "undecided" not in fates


def test_accepted_rows_are_the_first_in_the_stream(done: Path) -> None:
    with catalog.open_run(done) as con:
        rows = con.sql(
            "SELECT k.axis, max(k.stream_order) FILTER (s.keep_prompt), min(k.stream_order) FILTER (NOT s.keep_prompt)"
            " FROM kept k JOIN selection s USING (row_id) WHERE s.reason IS DISTINCT FROM 'split_group_straddles'"
            " GROUP BY 1"
        ).fetchall()
    assert all(last is None or first is None or last < first for _, last, first in rows)


def test_a_changed_gate_renders_and_scores_nothing(tmp_path: Path, drive: Drive) -> None:
    drive(tmp_path / "r", small())
    changed = recipe.override(small(), ["select.gates.sharp={scorer='technical',metric='sharpness',min=1e9}"])
    again = drive(tmp_path / "r", changed)
    assert {stage for stage, tally in again.items() if tally.done} == {"select", "publish"}
    with catalog.open_run(tmp_path / "r") as con:
        assert con.execute("SELECT count(*) FROM accepted WHERE keep_image").fetchall() == [(0,)]
        assert con.execute("SELECT count(*) FROM accepted").fetchall() == [(24,)]  # distill: the prompts stay


def test_more_takes_render_only_the_new_ones(tmp_path: Path, drive: Drive) -> None:
    first = drive(tmp_path / "r", small())
    second = drive(tmp_path / "r", recipe.override(small(), ["render.takes=2"]))
    assert first["render"].rows == second["render"].rows == 24


def test_another_seed_of_the_teacher_is_not_confused_with_the_old_pictures(tmp_path: Path, drive: Drive) -> None:
    drive(tmp_path / "r", small())
    again = drive(tmp_path / "r", recipe.override(small(), ["regime.mistake_rate=0.5"]))
    assert again["render"].rows == 24
    with catalog.open_run(tmp_path / "r") as con:
        assert con.execute("SELECT count(DISTINCT teacher) FROM images").fetchall() == [(2,)]
        assert con.execute(
            "SELECT count(DISTINCT i.teacher) FROM accepted a JOIN images i USING (image_id)"
        ).fetchall() == [(1,)]


def own(path: Path, axis: str | None) -> dict[str, Any]:
    source: dict[str, Any] = {"kind": "files", "paths": [str(path)]}
    return {**source, "axis": axis} if axis else source


def test_tagging_the_axis_anew_renders_nothing_again(tmp_path: Path, drive: Drive) -> None:
    """prompt_id comes from the text alone."""
    prompts = tmp_path / "own.txt"
    prompts.write_text("a red apple on a table\nthree blue cups beside a lamp\na quiet lake at dawn\n")
    first = drive(tmp_path / "r", small(sources=[own(prompts, "image_quality")]))
    second = drive(tmp_path / "r", small(sources=[own(prompts, "semantic_understanding")]))
    assert first["render"].rows == 3
    assert second["render"].rows == 0
    assert second["generate"].done == 1


def test_reading_other_columns_of_a_file_generates_it_anew(tmp_path: Path, drive: Drive) -> None:
    prompts = tmp_path / "own.jsonl"
    prompts.write_text(json.dumps({"prompt": "a red apple on a table", "category": "fruit"}) + "\n")
    found = []
    for columns in ({}, {"category": ""}, {"category": ""}):
        raw = small(sources=[{**own(prompts, "image_quality"), "columns": columns}])
        done = drive(tmp_path / "r", recipe.override(raw, ["render.sample=0"]))["generate"].done
        with catalog.open_run(tmp_path / "r") as con:
            found.append((done, con.sql("SELECT category FROM prompts").fetchall()))
    assert found == [(1, [("fruit",)]), (1, [(None,)]), (0, [(None,)])]


def test_members_of_a_pair_start_from_the_same_noise(tmp_path: Path, drive: Drive) -> None:
    prompts = tmp_path / "pairs.jsonl"
    rows = [
        {"prompt": "a red apple on a table", "pair": "p1"},
        {"prompt": "a green apple on a table", "pair": "p1"},
        {"prompt": "a boat on a lake", "pair": "p2"},
    ]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {"text": "prompt", "pair_id": "pair"}
    drive(tmp_path / "r", small(sources=[{**own(prompts, "image_quality"), "columns": columns}]))
    with catalog.open_run(tmp_path / "r") as con:
        seeds = con.sql(
            "SELECT p.pair_id, count(DISTINCT i.seed), count(*) FROM images i JOIN prompts p USING (prompt_id)"
            " GROUP BY 1 ORDER BY 1"
        ).fetchall()
    assert seeds == [("p1", 1, 2), ("p2", 1, 1)]


def test_prompts_only_is_a_run_of_its_own(tmp_path: Path, drive: Drive) -> None:
    tallies = drive(tmp_path / "r", recipe.override(small(), ["render.sample=0"]))
    assert tallies["render"].rows == 0
    with catalog.open_run(tmp_path / "r") as con:
        assert con.execute("SELECT count(*), count(image_id) FROM accepted").fetchall() == [(24, 0)]
    assert (tmp_path / "r" / "dataset" / "manifest.json").exists()


def test_a_larger_sample_holds_the_smaller_one(tmp_path: Path, drive: Drive) -> None:
    plans = []
    for share in (0.2, 0.6):
        root = tmp_path / str(share)
        drive(root, recipe.override(small(), [f"render.sample={share}"]))
        with catalog.open_run(root) as con:
            plans.append({row[0] for row in con.sql("SELECT image_id FROM render_plan").fetchall()})
    assert plans[0] < plans[1]


SETS = {
    "distillt5_commontext_test.parquet": "text_rendering",
    "t2i_compbench.parquet": "semantic_understanding",
    "partiprompts.jsonl": None,
    "drawbench.jsonl": None,
    "drawbench_upsampled.jsonl": None,
    "flow_grpo_ocr_test.jsonl": None,
    "geneval.jsonl": None,
    "glyphcontrol_simplebench.jsonl": None,
    "hatecheck.parquet": None,
    "hpsv2_photo.jsonl": None,
    "imagereward_refl.parquet": None,
    "laion_alttext.parquet": "image_quality",
    "lex_bench_easy.parquet": None,
    "ud_ewt.parquet": None,
}


def test_every_row_of_real_prompt_sets_is_accounted_for(tmp_path: Path, eval_data: Path, drive: Drive) -> None:
    """Rows in by an independent count = unreadable + dropped + not needed + not selected + accepted, by SQL."""
    sources = [
        {**own(eval_data / name, axis), "name": name.partition(".")[0].replace("_", "-"), "columns": {"text": "prompt"}}
        for name, axis in SETS.items()
    ]
    raw = recipe.override(small(sources=sources), ["render.sample=0", "select.quota.image_quality=9000"])
    drive(tmp_path / "r", raw)
    expected = 0
    for name in SETS:
        path = eval_data / name
        expected += (
            pq.ParquetFile(path).metadata.num_rows
            if name.endswith(".parquet")
            else sum(1 for line in path.read_bytes().splitlines() if line)
        )
    # plain DuckDB, through the file that a person would open
    con = duckdb.connect()
    con.execute((tmp_path / "r" / "tables.sql").read_text("utf-8"))
    fates = dict(con.sql("SELECT fate, count(*) FROM fates GROUP BY 1").fetchall())
    assert sum(fates.values()) == expected
    assert con.execute("SELECT count(DISTINCT row_id) FROM prompts").fetchall() == [(expected,)]
    assert set(fates) <= {"unreadable", "dropped", "not_needed", "not_selected", "accepted"}
    assert con.execute("SELECT count(*) FROM accepted").fetchall() == [(fates["accepted"],)]
    reasons = {row[0] for row in con.sql("SELECT DISTINCT reason FROM rejects").fetchall()}
    assert None not in reasons


HOSTILE = [
    "<script>alert('x')</script> a red apple",
    "a cat'; DROP TABLE prompts; --",
    "../../etc/passwd on a stone wall",
    "=HYPERLINK(A1) a green door",
    "a \x1b[31mred\x1b[0m ball",
    "a family 👨‍👩‍👧‍👦 and a flag 🏴‍☠️ on a beach",
    "تفاحة حمراء على طاولة خشبية",
    "a lamp \u202ethgil on a desk",
    '{"a": 1} a blue cup',
    "C:\\temp\\$(rm -rf) `id` a yellow bus",
    "%s %n {0} a brown horse",
    "| a | table | of | pipes |",
]


def test_hostile_prompts_come_out_as_they_went_in_or_as_verdicts(tmp_path: Path, drive: Drive) -> None:
    prompts = tmp_path / "hostile.jsonl"
    rows = [*HOSTILE, "a" * 1_000_000]
    prompts.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in rows), "utf-8")
    root = tmp_path / "r"
    raw = small(sources=[{**own(prompts, "image_quality"), "columns": {"text": "prompt"}}])
    drive(root, recipe.override(raw, ["select.quota.image_quality=all"]))
    with catalog.open_run(root) as con:
        stored = dict(con.sql("SELECT source_row, text FROM prompts").fetchall())
        fates = dict(con.sql("SELECT source_row, coalesce(reason, fate) FROM fates").fetchall())
    assert [stored[number] for number in range(len(HOSTILE))] == HOSTILE
    assert (stored[len(HOSTILE)], fates[len(HOSTILE)]) == (None, "too_large")
    kept = {text for number, text in stored.items() if text and fates[number] == "accepted"}
    # the escape sequence and the override are dropped; everything else is a prompt
    assert {fates[4], fates[7]} == {"control_character", "bidi_override"}
    assert kept == {text for number, text in enumerate(HOSTILE) if number not in {4, 7}}
    published = pq.read_table(root / "dataset" / "prompts")["text"].to_pylist()
    assert set(published) == kept
    names = [path.name for path in root.rglob("*")]
    assert not [name for name in names if any(mark in name for mark in ("script", "passwd", "DROP", "HYPER"))]
    assert not [
        path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(root) and path != prompts
    ]


def test_a_gate_fits_the_kind_of_its_metric(tmp_path: Path, drive: Drive) -> None:
    for gate, said in (
        ("{scorer='technical',metric='blur',one_of=['read']}", "is a number and takes min and max"),
        ("{scorer='agreement',metric='regions',min=1}", "is a list and takes no gate"),
    ):
        with pytest.raises(ConfigError, match=said):
            drive(tmp_path / "r", recipe.override(small(), [f"select.gates.wrong={gate}"]))
    assert not (tmp_path / "r").exists()


def test_pairs_of_two_files_are_not_one_pair(tmp_path: Path, drive: Drive) -> None:
    sources = []
    for name, colour in (("one", "red"), ("two", "green")):
        path = tmp_path / f"{name}.jsonl"
        path.write_text(json.dumps({"prompt": f"a {colour} apple on a table", "pair": "1"}) + "\n")
        columns = {"text": "prompt", "pair_id": "pair"}
        sources.append({**own(path, "image_quality"), "name": name, "columns": columns})
    drive(tmp_path / "r", recipe.override(small(sources=sources), ["render.sample=0"]))
    with catalog.open_run(tmp_path / "r") as con:
        found = con.sql("SELECT count(DISTINCT noise_group), count(DISTINCT split_group) FROM prompts").fetchall()
    assert found == [(2, 2)]


def test_scores_of_an_earlier_setting_stay_and_are_not_in_force(tmp_path: Path, drive: Drive) -> None:
    first = drive(tmp_path / "r", small())
    again = drive(tmp_path / "r", recipe.override(small(), ["scorers.technical.max_blur=0.01"]))
    n_pictures = first["score"].rows
    assert (again["render"].done, again["score"].rows) == (0, n_pictures)
    with catalog.open_run(tmp_path / "r") as con:
        ask = "SELECT count(*) FROM {} WHERE scorer = 'technical' AND metric = 'entropy'"
        assert con.sql(ask.format("scores")).fetchall() == [(2 * n_pictures,)]
        assert con.sql(ask.format("scores_in_force")).fetchall() == [(n_pictures,)]
