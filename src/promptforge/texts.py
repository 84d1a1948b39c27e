"""Cleaning a prompt, folding it for comparison, counting its words, telling its axis, showing it in a terminal.

Cleaning repairs what no writer meant (mojibake, HTML entities, zero-width characters, decomposed letters, odd white
space) and leaves what a writer may have meant: curly quotes, full-width letters, ligatures, ZWJ and ZWNJ (emoji
sequences, Indic and Persian scripts). Control characters stay too, for the filter `characters` to drop the row.
"""

from __future__ import annotations

import html
import re
import unicodedata
from bisect import bisect_left
from dataclasses import dataclass

from promptforge.records import Axis, Scene, content_id

VERSION = 2

#: Every code that `clean` can give, in the order of its answer.
REPAIRS = ("html_entity", "mojibake", "zero_width", "normal_form", "white_space")

# White space alone: str.split would also take the separators U+001C to U+001F, which are control characters.
_WHITE = " \t\n\v\f\r\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_RUN = re.compile(rf"[{_WHITE}]+")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
# “AMANHÃ” in capitals and its closing mark: the same two characters are a broken Ô, as in HÃ”TEL.
_CLOSED = re.compile(r"(?:“[^“”]*|‘[^‘’]*)[A-ZÀ-Þ]Ã[”’](?!\w)")
_ZERO_WIDTH = re.compile("[\u00ad\u200b\u2060\ufeff]")


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A cleaned text and the codes of what was repaired, in the order of REPAIRS."""

    text: str
    repairs: tuple[str, ...]


def clean(text: str) -> Cleaned:
    """The text as it is rendered; cleaning it again changes nothing. Lone surrogates become U+FFFD."""
    if text.isascii() and "&" not in text:  # ftfy costs 25 times as much and could change nothing here
        if text.isprintable() and "  " not in text and text[:1] != " " != text[-1:]:
            return Cleaned(text, ())
        tidy = _tidy(text)
        return Cleaned(tidy, ("white_space",) if tidy != text else ())
    done: set[str] = set()
    while True:  # one repair can uncover another, e.g. an entity that spells half of a mojibake
        before = text
        for name, repair in (
            ("html_entity", _unescape),
            ("mojibake", _fix_encoding),
            ("zero_width", lambda value: _ZERO_WIDTH.sub("", value)),
            ("normal_form", lambda value: unicodedata.normalize("NFC", value)),
            ("white_space", _tidy),
        ):
            repaired = repair(text)
            if repaired != text:
                done.add(name)
                text = repaired
        if text == before:
            return Cleaned(text, tuple(name for name in REPAIRS if name in done))


def _tidy(text: str) -> str:
    return _RUN.sub(" ", text).strip(" ")


def _unescape(text: str) -> str:
    """Entities that end in a semicolon, also those escaped twice; "AT&T" and "&c" stay."""
    while "&" in text:
        repaired = _ENTITY.sub(lambda found: html.unescape(found[0]), text)
        if repaired == text:
            break
        text = repaired
    return text


def _fix_encoding(text: str) -> str:
    if text.isascii():
        return text
    import ftfy

    # All else that ftfy can do is off: quotes, width, ligatures and control characters are the writer's.
    config = ftfy.TextFixerConfig(explain=False)
    text = ftfy.fixes.fix_surrogates(text)
    parts, done = [], 0
    for found in _CLOSED.finditer(text):
        parts += [ftfy.fix_encoding(text[done : found.end() - 2], config), found[0][-2:]]
        done = found.end()
    return "".join((*parts, ftfy.fix_encoding(text[done:], config)))


class _Blanks(dict[int, str]):
    """str.translate table: punctuation to a blank, everything else to itself; filled as characters turn up."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        # Symbols stay: "$5", "C++" and an emoji say something. Accents used as quotes do not.
        folds = unicodedata.category(character)[0] in "PZ" or character in "`\u00b4^\u00a8"
        return self.setdefault(code, " " if folds else character)


_BLANKS = _Blanks()


def fold(text: str) -> str:
    """Compatibility-normalised, case-folded, punctuation and white space as single blanks, words in order.

    A text of nothing but punctuation folds to itself, so that "!!!" and "???" differ.
    """
    wide = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(wide.translate(_BLANKS).split()) or " ".join(wide.split())


