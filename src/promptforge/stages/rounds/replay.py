"""What is to be rendered next, as a function of what is known: the decisions of every round, played again.

The play begins with nothing drawn. In each turn every open goal asks for the next takes of its undecided prompts and
for new prompts (sizes.py); their outcomes are looked up, and the next turn begins. Where an outcome is not there yet,
the play ends, and what is not drawn of that turn is the next round: all of it, or its head up to what one round may
hold. So the size of a round cuts the turns, but never moves them, and neither does an interruption.

A prompt is accepted once a take passes every gate that decides keep_prompt, and decided then or when its takes are used
up. A goal is full when its n-th accepted prompt stands with every earlier prompt decided. Acceptance is measured on
turns of which every prompt is decided: of a turn with takes left, those that passed at once would be all that count.

Within a budget of renders: while the upper end (95%) of what all goals still need fits, it plays no part. Where it does
not, goals rise together: in each turn to the level (the share of what each wants) that the rest of the budget can be
expected to reach, and never with more new prompts than are surely needed. What is left for the last steps goes to the
goals with the smallest share, a prompt at a time. So nothing is rendered too much, and with one take a prompt the rows
accepted at the end depend on the budget alone, not on the size of rounds; nor do they with more takes, but there the
budget may end between two takes of a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from promptforge.stages.rounds.sizes import Record, counted, quantile, size, spare

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

NEVER = 1 << 30  # a take that no prompt has
PROBE = 20  # new prompts of a goal, or PROBE_SHARE of what it wants, where a budget is short and nothing is known
PROBE_SHARE = 0.05
STEP = 0.6  # of what is left of a short budget: the most that a turn is expected to take, so that it can be corrected
TAIL_SHARE = 0.02  # of a budget: left for the last steps, a prompt at a time


@dataclass(frozen=True)
class Candidates:
    """A goal's prompts in their order, and what is known of each; `first` must be in the first round.

    accepted_at, passed_at: first take that passes the gates of the prompt, and every gate; NEVER where none does.
    planned: takes that rounds so far wanted. made: pictures that are there. fixed: all takes are drawn at once.
    """

    wanted: int | None
    accepted_at: Ints
    passed_at: Ints
    planned: Ints
    made: Ints
    fixed: Flags
    first: int = 0

    def __len__(self) -> int:
        return len(self.planned)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the recipe says of takes, budget and hopeless goals."""

    takes: int = 1
    until_pass: bool = False
    max_renders: int | None = None
    hopeless_below: float = 0.01
    hopeless_after: int = 200


@dataclass(frozen=True)
class Batch:
    """Pictures: takes `start` to `stop` - 1 of prompt `index` of goal `goal`, in the order of their urgency."""

    goal: Ints
    index: Ints
    start: Ints
    stop: Ints
    must: Flags

    def __len__(self) -> int:
        return len(self.goal)

    @property
    def renders(self) -> Ints:
        """Pictures of each line."""
        return self.stop - self.start

    def chosen(self, which: Flags | Ints | slice) -> Batch:
        """These lines."""
        return Batch(self.goal[which], self.index[which], self.start[which], self.stop[which], self.must[which])

    def head(self, cost: Ints, most: int | None) -> Batch:
        """The first lines that cost no more than `most` together; a line is never split."""
        if most is None:
            return self
        return self.chosen(slice(0, int(np.searchsorted(np.cumsum(cost), most, side="right"))))


@dataclass
class Standing:
    """Where a goal stands in the play."""

    of: Candidates
    drawn: Ints
    turns: list[tuple[int, int]] = field(default_factory=list)  # first and last + 1 of the prompts of each turn
    tried: int = 0

    @property
    def accepted(self) -> Flags:
        """Which of those tried are accepted."""
        return self.of.accepted_at[: self.tried] < self.drawn[: self.tried]

    def undecided(self, takes: int) -> Flags:
        """Which of those tried may yet be accepted."""
        return ~self.accepted & (self.drawn[: self.tried] < takes)

    def settled(self, takes: int) -> Flags:
        """Which of those tried are in a turn of which every prompt is decided."""
        undecided, found = self.undecided(takes), np.zeros(self.tried, bool)
        for a, b in self.turns:
            found[a:b] = not undecided[a:b].any()
        return found

    def record(self, takes: int, after: int = 0) -> Record:
        """Acceptance over the turns that are decided; of the prompts alone that were not after so many takes."""
        of = self.settled(takes) & (self.of.accepted_at[: self.tried] >= after)
        return Record(int(of.sum()), int(self.accepted[of].sum()))

    def counted(self, takes: int, allowed: float) -> int:
        """How many of the undecided prompts a round counts on: those with the same number of takes by their record."""
        depths, n = np.unique(self.drawn[: self.tried][self.undecided(takes)], return_counts=True)
        return sum(
            counted(each, self.record(takes, depth), allowed / len(depths))
            for depth, each in zip(depths.tolist(), n.tolist(), strict=True)
        )

    def retries(self, takes: int) -> Ints:
        """Prompts whose next take is wanted: none passes every gate, and fewer than wanted are accepted before it."""
        accepted = self.accepted
        again = (self.of.passed_at[: self.tried] >= self.drawn[: self.tried]) & (self.drawn[: self.tried] < takes)
        if self.of.wanted is not None:
            again &= np.cumsum(accepted) - accepted < self.of.wanted
        return np.flatnonzero(again)


