"""Web leftovers that are no wish for a picture: addresses, markup, code, file names, shop and page phrases.

What stands in the strings to be drawn counts for nothing: a shop front may bear "www.teashop.com".
Parameters that users leave for other programs (--ar 16:9, <lora:x:0.8>) are `tool_syntax`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from promptforge.protocols import Filter, Finding

VERSION = 1

Kind = Literal["url", "markup", "code", "file_name", "tool_syntax", "page_phrase"]

_TLD = (
    r"(?:com|org|net|edu|gov|info|biz|io|co|de|fr|es|it|nl|pl|ru|uk|eu|us|ca|au|jp|cn|br|in|ai|me|tv|shop|store|ly|gl)"
)
# Each is read by RE2 and by Python alike, so it holds nothing that one of them lacks.
_PATTERNS = {
    "url": rf"(?i)\b(?:https?|ftp)://|\bwww\.[a-z0-9-]+\.|\b[a-z0-9-]{{2,}}\.{_TLD}(?:/|\b(?:[^a-z0-9.]|$))",
    "markup": (
        r"(?i)</?(?:a|b|i|p|br|div|span|img|table|tr|td|ul|li|h[1-6]|font|script|style|strong|em|html|body|head|center|"
        r"blockquote|iframe)(?:\s[^<>]*)?/?>|&(?:nbsp|amp|quot|lt|gt|#\d+);|"
        r"\[/?(?:url|img|b|i|quote|code)[\]=]|!?\[[^\]]+\]\([^)]+\)|<!--"
    ),
    "code": (
        r"(?:\b(?:def|function|class|import|return|public|static|void|const|var|let|elif|print|printf|console\.log)\b"
        r"[^.\n]{0,40}(?:\(\)|\([a-z_][^)]*\)|[;{}=])[^a-z]*(?:[;{:]|$))|(?:=>|\+\+;|===|!==|&&|::\w+\(|#include ?<)|"
        r"\{\{.*\}\}|\$\{|(?i:\bselect\b.{1,40}\bfrom\b.{1,40}\bwhere\b)|\bNone,|\bnull,|\\n\\n"
    ),
    "file_name": (
        r"(?i)\b[\w()-]+\.(?:jpe?g|png|gif|webp|bmp|tiff?|psd|svg|mp4|mov|avi|pdf|docx?|xlsx?|zip|html?|php|aspx?)\b"
    ),
    "tool_syntax": (
        r"(?:^|\s)--?(?:ar|aspect|v|q|s|c|w|h|n|g|uplight|upbeta|test|testp|creative|stylize|style|chaos|seed|niji|no|iw|"
        r"quality|hd|video|stop|tile|wallpaper|beta|upanime|cfg|steps|width|height)(?: |=|$)|<(?:lora|lyco|hypernet):|"
        r"(?i:\bnegative prompt ?:|\b(?:steps|cfg scale|sampler|clip skip|model hash|denoising strength) ?: ?[\w.+]+,)"
    ),
    "page_phrase": (
        r"(?i)\b(?:click here|read more|sign up (?:now|today|for)|log ?in to|subscribe (?:now|to our)|add to cart|"
        r"free (?:shipping|delivery|download|vector|clipart|stock)|buy (?:now|online)|shop now|order now|in stock|"
        r"out of stock|stock (?:photos|photography|images|illustrations|vectors|footage)|royalty[ -]free|"
        r"all rights reserved|terms (?:of (?:use|service)|and conditions)|privacy policy|cookie policy|"
        r"copyright \d{4}|view (?:all|larger|details)|previous image|next image|customer reviews?|"
        r"(?:user|customer|member) rating|add to wish ?list|download (?:now|free)|wallpapers? (?:hd|free|download)|"
        r"thumbnail (?:\d+ )?for|page \d+ of \d+|model (?:no|number)\b|item (?:no|number)\b|lorem ipsum|"
        r"javascript (?:is|must be)|enable cookies|page not found|404 error|related (?:posts|articles|products))\b|"
        r"\bstock (?:photo|image|illustration|vector|video)(?: *$| *[-|,#]| \d)|©"
    ),
}


class Params(BaseModel):
    """What is looked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kinds: tuple[Kind, ...] = Field(get_args(Kind), description="what drops a prompt")


def build(params: Params) -> Filter:
    """The check."""
    return _Boilerplate(params)


class _Boilerplate:
    columns: tuple[str, ...] = ("text_clean", "expected_text")

    def __init__(self, params: Params) -> None:
        self._params = params
        self._screen = "|".join(f"(?:{_PATTERNS[kind]})" for kind in params.kinds)

    def __call__(self, rows: pa.Table) -> Sequence[Finding]:
        """`value` counts the places of the reason's kind, `detail` shows the first."""
        if not self._params.kinds:
            return []
        suspects = pc.indices_nonzero(pc.match_substring_regex(rows["text_clean"], self._screen))
        some = rows.select(list(self.columns)).take(suspects)
        found = []
        for row, values in zip(suspects.to_pylist(), some.to_pylist(), strict=True):
            finding = look(row, values["text_clean"], values["expected_text"] or (), self._params)
            if finding is not None:
                found.append(finding)
        return found


def look(row: int, text: str, expected: Sequence[str], params: Params) -> Finding | None:
    """The word on one text; `expected` are its strings to be drawn."""
    rest = text
    for string in sorted(filter(None, expected), key=len, reverse=True):
        rest = rest.replace(string, "\u00b7")
    for kind in params.kinds:
        places = [match[0].strip() for match in _COMPILED[kind].finditer(rest)]
        if places and (rest == text or _COMPILED[kind].search(text)):  # what only the cutting made is none
            return Finding(row, "drop", kind, float(len(places)), 0.0, places[0][:80])
    return None


_COMPILED = {kind: re.compile(pattern, re.ASCII) for kind, pattern in _PATTERNS.items()}
