"""What labels say of each gate: precision, recall, yield and cost against threshold, and which threshold to take.

    precision   good pictures of those that pass
    recall      pictures that pass of the good ones
    yield       pictures that pass of all that the gate applies to, counted over the whole run, not over labels; its
                interval (Wilson) is for more pictures of the same teacher and prompts
    cost        renders for each picture that passes and is good, 1 / (yield * precision); its ends are those of the
                two intervals put together, so it covers at least as often

Recommended is the loosest threshold whose precision on the choosing half of the prompts is what is asked. On the half
that chose it, it looks better than it is: precision and recall are reported on the other half.

Written as settings is what that half supports: its interval reaches the precision asked for, and its lower end is at
most MARGIN below. The point alone would be a toss of a coin: at the loosest threshold that has the precision, half of
all samples lie under it. The lower end at or above what is asked can hardly happen there, however many labels there
are. So a written bound says: not refuted, and 97.5% sure to be no worse than MARGIN under. Whoever needs 0.9 for sure
asks for 0.95. A gate without a single bound to move (words, two bounds, predicates) is measured as it stands, on both
halves, by the same rule.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import duckdb
import numpy as np

from promptforge.stages.calibration.estimates import F64, Domain, Flags, Sample, Shares, threshold_interval, wilson
from promptforge.stages.calibration.frame import Frame
from promptforge.stages.labels import MIN_LABELS, SAID
from promptforge.stages.run import Run

MARGIN = 0.1  # how far under the precision asked for the interval of a written bound may reach
#: The answers: all, of the choosing half, of the reporting half.
Parts = tuple[Domain, Domain, Domain]

_STEPS = (1 / 2, 1 / 4, 1 / 8, 1 / 16)  # of the pictures of a side: where the table's thresholds lie, from the bound

_LABELLED = f"""
SELECT s.image_id, s.stratum, s.n_stratum, l.label = 'yes' AS good
FROM label_sample s
LEFT JOIN ({SAID}) l ON l.image_id = s.image_id AND l.question = s.question
WHERE s.sample = $sample
ORDER BY s.image_id
"""
# Of several samples of a gate the one with most answers.
_SAMPLE = f"""
SELECT s.sample, any_value(s.question) FROM label_sample s
LEFT JOIN ({SAID}) l ON l.image_id = s.image_id AND l.question = s.question
WHERE s.gate = $gate
GROUP BY s.sample ORDER BY count(l.label) DESC, count(*) DESC, s.sample LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Share:
    """A share in [0, 1] with its interval at 95%; nan where there is no label."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Line:
    """One threshold, as a value of the metric; None: the gate as it stands."""

    threshold: float | None
    precision: Share
    recall: Share
    yields: Share
    mark: str = ""

    @property
    def cost(self) -> Share:
        """Renders for each picture that passes and is good; inf where the share of such may be none."""
        worst, value, best = (
            1 / share if share > 0 else float("inf")
            for share in (
                self.yields.low * self.precision.low,
                self.yields.value * self.precision.value,
                self.yields.high * self.precision.high,
            )
        )
        return Share(value, best, worst)


@dataclass(frozen=True, slots=True)
class Calibration:
    """One gate against its labels. `reason` says why nothing is recommended or written; None: it is supported.

    `crossing`: interval of the threshold at which precision is what is asked, as values of the metric; None where
    there is none. `reported`: the recommended threshold on the reporting half. `n_more`: labels that would do, roughly.
    `side`: min or max, the bound that the threshold is.
    """

    gate: str
    question: str
    n_yes: int
    n_no: int
    lines: tuple[Line, ...] = ()
    crossing: tuple[float, float] | None = None
    threshold: float | None = None
    reported: Line | None = None
    reason: str | None = None
    n_more: int | None = None
    side: str = "min"

    @property
    def supported(self) -> bool:
        """Whether the labels bear out the recommended threshold, or the gate as it stands."""
        return self.reason is None


def labelled(con: duckdb.DuckDBPyConnection, frame: Frame) -> tuple[str, Parts] | None:
    """The question that was asked, and the answers to the gate's sample. None where there is no sample.

    Keys are those of the frame; for a gate that no bound moves, 1 where the picture passes and else 0.
    """
    found = con.execute(_SAMPLE, {"gate": frame.name}).fetchall()
    if not found:
        return None
    sampled, question = found[0]
    rows = con.sql(_LABELLED, params={"sample": sampled}).to_arrow_table()
    names, codes = np.unique(np.array(rows["stratum"].to_pylist(), str), return_inverse=True)
    sizes = np.zeros(len(names))
    sizes[codes] = rows["n_stratum"].to_numpy()
    images = np.array(frame.images, str)
    asked = np.array(rows["image_id"].to_pylist(), str)
    place = np.searchsorted(images, asked)
    known = place < len(images)
    known[known] = images[place[known]] == asked[known]  # a picture that the run no longer has
    said = rows["good"].is_valid().to_numpy(zero_copy_only=False) & known
    good = rows["good"].fill_null(False).to_numpy(zero_copy_only=False)[said]
    sample = Sample(_keys(frame)[place[said]], good, codes[said], sizes)
    return question, _parts(sample, frame.chosen[place[said]])


def by_truth(frame: Frame, question: str) -> Parts | None:
    """As `labelled`, from what the embedded teacher knows of every picture: canvas only. None where it knows nothing.

    Each picture counts as one draw of what the teacher draws.
    """
    if frame.good is None:
        return None
    n = len(frame.images)
    return _parts(Sample(_keys(frame), frame.good[question], np.zeros(n, np.int64)), frame.chosen)


def _keys(frame: Frame) -> F64:
    return frame.passes.astype(np.float64) if frame.key is None else frame.key


def _parts(sample: Sample, chosen: Flags) -> Parts:
    every = np.ones(len(chosen), bool)
    return sample.part(every), sample.part(chosen), sample.part(~chosen)


def calibrate(frame: Frame, question: str, parts: Parts, precision: float) -> Calibration:
    """Measure one gate, and choose its threshold, for the precision asked for."""
    every, choosing, reporting = parts
    n_yes, n_no = every.counts()
    made = Calibration(frame.name, question, n_yes, n_no, side=frame.side)
    if not n_yes + n_no:
        return replace(made, reason="no label yet")
    sizes = every.sample.sizes
    if sizes is not None and (unsaid := int(sizes[every.sample.said == 0].sum())):
        share = unsaid / float(sizes.sum())
        reason = f"no yes or no about any picture of strata that hold {share:.0%} of the pictures"
        return replace(made, reason=reason)
    if frame.key is None:
        stands = _lines(frame, every, np.array([1.0]), ("as it stands",))
        made = replace(made, lines=stands, reported=stands[0])
        short = _too_few(n_yes, n_no, (every,))
        if short is None:
            return _judged(made, every.precision(np.array([1.0])), precision)
        return replace(made, reason=f"{n_yes} yes and {n_no} no: too few", n_more=short)
    short = _too_few(n_yes, n_no, (choosing, reporting))
    if short is not None:
        counts = "; ".join("{} yes and {} no".format(*part.counts()) for part in (choosing, reporting))
        reason = f"too few labels: {counts} in the halves, {MIN_LABELS} of each are needed"
        return replace(made, lines=_table(frame, every, None), reason=reason, n_more=short)
    crossing = threshold_interval(every, precision)
    ends = None if crossing is None else (frame.sign * crossing[0] + 0.0, frame.sign * crossing[1] + 0.0)
    made = replace(made, crossing=ends and (min(ends), max(ends)))
    keys = choosing.keys
    reached = np.flatnonzero(choosing.precision(keys).value >= precision)
    if not len(reached):
        reason = f"no threshold has a precision of {precision:g} on the choosing half"
        return replace(made, lines=_table(frame, every, None), reason=reason)
    key = float(keys[reached[0]])
    reported = _lines(frame, reporting, np.array([key]), ("",))[0]
    made = replace(made, lines=_table(frame, every, key), threshold=frame.sign * key + 0.0, reported=reported)
    return _judged(made, reporting.precision(np.array([key])), precision)


def _judged(made: Calibration, found: Shares, precision: float) -> Calibration:
    """Whether the precision that was found supports what was asked for; else how many more labels might."""
    value, low, high = float(found.value[0]), float(found.low[0]), float(found.high[0])
    if np.isnan(value):
        return replace(made, reason="no label on the reporting half passes", n_more=made.n_yes + made.n_no)
    if low >= precision - MARGIN and high >= precision:
        return made
    if high < precision or value <= precision - MARGIN:
        return replace(made, reason=f"its precision is {value:.2f} ({low:.2f} to {high:.2f}), under {precision:g}")
    sizes = np.unique(np.geomspace(1, 1e6, 2000).round())
    lows, _ = wilson(np.full(len(sizes), min(value, precision)), sizes)
    wanted = sizes[np.argmax(lows >= precision - MARGIN)]
    more = (made.n_yes + made.n_no) * (wanted / float(found.effective[0]) - 1)
    reason = f"too few labels: its precision may be {low:.2f}, and {precision - MARGIN:g} is the least"
    return replace(made, reason=reason, n_more=max(10, int(np.ceil(more / 10)) * 10))


def _too_few(n_yes: int, n_no: int, parts: tuple[Domain, ...]) -> int | None:
    """None where each part has labels enough of both kinds; else how many more, roughly, at the odds of now."""
    least = min(min(part.counts()) for part in parts)
    if least >= MIN_LABELS:
        return None
    n = n_yes + n_no
    return max(10, int(np.ceil((n * MIN_LABELS / max(least, 0.5) - n) / 10)) * 10)


def _table(frame: Frame, part: Domain, key: float | None) -> tuple[Line, ...]:
    """Thresholds around the bound in force, loosest first; at a half to a sixteenth of the pictures of either side."""
    assert frame.key is not None
    assert frame.bound is not None
    marks = {frame.bound: "in force"}
    failing, passing = np.sort(frame.key[~frame.passes]), np.sort(frame.key[frame.passes])
    for step in _STEPS:
        if len(failing):
            marks.setdefault(float(failing[int(len(failing) * (1 - step))]), "")
        if len(passing):
            marks.setdefault(float(passing[int((len(passing) - 1) * step)]), "")
    if key is not None:
        marks[key] = "in force, chosen" if key == frame.bound else "chosen"
    keys = np.array(sorted(marks))
    return _lines(frame, part, keys, tuple(marks[each] for each in keys.tolist()))


def _lines(frame: Frame, part: Domain, keys: F64, marks: tuple[str, ...]) -> tuple[Line, ...]:
    every = np.sort(_keys(frame))
    passing = (len(every) - np.searchsorted(every, keys, side="left")) / max(len(every), 1)
    low, high = wilson(passing, np.full(len(keys), float(max(len(every), 1))))
    yields = Shares(passing, low, high, np.full(len(keys), float(len(every))))
    precision, recall = part.precision(keys), part.recall(keys)
    return tuple(
        Line(
            None if frame.key is None else frame.sign * float(key) + 0.0,
            _share(precision, row),
            _share(recall, row),
            _share(yields, row),
            mark,
        )
        for row, (key, mark) in enumerate(zip(keys, marks, strict=True))
    )


def _share(found: Shares, row: int) -> Share:
    return Share(float(found.value[row]), float(found.low[row]), float(found.high[row]))


def settings(found: list[Calibration], run: Run) -> list[str]:
    """Lines for `--set @FILE` that put the supported bounds in, with the teacher that they were measured on."""
    lines = []
    for each in found:
        if not each.supported or each.reported is None:
            continue
        share, path = each.reported.precision, f"select.gates.{each.gate}"
        lines.append(f"# {each.gate}: precision {share.value:.3f} ({share.low:.3f} to {share.high:.3f})")
        if each.threshold is not None:
            lines.append(f"{path}.{each.side}={each.threshold!r}")
        lines += [f"{path}.validated=true", f"{path}.measured_on={run.teacher_fingerprint}"]
    return lines
