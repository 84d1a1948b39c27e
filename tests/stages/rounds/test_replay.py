"""The play of rounds against rendering one by one with hindsight, over the canvas teacher's own draws of mistakes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from promptforge.records import content_id, noise_seed
from promptforge.stages.rounds.replay import NEVER, Candidates, Flags, Play, Rules
from promptforge.teachers.drawing.mistakes import FRAME_KINDS, choose

WEIGHTS = dict.fromkeys(FRAME_KINDS, 1.0)


def outcomes(rate: float, n: int, seed: int, takes: int = 1) -> Flags:
    """Which take of which prompt has no mistake: n x takes."""
    fine = [
        choose(
            rate, WEIGHTS, FRAME_KINDS, np.random.default_rng(noise_seed(content_id(f"{seed} {rate} {i}"), take, seed))
        )
        is None
        for i in range(n)
        for take in range(takes)
    ]
    return np.array(fine).reshape(n, takes)


@dataclass
class World:
    """Goals whose outcomes are known to the test alone."""

    passes: Sequence[Flags]
    wanted: Sequence[int | None]
    rules: Rules
    fixed: Sequence[Flags] | None = None
    states: tuple[str, ...] = ()
    rounds: int = 0
    candidates: list[Candidates] = field(default_factory=list)

    def drive(self, most: int | None = None) -> World:
        """Round after round, each cut to `most` renders."""
        self.candidates = [
            unseen(fine, wanted, None if self.fixed is None else self.fixed[number])
            for number, (fine, wanted) in enumerate(zip(self.passes, self.wanted, strict=True))
        ]
        while True:
            found = Play(self.candidates, self.rules).run()
            batch = found.batch.head(found.batch.renders, most)
            if not len(batch):
                self.states = found.states
                return self
            self.rounds += 1
            for line in range(len(batch)):
                of, at, fine = self.candidates[batch.goal[line]], batch.index[line], self.passes[batch.goal[line]]
                assert of.planned[at] == batch.start[line]  # every take once, in order
                of.planned[at] = batch.stop[line]
                good = [take for take in range(batch.stop[line]) if fine[at, take]]
                of.accepted_at[at] = of.passed_at[at] = good[0] if good else NEVER

    @property
    def spent(self) -> int:
        return sum(int(of.planned.sum()) for of in self.candidates)

    @property
    def accepted(self) -> list[list[int]]:
        """The first accepted prompts of each goal, up to what it wants."""
        return [
            np.flatnonzero(of.accepted_at < of.planned)[: len(of) if of.wanted is None else of.wanted].tolist()
            for of in self.candidates
        ]


def unseen(fine: Flags, wanted: int | None, fixed: Flags | None = None, first: int = 0) -> Candidates:
    """A goal of which nothing is known yet."""
    never, none = np.full(len(fine), NEVER, np.int64), np.zeros(len(fine), np.int64)
    fixed = np.zeros(len(fine), bool) if fixed is None else fixed
    return Candidates(wanted, never, never.copy(), none, none.copy(), fixed, first)


def hindsight(fine: Flags, wanted: int) -> int:
    """Prompts that are rendered one by one until enough have passed; one take each."""
    got = 0
    for n, row in enumerate(fine, 1):
        got += bool(row[0])
        if got == wanted:
            return n
    return len(fine)


def test_quotas_are_met_with_hardly_more_renders_than_with_hindsight() -> None:
    over = []
    for seed in range(20):
        fine = [outcomes(rate, 1400, seed) for rate in (0.2, 0.3, 0.45)]
        world = World(fine, [600] * 3, Rules()).drive()
        assert [len(rows) for rows in world.accepted] == [600] * 3
        over.append(world.spent / sum(hindsight(each, 600) for each in fine) - 1)
        assert world.rounds <= 7
    assert min(over) >= 0
    assert float(np.median(over)) <= 0.02
    assert max(over) <= 0.05


def test_waves_of_takes_share_rounds_with_new_prompts_and_waste_hardly_more() -> None:
    """One in five pictures passes; four waves for each batch of prompts, one after the other, take up to 16 rounds."""
    rounds, over = [], []
    for seed in range(5):
        (fine,) = [outcomes(0.8, 1400, seed, 4)]
        world = World([fine], [600], Rules(4, True)).drive()
        takes = np.where(fine.any(axis=1), fine.argmax(axis=1) + 1, 4)
        needed = int(takes[: np.flatnonzero(fine.any(axis=1))[599] + 1].sum())
        rounds.append(world.rounds)
        over.append(world.spent / needed - 1)
    assert np.median(rounds) <= 11
    assert max(rounds) <= 13
    assert min(over) >= 0
    assert np.median(over) <= 0.006
    assert max(over) <= 0.02


@pytest.mark.parametrize("budget", [None, 150, 90])
def test_the_size_of_rounds_moves_no_accepted_row(budget: int | None) -> None:
    fine = [outcomes(rate, 200, 3) for rate in (0.2, 0.5)]
    worlds = [World(fine, [60, 60], Rules(max_renders=budget)).drive(most) for most in (None, 1, 7, 64)]
    assert all(world.accepted == worlds[0].accepted for world in worlds)
    assert all(world.spent == worlds[0].spent for world in worlds)
    assert worlds[1].rounds > worlds[0].rounds


def test_a_larger_quota_contains_the_smaller() -> None:
    fine = [outcomes(0.3, 400, 1)]
    small, large = (World(fine, [wanted], Rules()).drive().accepted[0] for wanted in (100, 150))
    assert large[:100] == small
    assert large == np.flatnonzero(fine[0][:, 0])[:150].tolist()  # the first that pass, whatever the rounds were


@pytest.mark.parametrize("seed", range(20))
def test_a_budget_is_never_exceeded_and_never_left_while_something_is_short(seed: int) -> None:
    rng = random.Random(seed)
    n_goals, takes = rng.randint(1, 5), rng.choice([1, 1, 2, 4])
    fine = [outcomes(rng.choice([0.05, 0.3, 0.7, 1.0]), rng.randint(1, 120), seed + i, takes) for i in range(n_goals)]
    wanted = [rng.choice([0, 1, 8, 30, 80, None]) for _ in fine]
    budget = rng.randint(takes, 300)
    until_pass = rng.random() < 0.5
    fixed = [np.array([rng.random() < (0.3 if until_pass else 1) for _ in each]) for each in fine]
    rules = Rules(takes, until_pass, budget, hopeless_after=30)
    world = World(fine, wanted, rules, fixed).drive(rng.choice([None, 17, 40]))
    assert world.spent <= budget
    if "budget" in world.states:  # what is left is not enough for one prompt with all its takes
        assert world.spent > budget - takes
    for state, rows, want in zip(world.states, world.accepted, wanted, strict=True):
        assert state in ("full", "exhausted", "hopeless", "budget")
        assert state != "full" or len(rows) == want


def test_short_of_renders_all_goals_reach_the_same_share() -> None:
    """0.9 and 0.3 pass; 600 and 300 wanted would take 667 + 1,000 renders, and there are 500."""
    fine = [outcomes(0.1, 1500, 4), outcomes(0.7, 1500, 5)]
    world = World(fine, [600, 300], Rules(max_renders=500)).drive()
    shares = [len(world.accepted[0]) / 600, len(world.accepted[1]) / 300]
    # Share x costs 600 x / 0.9 + 300 x / 0.3 = 1667 x = 500, so x = 0.3 within what chance does to 100 tries.
    assert world.spent == 500
    assert abs(shares[0] - shares[1]) < 0.05
    assert all(0.24 < share < 0.36 for share in shares)


def test_takes_stop_at_the_first_pass_but_for_fixed_prompts() -> None:
    fine = [outcomes(0.6, 60, 6, 4)]
    fixed = [np.arange(60) % 3 == 0]
    world = World(fine, [20], Rules(4, True), fixed).drive()
    (of,) = world.candidates
    tried = np.flatnonzero(of.planned)
    assert (of.planned[tried[tried % 3 == 0]] == 4).all()
    needed = [i for i in tried if i % 3 and i <= world.accepted[0][-1]]
    assert {int(of.planned[i]) for i in needed} == {1, 2, 3, 4}
    for i in needed:
        good = np.flatnonzero(fine[0][i])
        assert of.planned[i] == (good[0] + 1 if len(good) else 4)
    # Accepted are the first twenty of which any take passes.
    assert world.accepted[0] == np.flatnonzero(fine[0].any(axis=1))[:20].tolist()


def test_a_goal_that_hardly_passes_is_given_up() -> None:
    """None of many passes: Jeffreys' upper 97.5% end is under 1% from 250 prompts on, 2.5 / n for large n."""
    never = np.zeros((3000, 1), bool)
    world = World([never, outcomes(0.1, 500, 2)], [100, 100], Rules(hopeless_after=50)).drive(50)
    assert world.states == ("hopeless", "full")
    assert 250 <= int(world.candidates[0].planned.sum()) < 1000
    patient = World([never], [100], Rules(hopeless_below=0.0)).drive()
    assert patient.states == ("exhausted",)
    assert int(patient.candidates[0].planned.sum()) == 3000


def test_all_that_there_is_ends_exhausted() -> None:
    world = World([outcomes(0.3, 50, 1)], [None], Rules()).drive()
    assert (world.spent, world.rounds, world.states) == (50, 1, ("exhausted",))


def test_what_gates_are_fitted_on_comes_first() -> None:
    batch = Play([unseen(outcomes(0.3, 100, 1), 10, first=40)], Rules()).run().batch
    assert sorted(batch.index.tolist()) == list(range(40))
    assert batch.must.all()
