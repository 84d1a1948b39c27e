"""E-mail addresses, phone numbers, card numbers and IP addresses in a prompt.

What is reserved for examples is nobody's: example.com, 555-0100 to 555-0199, 192.0.2.0/24 and private networks. Ten and
more digits with blanks or hyphens are no phone number unless they are grouped like one; a card number must have its
check digit right (Luhn). `named_persons` is off: prompts name artists and figures by nature, and no list is whole.
Not covered: postal addresses, IPv4 addresses as short as version numbers (8.8.8.8), local numbers of seven digits that
nothing announces.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from promptforge.protocols import Filter, Finding

VERSION = 1

Kind = Literal["email", "card_number", "phone_number", "ip_address"]

# RE2: an address has an @, a number seven digits or four groups with dots, IPv6 two colons near each other.
_SCREEN = r"@|\d[0-9 .()/-]{5}|\d\.\d+\.\d+\.\d|:[0-9a-fA-F]{0,4}:"
_PERSONS_SCREEN = r"\p{Lu}\p{Ll}+ \p{Lu}\p{Ll}+"
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@(?:[a-z0-9-]+\.)+[a-z]{2,24}(?![\w-])", re.IGNORECASE | re.ASCII)
_EXAMPLE = re.compile(r"@(?:[\w-]+\.)*(?:example\.(?:com|org|net)|[\w-]+\.(?:example|test|invalid|localhost))$", re.I)
_IP4 = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]*\d)", re.ASCII)
_IP6 = re.compile(r"(?<![\w:])(?:[0-9a-f]{1,4}:){2,7}(?::?[0-9a-f]{1,4}){1,6}(?![\w:])", re.IGNORECASE | re.ASCII)
_CARD = re.compile(r"(?<![\d.])\d(?:[ -]?\d){12,18}(?![\d]|\.\d)", re.ASCII)
_PHONE = re.compile(
    r"(?<![\w.,/$€£#-])(?:"
    r"\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d(?:[ .-]?\d){6,11}"  # +49 30 1234567
    r"|(?:1[ .-])?\(\d{3}\)[ .-]?\d{3}[ .-]\d{4}|(?:1[ .-])?\d{3}([ .-])\d{3}\1\d{4}"  # North America
    r"|0\d{2,4}[ /-]\d{3,4}[ -]?\d{3,5}"  # trunk prefix
    r"|(?:(?<=phone )|(?<=call )|(?<=tel )|(?<=fax )|(?<=phone: )|(?<=call: )|(?<=tel: )|(?<=fax: ))\d{3}-\d{4}"
    r")(?![\w-]|[.,]\d)",
    re.IGNORECASE | re.ASCII,
)
_FICTION = re.compile(r"555[ .-]?01\d\d$|^555-\d{4}$")
_SHORT_IP4 = 9  # characters: shorter ones are mostly version numbers
_NAMED = re.compile(
    r"\b(?:Mr|Mrs|Ms|Dr|Prof)\.? [A-Z][a-z]+|\b(?:my|our) (?:\w+ )?(?:friend|wife|husband|boss|son|daughter|sister|"
    r"brother|colleague|neighbou?r),? [A-Z][a-z]+ [A-Z][a-z]+"
)


class Params(BaseModel):
    """What is looked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kinds: tuple[Kind, ...] = Field(get_args(Kind), description="what drops a prompt")
    named_persons: bool = Field(
        False, description="whether a title or kinship before a name (Mrs Miller, my boss John Smith) drops it too"
    )


def build(params: Params) -> Filter:
    """The check."""
    return _PersonalData(params)


class _PersonalData:
    columns: tuple[str, ...] = ("text_clean",)

    def __init__(self, params: Params) -> None:
        self._params = params
        self._screen = f"{_SCREEN}|{_PERSONS_SCREEN}|Mr|Mrs|Ms|Dr|Prof" if params.named_persons else _SCREEN

    def __call__(self, rows: pa.Table) -> Sequence[Finding]:
        """`value` counts what was found of the reason's kind; what it was stays unsaid: verdicts outlive the text."""
        text = rows["text_clean"]
        suspects = pc.indices_nonzero(pc.match_substring_regex(text, self._screen))
        found = []
        for row, value in zip(suspects.to_pylist(), text.take(suspects).to_pylist(), strict=True):
            finding = look(row, value, self._params)
            if finding is not None:
                found.append(finding)
        return found


def look(row: int, text: str, params: Params) -> Finding | None:
    """The word on one text."""
    for kind in params.kinds:
        n = sum(1 for _ in _OF_KIND[kind](text))
        if n:
            return Finding(row, "drop", kind, float(n), 0.0)
    if params.named_persons:
        n = len(_NAMED.findall(text))
        if n:
            return Finding(row, "drop", "named_person", float(n), 0.0)
    return None


def _emails(text: str) -> Iterator[str]:
    return (match[0] for match in _EMAIL.finditer(text) if not _EXAMPLE.search(match[0]))


def _cards(text: str) -> Iterator[str]:
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        if len(set(digits)) > 1 and _luhn(digits):
            yield match[0]


def _luhn(digits: str) -> bool:
    doubled = [int(d) * 2 if place % 2 else int(d) for place, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def _phones(text: str) -> Iterator[str]:
    return (
        match[0]
        for match in _PHONE.finditer(text)
        if not _FICTION.search(match[0]) and len(set(re.sub(r"\D", "", match[0]))) > 2
    )


def _addresses(text: str) -> Iterator[str]:
    for match in (*_IP4.finditer(text), *_IP6.finditer(text)):
        try:
            address = ipaddress.ip_address(match[0])
        except ValueError:
            continue
        if address.is_global and (address.version == 6 or len(match[0]) >= _SHORT_IP4):
            yield match[0]


_OF_KIND = {"email": _emails, "card_number": _cards, "phone_number": _phones, "ip_address": _addresses}
