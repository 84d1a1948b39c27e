"""Pictures rendered elsewhere: found by prompt and take, byte for byte; what is wrong with one costs no other."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from promptforge import records
from promptforge.errors import SourceFault
from promptforge.protocols import Rendering, RenderJob
from promptforge.teachers import imported
from promptforge.teachers.importing.pixels import Unreadable, decode
from promptforge.teachers.importing.sets import read_set

LAKE, APPLE = "a quiet lake at dawn", "a red apple on a blue table"


def noise(number: int, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (40, 48, 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(picture: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, kind, **how)
    return sink.getvalue()


def folder_of(where: Path, rows: list[tuple[str, bytes, Any]], column: str = "text") -> Path:
    """An imagefolder: (file name, bytes, prompt)."""
    where.mkdir(parents=True, exist_ok=True)
    for name, data, _ in rows:
        (where / name).write_bytes(data)
    lines = [json.dumps({"file_name": name, column: prompt}) for name, _, prompt in rows]
    (where / "metadata.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return where


def table_of(path: Path, columns: dict[str, Any], rows: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=rows)
    return path


def params(path: Path, **more: Any) -> imported.Params:
    return imported.Params(path=str(path), licence="CC0-1.0", **more)


def drawn(path: Path, *jobs: tuple[str, int], **more: Any) -> list[Rendering]:
    teacher = imported.build(params(path, **more))
    return list(teacher.render_all(RenderJob(text, 0, take) for text, take in jobs))


def pixels_of(rendering: Rendering) -> Any:
    assert rendering.error is None
    return rendering.pixels


PICTURES = [("a.png", encoded(noise(1)), LAKE), ("b.png", encoded(noise(2)), APPLE), ("c.png", encoded(noise(3)), LAKE)]


def as_folder(where: Path) -> Path:
    return folder_of(where / "set", PICTURES)


def as_captions(where: Path) -> Path:
    (where / "set" / "deeper").mkdir(parents=True)
    for name, data, prompt in PICTURES:
        path = where / "set" / "deeper" / name
        path.write_bytes(data)
        path.with_suffix(".txt").write_text(f"{prompt}\n", "utf-8")
    return where / "set"


def as_csv(where: Path) -> Path:
    folder = folder_of(where / "set", PICTURES)
    (folder / "metadata.jsonl").unlink()
    rows = "".join(f'{name},"{prompt}"\n' for name, _, prompt in PICTURES)
    (folder / "metadata.csv").write_text(f"file_name,caption\n{rows}", "utf-8")
    return folder


def as_embedded(where: Path) -> Path:
    images = [{"bytes": data, "path": name} for name, data, _ in PICTURES]
    table_of(where / "set" / "data" / "train.parquet", {"image": images, "prompt": [row[2] for row in PICTURES]})
    table_of(where / "set" / "index.parquet", {"prompt": [LAKE], "height": [40]})  # a table of other things
    return where / "set"


def as_bytes(where: Path) -> Path:
    columns = {"image": [row[1] for row in PICTURES], "prompt_id": [records.prompt_id(row[2]) for row in PICTURES]}
    return table_of(where / "set.parquet", columns)


def as_paths(where: Path) -> Path:
    folder_of(where / "set", PICTURES)
    (where / "set" / "metadata.jsonl").unlink()
    columns = {"path": [row[0] for row in PICTURES], "text": [row[2] for row in PICTURES]}
    return table_of(where / "set" / "set.parquet", columns)


FORMS = [as_folder, as_captions, as_csv, as_embedded, as_bytes, as_paths]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_pixels_by_prompt_and_take(form: Callable[[Path], Path], tmp_path: Path) -> None:
    found = drawn(form(tmp_path), (LAKE, 1), (APPLE, 0), (LAKE, 0))
    for rendering, number in zip(found, (3, 2, 1), strict=True):
        assert np.array_equal(pixels_of(rendering), np.asarray(noise(number)))


def test_the_same_pictures_have_the_same_fingerprint_in_every_form(tmp_path: Path) -> None:
    prints = {imported.build(params(form(tmp_path / form.__name__))).fingerprint for form in FORMS}
    assert len(prints) == 1
    (digest,) = {read_set(str(form(tmp_path / f"{form.__name__}2"))).digest for form in FORMS}
    lines = sorted(
        f"{records.prompt_id(prompt)} {take} {hashlib.sha256(data).hexdigest()}\n"
        for (_, data, prompt), take in zip(PICTURES, (0, 0, 1), strict=True)
    )
    assert digest == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_another_picture_licence_or_name_is_another_teacher(tmp_path: Path) -> None:
    folder = as_folder(tmp_path)
    first = imported.build(params(folder)).fingerprint
    assert imported.build(params(folder, name="FLUX")).fingerprint != first
    assert imported.build(imported.Params(path=str(folder), licence="other")).fingerprint != first
    assert imported.build(params(folder)).fingerprint == first
    (folder / "b.png").write_bytes(encoded(noise(9)))
    assert imported.build(params(folder)).fingerprint != first


def test_a_prompt_is_found_by_its_cleaned_text(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "set", [("a.png", encoded(noise(1)), "  a quiet   lake at dawn &amp; dusk ")])
    (found,) = drawn(folder, ("a quiet lake at dawn & dusk", 0))
    assert np.array_equal(pixels_of(found), np.asarray(noise(1)))


def test_what_is_not_there_is_an_error_row(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "set", [("a.png", encoded(noise(1)), LAKE), ("gone.png", b"", APPLE)])
    (folder / "gone.png").unlink()
    errors = [item.error for item in drawn(folder, ("a boat", 0), (LAKE, 1), (APPLE, 0), (LAKE, 0))]
    assert errors == [
        "not in the import",
        "the import has no further take",
        "the import names a picture that is not there",
        None,
    ]


def test_a_name_that_leads_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(encoded(noise(5)))
    folder = tmp_path / "set"
    names = ["../secret.png", str(tmp_path / "secret.png"), "deeper/../../secret.png", "a\0b.png", 7]
    folder.mkdir()
    lines = [json.dumps({"file_name": name, "text": f"prompt {number}"}) for number, name in enumerate(names)]
    (folder / "metadata.jsonl").write_text("\n".join(lines), "utf-8")
    found = drawn(folder, *((f"prompt {number}", 0) for number in range(len(names))))
    assert {item.error for item in found} == {"the import names a picture that is not there"}
    table = table_of(folder / "set.parquet", {"image": [{"bytes": None, "path": "../secret.png"}], "text": [LAKE]})
    assert drawn(table, (LAKE, 0))[0].error == "the import names a picture that is not there"


def test_a_link_out_of_the_folder_ends_the_import_and_one_within_is_followed(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "me.png").write_bytes(encoded(noise(5)))
    folder = folder_of(tmp_path / "set", [("a.png", encoded(noise(1)), LAKE)])
    (folder / "nothing.png").symlink_to("gone.png")
    (folder / "b.png").symlink_to("a.png")
    listed = folder / "metadata.jsonl"
    listed.write_text(listed.read_text("utf-8") + "\n" + json.dumps({"file_name": "b.png", "text": APPLE}), "utf-8")
    assert [item.error for item in drawn(folder, (LAKE, 0), (APPLE, 0))] == [None, None]
    for name, target in [("c.png", "../private/me.png"), ("deeper", "../private")]:
        (folder / name).symlink_to(target)
        with pytest.raises(SourceFault, match=rf"{name}: is a link to .*private.*, outside of"):
            drawn(folder, (LAKE, 0))
        (folder / name).unlink()


def test_the_links_of_a_hubs_cache_are_followed(tmp_path: Path) -> None:
    cache = tmp_path / "datasets--me--mine"
    folder = cache / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    (cache / "blobs").mkdir()
    (cache / "blobs" / "12ab").write_bytes(encoded(noise(1)))
    (folder / "a.png").symlink_to("../../blobs/12ab")
    (folder / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "text": LAKE}), "utf-8")
    assert drawn(folder, (LAKE, 0))[0].error is None


def header_of(width: int, height: int) -> bytes:
    """A PNG that says this size and holds nothing."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT\x35\xaf\x06\x1e"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not a picture"),
        (b"<svg></svg>", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),  # Ghostscript would run it
        (encoded(noise(1), "TIFF"), "not a picture"),
        (encoded(noise(1), "GIF"), "not a picture"),
        (encoded(noise(1))[:900], "damaged"),
        (encoded(noise(1), "JPEG")[:700], "damaged"),
        (header_of(48, 40), "damaged"),
        (header_of(50_000, 50_000), "too many pixels"),  # 2.5e9: Pillow raises
        (header_of(10_000, 10_000), "too many pixels"),  # 1e8: Pillow only warns
        (header_of(9_000, 9_000), "9000 x 9000 px, at most 67,108,864 pixels are read"),
        (encoded(Image.new("I;16", (4, 4))), "mode I;16"),
    ],
)
def test_a_picture_that_cannot_be_read_is_an_error_row(data: bytes, said: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "set", [("a.png", data, LAKE), ("b.png", encoded(noise(2)), APPLE)])
    bad, good = drawn(folder, (LAKE, 0), (APPLE, 0))
    assert bad.pixels is None
    assert (bad.error or "").startswith(said)
    assert good.error is None


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
def test_lossless_kinds_keep_every_value(kind: str) -> None:
    how = {"lossless": True} if kind == "WEBP" else {}
    pixels, done = decode(encoded(noise(4), kind, **how), 1 << 20)
    assert np.array_equal(pixels, np.asarray(noise(4)))
    assert done == {}


