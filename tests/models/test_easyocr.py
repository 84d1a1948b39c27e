"""EasyOCR behind its process, with the released models' architecture at full size and weights made here."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image, ImageDraw, ImageFont

from promptforge.errors import ConfigError, EnvironmentFault
from promptforge.models import easyocr_files
from promptforge.models.easyocr import EasyOcrReader, Settings
from promptforge.models.easyocr_files import CHOICES, FAMILIES, check_languages, languages_of
from promptforge.models.reader_process import Limits
from promptforge.models.torch_setup import load_torch
from promptforge.protocols import Picture, Pixels
from promptforge.scorers.reading.readers import EasyOcr
from tests.tiny_models import ocr

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Models made here, under the release's names, and their hashes as if the release named them."""
    load_torch()
    import easyocr.config

    path = tmp_path_factory.mktemp("easyocr")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(easyocr.config.detection_models["craft"], "md5sum", ocr.save_detector(path)[1])
        patch.setitem(easyocr.config.recognition_models["gen2"]["english_g2"], "md5sum", ocr.save_recogniser(path)[1])
        yield path


@pytest.fixture(scope="module")
def reader(folder: Path) -> Iterator[EasyOcrReader]:
    reader = EasyOcrReader(Settings(folder=str(folder), limits=Limits(timeout_s=20)))
    yield reader
    reader.close()


def sign(words: Sequence[tuple[int, int, str]], size: tuple[int, int] = (320, 192)) -> Pixels:
    """Grey, so that it is the same for a library that takes the channels in another order."""
    spec = find_spec("font_roboto")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    file = Path(spec.submodule_search_locations[0]) / "files" / "Roboto-Medium.ttf"
    image = Image.new("RGB", size, (214, 214, 214))
    for x, y, text in words:
        ImageDraw.Draw(image).text((x, y), text, (24, 24, 24), ImageFont.truetype(file, 36))
    return np.asarray(image)


GARDEN = [(190, 24, "Tools"), (20, 20, "Garden"), (20, 120, "half price")]


@pytest.mark.filterwarnings("ignore:'pin_memory':UserWarning")  # the library asks for it without a GPU too
def test_it_says_what_the_library_says_in_reading_order(reader: EasyOcrReader, folder: Path, tmp_path: Path) -> None:
    import easyocr

    Image.fromarray(sign(GARDEN)).save(tmp_path / "sign.png")
    own = easyocr.Reader(
        ["en"], gpu=False, model_storage_directory=str(folder), download_enabled=False, quantize=False, verbose=False
    )
    theirs = {
        (text, round(float(confidence), 5), tuple((float(x), float(y)) for x, y in box))
        for box, text, confidence in own.readtext(str(tmp_path / "sign.png"))
    }
    ours = reader.read(sign(GARDEN))
    assert {(line.text, round(line.confidence, 5), line.box) for line in ours} == theirs
    assert len(ours) == 3
    lefts = [line.box[0] for line in ours]
    assert lefts[0][0] < lefts[1][0], "Garden before Tools, although it stands 4 px higher"
    assert lefts[2][1] > lefts[1][1] + 50, "the second row last"


def test_boxes_lie_where_the_ink_is(reader: EasyOcrReader) -> None:
    found = reader.read(sign([(100, 80, "harbour")]))
    (box,) = [np.array(line.box) for line in found]
    ink = np.argwhere(sign([(100, 80, "harbour")])[:, :, 0] < 120)
    (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0)
    assert box[0][0] <= left <= right <= box[2][0]
    assert box[0][1] <= top <= bottom <= box[2][1]
    assert np.abs(box - [(left, top), (right, top), (right, bottom), (left, bottom)]).max() < 30


def test_many_are_read_as_each_alone_whatever_their_sizes(reader: EasyOcrReader) -> None:
    pictures = [
        sign(GARDEN),
        sign([(20, 20, "small")], (160, 96)),
        np.full((192, 320, 3), 220, dtype=np.uint8),
        sign([(30, 60, "one thing")]),
        sign([(10, 30, "other")], (160, 96)),
    ]
    found = reader.read_many(pictures)
    assert [each.fault for each in found] == [None] * 5
    assert [len(each.lines) for each in found] == [3, 1, 0, 1, 1]
    assert [each.lines for each in found] == [reader.read(picture) for picture in pictures]
    assert reader.read_many([]) == ()


