"""A picture from a plan: ground, things in their places, text on its carrier.

The plan says exactly what to draw, mistakes included; nothing here knows the prompt or what was wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from promptforge.records import Relation
from promptforge.teachers.drawing import carriers, grounds, layout, lettering, things
from promptforge.teachers.drawing.carriers import Carrier
from promptforge.teachers.drawing.faces import Face
from promptforge.teachers.drawing.icons import IconBook
from promptforge.teachers.drawing.lettering import Block
from promptforge.teachers.drawing.paint import OUTLINE, Box, Rgb, Sheet

#: Shares of the height that the carrier may take above or below things; the first that fits well is taken.
_CARRIER_SHARES = (0.46, 0.54, 0.62, 0.68)
_MARGIN = 0.035
#: Smaller kinds of thing shrink by this for each step of the lexicon's size, down to the floor.
_SIZE_STEP, _SIZE_FLOOR = 0.07, 0.66
_TURNABLE = frozenset({"animal", "vehicle", "person", "clothing", "tool", "instrument"})
#: Carriers that look wrong when stretched: width at most this times the height.
_WIDEST = {"mug": 1.25, "shirt": 1.2, "book": 1.3, "paper": 1.5, "box": 1.7, "cake": 1.4, "bag": 0.95}

_MARKS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("sing", "music", "danc", "play"), "mdi6.music-note"),
    (("sleep", "rest", "nap", "dream", "meditat"), "fa6s.moon"),
    (("talk", "shout", "whisper", "speak", "cheer"), "mdi6.message"),
    (("read", "stud"), "fa6s.book-open"),
    (("eat", "drink", "feed", "cook", "lunch", "chew", "meal", "picnic"), "fa6s.utensils"),
    (("look", "photo", "watch", "admir", "sketch", "inspect"), "fa6s.eye"),
    (("laugh", "smil", "hug", "clap", "wav"), "mdi6.emoticon-happy"),
    (("fly", "jump", "climb", "tak"), "fa6s.arrow-up"),
    (("hold", "carry", "push", "pull", "open", "throw", "catch"), "mdi6.hand-back-right"),
    (("run", "walk", "rid", "chas", "swim", "crawl", "kick", "driv", "skat", "race"), "fa6s.wind"),
)


@dataclass(frozen=True)
class Item:
    """One kind of thing as it is drawn."""

    noun: str
    kind: str
    icon: str
    size: int
    count: int
    rgb: Rgb
    shape: str | None = None
    texture: str | None = None
    action: str | None = None


@dataclass(frozen=True)
class Text:
    """Strings as they are drawn, the carrier asked for and its own colour where the prompt gives one."""

    strings: tuple[str, ...]
    face: Face
    carrier: Carrier
    own: Rgb | None = None


@dataclass(frozen=True)
class Plan:
    """Everything that is drawn; `reserved` are colours that only things may show."""

    items: tuple[Item, ...]
    relations: tuple[Relation, ...]
    text: Text | None
    setting: str | None
    light: str | None
    reserved: tuple[Rgb, ...]


@dataclass(frozen=True)
class Drawn:
    """The picture, boxes of every copy in the order of painting, and how the text was set."""

    image: Image.Image
    boxes: tuple[tuple[str, Box], ...]
    block: Block | None = None
    carrier: str | None = None
    text_box: Box | None = None


@dataclass(frozen=True)
class _Setting:
    block: Block
    carrier: Carrier
    area: Box
    rest: Box | None


def draw(plan: Plan, px: int, icons: IconBook, rng: np.random.Generator, noise: grounds.Grain) -> Drawn | str:
    """The picture, or why it cannot be drawn: its text does not fit."""
    whole = (_MARGIN * px, _MARGIN * px, (1 - _MARGIN) * px, (1 - _MARGIN) * px)
    setting = _set(plan, px, rng) if plan.text else None
    if plan.text and setting is None:
        characters = sum(len(text) for text in plan.text.strings)
        return (
            f"text of {characters} characters does not fit at a cap height of {lettering.smallest_cap(px)} px"
            f" in a picture of {px} px"
        )
    alone = not plan.items and plan.text is None
    scenery = grounds.Scenery(grounds.tone(plan.light, plan.reserved, rng), plan.setting, alone)
    image = grounds.ground(px, scenery, rng, noise)
    sheet = Sheet(image, ImageDraw.Draw(image), px, rng)
    area = whole if setting is None else setting.rest
    boxes = _things(plan, sheet, area, icons) if area else []
    if plan.text is None or setting is None:
        return Drawn(image, tuple(boxes))
    fill, ink = carriers.tones(setting.carrier, plan.text.own, plan.reserved, float(rng.random()))
    setting.carrier.paint(sheet, setting.area, fill)
    box = lettering.write(sheet, setting.block, carriers.text_box(setting.carrier, setting.area), ink)
    return Drawn(image, tuple(boxes), setting.block, setting.carrier.name, box)


def _set(plan: Plan, px: int, rng: np.random.Generator) -> _Setting | None:
    """Chooses the carrier's area and sets the text in it; a plain sign where the carrier asked for is too small."""
    text = plan.text
    assert text is not None
    setter = lettering.Setter(text.face, text.strings)
    at_top, scale = bool(rng.integers(2)), float(rng.uniform(0.78, 1.0))
    shares: tuple[float, ...] = _CARRIER_SHARES if plan.items else (1.0,)
    best: _Setting | None = None
    for carrier in dict.fromkeys((text.carrier, carriers.SIGN)):
        for share in shares:
            area, rest = _split(share, px, at_top) if plan.items else (_inset(px), None)
            area = _narrowed(area, carrier.name)
            box = carriers.text_box(carrier, area)
            block = setter.largest(box, px)
            if block is None:
                continue
            roomy = setter.at_cap(block.face.cap_share * block.font_px * scale, box)
            comfortable = block.face.cap_share * block.font_px >= 1.3 * lettering.smallest_cap(px)
            used = roomy if roomy is not None and comfortable else block
            best = _Setting(used, carrier, area, rest)
            if comfortable:
                return best
        if best is not None:
            return best
    return None


