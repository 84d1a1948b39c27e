"""Which strings does a prompt ask to be drawn?

`parse` pairs quotation marks of every style that people use, leaves out quotes that name or colour something (film
titles, nicknames, scare quotes, the whole prompt in quotes) and, where none is left, reads said-forms ("a sign that
says Welcome"). Rules alone, in one pass over the marks: time grows with the length, nothing raises.
Not covered: strings that a prompt only describes ("a birthday greeting"), said-forms in other languages than English.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import Literal

from promptforge import quotes
from promptforge.texts import fold

VERSION = 1
MAX_WORDS = 50  #: of one string; longer quotes are speech or the description of a picture


@dataclass(frozen=True, slots=True)
class Targets:
    """The strings in order of their first mention, each once, and how they were found; None where there is none."""

    strings: tuple[str, ...] = ()
    origin: Literal["quoted", "said"] | None = None


# What bears text, in the singular; plurals by an optional s.
_CARRIER = (
    r"(?:sign(?:post|board|age)?|street ?sign|banner|poster|placard|board|billboard|chalkboard|blackboard|whiteboard|"
    r"(?:t-?|tee |sweat)?shirt|tee|hoodie|sweater|jersey|hat|cap|mug|cup|card|postcard|note|sticker|label|tag|plate|"
    r"plaque|book|cover|newspaper|magazine|headline|screen|display|monitor|wall|graffiti|mural|tattoo|neon|text|title|"
    r"word|phrase|letter(?:s|ing)?|message|caption|quote|slogan|font|typography|calligraphy|inscription|engraving|"
    r"speech bubble|bubble|cake|icing|store ?front|shop ?front|window|marquee|logo|flag|paper|page|parchment|document|"
    r"scroll|tomb ?stone|gravestone|door|box|bottle|bag|balloon|sidewalk|sash|ticket|stamp|badge|patch|envelope|"
    r"notebook|helmet|package|packaging|menu|map|button|decal|dial|bib|cartoon|comic|meme|emblem|watermark|subtitle|sticky|print(?:ed)?)s?"
)
_SAYS = r"(?:says?|saying|reads?|reading|states?|stating|spells?|spelling|declar(?:es?|ing)|proclaim(?:s|ing))"
_WORD = (
    r"(?:words?|texts?|terms?|phrases?|sentence|letters?|script|numerals?|numbers?|inscription|slogan|caption|message|"
    r"title|headline|name|motto|tagline)"
)
_MADE = (
    r"(?:written|painted|printed|engraved|carved|inscribed|spelled|spelt|lettered|embroidered|stitched|etched|"
    r"scrawled|scribbled|sprayed|stamped|drawn|tattooed|emblazoned|embossed|stencill?ed|rendered|displayed|shown)"
)

# Right before a quote: these words announce a string that is to be drawn ...
_ANNOUNCES = re.compile(
    rf"{_SAYS}|{_WORD}|{_MADE}|{_CARRIER}|labell?ed|captioned|titled|entitled|writ(?:es?|ing)|display(?:s|ing)?|"
    r"show(?:s|ing)?|featur(?:es|ing)|spell(?:s|ed)|marked|tagged|numbered|"
    r"(?:boat|ship|shop|store|cafe|restaurant|bar|pub|truck|club|book|newspaper|magazine) (?:named|called)",
    re.IGNORECASE,
)
# ... and these a name: of a work, a character, a style.
_NAMED = re.compile(
    r"(?:\b(?:films?|movies?|songs?|(?:tv |television )?(?:series|shows?|episodes?)|novels?|animes?|mangas?|albums?|"
    r"(?:video ?)?games?|musicals?|operas?|plays?|stor(?:y|ies)|poems?|paintings?|painted by|still)"
    r"(?:,? (?:called|titled|entitled|named|of|from|version of))?"
    r"|\b(?:from|(?<!followed )(?<!accompanied )by|style of|inspired by|based on|known as|nicknamed|dubbed|aka|"
    r"a\.k\.a\.|so[- ]called|adaptation of|parody of|remake of|version of|scene in|scene of|like|than)"
    r"(?: the)?)[:,]?\s*\Z",
    re.IGNORECASE,
)
# Right after a quote: what is done with it or what it is.
_MADE_OF = re.compile(
    rf"\s*(?:,?\s*(?:is|are|was|has been|being)?\s*(?:\w+ly\s+)?{_MADE}\b|,?\s*(?:{_CARRIER}|words?|"
    r"on (?:it|the|a|an|his|her|its|their)\b)|\s*(?:made|formed|built)\s+(?:out )?(?:of|by|from)\b)",
    re.IGNORECASE,
)
_BEARS_TEXT = re.compile(
    rf"\b(?:{_CARRIER}|{_SAYS}|{_MADE}|words?|text|titled|labell?ed|marked|"
    r"numbered|stamped|clearly|visible|legible|readable|glowing|neon|hologram|announc(?:es?|ing)|warning)\b",
    re.IGNORECASE,
)
_JOINED = re.compile(r"[\s,;&+/]*(?:(?:and|or|above|below|over|under|then|next to)\b[\s,;&+/]*)*", re.IGNORECASE)
_NAME_BEFORE = re.compile(r"\b[A-Z][\w.'’-]*\s+\Z")
_NAME_AFTER = re.compile(r"\s+[A-Z][a-z]")
_SENTENCE_END = re.compile(r"[.!?](?:\s|\Z)")
_DOTTED = re.compile(r"(?:\b\w\.){2,}\Z")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Where a string said without quotes ends, unless a capital goes on.
_STOP = _words(
    """
    on in at with above below under over across while standing holding next near behind against beside between from by
    written painted printed engraved carved spelled made using as and or that which is are was surrounded set sitting
    hanging wearing featuring during into onto inside outside around along forming floating glowing posted displayed
    """
)
# A said string never begins with one of these: "with words of wisdom", "a sign that says it all".
_NO_START = _words(
    """
    on in at with of that which is are and or by for written painted printed a an the his her its their it from as over
    across to made being above below saying reading says something nothing everything things so about how what
    said used means meaning i you we he she they this these who when has have had can will would may like
    """
)
_SMALL = _words("of on it them as with out is are the a in that which")
_TOKEN = re.compile(r"\S+")
_GAP = r"(?:\s+[^\s.,;:!?\"]{1,30}){0,6}?"
# Kind of extent, words of which one must occur (looking for them first is ten times as fast), pattern.
_SAID = tuple(
    (kind, needles.split(), re.compile(pattern, re.IGNORECASE))
    for kind, needles, pattern in (
        (
            "any",
            "say read stat spell",
            rf"\b{_CARRIER}\b{_GAP}\s+(?:(?:that|which) (?:simply |just )?(?:reads?|states?|spells?)|says?|saying|"
            rf"reads|stating|spell(?:s|ing))(?: out)?(?: (?:the |in )?{_WORD})?\s*[:,]?\s+",
        ),
        ("any", "reading stating spelling", rf"\b{_CARRIER}\s+(?:reading|stating|spelling)\s*:?\s+"),
        ("any", "reading", rf"\b{_CARRIER}\b{_GAP}\s+reading\s*:\s+"),
        ("word", "word", r"\b(?:the|a) (?:single )?word:?\s+"),
        (
            "any",
            "words phrase slogan sentence inscription caption saying motto",
            r"\b(?:with|displaying|showing|bearing|has|having) (?:the )?"
            r"(?:words|phrase|slogan|sentence|inscription|caption|saying|motto):?\s+",
        ),
        (
            "capitals",
            "words phrase slogan sentence inscription caption saying motto",
            r"\bthe (?:words|phrase|slogan|sentence|inscription|caption|saying|motto):?\s+",
        ),
        (
            "capitals",
            "letter initials text message title headline name",
            r"\b(?:the|with|with the) (?:letters?|initials|text|message|title|headline|name|lettering):?\s+",
        ),
        (
            "any",
            "label captioned emblazoned inscribed engraved",
            r"\b(?:labell?ed|captioned|emblazoned with|inscribed with|engraved with)(?: as)?:?\s+",
        ),
        ("shouted", "writ spell", r"\b(?:writing|writes|spelling|spells)(?: out)?\s+"),
    )
)
# "with Carpe Diem written on it", "KEEP OUT painted in red": the string stands before the verb.
_MADE_ON = re.compile(rf"\s({_MADE})\s+(?:on|in|across|above|below|over|with|upon)\b", re.IGNORECASE)
_BEARER = re.compile(r".*\b(?:with|has|having)\s+", re.IGNORECASE)


def parse(text: str) -> Targets:
    """The strings that a cleaned prompt wants to see drawn; () where it wants none.

    Equal strings count once, case and punctuation aside: a second mention mostly refers to the first.
    """
    text = quotes.unwrapped(text)
    strings = _once(_quoted(text))
    if strings:
        return Targets(strings, "quoted")
    strings = _once(_said(text))
    return Targets(strings, "said") if strings else Targets()


def _once(strings: list[str]) -> tuple[str, ...]:
    first: dict[str, str] = {}
    for string in strings:
        first.setdefault(fold(string), string)
    return tuple(first.values())


def _quoted(text: str) -> list[str]:
    found: list[str] = []
    found_spans = quotes.spans(text)
    bearers = [match.start() for match in _BEARS_TEXT.finditer(text)] if found_spans else []
    end_of_last = -1  # end of the last quote that counted
    for span in found_spans:
        before, after = _around(text, span)
        if span.end == span.inner:
            string = _extent(text, span.inner, "any") if _is_announced(before) else ""
            string = string.rstrip("\"'”’")
        else:
            string = _drawn(text[span.inner : span.outer], after)
        if not string or len(string.split()) > MAX_WORDS:
            continue
        listed = end_of_last >= 0 and bool(_JOINED.fullmatch(text, end_of_last, span.start))
        if listed or _is_wanted(text, span, string, bearers):
            found.append(string)
            end_of_last = span.end
    return found


def _around(text: str, span: quotes.Span) -> tuple[str, str]:
    return text[max(span.start - 60, 0) : span.start], text[span.end : span.end + 60]


def _is_wanted(text: str, span: quotes.Span, string: str, bearers: list[int]) -> bool:
    """Is this quote to be drawn, by the words around it? `bearers`: where words stand that have to do with text."""
    before, after = _around(text, span)
    if _NAMED.search(before[-40:]) or before.endswith("="):  # an attribute of HTML
        return False
    if _is_announced(before) or _MADE_OF.match(after):
        return True
    if not any(character.isalnum() for character in string):
        return False
    if len(string.split()) <= 3 and _NAME_BEFORE.search(before) and _NAME_AFTER.match(after):
        return False  # a nickname
    low = max((match.end() for match in _SENTENCE_END.finditer(text, max(span.start - 300, 0), span.start)), default=0)
    end = _SENTENCE_END.search(text, span.end, span.end + 200)
    high = end.start() if end else span.end + 200
    before_it, after_it = bisect_left(bearers, span.start), bisect_left(bearers, span.end)
    return (before_it > 0 and bearers[before_it - 1] >= max(low, span.start - 300)) or (
        after_it < len(bearers) and bearers[after_it] < high
    )


def _is_announced(before: str) -> bool:
    """Do the words right before a quote say that it is to be drawn? Small words between do not matter."""
    words = before.rstrip(":, ").split()
    while words and words[-1].lower() in _SMALL:
        words.pop()
    # By words and not by one pattern to the end of the text: that took 1 ms a quote.
    last = [" ".join(words[-n:]).lstrip('(—–-"“') for n in (1, 2) if len(words) >= n]
    return any(_ANNOUNCES.fullmatch(phrase) for phrase in last)


def _drawn(inside: str, after: str) -> str:
    """What is to be drawn of a quote's inside: without the comma or full stop of the sentence around it.

    American usage puts both inside the marks. A comma never ends a sign. A full stop goes where the sentence ends
    with the quote, stays where the sentence goes on ('Hello, world.' written on it), in an ellipsis, after an
    abbreviation (U.S.A.) and after several sentences.
    """
    string = inside.strip().removesuffix(",").rstrip()
    ends_sentence = not after.strip() or re.match(r"\s+[A-Z]", after) is not None
    own = string.endswith("..") or _DOTTED.search(string) or _SENTENCE_END.search(string[:-1])
    return string[:-1].rstrip() if string.endswith(".") and ends_sentence and not own else string


def _said(text: str) -> list[str]:
    lower = text.lower()
    for kind, needles, pattern in _SAID:
        if not any(needle in lower for needle in needles):
            continue
        found = [string for match in pattern.finditer(text) if (string := _extent(text, match.end(), kind))]
        if found:
            return found
    return [string for match in _MADE_ON.finditer(text) if (string := _made(text, match))]


def _made(text: str, match: re.Match[str]) -> str:
    """What stands before "written on": a few capitalised words after "with", or a shouted clause."""
    clause = re.split(r"[,.;:\"]\s*", text[max(match.start() - 80, 0) : match.start()])[-1]
    string = _BEARER.sub("", clause)
    words = string.split()
    if not words or len(words) > 10:
        return ""
    if string.isupper() and len(string) > 1:
        return string
    named = match[1].lower() in ("written", "spelled", "spelt", "lettered") and string != clause
    return string if named and words[0][0].isupper() else ""


def _extent(text: str, start: int, kind: str) -> str:
    """The words from `start` on that belong to the string; "" where none can.

    kind: any (capitals, else until a stop word), word (one word, or a run of capitals), capitals (starts with one),
    shouted (capitals throughout).
    """
    words = _clause(text, start)
    if not words or words[0] in _NO_START:
        return ""
    first = words[0]
    loud = [word.isupper() or word.isdigit() for word in words]
    if loud[0] and (len(first) > 1 or loud[1:2] == [True]):
        n_loud = next((n for n, is_loud in enumerate(loud) if not is_loud), len(words))
        if kind == "shouted" or n_loud == len(words) or not words[n_loud][0].isupper():
            return " ".join(words[:n_loud])
    if kind == "shouted":
        return ""
    if kind == "word":
        return first
    if first[0].isupper() and len(words) > 1 and (words[1][0].isupper() or words[1].isdigit()):
        return " ".join(words[: _title_run(words)])
    if kind == "capitals" and not (first[0].isupper() or first[0].isdigit()):
        return ""
    if kind == "capitals":
        return first
    n_words = next((n for n, word in enumerate(words) if n and word.lower() in _STOP), len(words))
    return " ".join(words[:n_words]) if n_words <= 8 else ""


def _title_run(words: list[str]) -> int:
    """Number of words of a title: capitals, joined by small words that are no stop words."""
    end = 1
    for number, word in enumerate(words[1:], 1):
        if word[0].isupper() or word[0].isdigit():
            end = number + 1
        elif number - end >= 2 or (word.lower() in _STOP and word.lower() != "and"):
            break
    return end


def _clause(text: str, start: int) -> list[str]:
    """Up to 20 words until a mark that ends a clause; '!' and '?' belong to the last word."""
    words: list[str] = []
    for match in _TOKEN.finditer(text, start):
        word = match[0].rstrip(".,;:)")
        if not word or '"' in word or word[0] in "“”‘(":
            break
        words.append(word)
        if word != match[0] or word[-1] in "!?" or len(words) == 20:
            break
    return words
