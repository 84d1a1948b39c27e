"""What was to be written against what was read, letter by letter: which are lost, and which are wrong or too many."""

from __future__ import annotations

from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

Run = tuple[str, bool]  #: letters, and whether they differ

MOST = 300  # letters of either side that are compared


@dataclass(frozen=True, slots=True)
class Compared:
    """Both sides in pieces, in order; joined they are the two texts."""

    wanted: tuple[Run, ...]
    read: tuple[Run, ...]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not any(differs for _, differs in (*self.wanted, *self.read))


def compare(wanted: str, read: str) -> Compared:
    """The fewest changes that make `read` of `wanted`; case is not minded where folding keeps every letter's place."""
    wanted, read = wanted[:MOST], read[:MOST]
    folded = tuple(text.lower() if len(text.lower()) == len(text) else text for text in (wanted, read))
    left: list[Run] = []
    right: list[Run] = []
    for step in Levenshtein.opcodes(*folded):
        differs = step.tag != "equal"
        if step.src_end > step.src_start:
            left.append((wanted[step.src_start : step.src_end], differs))
        if step.dest_end > step.dest_start:
            right.append((read[step.dest_start : step.dest_end], differs))
    return Compared(tuple(left), tuple(right))
