"""What the report counts: distributions, bounds, sheets and intervals, against NumPy, SciPy and plain loops."""

import numpy as np
import pytest
from scipy.stats import binomtest

from promptforge.records import AXES, content_id
from promptforge.report import distributions, figures, sheets, summary
from promptforge.report.pictures import make_tables

GATE = {"gate": "sharp", "kind": "bound", "decision": "keep_image", "scorer": "technical", "metric": "sharpness"}
N = 600


def value_of(number: int) -> float:
    return float(number * 7919 % 997)


@pytest.fixture
def made(filled):
    def kept(number: int) -> bool:
        return value_of(number) >= (500 if number % 7 == 3 else 200)

    filled.pictures(N, kept=kept, values=lambda number: {"sharpness": value_of(number), "flag": float(number % 2)})
    bounds = [(axis, key, low) for axis in AXES for key, low in ((None, 200.0), ("category 3", 500.0))]
    filled.put(
        "policy",
        [
            {**GATE, "axis": axis, "by": "category", "key": key, "minimum": low, "validated": True}
            for axis, key, low in bounds
        ],
    )
    make_tables(filled.con)
    return filled


def test_a_histogram_counts_every_picture_in_the_bin_of_numpy(made) -> None:
    both = [each for each in distributions.gated(made.con) if each.axis == AXES[0]]
    mine = np.array([value_of(number) for number in range(0, N, 3)])
    low, high = np.quantile(mine, [0.005, 0.995])
    low, high = min(low, 200), max(high, 500)
    # NumPy puts a value on the last edge into the last bin, and we what lies outside into the first and the last.
    counts, _ = np.histogram(np.clip(mine, low, high), bins=distributions.BINS, range=(low, high))
    found = np.zeros(distributions.BINS, int)
    for bar in (bar for one in both for bar in one.bars):
        found[round((bar.start - low) / (high - low) * distributions.BINS)] += bar.n
    assert found.tolist() == counts.tolist()
    assert [(one.key, one.limits) for one in both] == [(None, [200.0]), ("category 3", [500.0])]
    for one in both:
        group = [n for n in range(0, N, 3) if (n % 7 == 3) == (one.key is not None)]
        assert one.n == len(group)
        passing = [n for n in group if value_of(n) >= one.limits[0] and n % 50 != 9]
        assert sum(bar.n for bar in one.bars if bar.passes) == len(passing)


def test_a_metric_of_few_values_has_a_bar_for_each(made) -> None:
    (flag,) = distributions.others(made.con)
    assert flag.name == "technical.flag"
    assert flag.is_flag
    totals = {value: sum(bar.n for bar in flag.bars if bar.start == value) for value in (0, 1)}
    assert totals == {0: N / 2, 1: N / 2}


def test_bands_hold_the_nearest_on_each_side_of_each_pictures_own_bound(made) -> None:
    found = {sheet.axis: sheet for sheet in sheets.sheets(made.con) if sheet.kind == "band"}
    for place, axis in enumerate(AXES):
        gap = {content_id("image", n): value_of(n) - (500 if n % 7 == 3 else 200) for n in range(N) if n % 3 == place}
        for above in (True, False):
            side = sorted((abs(far), name) for name, far in gap.items() if (far >= 0) == above)
            shown = {item.about["image_id"] for item in found[axis].pictures}
            assert {name for _, name in side[: sheets.NEAREST]} == {name for name in shown if (gap[name] >= 0) == above}


def test_a_picture_is_shown_once_and_no_sheet_is_over_its_size(made) -> None:
    found = sheets.sheets(made.con)
    names = [item.about["image_id"] for sheet in found for item in sheet.pictures]
    assert len(names) == len(set(names))
    for sheet in found:
        if sheet.kind != "band":
            assert len(sheet.pictures) == sheets.DRAWN
            assert {bool(item.about["keep_image"]) for item in sheet.pictures} == {sheet.kind == "kept"}
    # 200 pictures an axis, 7 categories in turn: 30 are 4 of each and 2 more
    kept = next(sheet for sheet in found if sheet.kind == "kept")
    counts = np.unique([item.about["category"] for item in kept.pictures], return_counts=True)[1]
    assert sorted(counts.tolist()) == [4, 4, 4, 4, 4, 5, 5]


def test_a_gate_counts_by_bound_what_lies_outside_it(made) -> None:
    rows = [row for row in figures.gather(made.con)["gates"] if row["axis"] == AXES[1]]
    groups = [[n for n in range(1, N, 3) if (n % 7 == 3) == own] for own in (False, True)]
    assert [(row["key"], row["n_pictures"], row["n_outside"]) for row in rows] == [
        (None, len(groups[0]), sum(value_of(n) < 200 for n in groups[0])),
        ("category 3", len(groups[1]), sum(value_of(n) < 500 for n in groups[1])),
    ]


@pytest.mark.parametrize(("k", "n"), [(0, 5), (3, 7), (50, 50), (1, 1000)])
def test_intervals_are_wilsons(k: int, n: int) -> None:
    found = summary.wilson(k / n, n)
    assert found == pytest.approx(tuple(binomtest(k, n).proportion_ci(method="wilson")), abs=1e-6)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (61, "1 min 01 s"), (3 * 3600 + 5 * 60, "3 h 05 min")]
)
def test_times_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert summary.duration(seconds) == said