def _inset(px: int) -> Box:
    return (0.06 * px, 0.1 * px, 0.94 * px, 0.9 * px)


def _split(share: float, px: int, at_top: bool) -> tuple[Box, Box]:
    edge, gap = _MARGIN * px, 0.02 * px
    if at_top:
        cut = share * px
        return (edge, edge, px - edge, cut - gap), (edge, cut + gap, px - edge, px - edge)
    cut = (1 - share) * px
    return (edge, cut + gap, px - edge, px - edge), (edge, edge, px - edge, cut - gap)


def _narrowed(area: Box, name: str) -> Box:
    widest = _WIDEST.get(name)
    width, height = area[2] - area[0], area[3] - area[1]
    if widest is None or width <= widest * height:
        return area
    centre, half = (area[0] + area[2]) / 2, widest * height / 2
    return (centre - half, area[1], centre + half, area[3])


def _things(plan: Plan, sheet: Sheet, area: Box, icons: IconBook) -> list[tuple[str, Box]]:
    counts = [item.count for item in plan.items]
    cells, pairs = layout.place(counts, plan.relations, area, sheet.rng)
    fronts = {pair.front for pair in pairs}
    largest = max((item.size for item in plan.items), default=1)
    boxes: list[tuple[str, Box]] = []
    for i in sorted(range(len(plan.items)), key=lambda i: (i in fronts, i)):
        item = plan.items[i]
        near = any(i in (pair.front, pair.back) for pair in pairs)
        factor = 1.0 if near else max(_SIZE_FLOOR, 1 - _SIZE_STEP * (largest - item.size))
        boxes += [(item.noun, box) for box in _copies(item, cells[i], factor, sheet, icons)]
    return boxes


def _copies(item: Item, cell: Box, factor: float, sheet: Sheet, icons: IconBook) -> Sequence[Box]:
    """Paints every copy of one kind; slots keep copies apart by at least a tenth of their size."""
    icon = icons.get(item.icon)
    flip = item.kind in _TURNABLE and bool(sheet.rng.integers(2))
    look = things.Look(icon, item.rgb, item.shape, item.texture, flip)
    slots = layout.slots(cell, item.count, 1.0 if item.shape else icon.size[0] / icon.size[1])
    width, height = slots[0][2] - slots[0][0], slots[0][3] - slots[0][1]
    mark = _mark_of(item.action)
    share = (0.76 if mark else 0.86) * factor
    size = things.fitted(look, width * share, height * share)
    drawn = things.layers(look, size)
    found = []
    for slot in slots:
        spare_x, spare_y = (width - size[0]) / 2, (height - size[1]) / 2
        shift_x, shift_y = (float(v) for v in sheet.rng.uniform(-0.35, 0.35, 2))
        reach = 0.06 * min(width, height)
        left = slot[0] + spare_x + max(-reach, min(reach, shift_x * spare_x))
        top = slot[1] + spare_y + max(-reach, min(reach, shift_y * spare_y))
        found.append(things.paint(sheet, drawn, round(left), round(top)))
        if mark:
            side = max(6, int(0.2 * min(width, height)))
            _paint_mark(sheet, icons.get(mark).scaled(side, side).fill, found[-1], slot)
    return found


def _mark_of(action: str | None) -> str | None:
    words = (action or "").lower()
    return next((icon for stems, icon in _MARKS if any(stem in words for stem in stems)), None) if words else None


def _paint_mark(sheet: Sheet, mask: Image.Image, box: Box, slot: Box) -> None:
    """Beside the thing's upper right corner, inside its slot."""
    left = round(min(slot[2] - mask.width - 1, box[2] - 0.1 * mask.width))
    top = round(max(slot[1] + 1, box[1] - 0.3 * mask.height))
    sheet.image.paste(OUTLINE, (left, top, left + mask.width, top + mask.height), mask)
