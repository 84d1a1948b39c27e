"""Map-style access on published files; pixels are those that were drawn."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from promptforge.errors import ConfigError, StoreFault
from promptforge.reader import Pictures
from promptforge.reader import dataset as dataset_module
from promptforge.reader.decoding import decode, with_pillow

from .conftest import N, encoded, pixels, row, seal


def test_a_row_is_its_columns_and_the_pixels_that_were_drawn(dataset: Path) -> None:
    data = Pictures(dataset)
    assert len(data) == N
    for number in (0, 7, 8, 29, 30, N - 1):
        found = data[number]
        assert (found.pop("image") == pixels(number)).all()
        assert found == {name: row(number)[name] for name in ("prompt_id", "text", "axis")}
    assert data[-1]["text"] == f"a pot, number {N - 1}"


def test_several_rows_come_in_the_order_asked_for_also_twice(dataset: Path) -> None:
    found = Pictures(dataset).__getitems__([31, 2, 31])
    assert [each["prompt_id"] for each in found] == [row(n)["prompt_id"] for n in (31, 2, 31)]
    assert all((each["image"] == pixels(n)).all() for each, n in zip(found, (31, 2, 31), strict=True))


def test_undecoded_pictures_are_the_bytes_that_were_published(dataset: Path) -> None:
    data = Pictures(dataset, columns=["image"], decode=False)
    assert [each["image"] for each in data.__getitems__(range(N))] == [encoded(n) for n in range(N)]


def test_columns_come_in_the_order_asked_for_and_lists_stay_lists(dataset: Path) -> None:
    found = Pictures(dataset, columns=["text", "expected_text"])
    assert list(found[2]) == ["text", "expected_text"]
    assert found[2]["expected_text"] == found.__getitems__([2, 3])[0]["expected_text"] == ["pot", "pan"]


def test_pixels_may_be_written_to_and_belong_to_one_row(dataset: Path) -> None:
    data = Pictures(dataset)
    first, again = data[4]["image"], data[4]["image"]
    first[:] = 0
    assert (again == pixels(4)).all()


def test_a_copy_in_another_process_reads_no_file_again(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Pictures(dataset)
    copy = pickle.dumps(data)
    monkeypatch.setattr(dataset_module, "_sums", {})
    monkeypatch.setattr(dataset_module, "sha256_file", lambda path: pytest.fail(f"{path} was read again"))
    assert (pickle.loads(copy)[9]["image"] == pixels(9)).all()


def test_a_changed_file_is_named_and_not_read(dataset: Path) -> None:
    path = dataset / "data/train-00001-of-00002.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreFault, match=r"train-00001-of-00002\.parquet: sha256 is"):
        Pictures(dataset)


def test_a_picture_that_cannot_be_decoded_is_named_with_its_file(dataset: Path) -> None:
    path = dataset / "data/train-00000-of-00002.parquet"
    content = path.read_bytes()
    assert content.count(encoded(3)) == 1
    path.write_bytes(content.replace(encoded(3), b"?" * len(encoded(3))))
    seal(dataset)
    with pytest.raises(StoreFault, match=r"train-00000-of-00002\.parquet: the picture at byte \d+ cannot be decoded"):
        Pictures(dataset)[3]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"columns": ["txt"]}, r"no column 'txt'; there are .*text.*pictures=True"),
        ({"columns": ["image_id"]}, "no column 'image_id'"),  # prompts/ has none
        ({"columns": ["image"], "pictures": False}, "neither image nor latents"),
        ({"split": "test_words"}, "no split 'test_words'"),
        ({"columns": ["latents"]}, "no run"),
    ],
)
def test_a_wrong_request_says_what_there_is(dataset: Path, wanted: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Pictures(dataset, **wanted)


def test_a_row_that_is_not_there_ends_a_loop_over_it(dataset: Path) -> None:
    data = Pictures(dataset, columns=["text"])
    with pytest.raises(IndexError, match="there are 46"):
        data[N]
    assert [each["text"] for each in data] == [row(n)["text"] for n in range(N)]


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_both_decoders_give_the_same_pixels(mode: str) -> None:
    sink = io.BytesIO()
    Image.fromarray(pixels(5)).convert(mode).save(sink, "PNG")
    want = np.array(Image.open(io.BytesIO(sink.getvalue())).convert("RGB"))
    assert (decode(sink.getvalue()) == want).all()
    assert (with_pillow(sink.getvalue()) == want).all()


@pytest.mark.parametrize("decoder", [decode, with_pillow])
def test_what_is_no_picture_is_a_value_error(decoder) -> None:
    with pytest.raises(ValueError, match="cannot"):
        decoder(b"no picture")


def test_importing_the_reader_loads_no_heavy_library() -> None:
    code = (
        "import sys, promptforge.reader;"
        " print(sorted({'torch', 'datasets', 'prefect', 'duckdb', 'cv2', 'PIL'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
