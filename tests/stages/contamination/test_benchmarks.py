"""Where benchmarks come from: the published files' forms, folders in the hub's layouts, and a hub on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from promptforge.errors import ConfigError, SourceFault
from promptforge.stages.contamination import prompts
from promptforge.stages.contamination.settings import Benchmark, DecontaminateSettings
from tests.sources.test_hub_network import REVISION, server

__all__ = ["server"]  # the fixture: a hub on loopback


def _read(**place: Any) -> list[str]:
    return list(prompts.read([Benchmark(name="b", **place)]).texts)


def _geneval(folder: Path) -> dict[str, str]:
    rows = [
        {"tag": "single_object", "include": [{"class": "bench", "count": 1}], "prompt": "a photo of a bench"},
        {"tag": "counting", "include": [{"class": "clock", "count": 2}], "prompt": "a photo of two clocks"},
    ]
    path = folder / "evaluation_metadata.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"path": str(path), "column": "prompt"}


def _compbench(folder: Path) -> dict[str, str]:
    (folder / "color_val.txt").write_text("a photo of a bench\n")
    (folder / "numeracy_val.txt").write_text("a photo of two clocks\n")
    (folder / "color_train.txt").write_text("a red car\n")
    return {"path": str(folder / "*_val.txt")}


def _parti(folder: Path) -> dict[str, str]:
    path = folder / "PartiPrompts.tsv"
    path.write_text(
        "Prompt\tCategory\tChallenge\tNote\na photo of a bench\tArtifacts\tBasic\t\n"
        'a photo of two clocks\tArtifacts\tQuantity\t"two" of them\n'
    )
    return {"path": str(path), "column": "Prompt"}


def _drawbench(folder: Path) -> dict[str, str]:
    path = folder / "drawbench.csv"
    path.write_text("Prompts,Category\na photo of a bench,Counting\na photo of two clocks,Counting\n")
    return {"path": str(path), "column": "Prompts"}


def _dpg(folder: Path) -> dict[str, str]:
    (folder / "0.txt").write_text("a photo of a bench")
    (folder / "COCOval2014000000000139.txt").write_text("a photo of two clocks\n")
    return {"path": str(folder)}


def _commontext(folder: Path) -> dict[str, str]:
    path = folder / "CommonText_Test.json"
    path.write_text(json.dumps(["a photo of a bench", "a photo of two clocks"]))
    return {"path": str(path)}


@pytest.mark.parametrize("form", [_geneval, _compbench, _parti, _drawbench, _dpg, _commontext])
def test_a_benchmark_is_read_as_it_is_published(form: Any, tmp_path: Path) -> None:
    assert _read(**form(tmp_path)) == ["a photo of a bench", "a photo of two clocks"]


def test_real_lists_are_read_whole(eval_data: Path, tmp_path: Path) -> None:
    table = pq.read_table(eval_data / "t2i_compbench.parquet")
    val = [row["prompt"] for row in table.to_pylist() if row["split"] == "val"]
    (tmp_path / "color_val.txt").write_text("\n".join(val) + "\n", "utf-8")
    places = {
        "geneval": {"path": str(eval_data / "geneval.jsonl"), "column": "prompt"},
        "partiprompts": {"path": str(eval_data / "partiprompts.jsonl"), "column": "prompt"},
        "drawbench": {"path": str(eval_data / "drawbench.jsonl"), "column": "prompt"},
        "compbench": {"path": str(tmp_path / "*_val.txt")},
        "commontext": {"path": str(eval_data / "distillt5_commontext_test.parquet"), "column": "prompt"},
    }
    listed = prompts.read([Benchmark(name=name, **place) for name, place in places.items()])
    rows = [0] * len(places)
    for members in listed.members:
        for member in members:
            rows[member.benchmark] += 1
    # The rows that /README.md of the sets states, and 300 of each of eight categories.
    assert rows == [553, 1632, 200, 2400, 999]


def _folder(folder: Path, n: int, lines: dict[int, str]) -> Path:
    """Files of one prompt each, as DPG-Bench has them; some with other contents."""
    folder.mkdir()
    for number in range(n):
        (folder / f"{number:02}.txt").write_text(lines.get(number, f"prompt {number}"), "utf-8")
    return folder


def test_a_folder_of_one_line_files_has_a_prompt_a_file_even_of_several_lines(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "prompts", 12, {3: "A red barn.\n\nBehind it\r\na hill.\n", 5: ""})
    listed = prompts.read([Benchmark(name="b", path=str(folder))])
    assert len(listed.texts) == 11
    assert listed.texts[3] == "A red barn. Behind it a hill."
    assert listed.members[3] == (prompts.Member(0, "03.txt", 0),)


def test_a_list_among_few_files_or_many_lists_has_a_prompt_a_line(tmp_path: Path) -> None:
    few = _folder(tmp_path / "few", 9, {3: "a red barn\na hill"})
    many = _folder(tmp_path / "many", 12, dict.fromkeys((2, 3), "a red barn\na hill"))
    assert _read(path=str(few))[3:5] == ["a red barn", "a hill"]
    assert _read(path=str(many))[2:4] == ["a red barn", "a hill"]


def test_one_prompt_a_file_can_be_said_and_unsaid(tmp_path: Path) -> None:
    few = _folder(tmp_path / "few", 2, {1: "a red barn\na hill"})
    many = _folder(tmp_path / "many", 12, {3: "a red barn\na hill"})
    assert _read(path=str(few), one_prompt_a_file=True) == ["prompt 0", "a red barn a hill"]
    assert _read(path=str(many), one_prompt_a_file=False)[3:5] == ["a red barn", "a hill"]
    with pytest.raises(ValidationError, match="b: one_prompt_a_file goes with path, and there is a dataset"):
        Benchmark(name="b", dataset="owner/name", revision=REVISION, one_prompt_a_file=True)


def test_rows_that_cannot_be_read_are_counted_by_benchmark_and_blank_ones_are_none(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_bytes(b"a red barn\n\n   \na hill\n")
    rows = [json.dumps({"prompt": "a mill"}), "{", json.dumps({"prompt": 3}), json.dumps({"prompt": None})]
    (tmp_path / "bad.jsonl").write_text("\n".join([*rows, json.dumps({"prompt": " "})]) + "\n", "utf-8")
    (tmp_path / "odd.txt").write_bytes(b"a lake\n\xff\xfe\n")
    places = [tmp_path / name for name in ("good.txt", "bad.jsonl", "odd.txt")]
    listed = prompts.read([Benchmark(name=path.stem, path=str(path)) for path in places])
    assert listed.texts == ("a red barn", "a hill", "a mill", "a lake")
    assert listed.unreadable == (0, 3, 1)


def test_other_columns_leave_no_prompt_out(tmp_path: Path) -> None:
    path = tmp_path / "b.jsonl"
    path.write_text(json.dumps({"prompt": "a bench", "axis": "counting", "expected_text": {"a": 1}}) + "\n")
    assert _read(path=str(path)) == ["a bench"]


def _data_set(folder: Path) -> Path:
    (folder / "data").mkdir(parents=True)
    for split, text in (("train", "a red car"), ("test", "a photo of a bench")):
        image = pa.array([{"bytes": b"x", "path": None}], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
        pq.write_table(
            pa.table({"image": image, "Prompt": [text]}), folder / "data" / f"{split}-00000-of-00001.parquet"
        )
    return folder


def test_a_data_set_folder_is_read_by_split_and_column(tmp_path: Path) -> None:
    folder = _data_set(tmp_path / "bench")
    assert _read(dataset=str(folder), split="test", column="Prompt") == ["a photo of a bench"]
    assert _read(dataset=str(folder)) == ["a red car"]
    with pytest.raises(ConfigError, match="no split 'val'; it has 'test', 'train'"):
        _read(dataset=str(folder), split="val")


def test_a_local_data_set_counts_by_its_content_and_not_by_its_place(tmp_path: Path) -> None:
    one, other = _data_set(tmp_path / "one"), _data_set(tmp_path / "other")
    listed = [(Benchmark(name="b", dataset=str(folder)),) for folder in (one, other)]
    settings = [DecontaminateSettings(benchmarks=each).identity for each in listed]
    assert settings[0] == settings[1]
    assert str(tmp_path) not in json.dumps(settings[0])
    assert prompts.digest(listed[0]) == prompts.digest(listed[1])
    pq.write_table(pa.table({"Prompt": ["a blue car"]}), other / "data" / "train-00000-of-00001.parquet")
    assert prompts.digest(listed[0]) != prompts.digest(listed[1])


def test_the_digest_of_a_hub_id_is_that_of_revision_config_and_split() -> None:
    def digest(**changes: str) -> str:
        return prompts.digest([Benchmark(**{"name": "b", "dataset": "owner/none", "revision": REVISION, **changes})])

    # No such data set is anywhere, so this asks no hub.
    assert len({digest(), digest(revision="f" * 40), digest(config="x"), digest(split="test")}) == 4
    assert digest() == digest()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "b has neither of path and dataset"),
        ({"path": "x", "dataset": "owner/name"}, "b has both of path and dataset"),
        ({"dataset": "owner/name"}, "expected the 40 hex digits of a commit"),
        ({"dataset": "owner/name", "revision": "main"}, "expected the 40 hex digits of a commit"),
        ({"path": "x", "revision": REVISION}, "b: revision goes with dataset"),
        ({"dataset": "not a place", "revision": REVISION}, "neither a folder here nor a hub id"),
    ],
)
def test_a_place_that_is_none_is_refused_with_its_reason(table: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Benchmark(name="b", **table)


def test_a_benchmark_without_a_prompt_is_named(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("\n")
    with pytest.raises(SourceFault, match="benchmark 'b' has no readable prompt"):
        _read(path=str(tmp_path / "b.txt"))


CODE = """
import json, sys
from promptforge.errors import PromptforgeError
from promptforge.stages.contamination import prompts
from promptforge.stages.contamination.settings import Benchmark
for asked in json.loads(sys.argv[1]):
    try:
        benchmark = [Benchmark(name="b", **asked)]
        prompts.check(benchmark)
        listed = prompts.read(benchmark)
        print(json.dumps([len(listed.texts), listed.texts[0], listed.members[0][0].file]))
    except PromptforgeError as exc:
        print(json.dumps(f"{type(exc).__name__}: {exc}"))
"""


def _asked(endpoint: str, home: Path, *places: dict[str, str]) -> list[Any]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = {**kept, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}
    environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    asked = json.dumps([{"revision": REVISION, **place} for place in places])
    call = [sys.executable, "-c", CODE, asked]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_hub_id_is_read_at_its_revision(server: str, tmp_path: Path) -> None:
    # Offline and what else can go wrong are the source's own: tests/sources/test_hub_network.py
    good, script, lines = {"dataset": "owner/good"}, {"dataset": "owner/script"}, {"dataset": "owner/lines"}
    found, refused, fetched = _asked(server, tmp_path, good, script, lines)
    name = f"owner/good@{REVISION}/data/train-00000-of-00002.parquet"
    assert found == [40, "a photograph of 0 lighthouses at dusk", name]
    assert "ConfigError" in refused
    assert "never runs" in refused
    assert fetched[:2] == [1, "a cat"]