def test_jpeg_is_what_pillow_decodes() -> None:
    data = encoded(noise(4), "JPEG", quality=80)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(decode(data, 1 << 20)[0], np.asarray(image))


def test_a_picture_is_taken_as_a_person_sees_it() -> None:
    turn = Image.Exif()
    turn[0x0112] = 6  # shown a quarter turn clockwise
    pixels, done = decode(encoded(noise(4), exif=turn), 1 << 20)
    assert np.array_equal(pixels, np.rot90(np.asarray(noise(4)), -1))
    assert done == {"turned": "as its EXIF orientation says"}
    layer = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    layer.putpixel((1, 0), (0, 0, 0, 0))
    pixels, done = decode(encoded(layer), 1 << 20)
    assert pixels.tolist() == [[[255, 0, 0], [255, 255, 255]]]
    assert list(done) == ["flattened"]


def colours_of_16_bits() -> bytes:
    """A PNG of 2 x 1 px, 16 bits a channel: 0x1234, 0x00ff, 0xff00 twice."""
    row = b"\0" + struct.pack(">HHH", 0x1234, 0x00FF, 0xFF00) * 2
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(row)), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_what_had_to_be_done_to_the_colours_is_noted() -> None:
    pixels, done = decode(colours_of_16_bits(), 1 << 20)
    assert (pixels.tolist(), done) == ([[[0x12, 0, 0xFF]] * 2], {"cut": "16 bits a channel to 8"})
    first, second = noise(1), noise(2)
    data = encoded(first, "WEBP", save_all=True, append_images=[second], lossless=True)
    pixels, done = decode(data, 1 << 20)
    assert np.array_equal(pixels, np.asarray(first))
    assert done == {"still": "the first of 2 frames"}
    assert decode(encoded(first.convert("CMYK"), "JPEG"), 1 << 20)[1] == {"converted": "from mode CMYK"}
    grey, done = decode(encoded(Image.new("L", (2, 2), 77)), 1 << 20)
    assert (grey.tolist(), done) == ([[[77, 77, 77]] * 2] * 2, {"converted": "from mode L"})


