"""Strings in quotation marks: which of them are to be drawn, by the words around them."""

from __future__ import annotations

import re
from bisect import bisect_left

from promptforge import quotes
from promptforge.targets.said import extent
from promptforge.targets.words import CARRIER, MADE, SAYS, WORD

MAX_WORDS = 50  #: of one string; longer quotes are speech or the description of a picture

# Right before a quote: these words announce a string that is to be drawn ...
_ANNOUNCES = re.compile(
    rf"{SAYS}|{WORD}|{MADE}|{CARRIER}|labell?ed|captioned|titled|entitled|writ(?:es?|ing)|display(?:s|ing)?|"
    r"show(?:s|ing)?|featur(?:es|ing)|spell(?:s|ed)|marked|tagged|numbered|questions?|notice|warning|greeting|"
    r"reminder|announcement|instructions?|(?:sub)?heading|demand(?:s|ing)|advertis(?:es|ing)|shaped like|"
    r"(?:boat|ship|shop|store|cafe|restaurant|bar|pub|truck|club|book|newspaper|magazine) (?:named|called)",
    re.IGNORECASE,
)
# ... and these a name: of a work, a character, a style.
_NAMED = re.compile(
    r"(?:\b(?:films?|movies?|songs?|(?:tv |television )?(?:series|shows?|episodes?)|novels?|animes?|mangas?|albums?|"
    r"(?:video ?)?games?|musicals?|operas?|plays?|stor(?:y|ies)|poems?|paintings?|painted by|still)"
    r"(?:,? (?:called|titled|entitled|named|of|from|version of))?"
    r"|\b(?:from|by|style of|inspired by|based on|known as(?: an?)?|nicknamed|dubbed|aka|"
    r"a\.k\.a\.|so[- ]called|adaptation of|parody of|remake of|version of|scene in|scene of|(?<!shaped )like|than)"
    r"(?: the)?)[:,]?\s*\Z",
    re.IGNORECASE,
)
# What follows or bounds a thing stands behind "by" as well: "followed immediately below by".
_PLACED_BY = re.compile(
    r"\b(?:followed|accompanied|preceded|joined|flanked|topped|framed|underlined|marked|labell?ed|indicated)\b"
    r"[^.;,\"]{0,40}\bby\s*(?:the\s*)?\Z",
    re.IGNORECASE,
)
# Right after a quote: what is done with it or what it is.
_MADE_OF = re.compile(
    rf"\s*(?:,?\s*(?:is|are|was|has been|being)?\s*(?:\w+ly\s+)?{MADE}\b|,?\s*(?:{CARRIER}|words?|"
    r"on (?:it|the|a|an|his|her|its|their)\b)|\s*(?:made|formed|built)\s+(?:out )?(?:of|by|from)\b)",
    re.IGNORECASE,
)
# On a text in lower case: half the time of a pattern that ignores case.
_BEARS_TEXT = re.compile(
    rf"\b(?:{CARRIER}|{SAYS}|{MADE}|words?|text|titled|labell?ed|marked|"
    r"numbered|stamped|clearly|visible|legible|readable|glowing|neon|hologram|announc(?:es?|ing)|warning|"
    r"script|typefaces?|serif|cursive|uppercase|lowercase|capitals|bold type)\b"
)
# Rules and places by their posted name: a "No Dogs" policy, the "Quiet Zone".
_POSTED = re.compile(r"\s*(?:polic(?:y|ies)|rules?|zones?|areas?|sections?|lanes?|aisles?|notices?|warnings?)\b")
_PLACE = re.compile(r".*\s(?:Zone|Area|Line|Section|Lane|Aisle|Room|Exit|Entrance|Department)", re.DOTALL)
# A number that a dial, a door or a board shows; with what marks times, prices, scores and shares.
_FIGURE = re.compile(r"[#$€£]?\d(?:[\d:.,/-]*\d)?\s?(?:%|[ap]\.?m\.?|°[CF]?)?", re.IGNORECASE)
_OWNER = re.compile(r"['’]s\s*\Z")  # George Orwell's "1984"
_ARTICLE = re.compile(r"\b(?:an?|the|his|her|its|their|this)\s*\Z", re.IGNORECASE)
_NOUN_AFTER = re.compile(r"\s+(?!(?:on|in|at|with|and|or|of|to|for|is|are|was|above|below|across|over|by|from)\b)[a-z]")
_LETTER_OF = re.compile(r"\b(?:lower-?case|upper-?case|capital|small)\s*\Z", re.IGNORECASE)
_SUMS_UP = re.compile(r"\b(?:complet|form|mak)ing the (?:words?|phrase|title|name|slogan)\s*\Z", re.IGNORECASE)
_JOINED = re.compile(r"[\s,;&+/]*(?:(?:and|or|above|below|over|under|then|next to)\b[\s,;&+/]*)*", re.IGNORECASE)
_NAME_BEFORE = re.compile(r"\b[A-Z][\w.'’-]*\s+\Z")
_NAME_AFTER = re.compile(r"\s+[A-Z][a-z]")
_SENTENCE_END = re.compile(r"[.!?](?:\s|\Z)")
_ENDS = re.compile(r"[.!?](?=\s)")
_DOTTED = re.compile(r"(?:\b\w\.){2,}\Z")
_SMALL = frozenset(("of", "on", "it", "them", "as", "with", "out", "is", "are", "the", "a", "in", "that", "which"))


