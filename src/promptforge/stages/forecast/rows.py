"""How many rows each stage will have, by axis.

    candidates -> kept by the checks -> may be taken -> prompts drawn (quota, sample, rounds) -> pictures (takes)
    -> accepted (policy) -> published -> usable (a picture that passes every gate)

Candidates are counted in the sources. Near duplicates grow with the rows, so the kept share of a shorter text is no
share of a longer one: kept rows are taken to grow as the power of the rows that the second half of the shorter text
showed against its first. The text of a pilot is whole where it can be, and then nothing is extrapolated. In rounds
prompts are drawn until the quota is full; the last round's surplus is not counted (rounds are sized by the acceptance).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from promptforge.recipe import Recipe
from promptforge.records import AXES
from promptforge.stages.forecast.amounts import N_DRAWS, Amount, Sampler, total
from promptforge.stages.forecast.basis import Judged, Measured
from promptforge.stages.judging.reference import reference_prompts
from promptforge.stages.rounds.replay import PROBE, PROBE_SHARE

#: Items of the forecast of rows, in order.
ITEMS = ("candidates", "kept", "prompts", "pictures", "accepted", "published", "usable")


@dataclass(frozen=True)
class Axis:
    """The rows of one axis.

    `pictures` are wanted, of which `drawn` are no failures; `needed` are the prompts that fill the quota (rounds).
    """

    candidates: Amount
    kept: Amount
    eligible: Amount
    prompts: Amount
    pictures: Amount
    drawn: Amount
    accepted: Amount
    usable: Amount
    needed: Amount | None = None

    def item(self, name: str) -> Amount:
        """One of ITEMS; published is what is accepted, of which purged texts alone are missing."""
        found: Amount = getattr(self, "accepted" if name == "published" else name)
        return found


@dataclass(frozen=True)
class Limits:
    """What rounds may spend, in pictures: the tightest of what the recipe names; None: nothing is named or known."""

    pictures: Amount | None = None
    by: str = ""


def forecast_rows(
    recipe: Recipe, candidates: Mapping[str | None, int], measured: Measured | None, sampler: Sampler, limits: Limits
) -> dict[str, Axis]:
    """Axis -> its rows. `candidates` has None for rows whose axis only their text tells."""
    texts = {axis: _text(axis, candidates, measured, sampler) for axis in AXES}
    shares = {axis: _shares(recipe, axis, measured, sampler) for axis in AXES}
    pieces = {axis: _pieces(recipe, axis, texts[axis][2], measured) for axis in AXES}
    needed = {axis: [_needed(recipe, piece, shares[axis][0], sampler) for piece in pieces[axis]] for axis in AXES}
    takes = {axis: _takes(recipe, axis, measured, sampler) for axis in AXES}
    drawn = {
        axis: [_prompts(recipe, *each, sampler) for each in zip(pieces[axis], needed[axis], strict=True)]
        for axis in AXES
    }
    if recipe.rounds is not None and limits.pictures is not None:
        drawn = _within(limits, drawn, pieces, takes)
    found = {}
    for axis in AXES:
        rows, kept, eligible = texts[axis]
        passed, usable = shares[axis]
        accepted = total(
            [
                _accepted(recipe, *each, passed, sampler)
                for each in zip(pieces[axis], drawn[axis], needed[axis], strict=True)
            ]
        )
        prompts = _with_reference(recipe, axis, total(drawn[axis]), eligible)
        pictures = (prompts * takes[axis]).at_most(limits.pictures)
        pictured = accepted if recipe.select.policy == "images" else prompts
        found[axis] = Axis(
            candidates=rows,
            kept=kept,
            eligible=eligible,
            prompts=prompts,
            pictures=pictures,
            drawn=sampler.successes(pictures, _intact(axis, measured, sampler)),
            accepted=accepted,
            usable=sampler.successes(pictured, usable) if recipe.render.sample else Amount.exactly(0),
            needed=None if None in needed[axis] else total([each for each in needed[axis] if each is not None]),
        )
    return found


@dataclass(frozen=True)
class Piece:
    """A goal of an axis: accepted prompts wanted (None: all), and prompts that may be taken for it."""

    wanted: int | None
    eligible: Amount


def _pieces(recipe: Recipe, axis: str, eligible: Amount, measured: Measured | None) -> list[Piece]:
    """The axis's cells and its rest; as one where nobody has counted what each cell has."""
    if measured and axis in measured.goals:
        return [Piece(wanted, Amount.exactly(n, measured.basis)) for wanted, n in measured.goals[axis]]
    return [Piece(_quota(recipe, axis), eligible)]


