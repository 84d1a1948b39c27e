"""What publish leaves on disk: read back with datasets and DuckDB, which know nothing of it."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from promptforge.records import content_id
from promptforge.schema import arrow_schema
from promptforge.stages import shards
from promptforge.stages.content import portable
from promptforge.stages.dataset_faults import verify_dataset
from promptforge.stages.publish import publish
from promptforge.stages.render import decode


def test_load_dataset_gives_splits_with_the_pixels_that_were_drawn(
    small: SimpleNamespace, done: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from datasets import load_dataset

    loaded = load_dataset(str(done / "dataset"))
    assert {name: len(split) for name, split in loaded.items()} == {"train": 8, "test_words": 1}
    seen = {row["prompt_id"]: np.asarray(row["image"]) for split in loaded.values() for row in split}
    wanted = small.pictures()
    assert seen.keys() == wanted.keys()
    assert all((seen[name] == wanted[name]).all() for name in wanted)
    assert "warning" not in "".join(capfd.readouterr()).lower()


def test_the_config_prompts_has_every_accepted_prompt_unchanged(small: SimpleNamespace, done: Path) -> None:
    from datasets import load_dataset

    loaded = load_dataset(str(done / "dataset"), "prompts")
    assert {name: len(split) for name, split in loaded.items()} == {"train": 9, "test_words": 2}
    rows = {row["prompt_id"]: row for split in loaded.values() for row in split}
    for row in small.rows()[:11]:
        assert rows[row["prompt_id"]]["text"] == row["text_clean"]
        assert rows[row["prompt_id"]]["expected_text"] == row["expected_text"]
    assert "image" not in next(iter(rows.values()))


def test_streaming_splits_by_node_and_resumes_in_the_middle(done: Path) -> None:
    from datasets import load_dataset
    from datasets.distributed import split_dataset_by_node

    stream = load_dataset(str(done / "dataset"), split="train", streaming=True)
    everything = [row["prompt_id"] for row in stream]
    assert everything == sorted(everything)
    assert len(set(everything)) == 8
    nodes = [[row["prompt_id"] for row in split_dataset_by_node(stream, rank, 2)] for rank in range(2)]
    assert sorted(nodes[0] + nodes[1]) == everything
    started = iter(stream)
    first = [next(started)["prompt_id"] for _ in range(5)]
    state = stream.state_dict()
    again = load_dataset(str(done / "dataset"), split="train", streaming=True)
    again.load_state_dict(state)
    assert first + [row["prompt_id"] for row in again] == everything


def test_files_are_cut_at_rows_per_file_and_the_index_says_where_each_picture_lies(done: Path) -> None:
    names = sorted(path.name for path in (done / "dataset/data").iterdir())
    assert names == ["test_words-00000-of-00001.parquet", *(f"train-0000{n}-of-00003.parquet" for n in range(3))]
    rows = duckdb.sql(f"SELECT * FROM read_parquet('{done}/dataset/index.parquet')").to_arrow_table().to_pylist()
    assert len(rows) == 11
    for row in rows:
        if row["keep_image"]:
            there = pq.read_table(done / "dataset" / row["file"]).slice(row["file_row"], 1).to_pylist()[0]
            assert there["prompt_id"] == row["prompt_id"]
            assert there["image"]["path"] == f"{row['image_id']}.webp"
            assert hashlib.sha256(there["image"]["bytes"]).hexdigest() == row["sha256"]
        else:
            assert (row["file"], row["file_row"]) == (None, None)


def test_scores_in_force_are_columns_and_older_ones_are_left_out(done: Path) -> None:
    query = f"FROM read_parquet('{done}/dataset/index.parquet') ORDER BY text_verdict, prompt_id"
    rows = {row["text"]: row for row in duckdb.sql(query).to_arrow_table().to_pylist()}
    misread = rows['a wooden sign that says "OPEN 5"']
    assert (misread["text_verdict"], misread["text_cer"], misread["technical_sharpness"]) == ("misread", 0.5, 1.25)
    assert (misread["keep_image"], misread["image_reason"]) == (False, "text_reads")
    plain = rows["a red cube beside pot number 3"]
    assert (plain["text_verdict"], plain["text_cer"], plain["technical_sharpness"]) == (None, None, 0.75)


def test_the_table_published_says_the_same_as_the_index(small: SimpleNamespace, tmp_path: Path) -> None:
    run = small.a_run(tmp_path)
    commit, tally = publish(run, small.fill(run))
    item = commit.file("published")
    assert item is not None
    columns = arrow_schema("published").names
    assert (
        run.store.read(item).to_pylist()
        == pq.read_table(tmp_path / "dataset/index.parquet", columns=columns).to_pylist()
    )
    assert (tally.done, tally.rows, commit.counts) == (1, 11, {"pictures": 9, "prompts": 11})


def test_parquet_is_as_loaders_and_viewers_want_it(done: Path) -> None:
    for path in (done / "dataset/data").iterdir():
        parquet = pq.ParquetFile(path)
        assert str(parquet.schema_arrow.field("image").type) == "struct<bytes: binary, path: string>"
        features = json.loads(parquet.schema_arrow.metadata[b"huggingface"])["info"]["features"]
        assert features["image"] == {"_type": "Image"}
        chunks = parquet.metadata.row_group(0)
        columns = {chunks.column(n).path_in_schema: chunks.column(n) for n in range(chunks.num_columns)}
        assert columns["image.bytes"].compression == "UNCOMPRESSED"
        assert not columns["image.bytes"].has_dictionary_page
        assert {columns[name].compression for name in columns if name != "image.bytes"} == {"ZSTD"}
        assert columns["prompt_id"].has_offset_index
        assert columns["prompt_id"].has_column_index


def test_a_row_group_ends_at_its_bytes_or_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pa.table({"image_id": [content_id(n) for n in range(11)]})
    schema = shards.hub_schema(rows.schema, pictures=True)
    monkeypatch.setattr(shards, "ROW_GROUP_BYTES", 1000)
    monkeypatch.setattr(shards, "ROW_GROUP_ROWS", 4)
    # 400 + 400 + 400 passes 1000; then 10-byte pictures fill 4 rows, and 4 are left.
    pictures = [b"x" * 400] * 3 + [b"x" * 10] * 8
    sizes = [group.num_rows for group in shards.picture_groups(rows, schema, pictures, "webp")]
    assert sizes == [3, 4, 4]


def test_png_holds_the_same_pixels(small: SimpleNamespace, tmp_path: Path) -> None:
    run = small.a_run(tmp_path, ["publish.format=png"])
    publish(run, small.fill(run))
    wanted = small.pictures()
    for path in (tmp_path / "dataset/data").iterdir():
        for row in pq.read_table(path).to_pylist():
            assert row["image"]["path"] == f"{row['image_id']}.png"
            with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
                assert image.format == "PNG"
            assert (decode(row["image"]["bytes"]) == wanted[row["prompt_id"]]).all()
    assert verify_dataset(tmp_path / "dataset") == []


def test_two_runs_with_other_cuts_give_the_same_bytes(small: SimpleNamespace, done: Path, tmp_path: Path) -> None:
    run = small.a_run(tmp_path)
    publish(run, small.fill(run, cuts=5))
    assert small.contents(tmp_path / "dataset") == small.contents(done / "dataset")


def test_nothing_in_the_data_set_names_a_folder_of_this_machine(small: SimpleNamespace, done: Path) -> None:
    for name, content in small.contents(done / "dataset").items():
        assert b"/home/somebody" not in content, name
        assert str(done.parent).encode() not in content, name
    assert "mine.txt" in (done / "dataset/manifest.json").read_text("utf-8")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"paths": ("../data/a.txt", "b.txt")}, {"paths": ["a.txt", "b.txt"]}),
        ({"weights": "/models/x.safetensors", "model": "org/name"}, {"weights": "x.safetensors", "model": "org/name"}),
        ([1, None, True], [1, None, True]),
    ],
)
def test_of_a_path_only_its_last_part_is_published(given: object, kept: object) -> None:
    assert portable(given) == kept


def test_without_pictures_default_is_the_prompts(small: SimpleNamespace, tmp_path: Path) -> None:
    from datasets import load_dataset

    run = small.a_run(tmp_path, ["render.sample=0"])
    publish(run, small.fill(run, pictures=False))
    assert not (tmp_path / "dataset/data").exists()
    loaded = load_dataset(str(tmp_path / "dataset"))
    assert {name: len(split) for name, split in loaded.items()} == {"train": 9, "test_words": 2}
    assert load_dataset(str(tmp_path / "dataset"), "prompts", split="train").column_names == shards_columns()
    assert "embedded canvas" not in (tmp_path / "dataset/README.md").read_text("utf-8")
    assert verify_dataset(tmp_path / "dataset") == []


def shards_columns() -> list[str]:
    return list(shards.PROMPT_COLUMNS)


def test_nothing_accepted_is_a_whole_data_set_without_splits(small: SimpleNamespace, tmp_path: Path) -> None:
    run = small.a_run(tmp_path)
    commits = small.fill(run)[:-1]
    empty = {name: arrow_schema(name).empty_table() for name in ("policy", "selection")}
    publish(run, [*commits, run.store.commit("select", "all", "6" * 64, empty)])
    assert sorted(small.contents(tmp_path / "dataset")) == ["README.md", "index.parquet", "manifest.json"]
    assert verify_dataset(tmp_path / "dataset") == []


def test_a_purged_text_leaves_the_data_set(small: SimpleNamespace, tmp_path: Path) -> None:
    run = small.a_run(tmp_path)
    commits = small.fill(run)
    publish(run, commits)
    row = small.rows()[0]
    stone = {"prompt_id": row["prompt_id"], "fold_key": row["fold_key"], "reason": "takedown"}
    small.committed(run, "tombstones", [stone], "purge")
    publish(run, commits)
    assert all(row["text_clean"].encode() not in content for content in small.contents(tmp_path / "dataset").values())
    assert verify_dataset(tmp_path / "dataset") == []
