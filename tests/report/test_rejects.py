"""Escaping for the report of rejects: what a prompt says can act in no reader of the file."""

import html
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptforge.report.rejects import escaped, place


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a quiet lake, at dawn - soft", "a quiet lake, at dawn - soft"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("&lt;b&gt;", "&amp;lt;b&amp;gt;"),
        ("*bold* _it_ `code`", r"\*bold\* \_it\_ \`code\`"),
        ("[here](http://example.org)", r"\[here\](http\://example.org)"),
        ("www.example.org", r"www\.example.org"),
        ("a | b", r"a \| b"),
        ("one\ntwo", r"one\\ntwo"),
        ("\x1b[2J", r"\\x1b\[2J"),
        ("\u202egnp", r"\\u202egnp"),
    ],
)
def test_a_text_is_shown_as_written_and_does_nothing(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_a_long_text_ends_early_and_says_how_long_it_is() -> None:
    assert escaped("x" * 1_000_000, limit=5) == "xxxxx… (1,000,000 characters)"


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        ("own.txt", "own.txt row 1,000 (line 1,001)"),
        ("own.jsonl (2)", "own.jsonl (2) row 1,000 (line 1,001)"),
        ("own.csv", "own.csv row 1,000"),
        ("grammar", "grammar row 1,000"),
    ],
)
def test_a_row_has_a_line_where_a_line_is_a_row(part: str, shown: str) -> None:
    assert place(part, 1000) == shown


@settings(derandomize=True, max_examples=300)
@given(st.text(max_size=60))
def test_the_escapes_can_be_taken_off_and_no_line_or_tag_begins(text: str) -> None:
    shown = escaped(text)
    assert all(mark.isprintable() or mark in "\u200c\u200d" for mark in shown)
    assert "<" not in shown
    assert ">" not in shown
    if text.isprintable():
        assert html.unescape(re.sub(r"\\(.)", r"\1", shown)) == text
