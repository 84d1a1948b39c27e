"""Icon glyphs as masks: the shapes of things.

The fonts lie inside the package qtawesome; it is never imported, since importing it wants Qt. Each icon becomes
three masks of one size: `fill` (the glyph), `body` (the glyph with its narrow gaps closed, always one piece) and
`edge` (the body grown by the outline). Painting edge, body, fill in this order gives one connected region.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from promptforge.errors import ConfigError, EnvironmentFault

#: prefix of the lexicon -> font file, charmap file
FILES: Final[Mapping[str, tuple[str, str]]] = {
    "mdi6": ("materialdesignicons6-webfont-6.9.96.ttf", "materialdesignicons6-webfont-charmap-6.9.96.json"),
    "fa6s": ("fontawesome6-solid-webfont-6.7.2.ttf", "fontawesome6-solid-webfont-charmap-6.7.2.json"),
    "ph": ("phosphor-1.3.0.ttf", "phosphor-charmap-1.3.0.json"),
}
#: Gaps are closed on a mask this wide: filters of Pillow cost the square of their size.
_SMALL = 96
#: Kernel sizes tried at that width; the widest gap between the parts of a listed icon is 18 of 96.
_KERNELS = (5, 7, 9, 11, 13, 15, 17, 19, 21, 25)
#: Outline, in shares of the longer side.
_EDGE_SHARE = 0.022
#: About 50 MB of masks at 512 px.
_MAX_CACHED_PIXELS = 50_000_000


_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Icon:
    """Three masks (mode L) of the same size; `whole` says that the glyph itself was one piece."""

    edge: Image.Image
    body: Image.Image
    fill: Image.Image
    whole: bool

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.fill.size

    def scaled(self, width: int, height: int, flip: bool = False) -> Icon:
        """The same icon in another size, mirrored where asked."""

        def part(mask: Image.Image) -> Image.Image:
            resized = mask.resize((width, height), Image.Resampling.BILINEAR)
            return resized.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else resized

        return Icon(part(self.edge), part(self.body), part(self.fill), self.whole)


class IconBook:
    """Icons by name, e.g. "mdi6.dog-side", drawn once each at `side` pixels."""

    def __init__(self, side: int) -> None:
        self.side = side
        self._folder = font_folder()
        self._fonts: dict[str, tuple[ImageFont.FreeTypeFont, dict[str, str]]] = {}
        self._cached: OrderedDict[str, Icon] = OrderedDict()
        self._room = max(8, _MAX_CACHED_PIXELS // (3 * side * side))

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that decides how an icon looks."""
        return tuple(self._folder / name for pair in FILES.values() for name in pair)

    def check(self, names: Mapping[str, str]) -> None:
        """Raises ConfigError where a noun's icon (noun -> icon) does not exist."""
        for noun, name in names.items():
            prefix, _, glyph = name.partition(".")
            if prefix not in FILES or glyph not in self._font(prefix)[1]:
                raise ConfigError(
                    f"lexicon/nouns.toml: noun {noun!r} has icon {name!r}, which no font of {sorted(FILES)} has"
                )

    def get(self, name: str) -> Icon:
        """The icon of this name; the least recently used ones are forgotten."""
        if name not in self._cached:
            self._cached[name] = self._make(name)
            while len(self._cached) > self._room:
                self._cached.popitem(last=False)
        self._cached.move_to_end(name)
        return self._cached[name]

    def _font(self, prefix: str) -> tuple[ImageFont.FreeTypeFont, dict[str, str]]:
        if prefix not in self._fonts:
            ttf, charmap = (self._folder / name for name in FILES[prefix])
            font = ImageFont.truetype(ttf, self.side, layout_engine=ImageFont.Layout.BASIC)
            self._fonts[prefix] = font, json.loads(charmap.read_text(encoding="utf-8"))
        return self._fonts[prefix]

    def _make(self, name: str) -> Icon:
        prefix, _, glyph = name.partition(".")
        font, charmap = self._font(prefix)
        room = Image.new("L", (self.side * 2, self.side * 2))
        ImageDraw.Draw(room).text((self.side, self.side), chr(int(charmap[glyph], 16)), 255, font, anchor="mm")
        return from_mask(room)


