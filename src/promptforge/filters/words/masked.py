"""Listed words that are written so that a list would miss them: f*ck, sh1t, s h i t, shiiit, Cyrillic letters.

A text is a suspect where letters stand beside marks, between digits, alone in a row or three times over; RE2 sees that
in one pass, and fewer than 1 in 100 real prompts is one. There each masked word that reads as a word of the lists is
written out; all else stays as it is.
An entry of a list that ends in * counts only where it was masked: nobody writes so of a bird.
Not covered: letters left out without a mark, words run together, marks for more than half of a word.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable

#: Marks and digits that stand for letters, each for the one that it is mostly written for.
_LEET = str.maketrans("013457@$!", "oieastasi")
#: Letters of other alphabets that are drawn like Latin ones.
_ALIKE = str.maketrans("асеорхуіјѕԁɡοαν", "aceopxyijsdgoav")
_FOREIGN = "асеорхуіјѕԁɡοαν"
_SIGNS = "*@$!"
_PART = r"[ ._*-]{1,2}"
_IN_RUN = frozenset(string.ascii_lowercase + string.digits + _FOREIGN + _SIGNS)
_SPELLED = re.compile(rf"(?<![a-z0-9])(?:[a-z]{_PART}){{2,}}[a-z](?![a-z0-9])")
_ODD = re.compile(rf"[{_SIGNS}{_FOREIGN}]|[a-z][0-9]|([a-z])\1\1")
_THRICE = re.compile(r"([a-z])\1{2,}")
_STARS = re.compile(r"\*+")

#: Letters and marks of a masked word.
LONGEST = 60
#: For RE2: what may hide a word in a lower-case text.
SCREEN = (
    rf"[a-z][*@$!013457]+[a-z]|[*@$][a-z]|[a-z][*$]|[a-z][{_FOREIGN}]|[{_FOREIGN}][a-z]"
    r"|(?:^|[^a-z0-9])[a-z][ ._*-]{1,2}[a-z][ ._*-]{1,2}[a-z](?:[^a-z0-9]|$)|"
    + "|".join(letter * 3 for letter in string.ascii_lowercase)
)
_SCREEN = re.compile(SCREEN)


class Masked:
    """Finds the words of a vocabulary under their masks."""

    def __init__(self, words: Iterable[str]) -> None:
        """`words` are single and lower-case, with * behind those that count only where masked."""
        self._plain = {word.rstrip("*"): word for word in sorted(words, reverse=True) if " " not in word}
        self._lines = "\n".join(sorted(self._plain))

    def shown(self, text: str) -> str:
        """The lower-case text with masked words written out."""
        if not _SCREEN.search(text):
            return text
        text = _SPELLED.sub(self._spelled, text)
        parts, done = [], 0
        for odd in _ODD.finditer(text):
            if odd.start() < done:
                continue
            start, end = odd.span()
            while start > done and text[start - 1] in _IN_RUN:
                start -= 1
            while end < len(text) and text[end] in _IN_RUN:
                end += 1
            parts += [text[done:start], self._run(text[start:end])]
            done = end
        return "".join((*parts, text[done:]))

    def _spelled(self, found: re.Match[str]) -> str:
        letters = re.sub(_PART, "", found[0])
        for start in (0, 1):  # "a f u c k": the article is a letter of its own
            if len(letters) - start >= 3 and (word := self._known(letters[start:])):
                return " ".join((*letters[:start], word))
        return found[0]

    def _run(self, run: str) -> str:
        if len(run) > LONGEST:
            return run
        bare = run.rstrip("!")  # an exclamation mark behind a word is one
        if bare.isalpha() and bare.isascii() and not _THRICE.search(bare):
            return run
        bare = bare.translate(_ALIKE)
        for letters in (bare, bare.translate(_LEET)):
            if word := self._known(letters) or self._starred(letters):
                return word
        return run

    def _known(self, letters: str) -> str | None:
        """The entry that letters are, with a letter that is repeated once or twice, with or without a plural s."""
        for each in (letters, _THRICE.sub(r"\1", letters), _THRICE.sub(r"\1\1", letters)):
            for word in (each, each.removesuffix("s"), each.removesuffix("es")):
                if word in self._plain and len(word) > 2:
                    return self._plain[word]
        return None

    def _starred(self, letters: str) -> str | None:
        """The entry that fits letters with stars, each of which stands for one letter or none."""
        if "*" not in letters or not letters.replace("*", "").isalpha():
            return None
        letters = letters.lstrip("*")  # what stands before a word is markup: **bold**
        core = letters.rstrip("*")
        if "*" not in core and (word := self._known(core)):
            return word
        visible = len(letters.replace("*", ""))
        exact = visible == 1 and len(letters) >= 4  # f***
        if not exact and (visible < 2 or 2 * visible < len(letters)):
            return None
        form = _STARS.sub(lambda stars: f"[a-z]{{{len(stars[0]) if exact else 0},{len(stars[0])}}}", letters)
        found = re.search(rf"^{form}(?:s|es)?$", self._lines, re.MULTILINE) or (
            re.search(rf"^{form[:-1]}$", self._lines, re.MULTILINE) if form.endswith("s") else None
        )
        return self._plain[found[0]] if found else None
