"""A run that adds to a published set: its rows stay as they are, its tests keep what is like them out of train."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from promptforge import catalog, recipe
from promptforge.errors import ConfigError, SourceFault
from promptforge.records import prompt_id
from promptforge.stages import pipeline
from promptforge.stages.dataset_faults import verify_dataset
from promptforge.stages.purge import purge
from promptforge.stages.run import open_run, prepare
from promptforge.stages.verify import verify
from promptforge.store import Store

Drive = Callable[..., Any]
Recipe = Callable[[], dict[str, Any]]

PADDLE = 'a board that says "paddle"'  # reserved, so of test_words
NEAR = f"{PADDLE}, highly detailed, 8k, trending on artstation"
PAIRS = [  # of one pair each; the second of "boat" is to be in v2
    {"prompt": 'a red sign that says "Paddle"', "pair": "sign"},
    {"prompt": "a small boat on a lake", "pair": "boat"},
]
FIRST = [
    {"prompt": PADDLE},
    *PAIRS,
    {"prompt": "a lighthouse above grey cliffs in winter"},
    {"prompt": "a yellow tram in an old town"},
]
SECOND = [
    {"prompt": PADDLE.upper()},  # the same, spelt otherwise
    {"prompt": NEAR},
    {"prompt": 'a red sign that says "Open"', "pair": "sign"},  # its other member is in test_words
    {"prompt": "a large boat on a lake", "pair": "boat"},  # its other member is in train
    {"prompt": "photo of a lighthouse above grey cliffs in winter, 8k"},
    {"prompt": "nine kites over an empty beach"},
    {"prompt": "photo of nine kites over an empty beach, 8k"},  # near the row before it, of this run both
    {"prompt": 'a poster that says "paddling"'},
]


def a_recipe(folder: Path, name: str, rows: list[dict[str, str]], *settings: str) -> dict[str, Any]:
    """The rows as one source, called the same in every run, so that pairs are the same; 128 px, no [dedup]."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    raw = {
        "name": name,
        "sources": [
            {"kind": "files", "paths": [str(path)], "name": "mine", "columns": {"text": "prompt", "pair_id": "pair"}}
        ],
        "regime": {"teacher": "canvas", "size": 128},
        "scorers": {"technical": {}},
        "publish": {"natural_test_share": 0, "rows_per_file": 2},
    }
    return recipe.override(raw, list(settings))


@pytest.fixture(scope="module")
def v1(tmp_path_factory: pytest.TempPathFactory, drive: Drive) -> Path:
    """A published run of FIRST; not to be changed."""
    folder = tmp_path_factory.mktemp("extends")
    drive(folder / "v1", a_recipe(folder, "first", FIRST))
    return folder / "v1"


def second(v1: Path, *settings: str, rows: list[dict[str, str]] = SECOND) -> dict[str, Any]:
    return a_recipe(v1.parent / "input", "second", rows, f"publish.extends={json.dumps(str(v1))}", *settings)


@pytest.fixture(scope="module")
def v2(v1: Path, drive: Drive) -> Path:
    """A published run of SECOND that adds to v1; not to be changed."""
    drive(v1.parent / "v2", second(v1))
    return v1.parent / "v2"


