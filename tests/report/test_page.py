"""The page in a browser: asks for nothing, runs nothing that a prompt says, works by keyboard, can be read."""

import re
from pathlib import Path

import pytest

from promptforge.records import AXES, content_id
from promptforge.report.page import write_report
from promptforge.texts import show

PAYLOADS = [
    "<script>hit()</script>",
    "</script><script>hit()</script>",
    "</style><style>*{background:url(http://127.0.0.1:9/css)}</style>",
    "</title><script>hit()</script>",
    "</textarea></option></select><img src=x onerror=hit()>",
    "<img src=x onerror=alert(1)>",
    "<img src=http://127.0.0.1:9/pixel.png>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    '" onmouseover="alert(1)" x="',
    "' autofocus onfocus='alert(1)' x='",
    "` onfocus=`alert(1)",
    "javascript:alert(1)",
    '<a href="javascript:alert(1)">x</a>',
    "<svg><script>alert(1)</script></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<math><mtext><table><mglyph><style><img src onerror=alert(1)>",
    "<iframe srcdoc='<script>parent.hit()</script>'></iframe>",
    "<object data=http://127.0.0.1:9/object></object>",
    '<link rel="stylesheet" href="http://127.0.0.1:9/link.css">',
    '<meta http-equiv="refresh" content="0;url=http://127.0.0.1:9/meta">',
    '<base href="http://127.0.0.1:9/">',
    "<form action=http://127.0.0.1:9/><input autofocus onfocus=alert(1)></form>",
    "<details open ontoggle=alert(1)>",
    "<!--><img src=x onerror=alert(1)>-->",
    "]]><script>alert(1)</script>",
    "{{ 7 * 7 }}{% for x in () %}",
    "${alert(1)}",
    "&lt;script&gt;alert(1)&lt;/script&gt;&#60;b&#62;",
    "\u202egnp.exe\u2066 right to left \u05e9\u05dc\u05d5\u05dd",
    "\x00\x1b[31m\x07 control\x7f",
    "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
]

# Of each text that is seen: its colour, and the colours behind it from the front to the page.
COLOURS = """
[...new Set([...document.querySelectorAll('body *')].filter(e => e.checkVisibility() &&
    [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) &&
    !e.closest('[aria-hidden=true]')).map(e => {
  const behind = [];
  for (let at = e; at; at = at.parentElement) behind.push(getComputedStyle(at).backgroundColor);
  const drawn = e.closest('svg') ? getComputedStyle(e).fill : getComputedStyle(e).color;
  return JSON.stringify([drawn, behind.filter(one => one !== 'rgba(0, 0, 0, 0)'), e.tagName]);
}))].map(JSON.parse)
"""


def channels(colour: str) -> tuple[list[float], float]:
    """Red, green, blue in [0, 1] and the opacity, of what getComputedStyle gives."""
    numbers = [float(number) for number in re.findall(r"[\d.]+", colour.removeprefix("color(srgb"))]
    alpha = numbers[3] if len(numbers) > 3 else 1.0
    return [number if colour.startswith("color(") else number / 255 for number in numbers[:3]], alpha