@dataclass(frozen=True)
class Next:
    """What is to be drawn next (empty: it is over), and the state of each goal."""

    batch: Batch
    states: tuple[str, ...]


class Play:
    """The play over all goals of a recipe."""

    def __init__(self, candidates: Sequence[Candidates], rules: Rules) -> None:
        self.rules = rules
        self.goals = [Standing(each, np.zeros(len(each), np.int64)) for each in candidates]
        self.spent = 0

    def run(self) -> Next:
        """Play until something is missing or nothing is wanted."""
        while True:
            states = [self._state(goal) for goal in self.goals]
            batch, short = self._turn(states)
            if not len(batch):
                states = ["budget" if short and state == "open" else state for state in states]
                return Next(batch, tuple(states))
            planned = np.concatenate([goal.of.planned for goal in self.goals])
            offset = np.cumsum([0, *(len(goal.of) for goal in self.goals)])
            missing = planned[offset[batch.goal] + batch.index] < batch.stop
            if missing.any():
                return Next(batch.chosen(missing), tuple(states))
            self._apply(batch)

    def _state(self, goal: Standing) -> str:
        rules, of = self.rules, goal.of
        again = len(goal.retries(rules.takes)) > 0
        accepted = int(goal.accepted.sum())
        if of.wanted is not None and accepted >= of.wanted and not again:
            return "full"
        if goal.tried == len(of) and not again:
            return "exhausted"
        record = goal.record(rules.takes)
        if record.decided >= rules.hopeless_after and record.interval()[1] < rules.hopeless_below:
            return "hopeless"
        return "open"

    def _turn(self, states: Sequence[str]) -> tuple[Batch, bool]:
        """The pictures of this turn, and whether the budget is short of what is needed."""
        rules = self.rules
        is_open = [state == "open" for state in states]
        again = [
            goal.retries(rules.takes) if on else np.zeros(0, np.int64)
            for goal, on in zip(self.goals, is_open, strict=True)
        ]
        left = None if rules.max_renders is None else rules.max_renders - self.spent
        needs = [self._need(goal) if on else None for goal, on in zip(self.goals, is_open, strict=True)]
        waiting = sum(map(len, again))
        if left is not None and waiting + sum(need.upper() for need in needs if need) > left:
            new = self._level(needs, left - waiting)
            short = True
        else:
            new, short = [self._careful(need, need.size()) if need else 0 for need in needs], False
        if self.spent == 0:
            new = [max(n, min(goal.of.first, len(goal.of))) for n, goal in zip(new, self.goals, strict=True)]
        batch = self._batch(again, new)
        return batch.head(batch.renders, left), short

    def _careful(self, need: _Need, n: int) -> int:
        """No more than twice as many prompts as so far, of a goal that may turn out to be hopeless."""
        if not need.record.decided or need.record.interval()[0] >= self.rules.hopeless_below:
            return n
        return min(n, max(need.missing(1.0), need.tried, self.rules.hopeless_after))

    def _need(self, goal: Standing) -> _Need:
        rules, of = self.rules, goal.of
        undecided = int(goal.undecided(rules.takes).sum())
        limit = len(of) - goal.tried
        each = float(rules.takes)
        record = goal.record(rules.takes)
        if rules.until_pass and record.decided:
            each = float(goal.drawn[: goal.tried].sum()) / goal.tried
        accepted = int(goal.accepted.sum())
        counted = 0
        if undecided and of.wanted is not None:
            total = goal.tried + max(0, of.wanted - accepted - undecided)
            counted = goal.counted(rules.takes, spare(total) / 2)
        return _Need(of.wanted, accepted + undecided, accepted + counted, record, goal.tried, limit, each, rules.takes)

    def _level(self, needs: Sequence[_Need | None], left: int) -> list[int]:
        """New prompts of each goal where the budget is short: all to the level that can be expected to be reached."""
        present = [need for need in needs if need]
        surely = [need.missing(1.0) if need else 0 for need in needs]
        assert self.rules.max_renders is not None
        if left <= max(3 * len(present), TAIL_SHARE * self.rules.max_renders):
            return surely
        low, high = 0.0, 1.0
        for _ in range(24):
            level = (low + high) / 2
            if sum(need.expected(level) for need in present) <= STEP * left:
                low = level
            else:
                high = level
        new = [min(most, need.probe(low)) if need else 0 for need, most in zip(needs, surely, strict=True)]
        return new if any(new) else surely

    def _batch(self, again: Sequence[Ints], new: Sequence[int]) -> Batch:
        """Further takes first, then new prompts by the share of its goal at which each would stand if all passed."""
        rules, parts, keys = self.rules, [], []
        for number, (goal, old, n) in enumerate(zip(self.goals, again, new, strict=True)):
            fresh = np.arange(goal.tried, goal.tried + n)
            index = np.concatenate([old, fresh])
            start = goal.drawn[index]
            stop = np.where(goal.of.fixed[index] | (not rules.until_pass), rules.takes, start + 1)
            must = (index < goal.of.first) & (self.spent == 0)
            aim = goal.of.wanted if goal.of.wanted is not None else len(goal.of)
            base = int(goal.accepted.sum()) if goal.of.wanted is not None else goal.tried
            share = (base + 1 + fresh - goal.tried) / max(aim, 1)
            keys.append(np.concatenate([np.full(len(old), -1.0), share]) - 2.0 * must)
            parts.append(Batch(np.full(len(index), number), index, start, stop, must))
        whole_batch = Batch(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in Batch.__annotations__)
        )
        order = np.lexsort((whole_batch.index, whole_batch.goal, np.concatenate(keys)))
        return Batch(*(getattr(whole_batch, name)[order] for name in Batch.__annotations__))

    def _apply(self, batch: Batch) -> None:
        self.spent += int(batch.renders.sum())
        for number, goal in enumerate(self.goals):
            mine = batch.goal == number
            goal.drawn[batch.index[mine]] = batch.stop[mine]
            fresh = batch.index[mine & (batch.start == 0)]
            if len(fresh):
                goal.turns.append((goal.tried, int(fresh.max()) + 1))
                goal.tried = int(fresh.max()) + 1


