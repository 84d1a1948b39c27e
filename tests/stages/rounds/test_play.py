"""The play of rounds under any mix of goals, takes and budgets, against drawing one by one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from promptforge.stages.rounds.replay import NEVER, Batch, Candidates, Flags, Ints, Play, Rules


@dataclass(frozen=True)
class Goal:
    """What each take of each prompt would show: passes the prompt's gates, passes every gate (never without those)."""

    accepts: Flags
    passes: Flags
    wanted: int | None
    fixed: Flags
    first: int


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Goal], Rules, int | None]:
    """Goals, rules, and renders of one round at most."""
    takes = draw(st.integers(1, 3))
    until_pass = draw(st.booleans())
    goals = []
    for _ in range(draw(st.integers(1, 3))):
        n = draw(st.integers(0, 40))
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        share = draw(st.sampled_from([0.0, 0.2, 0.6, 1.0]))
        accepts = rng.random((n, takes)) < share  # a failed render is a take that accepts nothing
        passes = accepts & (rng.random((n, takes)) < draw(st.sampled_from([0.5, 1.0])))
        fixed = np.full(n, True) if not until_pass else rng.random(n) < draw(st.sampled_from([0.0, 0.4]))
        wanted = draw(st.sampled_from([None, 0, 1, 5, 12, 60]))
        goals.append(Goal(accepts, passes, wanted, fixed, draw(st.sampled_from([0, 0, 7, 50]))))
    needed = takes if not until_pass or any(goal.fixed.any() for goal in goals) else 1
    budget = draw(st.none() | st.integers(needed, 150))
    rules = Rules(takes, until_pass, budget, hopeless_below=draw(st.sampled_from([0.0, 0.1])), hopeless_after=15)
    return goals, rules, draw(st.none() | st.integers(needed, 30))


def first_good(good: Flags, drawn: Ints) -> Ints:
    """First take of those drawn that is good; NEVER where none is."""
    seen = good & (np.arange(good.shape[1]) < drawn[:, None])
    return np.where(seen.any(axis=1), seen.argmax(axis=1), NEVER)


def drive(goals: list[Goal], rules: Rules, round_renders: int | None) -> tuple[list[Candidates], tuple[str, ...]]:
    """Round after round until nothing is wanted, each cut as a run cuts it."""
    drawn = [np.zeros(len(goal.accepts), np.int64) for goal in goals]
    for _ in range(1000):
        known = [
            Candidates(
                goal.wanted, first_good(goal.accepts, n), first_good(goal.passes, n), n, n, goal.fixed, goal.first
            )
            for goal, n in zip(goals, drawn, strict=True)
        ]
        found = Play(known, rules).run()
        batch = cut(found.batch, round_renders, rules, sum(int(n.sum()) for n in drawn))
        if not len(batch):
            assert not len(found.batch)
            return known, found.states
        for goal, index, start, stop in zip(batch.goal, batch.index, batch.start, batch.stop, strict=True):
            assert drawn[goal][index] == start < stop <= rules.takes
            drawn[goal][index] = stop
        assert rules.max_renders is None or sum(int(n.sum()) for n in drawn) <= rules.max_renders
    raise AssertionError("1,000 rounds, and it goes on")


def cut(batch: Batch, round_renders: int | None, rules: Rules, spent: int) -> Batch:
    """The head of a batch that a round may hold."""
    if round_renders is not None:
        batch = batch.head(batch.renders, max(round_renders, int(batch.renders[batch.must].sum())))
    return batch if rules.max_renders is None else batch.head(batch.renders, rules.max_renders - spent)


def one_by_one(goal: Goal, rules: Rules) -> tuple[list[int], int]:
    """Accepted prompts, and renders up to the last of them, where each prompt is drawn to its end before the next."""
    accepted: list[int] = []
    renders = 0
    for prompt, (accepts, passes) in enumerate(zip(goal.accepts, goal.passes, strict=True)):
        if goal.wanted is not None and len(accepted) >= goal.wanted:
            break
        stops = not goal.fixed[prompt] and passes.any()
        n = int(passes.argmax()) + 1 if stops else rules.takes
        renders += n
        if accepts[:n].any():
            accepted.append(prompt)
    return accepted, renders


def taken(of: Candidates) -> list[int]:
    """What a selection accepts: the first of those drawn that pass, up to what is wanted."""
    return np.flatnonzero(of.accepted_at < of.planned)[: of.wanted].tolist()


@settings(max_examples=300, deadline=None)
@given(worlds())
def test_accepted_are_the_first_passes_of_each_goal_within_the_budget(
    world: tuple[list[Goal], Rules, int | None],
) -> None:
    goals, rules, round_renders = world
    known, states = drive(goals, rules, round_renders)
    for goal, of, state in zip(goals, known, states, strict=True):
        best, renders = one_by_one(goal, rules)
        if state not in ("budget", "hopeless") or not rules.until_pass:  # these may end between two takes of a prompt
            assert taken(of) == best[: len(taken(of))]
        tried = np.flatnonzero(of.planned)
        assert tried.tolist() == list(range(len(tried)))  # no prompt is passed over
        match state:
            case "full":
                assert len(best) == goal.wanted
                assert taken(of) == best
                assert int(of.planned.sum()) >= renders
            case "exhausted":
                assert taken(of) == best
                assert int(of.planned.sum()) == renders
            case "hopeless":
                assert rules.hopeless_below > 0
                assert len(tried) >= rules.hopeless_after
            case "budget":
                assert rules.max_renders is not None
                spent = sum(int(each.planned.sum()) for each in known)
                assert spent > rules.max_renders - rules.takes
            case _:
                raise AssertionError(state)
        for prompt in tried:  # takes stop at the first pass of every gate, but for the fixed
            n = int(of.planned[prompt])
            assert n == rules.takes or (not goal.fixed[prompt] and not goal.passes[prompt, : n - 1].any())


@settings(max_examples=150, deadline=None)
@given(worlds(), st.integers(3, 40))
def test_the_size_of_a_round_moves_nothing_that_is_accepted(
    world: tuple[list[Goal], Rules, int | None], other: int
) -> None:
    goals, rules, round_renders = world
    sizes = (round_renders, other, None)
    found = [drive(goals, rules, size) for size in sizes]
    assert len({states for _, states in found}) == 1
    for known, _ in found[1:]:
        for of, reference in zip(known, found[0][0], strict=True):
            assert taken(of) == taken(reference)
            np.testing.assert_array_equal(of.planned, reference.planned)


@settings(max_examples=100, deadline=None)
@given(worlds(), st.integers(1, 30))
def test_a_raised_quota_contains_the_smaller(world: tuple[list[Goal], Rules, int | None], more: int) -> None:
    goals, rules, round_renders = world
    free = Rules(rules.takes, rules.until_pass, None, hopeless_below=0.0)
    raised = [Goal(g.accepts, g.passes, g.wanted and g.wanted + more, g.fixed, g.first) for g in goals]
    small, _ = drive(goals, free, round_renders)
    large, _ = drive(raised, free, None)
    for before, after in zip(small, large, strict=True):
        assert taken(after)[: len(taken(before))] == taken(before)