@pytest.mark.filterwarnings("ignore:'pin_memory':UserWarning")
def test_a_detection_batch_filled_up_with_black_reads_the_same(folder: Path) -> None:
    """What a GPU does: the engine itself, told to take four at a time."""
    from promptforge.models.easyocr import _Engine

    torch = load_torch()
    threads = torch.get_num_threads()
    how = {"languages": ("en",), "files": easyocr_files.verified(str(folder), ("en",))}
    settings = {"folder": str(folder), "gpu": False, "rank": 0, "batch": 4, "threads": threads, "first": how}
    pictures = [sign([(20, 20, "one")], (160, 96)), sign([(10, 30, "other")], (160, 96))]
    engine = _Engine(settings)
    one = engine.read_many(pictures, how)
    engine._batch = 4
    many = engine.read_many(pictures, how)
    assert [[(line.text, line.box) for line in lines] for lines in many] == [
        [(line.text, line.box) for line in lines] for lines in one
    ]
    assert [len(lines) for lines in many] == [1, 1]


def test_killed_in_the_middle_it_reads_on_with_the_same_answer(reader: EasyOcrReader) -> None:
    picture = sign(GARDEN)
    before = reader.read(picture)
    first = reader.process.pid
    os.kill(first, signal.SIGSTOP)
    killer = threading.Timer(0.3, os.kill, (first, signal.SIGKILL))
    killer.start()
    assert reader.read(picture) == before
    killer.join()
    assert reader.process.pid != first


def test_the_death_of_the_parent_ends_the_child(folder: Path) -> None:
    """Killed without warning while the child reads."""
    code = (
        "import sys, numpy as np\n"
        "from promptforge.models.easyocr import _Engine, EasyOcrReader, Settings\n"
        "from promptforge.models.torch_setup import load_torch\n"
        "load_torch()\n"
        "import easyocr.config as config\n"
        "config.detection_models['craft']['md5sum'] = sys.argv[2]\n"
        "config.recognition_models['gen2']['english_g2']['md5sum'] = sys.argv[3]\n"
        "reader = EasyOcrReader(Settings(folder=sys.argv[1]))\n"
        "print(reader.process.pid, flush=True)\n"
        "while True:\n"
        "    reader.read(np.zeros((512, 512, 3), dtype=np.uint8))\n"
    )
    hashes = easyocr_files.verified(str(folder), ("en",)).values()
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(folder), *hashes], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        time.sleep(0.5)
        parent.kill()
        parent.wait()
        _, alive = psutil.wait_procs([child], timeout=15)
    assert alive == []


def test_a_missing_file_is_named_with_its_size_and_where_to_get_it(folder: Path, tmp_path: Path) -> None:
    from easyocr.config import detection_models, recognition_models

    with pytest.raises(EnvironmentFault) as none:
        EasyOcrReader(Settings(folder=str(tmp_path)))
    for file, mb, model in (
        ("craft_mlt_25k.pth", "83 MB", detection_models["craft"]),
        ("english_g2.pth", "15 MB", recognition_models["gen2"]["english_g2"]),
    ):
        for part in (str(tmp_path / file), mb, model["url"]):
            assert part in str(none.value)
    with pytest.raises(EnvironmentFault) as thai:
        EasyOcrReader(Settings(folder=str(folder)), ("th", "en"))
    for part in ("thai.pth", "215 MB", recognition_models["gen1"]["thai_g1"]["url"]):
        assert part in str(thai.value)


