"""Whether a reading and the wanted text can be the same drawing.

An engine cannot tell what many typefaces draw alike (I, l, 1; O, 0), takes c, o, s, u, v, w, x, z for
their capitals where nothing stands beside them, answers with Greek or Cyrillic twins of Latin letters, and
loses blanks and small marks. Those differences say nothing about the picture. Every other difference of one
character does: cat is not cot, coffee is not coffe.
"""

from __future__ import annotations

import re
import unicodedata

from promptforge.scorers.reading.metrics import collapsed

#: Drawn alike in at least one common typeface, case kept. Not transitive: `same_drawing` never chains them.
ALIKE: frozenset[frozenset[str]] = frozenset(
    frozenset(pair)
    for pair in (
        *("Il", "I1", "l1", "I|", "l|", "1|", "ı1", "ıl", "ıI", "O0", "o0", "×x", "×X"),
        *("αa", "γy", "ιi", "κk", "νv", "οo", "ρp", "υu", "χx", "аa", "еe", "кk", "оo", "рp", "сc", "уy", "хx"),
    )
)
#: Capitals of the same shape as their small letter.
_SAME_SHAPE = frozenset("ckopsuvwxz")
#: Marks that carry meaning when lost, unlike stops, quotes and dashes: kept by `essence`.
_KEPT_MARKS = frozenset("%&#@*")
#: Letters whose mark is part of them, for Unicode.
_STRUCK = str.maketrans("łŁøØđĐıħĦ", "lLoOdDihH")
#: "40% off" in a bold serif is read "40%ff" at every size and width: the ring of % swallows the o beside it.
_SWALLOWED = re.compile("%[oO0]")
#: A plus on a line of its own is lost in 8 of 100 right drawings, or taken for the Chinese 十.
_LONE_PLUS = re.compile(r"(?<!\S)[+十](?!\S)")


def essence(text: str) -> str:
    """NFKC, only letters, digits, symbols and %&#@*; no white space, no other marks, no lone plus; case kept."""
    return "".join(
        char
        for char in _LONE_PLUS.sub("", unicodedata.normalize("NFKC", text))
        if char in _KEPT_MARKS or unicodedata.category(char)[0] in "LMNS"
    )


def same_drawing(read: str, wanted: str, *, case: bool = False) -> bool:
    """Whether the reading is what an engine may answer to a right drawing of `wanted`; symmetric, reflexive.

    With `case`, a capital for a small letter is a difference, except where both have one shape (o O, s S).
    """
    one, other = (_SWALLOWED.sub("%", essence(text)) for text in (read, wanted))
    if not one and not other:  # nothing but marks: then the marks are the text
        return collapsed(read) == collapsed(wanted)
    if len(one) != len(other):
        return False
    return all(same_glyph(a, b, case=case) for a, b in zip(one, other, strict=True))


def same_but_accents(read: str, wanted: str) -> bool:
    """Whether a wanted text with accented letters was read with others of the same letters: DENNE for DENNĚ."""
    return wanted != _bare(wanted) and same_drawing(_bare(read), _bare(wanted))


def _bare(text: str) -> str:
    """The letters without marks above, below or through them."""
    parts = unicodedata.normalize("NFKD", text.translate(_STRUCK))
    return "".join(char for char in parts if not unicodedata.combining(char))


def same_glyph(one: str, other: str, *, case: bool = False) -> bool:
    """Whether two characters may be one drawing."""
    if one == other or frozenset((one, other)) in ALIKE:
        return True
    small, other_small = one.casefold(), other.casefold()
    return small == other_small and (not case or small in _SAME_SHAPE)