def index(root: Path) -> dict[str, dict[str, Any]]:
    rows = pq.read_table(root / "dataset/index.parquet").to_pylist()
    found = {row["prompt_id"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def pictures(root: Path) -> dict[str, bytes]:
    """prompt_id -> bytes of the published picture, by plain pyarrow."""
    found = {}
    for path in sorted((root / "dataset/data").iterdir()):
        for row in pq.read_table(path, columns=["prompt_id", "image"]).to_pylist():
            found[row["prompt_id"]] = row["image"]["bytes"]
    return found


def bytes_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def lost(root: Path) -> dict[str, tuple[str, str]]:
    """Prompt -> reason and detail of each drop."""
    with catalog.open_run(root) as con:
        rows = con.sql("SELECT p.text, v.reason, v.detail FROM verdicts v JOIN prompts p USING (row_id)").fetchall()
    return {text: (reason, detail) for text, reason, detail in rows}


def test_rows_keep_id_split_scores_and_the_bytes_of_their_picture(v1: Path, v2: Path) -> None:
    before, after = index(v1), index(v2)
    assert len(before) == len(FIRST)
    places = {"file", "file_row"}  # new rows stand between
    for name, row in before.items():
        assert {key: value for key, value in after[name].items() if key not in places} == {
            key: value for key, value in row.items() if key not in places
        }
    drawn, now = pictures(v1), pictures(v2)
    assert drawn
    assert {name: now[name] for name in drawn} == drawn
    new = {after[name]["text"] for name in after.keys() - before.keys()}
    assert new == {SECOND[place]["prompt"] for place in (3, 5, 6, 7)}
    assert len(now) + 1 == len(after) == len(FIRST) + 4  # the poster's word is too long for 128 px


def test_what_equals_resembles_or_pairs_with_its_rows_is_dropped_and_the_verdict_names_the_row(v2: Path) -> None:
    cliffs = prompt_id("a lighthouse above grey cliffs in winter")
    sign = prompt_id('a red sign that says "Paddle"')
    assert lost(v2) == {
        SECOND[0]["prompt"]: ("exact_duplicate", f"accepted in v1/dataset: {prompt_id(PADDLE)}"),
        SECOND[1]["prompt"]: ("near_duplicate", f"accepted in v1/dataset: {prompt_id(PADDLE)}"),
        SECOND[2]["prompt"]: (
            "split_group_straddles",
            f"accepted in v1/dataset: {sign} in test_words, this row is of train",
        ),
        SECOND[4]["prompt"]: ("near_duplicate", f"accepted in v1/dataset: {cliffs}"),
    }


def test_with_dedup_its_own_near_duplicates_go_as_well(v1: Path, tmp_path: Path, drive: Drive) -> None:
    drive(tmp_path / "v2", second(v1) | {"dedup": {}})
    assert lost(tmp_path / "v2")[SECOND[6]["prompt"]][0] == "near_duplicate"


def test_the_set_is_sound_and_datasets_loads_it(v2: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    assert verify(v2) == []
    assert verify_dataset(v2 / "dataset") == []
    counted = Counter((row["split"], row["keep_image"]) for row in index(v2).values())
    loaded = load_dataset(str(v2 / "dataset"), cache_dir=str(tmp_path))
    assert counted == {("train", True): 6, ("test_words", True): 2, ("test_words", False): 1}
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 6, "test_words": 2}


def test_the_manifest_and_the_card_say_what_was_added_to(v1: Path, v2: Path) -> None:
    manifest = json.loads((v2 / "dataset/manifest.json").read_text("utf-8"))
    first = json.loads((v1 / "dataset/manifest.json").read_text("utf-8"))
    said = manifest["extends"]
    assert (said["name"], said["digest"], said["rows"], said["left_out"]) == ("v1/dataset", first["digest"], 5, 0)
    assert said["manifest_sha256"] == hashlib.sha256((v1 / "dataset/manifest.json").read_bytes()).hexdigest()
    assert said["counts"] == first["counts"]
    assert manifest["recipe"]["publish"]["extends"] == "v1/dataset"
    card = (v2 / "dataset/README.md").read_text("utf-8")
    assert f"5 rows are those of v1/dataset, digest {first['digest']}" in card
    for content in (card, json.dumps(manifest)):
        assert str(v1.parent) not in content


def test_another_first_set_is_another_digest_and_the_same_is_the_same_bytes(
    v1: Path, v2: Path, tmp_path: Path, drive: Drive
) -> None:
    """A copy of the data set alone, under the run folder's name, is the same set."""
    copy = tmp_path / "v1" / "dataset"
    shutil.copytree(v1 / "dataset", copy)
    raw = second(copy, "run.increment=2", "run.shard_rows=3", "run.bucket_images=2")
    drive(tmp_path / "v2", raw, 2)
    assert bytes_of(tmp_path / "v2/dataset") == bytes_of(v2 / "dataset")
    again = drive(tmp_path / "v2", raw)
    assert {stage for stage, tally in again.items() if tally.done} == set()
    manifest = json.loads((copy / "manifest.json").read_text("utf-8"))
    (copy / "manifest.json").write_text(json.dumps(manifest), "utf-8")  # other blanks
    again = drive(tmp_path / "v2", raw)
    assert again["publish"].done == 1
    other = json.loads((tmp_path / "v2/dataset/manifest.json").read_text("utf-8"))
    assert other["digest"] != json.loads((v2 / "dataset/manifest.json").read_text("utf-8"))["digest"]


def test_a_third_set_adds_to_the_second_and_names_both(v2: Path, tmp_path: Path, drive: Drive) -> None:
    drive(tmp_path / "v3", second(v2, rows=[{"prompt": "a stone bridge over a river", "pair": "x"}, {"prompt": NEAR}]))
    assert len(index(tmp_path / "v3")) == 10
    assert index(tmp_path / "v3").keys() > index(v2).keys()
    said = json.loads((tmp_path / "v3/dataset/manifest.json").read_text("utf-8"))["extends"]
    assert (said["name"], said["extends"]["name"]) == ("v2/dataset", "v1/dataset")


def test_nothing_new_leaves_the_rows_of_the_first(v1: Path, tmp_path: Path, drive: Drive) -> None:
    drive(tmp_path / "v2", second(v1, rows=FIRST))
    assert index(tmp_path / "v2").keys() == index(v1).keys()
    assert pictures(tmp_path / "v2") == pictures(v1)
    assert verify(tmp_path / "v2") == []


def test_prompts_alone_are_added_to_a_set_with_pictures(v1: Path, tmp_path: Path, drive: Drive) -> None:
    drive(tmp_path / "v2", second(v1, "render.sample=0", "regime.size=160"))
    assert pictures(tmp_path / "v2") == pictures(v1)
    assert len(index(tmp_path / "v2")) == 9
    assert verify_dataset(tmp_path / "v2/dataset") == []


def test_scores_of_both_sides_are_columns_and_null_where_one_did_not_measure(
    v1: Path, tmp_path: Path, drive: Drive
) -> None:
    raw = second(v1)
    raw["scorers"] = {"agreement": {}}
    drive(tmp_path / "v2", raw)
    rows = index(tmp_path / "v2")
    old = index(v1).keys()
    assert all((row["technical_sharpness"] is not None) == (name in old) for name, row in rows.items())
    measured = {name for name, row in rows.items() if row["agreement_regions"] is not None}
    assert measured
    assert not measured & old
    assert verify_dataset(tmp_path / "v2/dataset") == []


def refused(root: Path, raw: dict[str, Any]) -> str:
    prepare(root, raw, "test")
    with pytest.raises((ConfigError, SourceFault)) as caught:
        pipeline.text_shards(root)
    assert not (root / "_commits").exists()
    return str(caught.value)


def test_another_teachers_pictures_are_refused_and_taken_where_that_is_said(
    v1: Path, tmp_path: Path, drive: Drive
) -> None:
    said = refused(tmp_path / "no", second(v1, "regime.size=160"))
    theirs = index(v1)[prompt_id(PADDLE)]["teacher"]
    assert f"another teacher or regime (fingerprint {theirs}" in said
    assert "publish.other_teacher=true" in said
    drive(tmp_path / "v2", second(v1, "regime.size=160", "publish.other_teacher=true"))
    sizes = {(row["teacher"] == theirs, row["width"]) for row in index(tmp_path / "v2").values()}
    assert sizes == {(True, 128), (False, 160)}


def test_another_encoding_of_pictures_is_refused(v1: Path, tmp_path: Path) -> None:
    assert "use --set publish.format=webp" in refused(tmp_path / "v2", second(v1, "publish.format=png"))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("change", "is changed, so it is not the set of its manifest"),
        ("remove", "is missing"),
        ("add", "stray.txt is extra"),
    ],
)
def test_a_set_that_is_not_what_its_manifest_says_is_refused(v1: Path, tmp_path: Path, harm: str, said: str) -> None:
    copy = Path(shutil.copytree(v1 / "dataset", tmp_path / "dataset"))
    path = sorted((copy / "data").iterdir())[0]
    if harm == "change":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif harm == "remove":
        path.unlink()
    else:
        (copy / "stray.txt").write_text("x")
    assert said in refused(tmp_path / "v2", second(copy))