def test_a_file_with_another_hash_is_refused_before_anything_reads_it(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        shutil.copy(file, tmp_path)
    with (tmp_path / "english_g2.pth").open("ab") as file:
        file.write(b"\0")
    right = easyocr_files.verified(str(folder), ("en",))["english_g2.pth"]
    with pytest.raises(EnvironmentFault, match=rf"english_g2\.pth: MD5 is [0-9a-f]{{32}}, .*says {right}"):
        EasyOcrReader(Settings(folder=str(tmp_path)))


def test_a_file_changed_after_the_check_is_refused_by_the_child(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        shutil.copy(file, tmp_path)
    reader = EasyOcrReader(Settings(folder=str(tmp_path)))
    reader.close()
    (tmp_path / "craft_mlt_25k.pth").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(EnvironmentFault, match=r"MD5 mismatch for .*craft_mlt_25k\.pth"):
        reader.read_many([sign(GARDEN)])


def test_neither_home_nor_the_import_path_is_touched(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    reader = EasyOcrReader(Settings(folder=str(folder)))
    assert len(reader.read(sign([(20, 20, "small")], (160, 96)))) == 1
    reader.close()
    assert list(tmp_path.iterdir()) == []


def test_naming_it_loads_nothing_and_needs_no_file() -> None:
    code = (
        "import os, sys\n"
        "from promptforge.models.easyocr_files import identity\n"
        "before = dict(os.environ)\n"
        "assert identity(('en',)) != identity(('de', 'en')) != identity(None)\n"
        "assert os.environ == before\n"
        "print(sorted({'easyocr', 'torch', 'cv2'} & set(sys.modules)), identity(('en',))['models'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    # The hashes that EasyOCR 1.7.2 names.
    assert done.stdout.strip() == (
        '[] {"craft_mlt_25k.pth":"2f8227d2def4037cdb3b34389dcf9ec1",'
        '"english_g2.pth":"5864788e1821be9e454ec108d61b887d"}'
    )


@pytest.mark.parametrize("languages", [*CHOICES, ("de",), ("uk", "en"), ("ur",), *((f.languages) for f in FAMILIES)])
def test_every_set_of_languages_is_one_that_easyocr_takes_with_this_model(languages: tuple[str, ...]) -> None:
    load_torch()
    import easyocr

    theirs: Any = easyocr.Reader(list(languages), gpu=False, detector=False, recognizer=False, verbose=False)
    family = easyocr_files._family(languages)
    model = easyocr.config.recognition_models[family.generation][family.model]
    assert theirs.character == model["characters"]
    assert set(theirs.lang_char) & set(theirs.character) == easyocr_files._letters(languages)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Open 24 hours!", "en"),
        ("", "en"),
        ("crème brûlée", "af"),  # the first of the Latin family
        ("ŁÓDŹ", "af"),
        ("Привет", "ru"),
        ("开门 OPEN", "ch_sim"),
        ("這裡", "ch_tra"),
        ("こんにちは", "ja"),
        ("안녕", "ko"),
        ("नमस्ते", "hi"),
        ("مرحبا", "ar"),
        ("สวัสดี", "th"),
    ],
)
def test_languages_follow_the_letters(text: str, first: str) -> None:
    found = languages_of([text])
    assert found is not None
    assert found[0] == first


@pytest.mark.parametrize("texts", [["Καλημέρα"], ["Привет", "안녕"], ["crème", "Привет"]])
def test_letters_that_no_model_has_have_no_languages(texts: list[str]) -> None:
    assert languages_of(texts) is None


@pytest.mark.parametrize(
    ("languages", "message"),
    [
        (("xx",), r"unknown are \['xx'\]"),
        ((), "unknown are"),
        (("th", "ja"), "no model reads ja together with th"),
        (("ru", "de"), "no model reads de together with ru"),
    ],
)
def test_languages_that_no_model_reads_together_are_refused(languages: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_languages(languages)


def test_the_text_scorer_reads_one_and_many_alike_and_in_languages_of_the_text(folder: Path) -> None:
    """The recogniser made here reads eFe in everything; RapidOCR reads what stands there."""
    from promptforge.scorers import text

    scorer = text.build(text.Params(second="easyocr", easyocr=EasyOcr(folder=str(folder))))
    assert isinstance(scorer, text.BatchText)
    picture = sign([(20, 20, "small")], (160, 96))
    pictures = [
        Picture(picture, "", "text_rendering", wanted, None) for wanted in (("small",), ("eFe",), ("Ω",), (" ",))
    ]
    found = scorer.score_many(pictures)
    assert found == [scorer.score(each) for each in pictures]
    verdicts, readings = (
        [next(s.detail or "" for s in scores if s.metric == metric) for scores in found]
        for metric in ("verdict", "reading")
    )
    small, mad, omega, nothing = (json.loads(reading) for reading in readings)
    assert (small["reader"], [line["text"] for line in small["lines"]]) == ("first", ["small"])
    assert small["other"]["verdict"] == "misread"
    assert {line["text"] for line in small["other"]["lines"]} == {"eFe"}
    assert (mad["reader"], [line["text"] for line in mad["lines"]]) == ("second", ["eFe"])
    # No letter of eFe is in small: each reader takes the other's for something else in the picture.
    assert verdicts == ["read", "read", "unreadable", "unreadable"]
    assert omega["faults"] == [
        "rapidocr does not know these Greek letters: Ω",
        "no set of languages that the reader knows has all letters of the wanted text",
    ]
    assert nothing == {"lines": [], "n_looks": 0, "shapes": []}


def test_the_stray_text_scorer_reads_one_and_many_alike(folder: Path) -> None:
    from promptforge.scorers import stray_text

    params = stray_text.Params(reader="easyocr", easyocr=EasyOcr(folder=str(folder)), min_confidence=0.1)
    scorer = stray_text.build(params)
    assert isinstance(scorer, stray_text.BatchStrayText)
    pictures = [
        Picture(sign([(20, 20, "small")], (160, 96)), "", "image_quality", (), None),
        Picture(sign([(20, 20, "asked")], (160, 96)), "", "text_rendering", ("asked",), None),
        Picture(np.full((96, 160, 3), 220, dtype=np.uint8), "", "image_quality", (), None),
    ]
    found = scorer.score_many(pictures)
    assert found == [scorer.score(each) for each in pictures]
    assert [scores[0].value for scores in found] == [1, None, 0]
