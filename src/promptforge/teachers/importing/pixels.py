"""Pixels of an encoded picture that a stranger may have made.

Four decoders alone are allowed: PNG, JPEG, WebP, BMP. Others of Pillow's start programs (EPS) or have a long history
of holes (TIFF). The size is read from the header and bounded before anything is decoded, so a small file that unpacks
to gigabytes costs nothing. A picture is turned as its EXIF orientation says, and transparency is laid on white: what a
person sees is what is scored. Grey, palette and CMYK become RGB as Pillow does it, of an animation the first frame is
taken, colours of 16 bits are cut to 8: each is noted. Grey of 16 bits is refused, since its range is not known.

Not covered: colour profiles (values are taken as they are).
"""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from promptforge.protocols import Pixels

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})  # 8 bits a channel or fewer


class Unreadable(Exception):
    """Why there are no pixels; the message goes into the error column."""


def refuse_bombs() -> None:
    """Let Pillow refuse what it only warns of: more than 89 million pixels by the header. For the whole process."""
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def decode(data: bytes, max_pixels: int) -> tuple[Pixels, dict[str, str]]:
    """RGB pixels, height x width x 3, and what had to be done to get them. Raises Unreadable."""
    try:
        return _decode(data, max_pixels)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise Unreadable(f"too many pixels: {exc}") from exc
    except UnidentifiedImageError as exc:
        raise Unreadable(f"not a picture of the kinds {', '.join(FORMATS)}") from exc
    except Unreadable:
        raise
    except Exception as exc:  # decoders raise nearly anything for a damaged file
        raise Unreadable(f"damaged: {type(exc).__name__}: {exc}") from exc


def _decode(data: bytes, max_pixels: int) -> tuple[Pixels, dict[str, str]]:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise Unreadable(f"{width} x {height} px, at most {max_pixels:,} pixels are read")
        if image.mode not in _MODES:
            raise Unreadable(f"mode {image.mode}, expected 8 bits a channel; convert it")
        done = {}
        if any("16" in str(tile[3]) for tile in image.tile):  # Pillow's name of what is stored, e.g. RGB;16B
            done["cut"] = "16 bits a channel to 8"
        if (n_frames := getattr(image, "n_frames", 1)) > 1:
            done["still"] = f"the first of {n_frames} frames"
        image.load()
        pixels, more = _as_seen(image)
        return pixels, done | more


def _as_seen(image: Image.Image) -> tuple[Pixels, dict[str, str]]:
    done = {}
    if image.mode not in ("RGB", "RGBA"):
        done["converted"] = f"from mode {image.mode}"
    if image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9):
        done["turned"] = "as its EXIF orientation says"
        image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            done["flattened"] = "transparency laid on white"
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB")), done