def _within(
    limits: Limits, drawn: Mapping[str, list[Amount]], pieces: Mapping[str, list[Piece]], takes: Mapping[str, Amount]
) -> dict[str, list[Amount]]:
    """What is drawn where it has to end at so many pictures, as stages/rounds/replay.py spends them.

    Of each some are drawn before acceptance is known: a probe where renders are short, else as many as are wanted.
    With the rest all rise to one level of what they need. Of bounds: all of it may go to one.
    """
    most = limits.pictures
    assert most is not None
    flat = [(each, of, takes[axis]) for axis in AXES for each, of in zip(drawn[axis], pieces[axis], strict=True)]
    if not total([each * take for each, _, take in flat]).is_known:
        return {axis: [each.at_most(most) for each in drawn[axis]] for axis in AXES}
    needs, costs = np.array([each.draws for each, _, _ in flat]), np.array([take.draws for _, _, take in flat])
    wanted = np.array([np.inf if of.wanted is None else of.wanted for _, of, _ in flat])
    first = np.maximum(PROBE, PROBE_SHARE * wanted) if limits.by == "max_renders" else wanted
    first = np.minimum(needs, first[:, None])
    first = first * np.minimum(1.0, most.draws / np.maximum((first * costs).sum(axis=0), 1.0))
    low, high = np.zeros(needs.shape[1]), np.ones(needs.shape[1])
    for _ in range(30):
        level = (low + high) / 2
        fits = (np.maximum(first, level * needs) * costs).sum(axis=0) <= most.draws
        low, high = np.where(fits, level, low), np.where(fits, high, level)
    cut = iter(np.where((needs * costs).sum(axis=0) <= most.draws, needs, np.maximum(first, low * needs)))
    return {axis: [each._with(most, next(cut)) for each in drawn[axis]] for axis in AXES}


def _accepted(
    recipe: Recipe, piece: Piece, drawn: Amount, needed: Amount | None, passed: Amount, sampler: Sampler
) -> Amount:
    if recipe.select.policy == "images" and needed is not None and needed.is_known and drawn.is_known:
        return sampler.reached(Amount.exactly(piece.wanted or 0), needed, drawn)
    if recipe.select.policy == "images":
        return sampler.successes(drawn, passed).at_most(piece.wanted)
    return piece.eligible.at_most(piece.wanted)


def _quota(recipe: Recipe, axis: str) -> int | None:
    quota = recipe.select.quota.model_dump()[axis]
    return None if quota == "all" else int(quota)


def _text(
    axis: str, candidates: Mapping[str | None, int], measured: Measured | None, sampler: Sampler
) -> tuple[Amount, Amount, Amount]:
    """Candidates, kept, eligible."""
    seen = measured.text.get(axis) if measured else None
    if measured and measured.whole_text:
        counts = (seen.rows, seen.kept, seen.eligible) if seen else (0, 0, 0)
        rows, kept, eligible = (Amount.exactly(n, measured.basis) for n in counts)
        return Amount.exactly(counts[0]), kept, eligible
    certain, open_rows = candidates.get(axis, 0), candidates.get(None, 0)
    if open_rows and measured:  # what the texts were told to be in the folder
        told = sum(text.rows for text in measured.text.values())
        share = sampler.share(seen.rows if seen else 0, told)
        rows = sampler.successes(Amount.exactly(open_rows), share) + certain
    elif open_rows:
        rows = Amount.between(certain, certain + open_rows)
    else:
        rows = Amount.exactly(certain)
    if seen is None or seen.rows == 0:
        kept = rows * Amount.between(0, 1) if rows.high else rows
        return rows, kept, kept
    half = seen.rows / 2
    early = sampler.share(min(seen.kept_early, half), half)
    late = sampler.share(min(seen.kept - seen.kept_early, half), half)
    both = early + late
    power = np.clip(np.log2(np.maximum((both / early).draws, 1e-9)), 0.0, 1.0)
    grown = Amount((rows.draws / seen.rows) ** power, measured.basis if measured else "recipe", rows.is_known)
    kept = (both * half * grown).at_most(rows)
    return rows, kept, kept * sampler.share(seen.eligible, seen.kept)


def _judged(axis: str, measured: Measured | None) -> Judged:
    return (measured.judged or {}).get(axis, Judged()) if measured else Judged()