@dataclass(frozen=True, slots=True)
class _Need:
    """What a goal still needs.

    `sure`: accepted or undecided; `likely`: accepted or counted on; `each`: renders of a prompt, `takes` at most.
    """

    wanted: int | None
    sure: int
    likely: int
    record: Record
    tried: int
    limit: int
    each: float
    takes: int

    def missing(self, level: float) -> int:
        """Prompts that are surely needed to bring the goal to this share of what it wants."""
        if self.wanted is None:  # all are wanted, whether they pass or not
            return max(0, int(np.ceil(level * (self.tried + self.limit) - 1e-9)) - self.tried)
        return min(self.limit, max(0, int(np.ceil(level * self.wanted - 1e-9)) - self.sure))

    def _prompts(self, level: float, share: float) -> int:
        missing = self.missing(level)
        return missing if self.wanted is None else quantile(missing, self.record, share, self.limit)

    def upper(self) -> float:
        """Renders until the goal is full, at the upper end."""
        return self._prompts(1.0, 0.95) * self.takes

    def expected(self, level: float) -> float:
        """Renders until this level, in the median; where nothing is decided, as if two in three passed."""
        if self.wanted is not None and not self.record.decided:
            return self.missing(level) * 1.5 * self.each
        return self._prompts(level, 0.5) * self.each

    def size(self) -> int:
        """New prompts of a turn that no budget binds."""
        if self.wanted is None:
            return self.missing(1.0)
        return size(min(self.limit, max(0, self.wanted - self.likely)), self.record, self.tried, self.limit)

    def probe(self, level: float) -> int:
        """New prompts of a turn towards this level; few where nothing is known."""
        if self.wanted is None:
            return self.missing(level)
        if not self.record.decided:
            return 0 if self.tried else max(PROBE, int(np.ceil(PROBE_SHARE * self.wanted)))
        return size(self.missing(level), self.record, self.tried, self.limit)
