"""Classes of bytes and kinds of words: small numbers that NumPy code and compiled loops share."""

from __future__ import annotations

#: Classes of a byte; 0 is a blank or any other mark.
WORD, BREAK, QUOTE, POINT = 1, 2, 3, 4

#: Kinds of a word, as bits.
IGNORED, POLISH, MANNER, MEDIUM, OPENER, TELLING, OF, KNOWN = 1, 2, 4, 8, 16, 32, 64, 128