def _shares(recipe: Recipe, axis: str, measured: Measured | None, sampler: Sampler) -> tuple[Amount, Amount]:
    """Of the prompts drawn, those that are accepted; of those accepted and drawn, those with a usable picture."""
    seen = _judged(axis, measured)
    gates = [gate for gate in recipe.select.gates.values() if axis in gate.axes]
    of = seen.prompts if recipe.select.policy == "distill" else seen.passed
    refusing = any(gate.decision == "keep_prompt" for gate in gates)
    passed = sampler.share(seen.passed, seen.prompts) if refusing else Amount.exactly(1)
    return passed, sampler.share(seen.usable, of)


def _intact(axis: str, measured: Measured | None, sampler: Sampler) -> Amount:
    """Share of the pictures that the teacher can draw."""
    seen = _judged(axis, measured)
    return sampler.share(seen.pictures - seen.failed, seen.pictures)


def _prompts(recipe: Recipe, piece: Piece, needed: Amount | None, sampler: Sampler) -> Amount:
    """Prompts that are drawn, were there no budget."""
    if recipe.render.sample == 0:
        return Amount.exactly(0)
    if recipe.rounds is not None:
        return piece.eligible.at_most(needed)
    factor = recipe.select.oversample if recipe.select.policy == "images" else 1.0
    # 100 * 1.1 is 110.00000000000001 in floating point
    planned = piece.eligible.at_most(None if piece.wanted is None else math.ceil(piece.wanted * factor - 1e-9))
    if recipe.render.sample == 1:
        return planned
    return sampler.successes(planned, Amount.exactly(recipe.render.sample))


def _with_reference(recipe: Recipe, axis: str, prompts: Amount, eligible: Amount) -> Amount:
    """Never fewer than quantile gates are fitted to, but for a budget."""
    reference = reference_prompts(recipe)[axis] * recipe.render.sample
    if not reference or recipe.rounds is not None:
        return prompts
    return prompts + (eligible.at_most(reference) + prompts * -1.0).at_least(0.0)


def _needed(recipe: Recipe, piece: Piece, passed: Amount, sampler: Sampler) -> Amount | None:
    """Prompts to draw until so many are accepted; None where all are wanted, or none is drawn for it."""
    if recipe.rounds is None or piece.wanted is None:
        return None
    return sampler.tries(Amount.exactly(piece.wanted), passed)


def _takes(recipe: Recipe, axis: str, measured: Measured | None, sampler: Sampler) -> Amount:
    """Pictures of a prompt that is drawn."""
    most = recipe.render.takes
    if most == 1 or not recipe.render.until_pass:
        return Amount.exactly(most)
    seen = _judged(axis, measured)
    if not seen.prompts:
        return Amount.between(1, most)
    drawn = sampler.mean(seen.needed, seen.needed_squares, seen.prompts).at_most(float(most))
    fixed = recipe.render.fixed_share
    return drawn * (1 - fixed) + most * fixed


def n_files(recipe: Recipe, n_pictures: float) -> int:
    """Files that rendering at once makes of a table: buckets as the plan cuts them, in increments."""
    pictures = max(0, round(n_pictures))
    if not pictures:
        return 0
    settings = recipe.run
    buckets = max(1, math.ceil(pictures / settings.bucket_images), min(pictures, 8 * settings.workers))
    return buckets * math.ceil(pictures / buckets / settings.increment)


#: Rounds: one where a budget ends in it, six at most for quotas of 600 (benchmarks/rounds.py).
_ROUNDS = (1, 6)


def files(recipe: Recipe, axes: Mapping[str, Axis], sampler: Sampler) -> Amount:
    """Files that rendering makes of a table, in rounds or in waves of takes: each has buckets of its own."""
    pictures = total([axis.pictures for axis in axes.values()])
    n = pictures.expected if pictures.expected is not None else pictures.high
    if recipe.rounds is not None:
        later = [(more, n / (more + 1)) for more in range(_ROUNDS[0] - 1, _ROUNDS[1])]
    else:
        again = total([axis.pictures + axis.prompts * -1.0 for axis in axes.values()])
        waves = recipe.render.takes - 1 if recipe.render.until_pass else 0
        each = (again.expected if again.expected is not None else again.high) / max(1, waves)
        later = [(waves, each)]
    buckets = 8.0 * recipe.run.workers
    # Buckets are told by a hash: of few pictures some get none.
    more = [count * buckets * (1 - (1 - 1 / buckets) ** each) for count, each in later]
    counts = n_files(recipe, n) + np.array(more)
    if len(counts) == 1:
        return Amount.exactly(float(counts[0]))
    return Amount(counts[sampler.rng.integers(0, len(counts), N_DRAWS)], "published")
