"""What two readers say together of one picture.

    read        both read it; or one does, and the other does not firmly read something else
    misread     neither reads it, one is firm, and both show at least one slip that is the same; or both firmly find
                nothing like it
    unreadable  all else: firm against right, or wrong in different ways

Firm is a reader whose own verdict is misread: two of its looks agree on another string. Text that shares no letter
with the wanted is something else in the picture, so that its reader has found nothing, and shakes no other. The rules
weigh two errors. A reader never sees what was wanted, so its exact match is strong evidence, which the other's
blindness or wavering does not shake (each engine is blind to some typefaces); but readers mend what they read, so a
firm other string beside it, one letter away as a rule, is what a mended misspelling looks like: no verdict. Two
engines fail on a hard typeface in different ways and on a wrong drawing in the same way, so that only a shared slip
accuses the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from promptforge.scorers.reading.glyphs import essence, same_glyph
from promptforge.scorers.reading.judge import Judgement, Verdict
from promptforge.scorers.reading.metrics import normalized_edit_similarity


@dataclass(frozen=True, slots=True)
class Accord:
    """The common verdict, the reader that it rests on (0 or 1), and how alike both readings are, in [0, 1]."""

    verdict: Verdict
    rests_on: int
    agreement: float


def settle(first: Judgement, second: Judgement, *, case: bool = False) -> Accord:
    """The rules above. Both are about the same wanted strings, judged with the same `case`."""
    verdict, rests_on = _settle(first, second, case)
    return Accord(verdict, rests_on, normalized_edit_similarity(_read(first), _read(second)))


def _settle(first: Judgement, second: Judgement, case: bool) -> tuple[Verdict, int]:
    for number, (one, other) in enumerate(((first, second), (second, first))):
        if one.verdict == "read":
            return "unreadable" if _is_firm(other) else "read", number
    found = bool(_read(first)), bool(_read(second))
    n_firm = (first.verdict, second.verdict).count("misread")
    if found == (False, False):
        wrong = n_firm == 2
    else:
        wrong = found == (True, True) and n_firm > 0 and bool(slips(first, case=case) & slips(second, case=case))
    return "misread" if wrong else "unreadable", int(found == (False, True))


def slips(judgement: Judgement, *, case: bool = False) -> frozenset[tuple[str, int, str]]:
    """How the reading departs from the wanted text: (kind, place, what stands there instead).

    Case is folded unless it counts. Letters that may be one drawing are no slip. Places count over all strings,
    without blanks and marks.
    """
    wanted = essence(" ".join(span.wanted for span in judgement.reading.spans))
    read = essence(_read(judgement))
    if not case:
        wanted, read = wanted.casefold(), read.casefold()
    return frozenset(
        (edit.tag, edit.src_pos, "" if edit.tag == "delete" else read[edit.dest_pos])
        for edit in Levenshtein.editops(wanted, read)
        if edit.tag != "replace" or not same_glyph(wanted[edit.src_pos], read[edit.dest_pos], case=case)
    )


def _is_firm(judgement: Judgement) -> bool:
    return judgement.verdict == "misread" and bool(_read(judgement))


def _read(judgement: Judgement) -> str:
    return " ".join(span.read for span in judgement.reading.spans if span.read)
