"""Prompts from data sets in the hub's layouts: every row once, pictures never read, cut in any way the same rows."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import ValidationError

from promptforge.errors import ConfigError, SourceFault
from promptforge.records import Candidate
from promptforge.sources import hub

REVISION = "0123456789abcdef0123456789abcdef01234567"
PROMPTS = [f"a photograph of {number} lighthouses at dusk" for number in range(25)]


def source(dataset: Path | str, **params: Any) -> hub.Hub:
    made = hub.build(hub.Params(dataset=str(dataset), **params), seed=0)
    assert isinstance(made, hub.Hub)
    return made


def read(dataset: Path | str, **params: Any) -> list[Candidate]:
    made = source(dataset, **params)
    return [item for part in made.parts() for item in made.read(part, 0, part.n_rows)]


def texts(dataset: Path | str, **params: Any) -> list[str | None]:
    return [item.text for item in read(dataset, **params)]


def card(folder: Path, text: str) -> None:
    (folder / "README.md").write_text(f"---\n{text}---\n# A set\n")


def picture() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def parquet(folder: Path, *, rows: int = 25, group: int = 10, files: int = 1) -> Path:
    """A set as `datasets` pushes it: data/train-x-of-y.parquet with an Image column, a score and a list of words."""
    (folder / "data").mkdir(parents=True)
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "TEXT": datasets.Value("string"),
            "AESTHETIC_SCORE": datasets.Value("float64"),
            "expected_text": datasets.List(datasets.Value("string")),
        }
    )
    for number in range(files):
        chosen = range(number * rows // files, (number + 1) * rows // files)
        table = pa.Table.from_pylist(
            [
                {
                    "image": {"bytes": b"not a picture" if index % 2 else picture(), "path": None},
                    "TEXT": PROMPTS[index],
                    "AESTHETIC_SCORE": 6.5 + index / 100,
                    "expected_text": ["sale"] if index == 3 else [],
                }
                for index in chosen
            ],
            schema=features.arrow_schema,
        )
        pq.write_table(table, folder / "data" / f"train-{number:05d}-of-{files:05d}.parquet", row_group_size=group)
    return folder


def tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


LAION = {"text": "TEXT", "source_aesthetic": "AESTHETIC_SCORE"}


def test_parquet_with_pictures_gives_its_captions_and_the_score_of_the_source_picture(tmp_path: Path) -> None:
    found = read(parquet(tmp_path / "set"), columns=LAION, axis="image_quality")
    assert [item.text for item in found] == PROMPTS
    assert [item.row for item in found] == list(range(25))
    assert found[20].source_aesthetic == 6.7
    assert found[3].expected_text == ("sale",)
    assert found[4].expected_text == ()
    assert {item.axis for item in found} == {"image_quality"}


def test_the_rows_are_those_that_datasets_itself_streams(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "set", files=3)
    theirs = datasets.load_dataset(str(folder), split="train", streaming=True).select_columns(["TEXT"])
    assert [row["TEXT"] for row in theirs] == texts(folder, columns=LAION)


def test_only_the_row_groups_and_columns_that_are_asked_for_are_read(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "set")
    path = folder / "data" / "train-00000-of-00001.parquet"
    whole = pq.ParquetFile(path).metadata
    names = [whole.row_group(0).column(n).path_in_schema for n in range(whole.num_columns)]
    data = bytearray(path.read_bytes())
    for group in range(whole.num_row_groups):  # every byte of the pictures, and of the captions of groups 0 and 2
        for number, name in enumerate(names):
            column = whole.row_group(group).column(number)
            if name.startswith("image") or group != 1:
                first = column.dictionary_page_offset or column.data_page_offset
                data[first : first + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(data)
    made = source(folder, columns=LAION)
    (part,) = made.parts()
    assert [item.text for item in made.read(part, 12, 18)] == PROMPTS[12:18]
    with pytest.raises(SourceFault, match="row group 0 cannot be read"):
        list(made.read(part, 8, 12))


@pytest.mark.parametrize("step", [1, 7, 10, 100])
def test_a_set_cut_into_shards_gives_the_same_rows(tmp_path: Path, step: int) -> None:
    members = [item for n, text in enumerate(PROMPTS) for item in ((f"{n}.png", b"x" * n), (f"{n}.txt", text.encode()))]
    folders = {"parquet": parquet(tmp_path / "parquet", files=2), "tar": tmp_path / "tar"}
    tar(folders["tar"] / "train-000.tar", members)
    for folder in folders.values():
        columns = LAION if folder.name == "parquet" else {}
        whole = read(folder, columns=columns)
        made = source(folder, columns=columns)
        cut = [
            item
            for part in made.parts()
            for start in range(0, part.n_rows, step)
            for item in made.read(part, start, start + step)
        ]
        assert cut == whole
        assert len(whole) == 25


def test_a_limit_leaves_later_files_unopened(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "set", files=3)
    (folder / "data" / "train-00002-of-00003.parquet").write_bytes(b"broken")
    assert texts(folder, columns=LAION, limit=10) == PROMPTS[:10]
    with pytest.raises(SourceFault, match=r"train-00002-of-00003.parquet: not a Parquet file"):
        source(folder, columns=LAION, limit=20).parts()


def test_a_part_is_named_by_its_place_in_the_set_and_the_bytes_of_its_file(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "set")
    card(folder, "license: cc-by-4.0\n")
    made = source(folder, columns=LAION)
    (part,) = made.parts()
    assert part.label == "data/train-00000-of-00001.parquet"
    assert part.digest == hashlib.sha256((folder / part.label).read_bytes()).hexdigest()
    assert made.licence == "cc-by-4.0"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("license:\n- mit\n- cc0-1.0\n", "mit, cc0-1.0"),
        ("license: other\nlicense_name: some-terms\n", "some-terms"),
        ("language: en\n", "unstated"),
    ],
)
def test_the_licence_is_the_cards_unless_the_recipe_states_one(tmp_path: Path, text: str, said: str) -> None:
    folder = parquet(tmp_path / "set")
    card(folder, text)
    for licence, want in ((None, said), ("stated", "stated")):
        made = source(folder, columns=LAION, licence=licence)
        made.parts()
        assert made.licence == want


def test_configs_and_splits_come_from_the_card(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    for name in ("en-0", "en-1", "held", "de"):
        rows = [json.dumps({"prompt": f"{name} {number}"}) for number in range(2)]
        (tmp_path / "x" / f"{name}.jsonl").write_text("\n".join(rows) + "\n")
    card(
        tmp_path,
        "configs:\n- config_name: en\n  default: true\n  data_files:\n  - split: train\n    path: x/en-*.jsonl\n"
        "  - split: test\n    path: x/held.jsonl\n- config_name: de\n  data_files: x/de.jsonl\n",
    )
    assert texts(tmp_path) == ["en-0 0", "en-0 1", "en-1 0", "en-1 1"]
    assert texts(tmp_path, split="test") == ["held 0", "held 1"]
    assert texts(tmp_path, config="de") == ["de 0", "de 1"]
    with pytest.raises(ConfigError, match=r"no split 'validation'; it has 'test', 'train'"):
        source(tmp_path, split="validation").parts()
    with pytest.raises(ConfigError, match=r"config is 'fr'; expected one of \['en', 'de'\]"):
        source(tmp_path, config="fr").parts()


def test_a_set_with_configs_and_no_default_asks_for_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("text\nx\n")
    card(tmp_path, "configs:\n- config_name: a\n  data_files: a.csv\n- config_name: b\n  data_files: b.csv\n")
    with pytest.raises(ConfigError, match=r"config is None; expected one of \['a', 'b'\]"):
        source(tmp_path).parts()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("train.jsonl", '{"text": "a cat"}\n{"text": 3}\n{"text": "a dog"}\n'),
        ("train.json", '{"text": "a cat"}\n{"text": 3}\n{"text": "a dog"}\n'),  # JSON lines by another name
        ("train.json", '[{"text": "a cat"}, {"text": 3}, {"text": "a dog"}]'),
        ("train.csv", "text,x\na cat,1\na, b,1\na dog,1\n"),
        ("train.tsv", "text\tx\na cat\t1\na\tb\t1\na dog\t1\n"),
    ],
)
def test_a_bad_row_is_a_fault_and_its_neighbours_are_read(tmp_path: Path, name: str, data: str) -> None:
    (tmp_path / name).write_text(data)
    found = read(tmp_path)
    assert [item.text for item in found] == ["a cat", None, "a dog"]
    assert found[1].fault in ("not_a_string", "malformed_row")


def test_webdataset_members_are_rows_and_json_fields_columns(tmp_path: Path) -> None:
    json_of = {"caption": "a red mug", "score": 7.25}
    tar(
        tmp_path / "train-000.tar",
        [
            ("a/0.jpg", b"\xff\xd8 no picture"),
            ("a/0.txt", b"a cat\n"),
            ("a/0.json", json.dumps(json_of).encode()),
            ("a/._0.txt", b"a shadow file"),
            ("b/0.txt", "ein Bär".encode()),
            ("b/0.json", b"{broken"),
            ("c/0.txt", b"\xff\xfe"),
            ("d/0.jpg", b"alone"),
            ("e/0.txt", b"twice"),
            ("e/0.txt", b"twice"),
        ],
    )
    plain = read(tmp_path)
    assert [item.text or item.fault for item in plain] == [
        *("a cat\n", "ein Bär", "invalid_utf8", "not_a_string", "malformed_row")
    ]
    mapped = read(tmp_path, columns={"text": "txt", "source_aesthetic": "json.score"})
    assert mapped[0].source_aesthetic == 7.25
    assert [item.fault for item in mapped[1:]] == ["malformed_json", "invalid_utf8", "not_a_string", "malformed_row"]
    (first, *rest) = read(tmp_path, columns={"text": "json.caption"})
    assert first.text == "a red mug"
    assert [item.fault for item in rest[:2]] == ["malformed_json", "not_a_string"]


def test_webdataset_rows_are_those_of_datasets_own_reader(tmp_path: Path) -> None:
    pairs = [(f"{n:03d}.png", picture()) for n in range(3)], [(f"{n:03d}.txt", PROMPTS[n].encode()) for n in range(3)]
    tar(tmp_path / "train-000.tar", [item for both in zip(*pairs, strict=True) for item in both])
    theirs = datasets.load_dataset(str(tmp_path), split="train", streaming=True).decode(False)
    assert [row["txt"] for row in theirs] == texts(tmp_path) == PROMPTS[:3]


@pytest.mark.parametrize("kept", [5 * 512, 5 * 512 + 100, 6 * 512])
def test_a_cut_archive_is_named_and_never_read_as_a_shorter_one(tmp_path: Path, kept: int) -> None:
    # Four members of one block of header and one of data, then zeros: 2,560 ends in the third's header, 3,072 after it.
    path = tar(tmp_path / "train-000.tar", [(f"{n}.txt", b"a cat") for n in range(4)])
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(SourceFault, match=r"train-000.tar: (not a whole tar archive|no end mark|no header)"):
        source(tmp_path).parts()


def test_a_broken_header_inside_an_archive_does_not_end_it_silently(tmp_path: Path) -> None:
    path = tar(tmp_path / "train-000.tar", [(f"{n}.txt", b"a cat") for n in range(4)])
    data = bytearray(path.read_bytes())
    data[2 * 1024 + 148 : 2 * 1024 + 156] = b"99999999"  # checksum of the third header
    path.write_bytes(data)
    with pytest.raises(SourceFault, match="no header at byte 2048"):
        source(tmp_path).parts()


def test_a_folder_of_pictures_is_read_by_its_metadata(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    rows = []
    for number in range(2):
        (tmp_path / "train" / f"{number}.png").write_bytes(picture())
        rows.append({"file_name": f"{number}.png", "text": PROMPTS[number]})
    with pytest.raises(SourceFault, match="without a metadata file"):
        source(tmp_path).parts()
    (tmp_path / "train" / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert texts(tmp_path) == PROMPTS[:2]


def test_a_column_of_pictures_is_no_prompt(tmp_path: Path) -> None:
    with pytest.raises(SourceFault, match=r"column 'image' holds pictures.*can be one of 'AESTHETIC_SCORE', 'TEXT'"):
        source(parquet(tmp_path / "set"), columns={"text": "image"}).parts()


def test_a_script_is_refused_and_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "tricky"
    folder.mkdir()
    (folder / "tricky.py").write_text("raise SystemExit('ran')")
    (folder / "a.csv").write_text("text\na cat\n")
    with pytest.raises(ConfigError, match="a loading script, code that promptforge never runs"):
        source(folder).parts()


def test_a_card_that_points_elsewhere_or_sets_what_is_not_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("a secret\n")
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "a.csv").write_text("text;y\na cat;1\n")
    card(folder, f"configs:\n- config_name: a\n  data_files: {tmp_path / 'secret.txt'}\n")
    with pytest.raises(SourceFault, match="lies outside it"):
        source(folder).parts()
    card(folder, "configs:\n- config_name: a\n  data_files: a.csv\n  sep: ';'\n")
    with pytest.raises(SourceFault, match="its card sets sep = ';'"):
        source(folder).parts()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "no data file|cannot tell its layout"),
        ({"a.txt": ""}, "no row in split 'train'"),
        ({"a.jsonl.gz": "x"}, "unknown kind '.gz'"),
    ],
)
def test_a_set_without_rows_is_named(tmp_path: Path, files: dict[str, str], said: str) -> None:
    for name, data in files.items():
        (tmp_path / name).write_text(data)
    with pytest.raises(SourceFault, match=said):
        source(tmp_path).parts()


def test_a_file_that_changes_during_the_run_ends_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a cat\n")
    made = source(tmp_path)
    (part,) = made.parts()
    (tmp_path / "a.txt").write_text("a dog\n")
    with pytest.raises(SourceFault, match=r"a.txt: changed since the run began"):
        list(made.read(part, 0, 1))


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"dataset": "owner/name"}, "expected the 40 hex digits"),
        ({"dataset": "owner/name", "revision": "main"}, "`hf datasets info owner/name` shows it as sha"),
        ({"dataset": "name", "revision": REVISION}, "neither a folder here nor a hub id"),
        ({"dataset": "/a/folder", "revision": REVISION}, "has no revision"),
        ({"dataset": "/a/folder", "trust_remote_code": True}, "Extra inputs"),
        ({"dataset": "/a/folder", "columns": {"text": ""}}, "a prompt must come from a column"),
    ],
)
def test_parameters_that_name_no_lasting_rows_are_refused(params: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        hub.Params(**params)


LEFT_EARLY = """
import sys
from promptforge.sources import hub
made = hub.build(hub.Params(dataset=sys.argv[1], columns={"text": "TEXT"}), 0)
(part,) = made.parts()
stream = made.read(part, 0, part.n_rows)
print(next(stream).text)
"""


def test_a_stream_left_early_does_not_hang_the_exit(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "set")
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", LEFT_EARLY, str(folder)], capture_output=True, text=True, timeout=30, check=False
        )
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, PROMPTS[0], "")