def find(text: str) -> list[str]:
    """The quotes that are to be drawn, in order, each as often as it stands there."""
    found: list[str] = []
    found_spans = quotes.spans(text)
    if not found_spans:
        return found
    flat = _flat(text, found_spans)
    lower = text.lower() if len(text.lower()) == len(text) else text  # not of the letter İ: places would change
    bearers = [match.start() for match in _BEARS_TEXT.finditer(lower)]
    end_of_last = -1  # end of the last quote that counted
    for place, span in enumerate(found_spans):
        before, after = _around(text, span)
        if span.end == span.inner:
            string = extent(text, span.inner, "any") if _is_announced(before) else ""
            string = string.rstrip("\"'”’")
        else:
            string = _drawn(text[span.inner : span.outer], after)
        if not string or len(string.split()) > MAX_WORDS or _is_about(string, before, found):
            continue
        listed = end_of_last >= 0 and bool(_JOINED.fullmatch(text, end_of_last, span.start))
        if listed or _is_wanted(flat, span, string, bearers) or _is_likened(flat, found_spans, place, found):
            found.append(string)
            end_of_last = span.end
    return found


def _flat(text: str, found_spans: list[quotes.Span]) -> str:
    """The text without sentence ends inside of quotes that are no sentences: "Est. 1929" parts none."""
    parts, done = [], 0
    for span in found_spans:
        if span.end > span.inner >= done and text[span.outer - 1] not in ".!?":
            parts += [text[done : span.inner], _ENDS.sub(",", text[span.inner : span.outer])]
            done = span.outer
    return "".join((*parts, text[done:])) if parts else text


def _around(text: str, span: quotes.Span) -> tuple[str, str]:
    return text[max(span.start - 60, 0) : span.start], text[span.end : span.end + 60]


def _is_about(string: str, before: str, found: list[str]) -> bool:
    """Does this only speak of strings before it: of a letter ("BRAInS" with a lowercase "i") or of their sum?"""
    if len(string) == 1 and _LETTER_OF.search(before[-20:]):
        return any(string.casefold() in other.casefold() for other in found)
    return len(found) > 1 and _SUMS_UP.search(before[-40:]) is not None


def _is_wanted(text: str, span: quotes.Span, string: str, bearers: list[int]) -> bool:
    """Is this quote to be drawn, by the words around it? `bearers`: where words stand that have to do with text."""
    before, after = _around(text, span)
    if before.rstrip().endswith("="):  # an attribute of HTML
        return False
    if _NAMED.search(before[-40:]) and not _PLACED_BY.search(before):
        return False
    if _is_announced(before) or _MADE_OF.match(after):
        return True
    if _FIGURE.fullmatch(string):
        return _OWNER.search(before) is None
    if not any(character.isalnum() for character in string):
        return False
    n_words = len(string.split())
    if n_words <= 3 and _NAME_BEFORE.search(before) and _NAME_AFTER.match(after):
        return False  # a nickname
    if string[0].isupper() and (_POSTED.match(after) or (_PLACE.fullmatch(string) and before.endswith("the "))):
        return True
    if n_words == 1 and string.islower() and _ARTICLE.search(before[-6:]) and _NOUN_AFTER.match(after):
        return False  # a "magical" forest
    low, high = _sentence(text, span)
    before_it, after_it = bisect_left(bearers, span.start), bisect_left(bearers, span.end)
    return (before_it > 0 and bearers[before_it - 1] >= low) or (after_it < len(bearers) and bearers[after_it] < high)


def _sentence(text: str, span: quotes.Span) -> tuple[int, int]:
    """Where the sentence around a quote begins and ends, 300 characters before it and 200 after it at most."""
    first = max(span.start - 300, 0)
    low = max((match.end() for match in _SENTENCE_END.finditer(text, first, span.start)), default=first)
    end = _SENTENCE_END.search(text, span.end, span.end + 200)
    return low, end.start() if end else span.end + 200


def _is_likened(text: str, found_spans: list[quotes.Span], place: int, found: list[str]) -> bool:
    """Does a string that counted stand right before or after it in its sentence: "SOON" mirrors "IMAGE"?"""
    if not found:
        return False
    low, high = _sentence(text, found_spans[place])
    return any(
        low <= near.start < high and text[near.inner : near.outer].strip(" .,") in found
        for near in found_spans[max(place - 1, 0) : place + 2]
        if near is not found_spans[place]
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
