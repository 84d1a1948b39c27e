"""Small pictures: within the budget whatever is in them, and nothing of the stored bytes but what is seen."""

import base64
import io

import numpy as np
from PIL import Image

from promptforge.report.thumbnails import MOST_BYTES, SIDE, data_uris


def stored(pixels: np.ndarray, **more: object) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "WEBP", lossless=True, **more)
    return sink.getvalue()


def opened(uri: str) -> tuple[bytes, Image.Image]:
    data = base64.b64decode(uri.removeprefix("data:image/webp;base64,"), validate=True)
    return data, Image.open(io.BytesIO(data))


def test_noise_stays_within_the_budget() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (512, 512, 3), np.uint8)  # the worst that there is to encode
    (found,) = data_uris([stored(noise)])
    assert found is not None
    assert len(opened(found[0])[0]) <= MOST_BYTES


def test_shape_and_colour_stay_and_hidden_bytes_go() -> None:
    pixels = np.zeros((300, 600, 3), np.uint8)
    pixels[:, :300] = (200, 30, 30)
    (found,) = data_uris([stored(pixels, exif=b"Exif\0\0secret", xmp=b"<secret/>")])
    assert found is not None
    data, image = opened(found[0])
    assert b"secret" in stored(pixels, exif=b"Exif\0\0secret")
    assert b"secret" not in data
    assert image.size == found[1:] == (SIDE, SIDE // 2)
    seen = np.asarray(image.convert("RGB"), int)
    assert abs(seen[64, 40] - (200, 30, 30)).max() < 12
    assert seen[64, 220].max() < 12


def test_what_is_no_picture_is_none_and_the_rest_keeps_its_place() -> None:
    good = stored(np.full((40, 40, 3), 9, np.uint8))
    found = data_uris([None, b"RIFF nothing", good[: len(good) // 2], good])
    assert found[:2] == [None, None]
    assert found[3] is not None
    assert found[3][1:] == (40, 40)  # never enlarged
