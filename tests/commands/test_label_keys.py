"""The page of labels by keyboard alone, in a headless Chromium: what a person sees and what is kept."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from promptforge.commands.label_page import LabelPage
from tests.browser import Browser, browser

NASTY = "<script>alert(1)</script> a \"quoted\" & 'odd' sign \u202ethgil\u202c, \u05e9\u05dc\u05d5\u05dd"
TODO = [
    {"image_id": "a" * 32, "question": "text", "text": NASTY, "expected_text": ["<b>O\u202ePEN</b>", "\u05e9\u05dc"]},
    {"image_id": "b" * 32, "question": "quality", "text": "a lake", "expected_text": []},
    {"image_id": "c" * 32, "question": "matches", "text": "two cups", "expected_text": None},
]


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory, need_tool: Callable[[str], str]) -> Iterator[Browser]:
    with browser(need_tool("chromium"), tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[], tuple[LabelPage, list[Any]]]]:
    """A page over three pictures of 1,536 x 1,536; called again, another one that goes on where the first was left."""
    Image.fromarray(np.zeros((1536, 1536, 3), np.uint8)).save(tmp_path / "p.webp", lossless=True)
    content = (tmp_path / "p.webp").read_bytes()
    threads: list[tuple[LabelPage, threading.Thread]] = []

    def make() -> tuple[LabelPage, list[Any]]:
        rows = [{**row, "words": f"About {row['question']}?"} for row in TODO]
        page = LabelPage(rows, {row["image_id"]: content for row in TODO}, tmp_path / "kept.jsonl")
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(page.collect()), daemon=True)
        thread.start()
        threads.append((page, thread))
        return page, found

    yield make
    for page, thread in threads:
        page.finish()
        thread.join(10)
        assert not thread.is_alive()


Serve = Callable[[], tuple[LabelPage, list[Any]]]


def show(tab: Browser, page: LabelPage) -> None:
    tab.open(page.address)
    tab.wait("document.getElementById('count').textContent !== ''")


def at(tab: Browser, place: int) -> None:
    tab.wait(f"document.getElementById('count').textContent.startsWith('picture {place} of 3')")


def test_keys_alone_answer_go_back_change_and_end(tab: Browser, serve: Serve) -> None:
    page, found = serve()
    show(tab, page)
    at(tab, 1)
    tab.press("y")
    at(tab, 2)
    assert tab.text("last") == "Picture 1: yes."
    tab.press("n")
    at(tab, 3)
    tab.press("ArrowRight")
    assert tab.text("last") == "No answer yet: y, n or u."
    tab.press("ArrowLeft")
    at(tab, 2)
    assert tab.text("last") == "Picture 2 has no; y, n or u changes it."
    tab.press("u")
    at(tab, 3)
    assert tab.text("last") == "Picture 2: unsure, no longer no."
    tab.press("ArrowLeft")
    tab.press("ArrowLeft")
    at(tab, 1)
    tab.press("ArrowLeft")  # there is nothing before the first
    at(tab, 1)
    tab.press("ArrowRight")
    tab.press("ArrowRight")
    at(tab, 3)
    tab.press("Enter")  # not yet
    tab.press("x")
    assert not found
    tab.press("n")
    tab.wait("document.getElementById('count').textContent === '3 of 3 answered'")
    tab.press("Enter")
    tab.wait("document.getElementById('prompt').textContent.startsWith('Done')")
    for _ in range(100):
        if found:
            break
        threading.Event().wait(0.05)
    assert [(row["image_id"][0], row["label"]) for row in found[0]] == [("a", "yes"), ("b", "unsure"), ("c", "no")]


def test_a_page_loaded_anew_and_a_program_started_anew_go_on(tab: Browser, serve: Serve) -> None:
    page, _ = serve()
    show(tab, page)
    tab.press("y")
    at(tab, 2)
    tab.call("Page.reload")
    tab.wait("document.readyState === 'complete' && document.getElementById('count').textContent !== ''")
    at(tab, 2)
    assert tab.ask("document.getElementById('bar').value") == 1
    tab.press("n")
    at(tab, 3)
    page.finish()
    second, _ = serve()
    assert second.n_given == 2
    show(tab, second)
    at(tab, 3)


def test_what_a_prompt_says_is_letters(tab: Browser, serve: Serve) -> None:
    page, _ = serve()
    show(tab, page)
    at(tab, 1)
    shown = tab.text("prompt")
    assert shown == NASTY.replace("\u202e", "\\u202e").replace("\u202c", "\\u202c")
    boxes = "[...document.querySelectorAll('#wanted code')].map((each) => each.textContent)"
    assert tab.ask(boxes) == ["<b>O\\u202ePEN</b>", "\u05e9\u05dc"]
    assert tab.ask("document.querySelectorAll('main script, main b, main i').length") == 0
    assert tab.ask("getComputedStyle(document.querySelectorAll('#wanted code')[1]).direction") == "rtl"
    assert tab.dialogs == []


def test_f_shows_a_pixel_of_the_picture_on_one_of_the_screen_and_back(tab: Browser, serve: Serve) -> None:
    page, _ = serve()
    tab.call("Emulation.setDeviceMetricsOverride", width=900, height=800, deviceScaleFactor=2, mobile=False)
    show(tab, page)
    width = "document.getElementById('picture').getBoundingClientRect().width"
    tab.wait(f"{width} === 464")  # fit: 58% of the height
    tab.press("f")
    tab.wait(f"{width} === 768")  # 1,536 pixels at two to a point
    tab.press("ArrowRight", modifiers=8)
    tab.press("ArrowDown", modifiers=8)
    assert tab.ask("[document.getElementById('frame').scrollLeft > 0, document.getElementById('frame').scrollTop]") == [
        True,
        80,
    ]
    tab.press("y")
    at(tab, 2)
    tab.wait(f"{width} === 768")  # stays for the next
    tab.press("f")
    tab.wait(f"{width} === 464")
    tab.call("Emulation.clearDeviceMetricsOverride")


@pytest.mark.parametrize("width", [400, 1000])
def test_nothing_is_wider_than_the_window(tab: Browser, serve: Serve, width: int) -> None:
    page, _ = serve()
    tab.call("Emulation.setDeviceMetricsOverride", width=width, height=700, deviceScaleFactor=1, mobile=False)
    show(tab, page)
    at(tab, 1)
    assert tab.ask("document.documentElement.scrollWidth <= innerWidth")
    assert tab.ask("document.querySelector('nav').getBoundingClientRect().bottom <= innerHeight")
    tab.call("Emulation.clearDeviceMetricsOverride")


def test_a_picture_that_is_not_there_is_said_and_the_last_one_does_not_stand_for_it(tab: Browser, serve: Serve) -> None:
    page, _ = serve()
    del page.pictures["b" * 32]
    show(tab, page)
    seen = "getComputedStyle(document.getElementById('picture')).visibility"
    tab.wait(f"{seen} === 'visible'")
    tab.press("y")
    at(tab, 2)
    tab.wait("document.getElementById('fault').textContent.startsWith('This picture cannot be shown')")
    assert tab.ask(seen) == "hidden"
    tab.press("u")
    at(tab, 3)
    tab.wait(f"{seen} === 'visible'")
    assert tab.text("fault") == ""
