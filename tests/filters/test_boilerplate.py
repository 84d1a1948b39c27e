"""Web leftovers."""

import pytest

from promptforge.filters import boilerplate
from tests.filters.columns import findings


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        ("a lake https://a.b/c.png", "url", "https://"),
        ("a lake, seen on flickr.com", "url", "flickr.com"),
        ("a <b>red</b> car", "markup", "<b>"),
        ("a car &nbsp; red", "markup", "&nbsp;"),
        ("a car ![x](y)", "markup", "![x](y)"),
        ("def draw(cat): return cat;", "code", "def draw(cat): return cat;"),
        ("${name} riding a horse", "code", "${"),
        ("IMG_2041.JPG", "file_name", "IMG_2041.JPG"),
        ("a castle --ar 16:9 --v 5", "tool_syntax", "--ar"),
        ("a castle <lora:x:0.8>", "tool_syntax", "<lora:"),
        ("Red shoes, free shipping", "page_phrase", "free shipping"),
        ("Small Orchid Bouquet Stock Photography", "page_phrase", "Stock Photography"),
    ],
)
def test_each_kind_has_its_reason_and_shows_the_place(text, reason, detail):
    (found,) = findings(boilerplate, ["a cat", text])
    assert (found.row, found.verdict, found.reason, found.detail) == (1, "drop", reason, detail)


@pytest.mark.parametrize(
    "text",
    [
        "a house for sale with a sign in the garden",
        "a class of students imports tea, a static pose",
        "e.g. a cat and a dog. In the park",
        "a 3 < 5 chalkboard, 100 % wool",
        "the number 16:9 on a door",
        "a well-lit room -- cosy and warm",
        "select a red apple",
    ],
)
def test_what_people_write_passes(text):
    assert findings(boilerplate, [text]) == []


def test_what_is_to_be_drawn_counts_for_nothing():
    text = "a shop front that says 'www.teashop.com'"
    assert findings(boilerplate, [text], [["www.teashop.com"]]) == []
    assert [item.reason for item in findings(boilerplate, [text], [[]])] == ["url"]


def test_kinds_can_be_left_out():
    assert findings(boilerplate, ["a castle --ar 16:9"], kinds=("url",)) == []
    assert findings(boilerplate, ["a castle --ar 16:9"], kinds=()) == []
