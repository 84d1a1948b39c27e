"""Strings set in lines: broken at white space only, each string on lines of its own, as large as fits.

A cap height of 24 px in a picture of 512 is the smallest that is drawn; what does not fit at that size is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from promptforge.teachers.drawing.faces import MEASURE_PX, Face
from promptforge.teachers.drawing.paint import Box, Rgb, Sheet

MIN_CAP_AT_512 = 24
MAX_CAP_AT_512 = 92
#: Never below this many pixels, however small the picture.
MIN_CAP_PX = 16
_PITCH = 1.22
_GAP = 0.4
#: Kerning and hinting at the final size may widen a line by this much.
_SLACK = 1.03


@dataclass(frozen=True)
class Block:
    """Strings broken into lines for one font size."""

    face: Face
    font_px: int
    lines: tuple[tuple[str, ...], ...]

    @property
    def height(self) -> float:
        """Height in pixels, with the gaps between strings."""
        return block_height(self.lines, self.font_px)


def block_height(lines: Sequence[Sequence[str]], font_px: float) -> float:
    """Height of strings in lines at this size."""
    return (sum(len(part) for part in lines) * _PITCH + (len(lines) - 1) * _GAP) * font_px


def smallest_cap(px: int) -> int:
    """The smallest cap height in pixels for a picture of this side."""
    return max(MIN_CAP_PX, round(MIN_CAP_AT_512 * px / 512))


class Setter:
    """Tries sizes for given strings in one face; the width of each word is measured once."""

    def __init__(self, face: Face, strings: Sequence[str]) -> None:
        self._face = face
        self._words = [[(word, face.width(word) * _SLACK) for word in text.split()] for text in strings]
        self._space = face.width(" ") * _SLACK

    def largest(self, box: Box, px: int) -> Block | None:
        """The largest block that fits the box, between the smallest and the largest cap height; None: none fits."""
        low, high = smallest_cap(px), max(smallest_cap(px), round(MAX_CAP_AT_512 * px / 512))
        cap = high
        while cap >= low:
            block = self.at_cap(cap, box)
            if block is not None:
                return block
            cap = min(cap - 1, int(cap * 0.93)) if cap > low else 0
            cap = low if 0 < cap < low else cap
        return None

    def at_cap(self, cap: float, box: Box) -> Block | None:
        """The block at this cap height in pixels, or None where it does not fit."""
        font_px = round(cap / self._face.cap_share)
        lines = []
        room = (box[2] - box[0]) * MEASURE_PX / font_px
        for words in self._words:
            broken = self._broken(words, room)
            if broken is None:
                return None
            lines.append(tuple(broken))
        block = Block(self._face, font_px, tuple(lines))
        return block if block.height <= box[3] - box[1] else None

    def _broken(self, words: Sequence[tuple[str, float]], room: float) -> list[str] | None:
        lines: list[list[str]] = []
        at = room
        for word, width in words:
            if width > room:
                return None
            if not lines or at + self._space + width > room:
                lines.append([word])
                at = width
            else:
                lines[-1].append(word)
                at += self._space + width
        return [" ".join(line) for line in lines]


def write(sheet: Sheet, block: Block, box: Box, ink: Rgb) -> Box:
    """Draws the block centred in the box and returns the box of its lines."""
    font = block.face.at(block.font_px)
    pitch = _PITCH * block.font_px
    top = (box[1] + box[3] - block.height) / 2
    centre = round((box[0] + box[2]) / 2)
    y = top + pitch / 2 + block.face.cap_share * block.font_px / 2
    widest = 0.0
    for part in block.lines:
        for line in part:
            sheet.draw.text((centre, round(y)), line, ink, font, anchor="ms")
            widest = max(widest, font.getlength(line))
            y += pitch
        y += _GAP * block.font_px
    return (centre - widest / 2, top, centre + widest / 2, top + block.height)