def test_a_folder_without_a_set_and_the_runs_own_set_are_refused(v1: Path, tmp_path: Path) -> None:
    assert "no published data set" in refused(tmp_path / "v2", second(tmp_path / "nowhere"))
    own = Path(shutil.copytree(v1, tmp_path / "own"))
    prepare(own, second(own / "dataset"), "test")
    with pytest.raises(ConfigError, match="this run itself publishes"):
        pipeline.text_shards(own)


def test_rows_in_another_split_than_todays_words_demand_are_refused(v1: Path, tmp_path: Path) -> None:
    """As if made with a lexicon that did not reserve "paddle": the row lies in train."""
    copy = Path(shutil.copytree(v1 / "dataset", tmp_path / "dataset"))
    rows = pq.read_table(copy / "index.parquet")
    splits = ["train"] * rows.num_rows
    path = copy / "index.parquet"
    pq.write_table(rows.set_column(rows.column_names.index("split"), "split", [splits]), path)
    manifest = json.loads((copy / "manifest.json").read_text("utf-8"))
    manifest["files"]["index.parquet"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest["backends"]["lexicon"] = "0" * 64
    (copy / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    said = refused(tmp_path / "v2", second(copy))
    assert "is in train, its words are those of test_words (and 1 more), so its tests would leak" in said


def test_a_row_that_is_purged_here_goes_from_the_set_and_stays_out(
    v1: Path, v2: Path, tmp_path: Path, drive: Drive
) -> None:
    root = Path(shutil.copytree(v2, tmp_path / "v2"))
    gone = prompt_id(PADDLE)
    done = purge(root, [gone], "takedown_request")
    assert set(done.prompts) == {gone, prompt_id(PADDLE.upper())}  # the other spelling is a row of this run's source
    assert index(v2).keys() - index(root).keys() == {gone}
    drive(root, second(v1))
    assert gone not in index(root)
    for path in (root / "dataset").rglob("*"):
        assert not path.is_file() or PADDLE.encode() not in path.read_bytes()
    said = json.loads((root / "dataset/manifest.json").read_text("utf-8"))["extends"]
    assert (said["rows"], said["left_out"]) == (4, 1)
    assert [fault for fault in verify(root) if not fault.file.startswith("_")] == []


def test_a_row_that_was_purged_where_it_was_published_does_not_come_back(
    v1: Path, tmp_path: Path, drive: Drive
) -> None:
    """v2's own source has the text, in another spelling."""
    first = Path(shutil.copytree(v1, tmp_path / "v1"))
    purge(first, [prompt_id(PADDLE)], "takedown_request")
    drive(tmp_path / "v2", second(first))
    assert prompt_id(PADDLE) not in index(tmp_path / "v2")
    with catalog.open_run(tmp_path / "v2") as con:
        rows = con.sql("SELECT source_row, reason FROM fates WHERE check_name = 'tombstone'").fetchall()
    assert rows == [(0, "takedown_request")]


def test_what_was_purged_in_the_first_of_three_stays_out_of_the_third(tmp_path: Path, drive: Drive) -> None:
    """v3 has the text in its own source and knows v2 alone, also once v1's folder is gone."""
    off = "render.sample=0"
    drive(tmp_path / "v1", a_recipe(tmp_path / "first", "first", FIRST, off))
    purge(tmp_path / "v1", [prompt_id(PADDLE)], "takedown_request")
    drive(tmp_path / "v2", second(tmp_path / "v1", off, rows=SECOND[5:6] + PAIRS))
    shutil.rmtree(tmp_path / "v1")
    drive(tmp_path / "v3", second(tmp_path / "v2", off, rows=SECOND[:1] + PAIRS))
    assert len(index(tmp_path / "v3")) == 5
    assert not {prompt_id(PADDLE), prompt_id(PADDLE.upper())} & index(tmp_path / "v3").keys()
    assert lost(tmp_path / "v3")[None][0] == "takedown_request"  # type: ignore[index] # its text is gone


def test_what_is_purged_in_the_first_run_later_is_a_fault_of_older_files_until_it_is_purged_here(
    tmp_path: Path, drive: Drive
) -> None:
    off = "render.sample=0"
    drive(tmp_path / "v1", a_recipe(tmp_path / "first", "first", FIRST, off))
    raw = second(tmp_path / "v1", off, rows=SECOND[:1] + PAIRS)
    drive(tmp_path / "v2", raw)
    purge(tmp_path / "v1", [prompt_id(PADDLE)], "takedown_request")
    drive(tmp_path / "v2", raw)
    (fault,) = verify(tmp_path / "v2")
    assert "was purged and its text is here; run purge again" in fault.fault
    purge(tmp_path / "v2", [prompt_id(PADDLE)], "takedown_request")
    assert verify(tmp_path / "v2") == []
    for path in tmp_path.joinpath("v2").rglob("*.parquet"):
        assert PADDLE.upper() not in str(pq.read_table(path).to_pylist())


def test_the_card_says_what_an_embedded_teacher_drew_though_this_run_drew_nothing(
    v1: Path, tmp_path: Path, drive: Drive
) -> None:
    drive(tmp_path / "v2", second(v1, "render.sample=0", rows=SECOND[5:6] + PAIRS))
    drive(tmp_path / "v3", second(tmp_path / "v2", "render.sample=0", rows=SECOND[3:4] + PAIRS))
    for root in (tmp_path / "v2", tmp_path / "v3"):
        card = (root / "dataset/README.md").read_text("utf-8")
        assert "**Pictures that were taken over are drawings of promptforge's embedded canvas teacher" in card


def test_published_holds_the_rows_of_this_run_alone(v2: Path) -> None:
    with catalog.open_run(v2) as con:
        assert con.sql("SELECT count(*), count_if(keep_image) FROM published").fetchall() == [(4, 3)]
        places = con.sql("SELECT prompt_id, file, file_row FROM published").fetchall()
    rows = index(v2)
    assert all((rows[name]["file"], rows[name]["file_row"]) == (file, row) for name, file, row in places)
    (commit,) = Store(v2).commits("publish")
    assert commit.counts == {"prompts": 4, "pictures": 3}
    assert open_run(v2).resolved["publish"]["other_teacher"] is False