def luminance(colour: list[float]) -> float:
    """Relative luminance by WCAG 2.2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(front: str, behind: list[str]) -> float:
    base = [1.0, 1.0, 1.0]
    for layer in reversed(behind):
        colour, alpha = channels(layer)
        base = [alpha * c + (1 - alpha) * b for c, b in zip(colour, base, strict=True)]
    one, two = sorted((luminance(channels(front)[0]), luminance(base)))
    return (two + 0.05) / (one + 0.05)


def test_the_formula_gives_the_known_ratios() -> None:
    assert contrast("rgb(0, 0, 0)", ["rgb(255, 255, 255)"]) == pytest.approx(21)
    assert contrast("rgb(119, 119, 119)", ["rgb(255, 255, 255)"]) == pytest.approx(4.48, abs=0.005)


def everything(filled, say) -> None:
    """Rows in every table that the page shows."""
    filled.manifest(
        {
            "name": say("name", 0),
            "seed": 1,
            "publish": {"pretty_name": say("title", 0)},
            "select": {"policy": say("policy", 0)},
            "scorers": [
                {"name": say("scorer", 0), "kind": "x", "version": 1, "outside": {say("out", 0): say("out", 1)}}
            ],
            "llm": {say("llm", 0): {"kind": say("llm kind", 0)}},
        }
    )
    metric = say("metric", 1)
    filled.pictures(300, say=say, values=lambda n: {metric: float(n % 97), "flag": float(n % 2)})
    filled.read(say, 300)
    gate = {"decision": "keep_image", "validated": False}
    filled.put(
        "policy",
        [
            {**gate, "gate": say("gate", n), "axis": axis, **more}
            for axis in AXES
            for n, more in enumerate(
                (
                    {"kind": "bound", "scorer": "technical", "metric": metric, "minimum": 40.0, "maximum": 80.0},
                    {"kind": "one_of", "scorer": "text", "metric": "verdict", "one_of": [say("verdict", 1)]},
                    {"kind": "where", "predicate": say("predicate", 0)},
                    {
                        **{"kind": "bound", "scorer": "technical", "metric": metric, "minimum": 20.0},
                        **{"by": "category", "key": say("category", 2)},
                    },
                )
            )
        ],
    )
    ids = [content_id("prompt", n) for n in range(300)]
    rows = [content_id("dropped", n) for n in range(40)]
    texts = [
        {"row_id": row, "text": say("dropped", n), "text_clean": None, "axis": AXES[0]} for n, row in enumerate(rows)
    ]
    told = {"source": say("source", 0), "source_part": "own.txt", "licence": say("licence", 1), "repairs": []}
    filled.put("prompts", [{**row, **told, "source_row": n, "stream_order": 1000 + n} for n, row in enumerate(texts)])
    filled.put(
        "verdicts",
        [
            {
                "row_id": row,
                "stage": "filter",
                "check_name": say("check", n % 5),
                "verdict": "drop",
                "reason": "too_long",
            }
            for n, row in enumerate(rows)
        ],
    )
    filled.put(
        "teachability",
        [
            {
                **{"prompt_id": name, "axis": AXES[n % 3], "category": say("category", n % 7), "n_takes": 4},
                **{"n_passed": n % 5, "share": n % 5 / 4, "estimate": n % 5 / 4, "low": 0.0, "high": 1.0},
                **{"prior": "cell", "prior_a": 1.0, "prior_b": 1.0},
            }
            for n, name in enumerate(ids)
        ],
    )
    filled.put(
        "take_outcomes",
        [
            {"prompt_id": name, "axis": AXES[n % 3], "fixed": True, "n_takes": 4, "n_rendered": 4, "n_passed": n % 2}
            | {"first_pass": 1 if n % 2 else None}
            for n, name in enumerate(ids)
        ],
    )
    states = ("open", "budget")
    filled.con.executemany(
        "INSERT INTO rounds BY NAME SELECT ? AS round, ? AS axis, ? AS cell, 90 AS wanted, 200 AS n_candidates,"
        " ? AS n_tried, 0 AS n_undecided, ? AS n_accepted, 10 AS n_new, 10 AS n_renders, 0 AS n_spent, ? AS state",
        [(n, axis, say("cell", 0), n * 10, n * 8, states[n]) for n in range(2) for axis in AXES],
    )
    filled.put(
        "contamination",
        [
            {
                **{"row_id": content_id("row", n), "prompt_id": ids[n], "benchmark": say("benchmark", n)},
                **{"benchmark_file": "b.txt", "benchmark_row": 1, "benchmark_prompt_id": ids[0], "rule": "near"},
                **{"value": 1.0, "action": "flag"},
            }
            for n in range(40)
        ],
    )
    filled.put("cost", [{"epoch": 1, "stage": say("stage", n), "n_rows": 10, "seconds": 3.5 * n} for n in range(3)])
    filled.put(
        "forecast",
        [{"part": "time", "item": say("stage", 1), "unit": "seconds", "low": 1.0, "basis": "pilot", "expected": 2.0}],
    )
    filled.con.execute(
        "INSERT INTO llm_usage BY NAME SELECT $task AS task, $model AS model, 1 AS n_requests, 2 AS n_tokens_in,"
        " 3 AS n_tokens_out, 1.5 AS seconds",
        {"task": say("task", 0), "model": say("model", 1)},
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    from tests.report.conftest import Filled, plainly

    made = Filled(tmp_path_factory.mktemp("page") / "run")
    everything(made, plainly)
    return made.report()


def test_it_asks_for_nothing_and_says_nothing(page, chromium) -> None:
    chromium.open(page)
    assert chromium.requests == [page.resolve().as_uri()]
    assert chromium.said == []
    sections = chromium.ask("[...document.querySelectorAll('section, header')].map(e => e.id)")
    assert sections == [
        *("overview", "funnel", "gates", "pictures", "coverage", "teachability", "rounds", "benchmarks", "cost"),
        "provenance",
    ]
    assert chromium.ask("[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))")


def test_what_is_said_anywhere_is_shown_and_never_run(filled, chromium) -> None:
    def say(field: str, number: int) -> str:
        return f"{PAYLOADS[(number * 7 + len(field)) % len(PAYLOADS)]} {field}"

    everything(filled, say)
    path = filled.report()
    chromium.open(path)
    seen = chromium.ask("document.documentElement.textContent")
    # One of each field, in full or as the beginning that is shown.
    for field, number in [("title", 0), ("text", 0), ("reading", 2), ("category", 3), ("dropped", 0), ("gate", 1)]:
        assert show(say(field, number)) in seen, field
    for number in range(len(PAYLOADS)):
        assert show(PAYLOADS[number]) in seen
    for selector in (".open", "summary", "#theme", "nav a"):
        chromium.ask(f"document.querySelectorAll('{selector}').forEach(e => e.click())")
    for name in ("mouseover", "focus", "toggle"):
        chromium.ask(f"document.querySelectorAll('*').forEach(e => e.dispatchEvent(new Event('{name}')))")
    assert chromium.dialogs == []
    assert chromium.requests == [path.resolve().as_uri()]
    assert chromium.said == []
    odd = "script, iframe, object, embed, base, form, link, meta[http-equiv=refresh], animate, math"
    assert chromium.ask(f"[...document.querySelectorAll('{odd}')].map(e => e.tagName)") == ["LINK", "FORM", "SCRIPT"]
    assert (
        chromium.ask(
            "[...document.querySelectorAll('*')].flatMap(e => [...e.attributes])"
            ".filter(a => a.name.startsWith('on') || /^\\s*(javascript|http):/i.test(a.value)).length"
        )
        == 0
    )


def test_the_filter_narrows_and_the_keys_move(page, chromium) -> None:
    chromium.look(1440)
    chromium.open(page)
    shown = "document.querySelectorAll('#pictures li.item:not([hidden])').length"
    whole = chromium.ask(shown)
    chromium.press("/")
    assert chromium.ask("document.activeElement.name") == "search"
    word = chromium.ask("document.querySelectorAll('#pictures .prompt')[5].textContent").split()[-1]
    chromium.type(f"text {word}")
    expected = chromium.ask(
        f"[...document.querySelectorAll('#pictures figcaption')].filter(e => ['text', '{word}'].every(w =>"
        " e.textContent.includes(w))).length"
    )
    assert 0 < chromium.ask(shown) == expected < whole
    chromium.press("Escape")
    assert chromium.ask("document.activeElement === document.body")
    chromium.ask("document.querySelector('#filter button').click()")
    chromium.ask("new Promise(done => setTimeout(done, 50))")
    assert chromium.ask(shown) == whole

    chromium.ask(
        "(() => { const s = document.querySelector('#filter [name=axis]'); s.value = 'text_rendering';"
        " s.dispatchEvent(new Event('input', {bubbles: true})) })()"
    )
    axes = chromium.ask(
        "[...new Set([...document.querySelectorAll('li.item:not([hidden])')].map(e => e.dataset.axis))]"
    )
    assert axes == ["text_rendering"]
    assert str(chromium.ask(shown)) in chromium.ask("document.querySelector('output').textContent")

    place = (
        "[...document.querySelectorAll('li.item:not([hidden]) .open')].indexOf(document.activeElement.closest('.open'))"
    )
    chromium.ask("document.querySelector('li.item:not([hidden]) .open').focus()")
    chromium.press("ArrowRight")
    chromium.press("ArrowRight")
    chromium.press("ArrowLeft")
    assert chromium.ask(place) == 1
    chromium.press("Enter")
    prompt = "document.querySelector('dialog .prompt').textContent"
    second, third = (
        chromium.ask(f"document.querySelectorAll('#pictures li.item:not([hidden]) .prompt')[{n}].textContent")
        for n in (1, 2)
    )
    assert chromium.ask("document.querySelector('dialog').open")
    assert chromium.ask(prompt) == second
    chromium.press("ArrowRight")
    assert chromium.ask(prompt) == third
    chromium.press("Escape")
    assert not chromium.ask("document.querySelector('dialog').open")
    assert chromium.ask(place) == 2
    assert chromium.said == []


def test_every_picture_has_a_text_and_only_one_is_a_tab_stop(page, chromium) -> None:
    chromium.open(page)
    assert chromium.ask("[...document.images].length > 100")
    assert (
        chromium.ask(
            "[...document.images].filter(i => !i.alt.includes('text ') || !i.complete || !i.naturalWidth).length"
        )
        == 0
    )
    assert chromium.ask("[...document.querySelectorAll('.item .open')].filter(e => e.tabIndex === 0).length") == 1
    assert chromium.ask("[...document.querySelectorAll('svg')].every(s => s.getAttribute('aria-label'))")
    assert chromium.ask("document.querySelector('a').hash") == "#main"  # the first thing that Tab reaches
    assert "No picture: error" in chromium.ask("document.body.textContent")


def test_without_scripts_everything_but_the_filter_is_there(page, chromium) -> None:
    chromium.open(page)
    counts = "[document.querySelectorAll('li.item').length, document.querySelectorAll('svg').length]"
    with_scripts = chromium.ask(counts)
    chromium.open(page, scripts=False)
    assert chromium.ask(counts) == with_scripts
    assert chromium.ask("[...document.querySelectorAll('li.item')].every(e => e.checkVisibility())")
    assert not chromium.ask("document.getElementById('filter').checkVisibility()")
    chromium.call("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_as_wcag_aa_asks(page, chromium, dark: bool) -> None:
    chromium.look(1440, dark=dark)
    chromium.open(page)
    chromium.ask("document.querySelectorAll('details').forEach(e => e.open = true)")
    found = chromium.ask(COLOURS)
    assert len(found) > 15
    faint = [(round(contrast(front, behind), 2), front, behind, tag) for front, behind, tag in found]
    assert [each for each in faint if each[0] < 4.5] == []
    assert (luminance(channels(found[0][1][-1])[0]) < 0.05) == dark


def test_the_switch_changes_the_colours(page, chromium) -> None:
    chromium.look(1440, dark=False)
    chromium.open(page)
    back = "getComputedStyle(document.body).backgroundColor"
    light = chromium.ask(back)
    chromium.ask("document.getElementById('theme').click()")
    assert luminance(channels(chromium.ask(back))[0]) < 0.05 < luminance(channels(light)[0])
    chromium.ask("document.getElementById('theme').click()")
    assert chromium.ask(back) == light


@pytest.mark.parametrize("width", [390, 768, 1440])
def test_nothing_reaches_over_the_edge(page, chromium, width: int) -> None:
    chromium.look(width)
    chromium.open(page)
    assert chromium.ask("document.documentElement.scrollWidth") == width


def test_the_same_tables_give_the_same_bytes(filled) -> None:
    from tests.report.conftest import plainly

    everything(filled, plainly)
    first = filled.report().read_bytes()
    assert write_report(filled.root, filled.con, filled.root / "again.html").read_bytes() == first


def test_a_withheld_row_is_not_shown_nor_its_picture(filled) -> None:
    filled.pictures(12, kept=lambda _: True)
    before = filled.report().read_text("utf-8")
    hidden = {"row_id": content_id("row", 4), "prompt_id": content_id("prompt", 4)}
    filled.put(
        "verdicts",
        [{**hidden, "stage": "filter", "check_name": "safety", "verdict": "drop", "reason": "unsafe_sexual_minors"}],
    )
    after = filled.report().read_text("utf-8")
    for said in ("text 4<", content_id("image", 4)[:12]):
        assert said in before
        assert said not in after
    assert before.count("<img") == after.count("<img") + 1 == 11  # of 12, number 9 was never drawn
    assert "unsafe_sexual_minors" in after


def test_an_empty_run_has_a_report_too(filled, chromium) -> None:
    path = filled.report()
    chromium.open(path)
    assert chromium.said == []
    assert "no gates" in chromium.ask("document.body.textContent")


def test_ten_thousand_pictures_stay_under_ten_megabytes(filled) -> None:
    filled.pictures(10_000, values=lambda n: {f"metric_{m}": float(n * (m + 3) % 997) for m in range(4)}, blobs=40)
    filled.put(
        "policy",
        [
            {
                **{"gate": f"gate_{m}", "kind": "bound", "decision": "keep_image", "axis": axis, "scorer": "technical"},
                **{"metric": f"metric_{m}", "minimum": 300.0, "maximum": 700.0, "validated": True},
            }
            for axis in AXES
            for m in range(4)
        ],
    )
    page = filled.report()
    assert page.stat().st_size < 10 << 20
    assert 300 < page.read_text("utf-8").count("<img") <= 420