def test_more_pixels_than_asked_for_are_refused() -> None:
    with pytest.raises(Unreadable, match="48 x 40 px, at most 100 pixels"):
        decode(encoded(noise(1)), 100)


def test_a_picture_that_changes_under_a_run_is_never_taken_for_the_old_one(tmp_path: Path) -> None:
    folder = as_folder(tmp_path)
    teacher = imported.build(params(folder))
    (folder / "b.png").write_bytes(encoded(noise(9)))
    with pytest.raises(SourceFault, match=r"b\.png: changed since the run began; run again"):
        list(teacher.render_all([RenderJob(APPLE, 0)]))


def test_rows_without_a_usable_prompt_are_told_and_cost_no_other_row(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "set", [("a.png", encoded(noise(1)), None), ("b.png", encoded(noise(2)), LAKE)])
    with (folder / "metadata.jsonl").open("a", encoding="utf-8") as lines:
        lines.write('{"file_name": "a.png", "text": "   "}\nno json\n')
    found = read_set(str(folder))
    assert [item.problem for item in found.items] == [
        "no prompt",
        None,
        "no prompt",
        "metadata.jsonl row 3: not a JSON object",
    ]
    assert (found.n_prompts, found.n_takes) == (1, 1)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda where: where / "nothing", "cannot be read"),
        (lambda where: where, "no picture; expected metadata.jsonl"),
        (lambda where: folder_of(where / "set", PICTURES, "words"), "none of them text, prompt, caption, prompt_id"),
        (lambda where: table_of(where / "a.parquet", {"text": [LAKE]}), "none of them image, file_name"),
    ],
)
def test_an_import_that_cannot_be_read_says_what_was_expected(
    make: Callable[[Path], Path], said: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceFault, match=said):
        imported.describe(params(make(tmp_path)))


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    for name, data in (("a.zip", b"PK"), ("a.parquet", b"PAR1 and no more")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SourceFault, match=name):
            read_set(str(tmp_path / name))


def test_columns_of_other_names_are_taken_when_they_are_named(tmp_path: Path) -> None:
    columns = {"picture": [row[1] for row in PICTURES], "Beschreibung": [row[2] for row in PICTURES]}
    path = table_of(tmp_path / "a.parquet", columns)
    (found,) = drawn(path, (APPLE, 0), prompts="Beschreibung", pictures="picture")
    assert np.array_equal(pixels_of(found), np.asarray(noise(2)))
    with pytest.raises(SourceFault, match="--prompts asks for 'nope'"):
        read_set(str(path), "nope", "picture")


def test_the_licence_is_what_the_person_states_and_may_need_consent(tmp_path: Path) -> None:
    assert imported.licence(params(tmp_path)).name == "CC0-1.0"
    assert not imported.licence(params(tmp_path)).needs_consent
    assert imported.licence(params(tmp_path, restricted=True)).needs_consent
