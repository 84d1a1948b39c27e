"""Charts as static SVG, by Vega-Lite: no JavaScript in the page, colours are the page's own (CSS variables).

What a metric or category is called is data of the specification, never part of an expression; the library escapes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from promptforge.report.distributions import Distribution

#: Version of Vega-Lite among those in the library: another one may draw otherwise.
VEGA_LITE = "5.21"

PASSES, FAILS = "passes every gate", "fails a gate"
_SHADES = {"domain": [PASSES, FAILS], "range": ["var(--kept)", "var(--lost)"]}
_TAG = re.compile(r"\A<svg[^>]*?width=\"([\d.]+)\" height=\"([\d.]+)\"[^>]*>")

_CONFIG: Mapping[str, Any] = {
    "font": "system-ui, sans-serif",
    "background": None,
    "padding": {"left": 4, "top": 4, "right": 10, "bottom": 2},
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--quiet)",
        "titleColor": "var(--quiet)",
        "titleFontWeight": "normal",
        "titleFontSize": 11,
        "labelFontSize": 11,
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "gridColor": "var(--line)",
        "grid": False,
        "tickCount": 5,
        "labelLimit": 180,
    },
    "text": {"color": "var(--ink)", "fontSize": 11},
    "rule": {"color": "var(--ink)"},
}


def distribution(one: Distribution, *, small: bool = False) -> str:
    """Stacked bars of pictures that pass and fail, with each bound as a broken line."""
    if one.few:
        return _values(one)
    rows = [
        {"from": bar.start, "to": bar.end, "n": bar.n, "which": PASSES if bar.passes else FAILS} for bar in one.bars
    ]
    layers: list[dict[str, Any]] = [
        {
            "data": {"values": rows},
            "mark": {"type": "bar", "binSpacing": 1},
            "encoding": {
                "x": {"field": "from", "type": "quantitative", "bin": {"binned": True}, "title": None},
                "x2": {"field": "to"},
                "y": {"field": "n", "type": "quantitative", "title": None, "axis": {"tickCount": 3, "tickMinStep": 1}},
                "color": {"field": "which", "type": "nominal", "scale": _SHADES, "legend": None},
                "order": {"field": "which", "sort": "descending"},
            },
        }
    ]
    if one.limits:
        layers.append(
            {
                "data": {"values": [{"at": value} for value in one.limits]},
                "mark": {"type": "rule", "strokeDash": [4, 3], "strokeWidth": 1.5},
                "encoding": {"x": {"field": "at", "type": "quantitative"}},
            }
        )
    return drawn({"width": 210 if small else 270, "height": 64 if small else 120, "layer": layers}, _said(one))


def flags(each: Sequence[Distribution]) -> str:
    """One flag on several axes: a bar for each axis and value."""
    rows = [
        {**row, "value": f"{one.axis.replace('_', ' ')}: {row['value']}"} for one in each for row in _value_rows(one)
    ]
    return _bars(rows, "; ".join(_said(one) for one in each))


def _values(one: Distribution) -> str:
    """A bar for each value or word, beside each other."""
    return _bars(_value_rows(one), _said(one))


def _value_rows(one: Distribution) -> list[dict[str, Any]]:
    return [
        {
            "value": f"{bar.start:.4g}" if bar.word is None else bar.word,
            "n": bar.n,
            "which": PASSES if bar.passes else FAILS,
        }
        for bar in one.bars
    ]


def _bars(rows: Sequence[Mapping[str, Any]], said: str) -> str:
    # The page's font is not known here, and may be wider than the one that labels were measured in.
    longest = max((len(row["value"]) for row in rows), default=0)
    spec = {
        "data": {"values": list(rows)},
        "padding": {"left": 4 + 0.9 * longest, "top": 2, "right": 8, "bottom": 2},
        "width": 180,
        "height": {"step": 22},
        "mark": {"type": "bar", "size": 14},
        "encoding": {
            "y": {"field": "value", "type": "nominal", "title": None, "sort": None},
            "x": {"field": "n", "type": "quantitative", "title": "pictures", "axis": {"tickMinStep": 1}},
            "color": {"field": "which", "type": "nominal", "scale": _SHADES, "legend": None},
            "order": {"field": "which", "sort": "descending"},
        },
    }
    return drawn(spec, said)


def _said(one: Distribution) -> str:
    n_passes = sum(bar.n for bar in one.bars if bar.passes)
    on = f" on {one.axis}{'' if one.key is None else ', ' + one.key}" if one.axis else ""
    return f"Distribution of {one.metric}{on}: {n_passes:,} pictures pass every gate, {one.n - n_passes:,} fail one"


def intervals(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """A dot with its interval for each row of label, mean, low, high, in [0, 1]."""
    y = {"field": "label", "type": "nominal", "title": None, "sort": None}
    x = {"scale": {"domain": [0, 1]}, "type": "quantitative", "title": title, "axis": {"format": "%"}}
    spec = {
        "data": {"values": [dict(row) for row in rows]},
        "padding": {"left": 4 + 0.9 * max((len(row["label"]) for row in rows), default=0), "top": 2, "right": 8},
        "width": 260,
        "height": {"step": 22},
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 2, "color": "var(--kept)"},
                "encoding": {"y": y, "x": {"field": "low", **x}, "x2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 60, "color": "var(--kept)", "opacity": 1},
                "encoding": {"y": y, "x": {"field": "mean", **x}},
            },
        ],
    }
    return drawn(spec, title)


def rounds(rows: Sequence[Mapping[str, Any]], wanted: int | None, axis: str) -> str:
    """Accepted prompts before each round, and how many are wanted."""
    layers: list[dict[str, Any]] = [
        {
            "data": {"values": [dict(row) for row in rows]},
            "mark": {
                "type": "line",
                "point": {"filled": True, "size": 40, "color": "var(--kept)"},
                "color": "var(--kept)",
            },
            "encoding": {
                "x": {"field": "round", "type": "ordinal", "title": "before round", "axis": {"labelAngle": 0}},
                "y": {"field": "accepted", "type": "quantitative", "title": "accepted"},
            },
        }
    ]
    if wanted is not None:
        layers.append(
            {
                "data": {"values": [{"at": wanted}]},
                "mark": {"type": "rule", "strokeDash": [4, 3], "strokeWidth": 1.5},
                "encoding": {"y": {"field": "at", "type": "quantitative"}},
            }
        )
    return drawn({"width": 260, "height": 120, "layer": layers}, f"Accepted prompts of {axis} by round")


def drawn(spec: Mapping[str, Any], said: str) -> str:
    """SVG of a specification; `said` is what a screen reader says instead of it."""
    import vl_convert

    whole = {"config": _CONFIG, "description": said, **spec}
    svg = vl_convert.vegalite_to_svg(whole, vl_version=VEGA_LITE)
    return _one_picture(svg, said)


def _one_picture(svg: str, said: str) -> str:
    """The same with one label for the whole, in place of Vega's for each of its parts; it shrinks with its column."""
    from markupsafe import escape

    body = re.sub(r'\s(?:aria-[a-z]+|role)="[^"]*"', "", svg)
    match = _TAG.match(body)
    assert match is not None, svg[:200]
    width, height = match[1], match[2]
    head = (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{escape(said)}">'
    )
    return head + body[match.end() :]
