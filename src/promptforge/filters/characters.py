"""Characters that no prompt means: controls, bidi overrides, lost characters, private-use and noncharacters.

A row with one of them is dropped, not repaired: what stood there is unknown, and a control character could act on a
terminal. A row that `texts.clean` repaired for mojibake passes as a near miss: the repair is a guess.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from promptforge.protocols import Filter, Finding

VERSION = 1

# One class of characters a reason, in the order in which they are looked for. Unassigned code points are let through:
# they are next year's emoji. U+FEFF and the zero-width ones are gone after cleaning; ZWJ and ZWNJ are meant.
_CLASSES = {
    "control_character": r"[\x{0}-\x{1f}\x{7f}-\x{9f}]",
    "bidi_override": r"[\x{202a}-\x{202e}\x{2066}-\x{2069}]",
    "replacement_character": r"[\x{fffd}]",
    "private_use": r"[\x{e000}-\x{f8ff}\x{f0000}-\x{10ffff}]",
    "noncharacter": r"[\x{fdd0}-\x{fdef}\x{fffe}\x{ffff}]",
}


class Params(BaseModel):
    """What is let through."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    allow_private_use: bool = Field(
        False, description="keep rows with private-use characters, e.g. of an icon font that the teacher knows"
    )


def build(params: Params) -> Filter:
    """The check."""
    return _Characters(params)


class _Characters:
    columns: tuple[str, ...] = ("text_clean", "repairs")

    def __init__(self, params: Params) -> None:
        self._classes = {
            reason: marks
            for reason, marks in _CLASSES.items()
            if not (reason == "private_use" and params.allow_private_use)
        }

    def __call__(self, rows: pa.Table) -> Sequence[Finding]:
        """`value` counts the characters of the reason's class; `detail` names the first, e.g. U+202E."""
        text = rows["text_clean"]
        found: dict[int, Finding] = {}
        any_of = "|".join(self._classes.values())
        suspects = pc.indices_nonzero(pc.match_substring_regex(text, any_of))
        some = text.take(suspects)
        for reason, marks in self._classes.items():
            counts = pc.count_substring_regex(some, marks)
            hits = pc.indices_nonzero(counts)
            first = pc.struct_field(pc.extract_regex(some.take(hits), f"(?P<mark>{marks})"), "mark")
            for hit, mark in zip(hits.to_pylist(), first.to_pylist(), strict=True):
                row = suspects[hit].as_py()
                detail = f"U+{ord(mark):04X}"
                found.setdefault(row, Finding(row, "drop", reason, float(counts[hit].as_py()), 0.0, detail))
        for row in _repaired(rows["repairs"]):
            found.setdefault(row, Finding(row, "near_miss", "repaired_mojibake"))
        return [found[row] for row in sorted(found)]


def _repaired(repairs: pa.ChunkedArray) -> list[int]:
    """Rows whose list of repairs holds mojibake."""
    parents, values = pc.list_parent_indices(repairs), pc.list_flatten(repairs)
    return sorted(set(pc.filter(parents, pc.equal(values, "mojibake")).to_pylist()))
