"""What bears the text: a sign unless the prompt names something else.

Each carrier is a function that draws itself into an area, and a share of the area that its text may fill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from promptforge.teachers.drawing.paint import OUTLINE, Box, Rgb, Sheet, luma, nearest

_Paint = Callable[[Sheet, Box, Rgb], None]


@dataclass(frozen=True)
class Carrier:
    """`text` is where words may stand, in shares of the area; `dark` carriers have light ink."""

    name: str
    paint: _Paint
    text: Box
    tones: str = "any"


def _px(area: Box, share: Box) -> Box:
    w, h = area[2] - area[0], area[3] - area[1]
    return (area[0] + share[0] * w, area[1] + share[1] * h, area[0] + share[2] * w, area[1] + share[3] * h)


def text_box(carrier: Carrier, area: Box) -> Box:
    """Where the text may stand, in pixels."""
    return _px(area, carrier.text)


def _panel(sheet: Sheet, box: Box, fill: Rgb, round_share: float = 0.0) -> None:
    radius = round(round_share * min(box[2] - box[0], box[3] - box[1]))
    sheet.draw.rounded_rectangle(box, radius, fill, OUTLINE, sheet.length(0.006))


def _sign(sheet: Sheet, area: Box, fill: Rgb) -> None:
    _panel(sheet, _px(area, (0.47, 0.8, 0.53, 1.0)), (150, 140, 132))
    board = _px(area, (0, 0, 1, 0.86))
    _panel(sheet, board, fill, 0.08)
    inset = sheet.length(0.014)
    inner = (board[0] + inset, board[1] + inset, board[2] - inset, board[3] - inset)
    sheet.draw.rounded_rectangle(inner, 0.06 * (board[3] - board[1]), None, OUTLINE, sheet.length(0.003))


def _banner(sheet: Sheet, area: Box, fill: Rgb) -> None:
    for side in (0, 1):
        tail = [(abs(side - x), y) for x, y in ((0.0, 0.3), (0.12, 0.3), (0.12, 1.0), (0.0, 1.0), (0.05, 0.65))]
        points = [_px(area, (x, y, x, y))[:2] for x, y in tail]
        sheet.draw.polygon(points, fill, OUTLINE, sheet.length(0.006))
    _panel(sheet, _px(area, (0.06, 0.08, 0.94, 0.9)), fill)


def _board(sheet: Sheet, area: Box, fill: Rgb) -> None:
    _panel(sheet, area, (168, 154, 140), 0.03)
    _panel(sheet, _px(area, (0.035, 0.05, 0.965, 0.95)), fill)
    _panel(sheet, _px(area, (0.42, 0.95, 0.58, 0.985)), (236, 236, 232))


def _paper(sheet: Sheet, area: Box, fill: Rgb) -> None:
    box = _px(area, (0.03, 0.03, 0.97, 1.0))
    shadow = sheet.length(0.012)
    moved = (box[0] + shadow, box[1] + shadow, box[2] + shadow, box[3] + shadow)
    sheet.draw.rectangle(moved, (158, 158, 162))
    _panel(sheet, box, fill)
    x, y = (box[0] + box[2]) / 2, box[1] + sheet.length(0.004)
    r = sheet.length(0.016)
    sheet.draw.ellipse((x - r, y - r, x + r, y + r), (150, 96, 96), OUTLINE, sheet.length(0.004))


def _mug(sheet: Sheet, area: Box, fill: Rgb) -> None:
    wide = sheet.length(0.035)
    handle = _px(area, (0.72, 0.2, 1.0, 0.78))
    sheet.draw.ellipse(handle, None, OUTLINE, wide + 2 * sheet.length(0.006))
    step = sheet.length(0.006)
    inner = (handle[0] + step, handle[1] + step, handle[2] - step, handle[3] - step)
    sheet.draw.ellipse(inner, None, fill, wide)
    _panel(sheet, _px(area, (0.0, 0.04, 0.84, 1.0)), fill, 0.1)
    sheet.draw.ellipse(_px(area, (0.01, 0.0, 0.83, 0.1)), (206, 206, 208), OUTLINE, sheet.length(0.006))


def _shirt(sheet: Sheet, area: Box, fill: Rgb) -> None:
    half = ((0.38, 0.0), (0.2, 0.05), (0.0, 0.28), (0.12, 0.42), (0.19, 0.36), (0.19, 1.0))
    outline = [*half, *((1 - x, y) for x, y in reversed(half))]
    points = [_px(area, (x, y, x, y))[:2] for x, y in outline]
    sheet.draw.polygon(points, fill, OUTLINE, sheet.length(0.006))
    sheet.draw.chord(_px(area, (0.38, -0.09, 0.62, 0.09)), 0, 180, (196, 196, 200), OUTLINE, sheet.length(0.006))


def _book(sheet: Sheet, area: Box, fill: Rgb) -> None:
    _panel(sheet, _px(area, (0.02, 0.03, 1.0, 1.0)), (238, 236, 228), 0.03)
    _panel(sheet, _px(area, (0.0, 0.0, 0.97, 0.97)), fill, 0.03)
    line = _px(area, (0.07, 0.0, 0.07, 0.97))
    sheet.draw.line(line, OUTLINE, sheet.length(0.006))


def _screen(sheet: Sheet, area: Box, fill: Rgb) -> None:
    _panel(sheet, _px(area, (0.4, 0.86, 0.6, 0.97)), (120, 122, 128))
    _panel(sheet, _px(area, (0.26, 0.95, 0.74, 1.0)), (120, 122, 128), 0.4)
    _panel(sheet, _px(area, (0.0, 0.0, 1.0, 0.88)), (98, 100, 106), 0.05)
    _panel(sheet, _px(area, (0.025, 0.035, 0.975, 0.845)), fill)


def _billboard(sheet: Sheet, area: Box, fill: Rgb) -> None:
    for x in (0.2, 0.76):
        _panel(sheet, _px(area, (x, 0.8, x + 0.04, 1.0)), (150, 152, 156))
    _panel(sheet, _px(area, (0.0, 0.0, 1.0, 0.86)), (166, 168, 172))
    _panel(sheet, _px(area, (0.02, 0.035, 0.98, 0.825)), fill)


def _box(sheet: Sheet, area: Box, fill: Rgb) -> None:
    lid = [_px(area, (x, y, x, y))[:2] for x, y in ((0.0, 0.16), (0.1, 0.0), (0.9, 0.0), (1.0, 0.16))]
    sheet.draw.polygon(lid, fill, OUTLINE, sheet.length(0.006))
    _panel(sheet, _px(area, (0.0, 0.16, 1.0, 1.0)), fill)


def _flag(sheet: Sheet, area: Box, fill: Rgb) -> None:
    _panel(sheet, _px(area, (0.0, 0.0, 0.03, 1.0)), (150, 140, 132), 0.5)
    _panel(sheet, _px(area, (0.03, 0.03, 1.0, 0.84)), fill)


def _shop(sheet: Sheet, area: Box, fill: Rgb) -> None:
    _panel(sheet, _px(area, (0.02, 0.0, 0.98, 0.74)), fill)
    n = 12
    for i in range(n):
        stripe = (230, 230, 230) if i % 2 else (160, 150, 150)
        part = _px(area, (i / n, 0.74, (i + 1) / n, 0.98))
        sheet.draw.rounded_rectangle(part, 0.3 * (part[2] - part[0]), stripe, OUTLINE, sheet.length(0.003))


def _wall(sheet: Sheet, area: Box, fill: Rgb) -> None:
    _panel(sheet, area, fill)
    # Joints a little off the panel's colour: seen as brick, too faint to be read as strokes.
    joint = (max(0, fill[0] - 14), max(0, fill[1] - 14), max(0, fill[2] - 14))
    rows = 9
    for row in range(1, rows):
        y = area[1] + (area[3] - area[1]) * row / rows
        sheet.draw.line((area[0] + 3, y, area[2] - 3, y), joint, sheet.length(0.004))


def _round(sheet: Sheet, area: Box, fill: Rgb) -> None:
    _panel(sheet, area, fill, 0.34)


_CARRIERS: Final[tuple[tuple[tuple[str, ...], Carrier], ...]] = (
    (("billboard",), Carrier("billboard", _billboard, (0.05, 0.08, 0.95, 0.79))),
    (("whiteboard",), Carrier("whiteboard", _board, (0.07, 0.1, 0.93, 0.92), "light")),
    (("chalkboard", "blackboard"), Carrier("chalkboard", _board, (0.07, 0.1, 0.93, 0.92), "dark")),
    (("board", "plaque", "plate", "panel", "door"), Carrier("board", _board, (0.07, 0.1, 0.93, 0.92))),
    (("banner", "ribbon", "scarf", "sash"), Carrier("banner", _banner, (0.1, 0.14, 0.9, 0.84))),
    (("neon",), Carrier("neon", _round, (0.1, 0.1, 0.9, 0.9), "dark")),
    (
        ("poster", "paper", "note", "letter", "card", "flyer", "page", "newspaper", "menu", "ticket", "scroll"),
        Carrier("paper", _paper, (0.08, 0.1, 0.92, 0.95), "light"),
    ),
    (("mug", "cup", "teacup"), Carrier("mug", _mug, (0.05, 0.14, 0.79, 0.94))),
    (("shirt", "tshirt", "hoodie", "sweater", "jersey", "apron"), Carrier("shirt", _shirt, (0.22, 0.14, 0.78, 0.94))),
    (("book", "notebook", "magazine", "album"), Carrier("book", _book, (0.11, 0.06, 0.93, 0.92))),
    (
        ("screen", "monitor", "laptop", "television", "tv", "phone", "tablet", "computer", "display"),
        Carrier("screen", _screen, (0.06, 0.07, 0.94, 0.81)),
    ),
    (("box", "package", "crate", "carton", "suitcase"), Carrier("box", _box, (0.05, 0.21, 0.95, 0.95))),
    (("flag", "pennant"), Carrier("flag", _flag, (0.07, 0.07, 0.96, 0.8))),
    (("shop", "store", "storefront", "window", "awning"), Carrier("shop", _shop, (0.06, 0.04, 0.94, 0.7))),
    (("wall", "graffiti", "mural"), Carrier("wall", _wall, (0.06, 0.06, 0.94, 0.94))),
    (
        ("balloon", "cake", "bottle", "jar", "label", "sticker", "badge", "button", "bag", "tag", "can", "cushion"),
        Carrier("label", _round, (0.1, 0.1, 0.9, 0.9)),
    ),
)
SIGN: Final = Carrier("sign", _sign, (0.06, 0.07, 0.94, 0.79))

_LIGHT: Final[tuple[tuple[Rgb, Rgb], ...]] = (
    ((247, 245, 239), (30, 30, 36)),
    ((247, 245, 239), (24, 40, 100)),
    ((252, 240, 206), (60, 36, 20)),
    ((224, 238, 248), (18, 50, 74)),
    ((228, 242, 226), (16, 66, 40)),
    ((248, 232, 236), (100, 16, 44)),
)
_DARK: Final[tuple[tuple[Rgb, Rgb], ...]] = (
    ((38, 42, 50), (246, 246, 240)),
    ((26, 70, 58), (246, 246, 236)),
    ((98, 24, 36), (250, 244, 232)),
    ((26, 46, 100), (248, 248, 248)),
    ((70, 48, 92), (248, 244, 250)),
)


def carrier_of(word: str | None) -> Carrier:
    """The carrier for a word such as "t-shirt"; a sign for any other."""
    lowered = (word or "").lower().replace("-", "")
    parts = lowered.split()
    for names, carrier in _CARRIERS:
        if any(name in parts or lowered.endswith(name) for name in names):
            return carrier
    return SIGN


def tones(carrier: Carrier, own: Rgb | None, used: Iterable[Rgb], pick: float) -> tuple[Rgb, Rgb]:
    """Colour of the carrier and of its ink: its own colour where the prompt gives one, else far from those used."""
    if own is not None:
        return own, ((28, 28, 32) if luma(own) > 120 else (250, 250, 246))
    offers = {"light": _LIGHT, "dark": _DARK}.get(carrier.tones, _LIGHT + _DARK)
    taken = list(used)
    free = [pair for pair in offers if min(nearest(pair[0], taken), nearest(pair[1], taken)) >= 60]
    if not free:
        return max(offers, key=lambda pair: min(nearest(pair[0], taken), nearest(pair[1], taken)))
    return free[int(pick * len(free))]