def from_mask(mask: Image.Image) -> Icon:
    """An icon from any mask (mode L) that is not empty."""
    fill = mask.crop(mask.getbbox())
    reach = max(1.5, max(fill.size) * _EDGE_SHARE)
    margin = round(reach * 1.6) + 2
    padded = Image.new("L", (fill.width + 2 * margin, fill.height + 2 * margin))
    padded.paste(fill, (margin, margin))
    body, whole = _closed(padded)
    # A blurred step falls to 16% one sigma outside: cutting there grows the mask by `reach`, corners rounded.
    edge = body.filter(ImageFilter.GaussianBlur(reach)).point(_ramp(41, 12))
    return Icon(ImageChops.lighter(edge, body), body, padded, whole)


def font_folder() -> Path:
    """Where qtawesome keeps its fonts; raises EnvironmentFault where it is not installed."""
    spec = find_spec("qtawesome")
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise EnvironmentFault(
            "the package qtawesome, which holds the icon fonts, is missing; install promptforge again"
        )
    return Path(places[0]) / "fonts"


def _closed(mask: Image.Image) -> tuple[Image.Image, bool]:
    """The mask with gaps closed until it is one piece, and whether it was one piece before."""
    scale = _SMALL / max(mask.size)
    pad = max(_KERNELS)
    inner = (max(1, round(mask.width * scale)), max(1, round(mask.height * scale)))
    small = np.pad(np.asarray(mask.resize(inner, Image.Resampling.BILINEAR)) > 170, pad)
    whole = _pieces(small) <= 1
    closed = small
    for kernel in _KERNELS:
        joined = _pieces(closed) <= 1
        closed = ~_grown(~_grown(small, kernel), kernel)
        # One kernel more than joins the parts: bridges should not be hair-thin.
        if joined:
            break
    if not whole:
        closed = _bridged(small, closed)
    found = Image.fromarray(closed[pad:-pad, pad:-pad].astype(np.uint8) * 255)
    smooth = found.resize(mask.size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(0.6 / scale))
    return Image.fromarray(np.maximum(np.asarray(smooth.point(_ramp(128, 4))), np.asarray(mask))), whole


def _ramp(centre: int, steepness: int) -> list[int]:
    """A look-up table that is 0 below the centre and 255 above it, with a soft step for smooth edges."""
    return [min(255, max(0, 128 + (v - centre) * steepness)) for v in range(256)]


def _grown(mask: _Mask, kernel: int) -> _Mask:
    """Dilation by a square of this odd side, by running sums: 20 times faster than a rank filter."""
    reach = kernel // 2
    out = mask
    for axis in (0, 1):
        sums = np.cumsum(np.pad(out, [(reach + 1, reach) if k == axis else (0, 0) for k in (0, 1)]), axis=axis)
        high, low = (slice(kernel, None), slice(None, -kernel))
        out = np.asarray((sums[high] - sums[low] if axis == 0 else sums[:, high] - sums[:, low]) > 0)
    return out


def _bridged(mask: _Mask, closed: _Mask) -> _Mask:
    """The mask with only those filled gaps that join one piece to another; holes and bays stay open."""
    from skimage.measure import label

    pieces = label(_opened(mask), connectivity=2)
    gaps = label(closed & (pieces == 0), connectivity=1)
    # Every gap with the pieces that border it, one pixel away in the four directions.
    borders: set[tuple[int, int]] = set()
    for axis in (0, 1):
        for step in (-1, 1):
            beside = np.roll(pieces, step, axis)
            at = (gaps > 0) & (beside > 0)
            pairs = np.unique(gaps[at].astype(np.int64) * (int(pieces.max()) + 1) + beside[at])
            borders.update(divmod(int(pair), int(pieces.max()) + 1) for pair in pairs)
    counted = Counter(gap for gap, _ in borders)
    joining = sorted(gap for gap, n_pieces in counted.items() if n_pieces > 1)
    return np.asarray(mask | np.isin(gaps, joining), dtype=bool)


def _opened(mask: _Mask) -> _Mask:
    return _grown(~_grown(~mask, 3), 3)


def _pieces(mask: _Mask) -> int:
    """Connected pieces that stay when necks under 3% of the width are cut, crumbs left out."""
    from skimage.measure import label

    areas = np.bincount(label(_opened(mask), connectivity=2).ravel())[1:]
    return int((areas > 0.03 * areas.max()).sum()) if areas.size else 1