def fold_key(text: str) -> str:
    """Name of a folded text; equal keys are exact duplicates."""
    return content_id("fold", fold(text))


def n_words(text: str) -> int:
    """Words split at white space; for a script without blanks this says little."""
    return len(text.split())


#: Bands of length in words, as the view cells has them.
LENGTH_BANDS = ("01-05", "06-10", "11-20", "21-40", "41+")
_LAST = (5, 10, 20, 40)


def length_band(words: int) -> str:
    """The band of so many words."""
    return LENGTH_BANDS[bisect_left(_LAST, words)]


def length_band_sql(column: str) -> str:
    """The same as an expression of SQL over a column of numbers."""
    cases = " ".join(f"WHEN {column} <= {last} THEN '{band}'" for last, band in zip(_LAST, LENGTH_BANDS, strict=False))
    return f"CASE {cases} ELSE '{LENGTH_BANDS[-1]}' END"


_NUMBER = r"(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|[2-9]|1\d)"
_A = rf"(?:a|an|the|one|{_NUMBER})"
# A phrase or sentence; the alt texts of shops and the key words of users begin otherwise.
_PHRASE = re.compile(rf"\W*(?:{_A}|some|several|there|this|it|he|she|(?:photo|picture|image) of)\b", re.IGNORECASE)
_BINDS = re.compile(
    rf"\b{_NUMBER} (?:[a-z-]+ ){{0,2}}[a-z]+s\b"
    rf"|\b{_A} (?:[\w-]+ ){{1,4}}and (?:{_A}|some|its|his|her|their) \w"
    r"|\b(?:left|right|top|bottom|side|front|back) of\b|\b(?:next to|behind|beside|near|above|below|under|hidden by)\b"
    r"|\b(?:is|are|was|were) (?:\w+ly )?[a-z]+(?:ing|ed)\b"
    rf"|\b{_A} (?:\w+ )?(?:red|blue|green|yellow|orange|purple|pink|brown|black|white|gr[ae]y|wooden|metallic|fabric|"
    r"rubber|plastic|leather|glass|fluffy|round|circular|oval|square|rectangular|triangular|cubic|spherical|conical|"
    r"cylindrical|oblong|pyramidal|diamond|teardrop|pentagonal|big|small|tall|short|long|smooth|rough|sharp|soft) \w",
    re.IGNORECASE,
)
# What a prompt says that is after a look: medium, camera, renderer, praise.
_POLISH = re.compile(
    r"\b(?:\d ?k|hdr?|dslr|bokeh|artstation|deviantart|octane|unreal engine|trending|cinematic|volumetric|"
    r"(?:highly|intricate(?:ly)?|ultra|hyper)[ -]?(?:detailed|realistic)|photo-?realis\w+|sharp focus|"
    r"depth of field|concept art|digital (?:art|painting|illustration)|oil (?:on canvas|painting)|award[- ]winning|"
    r"\d+ ?mm|f/?\d|lens|in the style of|matte painting|character design|wallpaper)\b",
    re.IGNORECASE,
)


def tell_axis(text: str, expected: tuple[str, ...], scene: Scene) -> str:
    """The axis of a prompt whose source does not say it.

    Strings to be drawn decide first. A phrase that counts, places, pairs, colours or sets things to work is semantic,
    by the scene or, since the lexicon knows some hundred nouns, by its form; a wish for a look is not.
    """
    if expected:
        return Axis.TEXT_RENDERING
    if _POLISH.search(text) or not _PHRASE.match(text):
        return Axis.IMAGE_QUALITY
    things = scene.objects
    binds = any(item.count > 1 or item.colour or item.shape or item.texture or item.action for item in things)
    if scene.relations or len(things) > 1 or binds or _BINDS.search(text):
        return Axis.SEMANTIC_UNDERSTANDING
    return Axis.IMAGE_QUALITY


def show(text: str) -> str:
    r"""The text for a terminal: what cannot be seen, moves the cursor or turns the direction is a visible escape.

    An ESC becomes \x1b, a bidi override \u202e, a line end \n. ZWJ and ZWNJ stay: without them emoji and some
    scripts fall apart.
    """
    if text.isprintable():
        return text
    return "".join(
        mark if mark.isprintable() or mark in "\u200c\u200d" else mark.encode("unicode_escape").decode("ascii")
        for mark in text
    )
