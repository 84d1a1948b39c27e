"""The typefaces: open fonts that come as packages, found by path, never the machine's own.

Which characters a font has is asked of the font itself: a character whose glyph is the font's missing-glyph box
is lacking. Shaping scripts (Arabic, Devanagari) are in none of these fonts and so are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from PIL import ImageFont

from promptforge.errors import EnvironmentFault

#: name -> package, file under its folder files/
FACES: Final[Mapping[str, tuple[str, str]]] = {
    "roboto": ("font_roboto", "Roboto-Regular.ttf"),
    "roboto-medium": ("font_roboto", "Roboto-Medium.ttf"),
    "roboto-bold": ("font_roboto", "Roboto-Bold.ttf"),
    "roboto-black": ("font_roboto", "Roboto-Black.ttf"),
    "source-sans": ("font_source_sans_pro", "SourceSansPro-Regular.ttf"),
    "source-sans-semibold": ("font_source_sans_pro", "SourceSansPro-Semibold.ttf"),
    "source-sans-bold": ("font_source_sans_pro", "SourceSansPro-Bold.ttf"),
    "source-sans-black": ("font_source_sans_pro", "SourceSansPro-Black.ttf"),
    "source-serif": ("font_source_serif_pro", "SourceSerifPro-Regular.ttf"),
    "source-serif-semibold": ("font_source_serif_pro", "SourceSerifPro-Semibold.ttf"),
    "source-serif-bold": ("font_source_serif_pro", "SourceSerifPro-Bold.ttf"),
    "caladea": ("font_caladea", "Caladea-Regular.ttf"),
    "caladea-bold": ("font_caladea", "Caladea-Bold.ttf"),
    "fredoka": ("font_fredoka_one", "FredokaOne-Regular.ttf"),
}
#: Widths and cap heights are measured once at this size; hinting changes them by under 2% from 20 px up.
MEASURE_PX = 100
#: A noncharacter: every font shows its missing-glyph box for it.
_NOWHERE = "\uffff"
_PROBE_PX = 24


class Face:
    """One font file at any size."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = _path(name)
        self._sizes: dict[int, ImageFont.FreeTypeFont] = {}
        self._known: dict[str, bool] = {}
        self._missing = self._glyph(_NOWHERE)
        box = self.at(MEASURE_PX).getbbox("H", anchor="ls")
        self.cap_share = -float(box[1]) / MEASURE_PX

    def at(self, px: int) -> ImageFont.FreeTypeFont:
        """The font at `px` pixels to the em; basic layout, which does not depend on a shaping library."""
        if px not in self._sizes:
            if len(self._sizes) > 128:
                self._sizes.clear()
            self._sizes[px] = ImageFont.truetype(self.path, px, layout_engine=ImageFont.Layout.BASIC)
        return self._sizes[px]

    def lacks(self, characters: Iterable[str]) -> list[str]:
        """The characters that the font has no glyph for, in order."""
        return [c for c in characters if not self._has(c)]

    def width(self, text: str) -> float:
        """Advance width at MEASURE_PX."""
        return float(self.at(MEASURE_PX).getlength(text))

    def _has(self, character: str) -> bool:
        if character not in self._known:
            if len(self._known) > 20_000:
                self._known.clear()
            self._known[character] = self._glyph(character) != self._missing
        return self._known[character]

    def _glyph(self, character: str) -> tuple[float, tuple[int, int], bytes]:
        font = self.at(_PROBE_PX)
        mask = font.getmask(character, mode="L")
        return float(font.getlength(character)), mask.size, bytes(mask)


class FaceBook:
    """The faces that may be used, in the order of FACES."""

    def __init__(self, names: Sequence[str]) -> None:
        self.faces = [Face(name) for name in FACES if name in names]

    @property
    def files(self) -> tuple[Path, ...]:
        """Their font files."""
        return tuple(face.path for face in self.faces)

    def choose(self, strings: Sequence[str], first: int) -> tuple[Face | None, str]:
        """The first face from number `first` on, in a circle, that has every character; else None and why not."""
        wanted = list(dict.fromkeys(c for text in strings for c in text if not c.isspace()))
        turned = self.faces[first:] + self.faces[:first]
        lacking: list[list[str]] = []
        for face in turned:
            missing = face.lacks(wanted)
            if not missing:
                return face, ""
            lacking.append(missing)
        everywhere = [c for c in wanted if all(c in missing for missing in lacking)]
        shown = ", ".join(f"U+{ord(c):04X}" for c in (everywhere or min(lacking, key=len))[:5])
        return None, f"no font has {shown}" if everywhere else f"no one font has all characters; the best lacks {shown}"


def _path(name: str) -> Path:
    package, file = FACES[name]
    spec = find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec else []
    path = Path(places[0]) / "files" / file if places else None
    if path is None or not path.is_file():
        raise EnvironmentFault(f"the font {file} of the package {package} is missing; install promptforge again")
    return path
