"""The OCR adapter on pictures drawn here."""

import logging
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from promptforge.models.rapidocr import RapidOcrReader, identity
from promptforge.models.reading_order import in_reading_order
from promptforge.protocols import Pixels, TextLine

HELD_STILL = """
    import socket, sys
    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked for")
    socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refuse
    socket.socket.__init__ = refuse
    sys.addaudithook(lambda event, args: refuse() if event.startswith(("socket.", "urllib.")) else None)
    import numpy as np
    from PIL import Image
    from promptforge.models.rapidocr import RapidOcrReader
    reader = RapidOcrReader()
    lines = reader.read(np.asarray(Image.open(sys.argv[1])))
    reader.read(np.zeros((64, 64, 3), dtype=np.uint8))
    print("|".join(line.text for line in lines))
"""


def font(size: int) -> ImageFont.FreeTypeFont:
    spec = find_spec("font_roboto")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return ImageFont.truetype(Path(spec.submodule_search_locations[0]) / "files" / "Roboto-Medium.ttf", size)


def sign(lines: Sequence[tuple[int, int, str]], size: int = 44) -> Pixels:
    image = Image.new("RGB", (512, 512), (214, 226, 238))
    draw = ImageDraw.Draw(image)
    for x, y, text in lines:
        draw.text((x, y), text, (24, 24, 30), font(size))
    return np.asarray(image)


def line(text: str, x: float, y: float, width: float = 100, height: float = 40) -> TextLine:
    return TextLine(text, 1.0, ((x, y), (x + width, y), (x + width, y + height), (x, y + height)))


@pytest.fixture(scope="module")
def reader() -> RapidOcrReader:
    return RapidOcrReader()


def test_it_reads_lines_top_to_bottom_and_left_to_right(reader: RapidOcrReader) -> None:
    drawn = [(60, 60, "Garden"), (300, 60, "Tools"), (60, 200, "half price"), (60, 340, "until 18:30")]
    found = reader.read(sign(drawn))
    assert [each.text for each in found] == ["Garden", "Tools", "half price", "until 18:30"]
    assert all(0.9 < each.confidence <= 1 for each in found)


def test_boxes_are_pixels_clockwise_from_the_top_left(reader: RapidOcrReader) -> None:
    (found,) = reader.read(sign([(100, 200, "Lantern")]))
    left, top, right, bottom = font(44).getbbox("Lantern")
    corners = (
        (100 + left, 200 + top),
        (100 + right, 200 + top),
        (100 + right, 200 + bottom),
        (100 + left, 200 + bottom),
    )
    assert np.abs(np.array(found.box) - np.array(corners)).max() < 20


def test_colours_arrive_in_the_right_order(reader: RapidOcrReader) -> None:
    """Blue on red of the same luma as BGR would make it: the reading must not depend on luck, so both ways work."""
    for ink, ground in (((255, 220, 0), (0, 0, 120)), ((0, 0, 120), (255, 220, 0))):
        image = Image.new("RGB", (320, 120), ground)
        ImageDraw.Draw(image).text((30, 30), "harbour", ink, font(48))
        assert [each.text for each in reader.read(np.asarray(image))] == ["harbour"]


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (40, 700), (700, 40), (512, 512)])
def test_a_picture_without_text_has_no_lines_whatever_its_shape(reader: RapidOcrReader, shape: tuple[int, int]) -> None:
    assert reader.read(np.full((*shape, 3), 200, dtype=np.uint8)) == ()


def test_the_same_picture_is_read_the_same_whatever_was_read_before(reader: RapidOcrReader) -> None:
    one, other = sign([(60, 60, "first thing")]), sign([(20, 100, "another, longer line")], 40)
    before = reader.read(one)
    reader.read(other)
    assert reader.read(one) == before


def test_it_is_silent(reader: RapidOcrReader, capfd: pytest.CaptureFixture[str]) -> None:
    reader.read(sign([(60, 60, "quiet")]))
    reader.read(np.zeros((64, 64, 3), dtype=np.uint8))
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("RapidOCR").level >= logging.ERROR


def test_loading_and_reading_never_ask_for_the_network(tmp_path: Path) -> None:
    Image.fromarray(sign([(60, 200, "no wires")])).save(tmp_path / "sign.png")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(HELD_STILL), str(tmp_path / "sign.png")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "no wires\n", "")


def test_identity_holds_versions_files_and_settings_without_loading_a_model() -> None:
    found = identity()
    assert {len(found[name]) for name in ("detection", "recognition")} == {64}
    assert found["engine"].startswith("rapidocr ")
    assert '"Global.use_cls":false' in found["settings"]


def test_words_of_one_row_are_kept_together_where_their_boxes_differ_by_a_little() -> None:
    found = in_reading_order([line("b", 220, 96), line("c", 40, 160), line("a", 20, 110)])
    assert [each.text for each in found] == ["a", "b", "c"]


def test_lines_close_under_one_another_are_two_rows() -> None:
    found = in_reading_order([line("under", 10, 125, 300), line("over", 40, 100, 200)])
    assert [each.text for each in found] == ["over", "under"]
