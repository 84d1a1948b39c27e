"""Numbers, dates, times, prices and codes to be drawn, in the forms that signs have.

Every date is one of the calendar's, with its own weekday. Telephone numbers are among those kept for fiction
(555-0100 to 555-0199), prices and codes are drawn at random and belong to nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Final

from promptforge.sources.writing.draw import Draw

Figure = Callable[[Draw], str]

#: The years that dates are drawn from, the last one excluded.
FIRST_YEAR, LAST_YEAR = 1950, 2050
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_TENS: Final = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ONES: Final = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_ROMAN: Final = (
    (1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"),
    (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"),
)  # fmt: skip
#: Letters and digits of codes; none that is drawn like another (I 1, O 0, ...).
_CODE_LETTERS, _CODE_DIGITS = "ABCDEFGHJKLMNPRTUVWXY", "23456789"


def roman(value: int) -> str:
    """A Roman numeral, 1 to 3999."""
    text = ""
    for worth, letters in _ROMAN:
        times, value = divmod(value, worth)
        text += letters * times
    return text


def ordinal(value: int) -> str:
    """1st, 2nd, 3rd, 11th."""
    ending = "th" if value % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
    return f"{value}{ending}"


def _between(draw: Draw, low: int, high: int) -> int:
    """An integer from low to high, both included."""
    return low + draw.below(high - low + 1)


def _large(draw: Draw) -> int:
    return _between(draw, 1, 9) * draw.pick((1_000, 10_000, 100_000, 1_000_000)) + draw.below(1000)


def _spelled(draw: Draw) -> str:
    return f"{draw.pick(_TENS)}-{draw.pick(_ONES)}"


def _sum(draw: Draw) -> str:
    one, other = _between(draw, 2, 99), _between(draw, 2, 99)
    return f"{one} + {other} = {one + other}"


def _rooms(draw: Draw) -> str:
    low = _between(draw, 100, 900)
    return f"rooms {low}-{low + _between(draw, 2, 40)}"


NUMBERS: Final[Mapping[str, Figure]] = {
    "figure": lambda d: str(_between(d, 10, 9999)),
    "grouped": lambda d: f"{_large(d):,}",
    "decimal": lambda d: f"{d.below(100)}.{_between(d, 1, 99):02d}",
    "ordinal": lambda d: f"{ordinal(_between(d, 1, 120))} {d.pick(('place', 'floor', 'lap', 'edition', 'street'))}",
    "share": lambda d: f"{_between(d, 1, 99)}%",
    "share_of": lambda d: f"{_between(d, 1, 99)}.{_between(d, 1, 9)}% {d.pick(('fat', 'full', 'off', 'proof'))}",
    "numbered": lambda d: f"No. {_between(d, 2, 999)}",
    "hash": lambda d: f"#{_between(d, 2, 9999)}",
    "roman": lambda d: f"{d.pick(('Chapter', 'Act', 'Part', 'Volume', 'Book'))} {roman(_between(d, 2, 39))}",
    "roman_year": lambda d: roman(_between(d, 1700, 2040)),
    "spelled": _spelled,
    "spelled_of": lambda d: f"{_spelled(d)} {d.pick(('years', 'miles', 'steps', 'days', 'seats'))}",
    "heat": lambda d: f"{_between(d, 2, 39)}°C",
    "length": lambda d: f"{_between(d, 2, 99)} {d.pick(('km', 'cm', 'mm', 'kg', 'miles', 'feet', 'mph', 'km/h'))}",
    "volume": lambda d: f"{_between(d, 1, 9)}.{_between(d, 1, 9)} {d.pick(('litres', 'kg', 'km', 'tons'))}",
    "score": lambda d: f"{d.below(10)} - {d.below(10)}",
    "ratio": lambda d: f"{_between(d, 2, 9)}:{_between(d, 2, 9)}",
    "sum": _sum,
    "size": lambda d: f"size {_between(d, 32, 52)}",
    "limit": lambda d: f"max {_between(d, 2, 80)} {d.pick(('persons', 'kg', 'tons', 'cars'))}",
    "range": _rooms,
    "great": lambda d: f"{_between(d, 2, 99)} {d.pick(('million', 'billion', 'thousand'))}",
}


def _date(draw: Draw) -> date:
    first, last = date(FIRST_YEAR, 1, 1).toordinal(), date(LAST_YEAR, 1, 1).toordinal()
    return date.fromordinal(first + draw.below(last - first))


def _dated(write: Callable[[date], str]) -> Figure:
    return lambda draw: write(_date(draw))


def _month(day: date) -> str:
    return _MONTHS[day.month - 1]


def _weekday(day: date) -> str:
    return _DAYS[day.weekday()]


def _days(draw: Draw) -> str:
    first = draw.below(5)
    return f"{_DAYS[first][:3]} - {_DAYS[first + 1 + draw.below(6 - first)][:3]}"


DATES: Final[Mapping[str, Figure]] = {
    "iso": _dated(date.isoformat),
    "british": _dated(lambda d: f"{d.day:02d}/{d.month:02d}/{d.year}"),
    "american": _dated(lambda d: f"{d.month}/{d.day}/{d.year}"),
    "dotted": _dated(lambda d: f"{d.day:02d}.{d.month:02d}.{d.year}"),
    "short_dotted": _dated(lambda d: f"{d.day}.{d.month}.{d.year % 100:02d}"),
    "day_month_year": _dated(lambda d: f"{d.day} {_month(d)} {d.year}"),
    "month_day_year": _dated(lambda d: f"{_month(d)} {d.day}, {d.year}"),
    "month_day": _dated(lambda d: f"{_month(d)} {d.day}"),
    "day_month": _dated(lambda d: f"{d.day} {_month(d)[:3]}"),
    "ordinal_day": _dated(lambda d: f"{ordinal(d.day)} {_month(d)} {d.year}"),
    "ordinal_of": _dated(lambda d: f"the {ordinal(d.day)} of {_month(d)}"),
    "weekday": _dated(lambda d: f"{_weekday(d)}, {_month(d)} {d.day}"),
    "short_weekday": _dated(lambda d: f"{_weekday(d)[:3]} {d.day} {_month(d)[:3]} {d.year}"),
    "month_year": _dated(lambda d: f"{_month(d)} {d.year}"),
    "since": _dated(lambda d: f"Est. {d.year}"),
    "quarter": _dated(lambda d: f"Q{(d.month + 2) // 3} {d.year}"),
    "decade": _dated(lambda d: f"the {d.year // 10 * 10}s"),
    "span": _dated(lambda d: f"{d.year} - {d.year + 1 + d.month}"),
    "days": _days,
    "opens": _dated(lambda d: f"opens {d.day} {_month(d)}"),
}

_NOTES: Final = ("from", "only", "just", "now", "was", "save", "under")
_UNITS: Final = ("hour", "day", "night", "person", "kilo", "box")
_SOLD: Final = ("Adults", "Children", "Entry", "Tickets", "Soup", "Coffee")
_NUMBERED: Final = ("Unit", "Squad", "Bus", "Tram", "Line", "Track")
_MINUTES: Final = ("00", "05", "10", "15", "20", "25", "30", "40", "45", "50", "55")


def _clock(draw: Draw) -> str:
    return f"{_between(draw, 1, 12)}:{draw.pick(_MINUTES)}"


def _clock_24(draw: Draw) -> str:
    return f"{draw.below(24):02d}:{draw.pick(_MINUTES)}"


TIMES: Final[Mapping[str, Figure]] = {
    "24h": _clock_24,
    "24h_short": lambda d: f"{_between(d, 13, 23)}:{d.pick(_MINUTES)}",
    "pm": lambda d: f"{_clock(d)} {d.pick(('pm', 'PM', 'am', 'AM'))}",
    "hour": lambda d: f"{_between(d, 1, 12)} {d.pick(('pm', 'PM', 'am', 'AM', 'noon', 'sharp'))}",
    "joined": lambda d: f"{_between(d, 1, 12)}{d.pick(('pm', 'am', 'AM', 'PM'))}",
    "span": lambda d: f"{_between(d, 5, 11)}:{d.pick(_MINUTES)} - {_between(d, 12, 22)}:{d.pick(_MINUTES)}",
    "from_to": lambda d: f"{_between(d, 6, 11)} am to {_between(d, 1, 11)} pm",
    "doors": lambda d: f"doors {_clock(d)} pm",
    "half_past": lambda d: f"{d.pick(('half past', 'quarter past', 'quarter to'))} {d.pick((*_ONES, 'ten', 'eleven'))}",
    "oclock": lambda d: f"{d.pick((*_ONES, 'ten', 'eleven', 'twelve'))} o'clock",
    "tea": lambda d: f"{d.pick(('tea', 'lunch', 'dinner', 'doors', 'film', 'talk', 'start'))} at {_clock(d)}",
    "seconds": lambda d: f"{d.below(10):02d}:{d.below(60):02d}:{d.below(60):02d}",
    "always": lambda d: f"{d.pick(('open', 'parking', 'service', 'taxi', 'hot food'))} 24/7",
    "departs": lambda d: f"departs {_clock_24(d)}",
    "every": lambda d: f"every {_between(d, 2, 59)} {d.pick(('minutes', 'hours', 'min'))}",
    "german": lambda d: f"{_between(d, 6, 22)}:{d.pick(_MINUTES)} Uhr",
    "french": lambda d: f"{_between(d, 6, 22)} h {d.pick(_MINUTES)}",
}


def _cents(draw: Draw) -> str:
    return draw.pick(("00", "20", "25", "49", "50", "75", "80", "95", "99"))


PRICES: Final[Mapping[str, Figure]] = {
    "sign": lambda d: f"{d.pick('$€£')}{_between(d, 1, 99)}",
    "sign_cents": lambda d: f"{d.pick('$€£')}{_between(d, 1, 99)}.{_cents(d)}",
    "grouped": lambda d: f"{d.pick('$€£')}{_between(d, 1, 49)},{_between(d, 1, 9)}{d.pick(('00', '50', '95', '99'))}",
    "euro": lambda d: f"{_between(d, 1, 99)},{_cents(d)} €",
    "yen": lambda d: f"¥{_between(d, 1, 98)},{_between(d, 1, 9)}00",
    "code": lambda d: f"{d.pick(('USD', 'EUR', 'GBP', 'CHF', 'CAD', 'AUD'))} {_between(d, 2, 990)}.{_cents(d)}",
    "code_after": lambda d: f"{_between(d, 2, 990)} {d.pick(('EUR', 'USD', 'CHF', 'SEK', 'PLN', 'CZK'))}",
    "krona": lambda d: f"{_between(d, 5, 900)} kr",
    "rupee": lambda d: f"Rs. {_between(d, 10, 990)}",
    "each": lambda d: f"{d.pick('$€£')}{_between(d, 1, 20)} each",
    "from": lambda d: f"{d.pick(_NOTES)} {d.pick('$€£')}{_between(d, 2, 99)}.{_cents(d)}",
    "for": lambda d: f"{_between(d, 2, 9)} for {d.pick('$€£')}{_between(d, 2, 30)}",
    "off": lambda d: f"{5 * _between(d, 1, 18)}% off",
    "per": lambda d: f"{d.pick('$€£')}{_between(d, 1, 30)} per {d.pick(_UNITS)}",
    "entry": lambda d: f"{d.pick(_SOLD)} {d.pick('$€£')}{_between(d, 1, 40)}",
    "deal": lambda d: f"buy {_between(d, 2, 9)} get {d.pick(('one', 'two', '1', '2'))} free",
    "half": lambda d: d.pick(("half price", "free entry", "cash only", "sold out", "no charge", "best price")),
}


def _code(draw: Draw, letters: int, digits: int, join: str = "") -> str:
    head = "".join(draw.pick(_CODE_LETTERS) for _ in range(letters))
    return head + join + "".join(draw.pick(_CODE_DIGITS) for _ in range(digits))


def _fictional(draw: Draw) -> str:
    return f"555-01{draw.below(100):02d}"


CODES: Final[Mapping[str, Figure]] = {
    "phone": _fictional,
    "call": lambda d: f"{d.pick(('call', 'phone', 'tel', 'text', 'book: '))} {_fictional(d)}".replace("  ", " "),
    "area": lambda d: f"({_between(d, 201, 989)}) {_fictional(d)}",
    "plate": lambda d: _code(d, 3, 4, d.pick(" -")),
    "plate_mixed": lambda d: f"{_code(d, 2, 2)} {_code(d, 3, 0)}",
    "flight": lambda d: _code(d, 2, 3, " "),
    "gate": lambda d: f"{d.pick(('gate', 'room', 'seat', 'desk', 'bay', 'dock', 'locker'))} {_code(d, 1, 2)}",
    "door": lambda d: f"{_between(d, 2, 99)}{d.pick(_CODE_LETTERS)}",
    "part": lambda d: f"{_code(d, 3, 0)}-{_code(d, 0, 5)}",
    "version": lambda d: f"v{_between(d, 1, 9)}.{_between(d, 0, 20)}.{_between(d, 0, 9)}",
    "order": lambda d: f"order #{_between(d, 1000, 99999)}",
    "road": lambda d: f"{d.pick(('A', 'B', 'E', 'M', 'R', 'US '))}{_between(d, 2, 99)}",
    "model": lambda d: f"{d.pick(('Model', 'Type', 'Mark', 'Series'))} {_code(d, 1, 3, '-')}",
    "class": lambda d: f"Class {_between(d, 1, 12)}{d.pick('ABC')}",
    "batch": lambda d: f"LOT {_code(d, 0, 4)}-{_code(d, 0, 2)}",
    "grid": lambda d: f"row {d.pick(_CODE_LETTERS)} seat {_between(d, 2, 60)}",
    "crew": lambda d: f"{d.pick(_NUMBERED)} {_between(d, 2, 99)}{d.pick('ABCX')}",
}

KINDS: Final[Mapping[str, Mapping[str, Figure]]] = {
    "number": NUMBERS,
    "date": DATES,
    "time": TIMES,
    "price": PRICES,
    "code": CODES,
}


def figure_of(category: str, draw: Draw) -> str:
    """A string of one of KINDS, each of its forms as likely as the others."""
    forms: Sequence[str] = tuple(KINDS[category])
    return KINDS[category][draw.pick(forms)](draw)
