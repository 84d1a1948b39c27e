"""Strings that a prompt says without quotation marks: a sign that says Welcome, KEEP OUT painted on a door."""

from __future__ import annotations

import re

from promptforge.targets.words import CARRIER, MADE, WORD


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
# These end it only where a new thing or a state of the bearer follows: "open and a dog", "stop is hanging"; what else
# they join belongs to the string: "rock and roll", "time is money".
_LINKS = _words("and or is are was")
_NEW = re.compile(
    rf"(?:an?|the|his|her|its|their|some|two|three|one|another|very|not|clearly|visible|bright|large|big|{MADE}|\w+ing)",
    re.IGNORECASE,
)
# A said string never begins with one of these: "with words of wisdom", "a sign that says it all".
_NO_START = _words(
    """
    on in at with of that which is are and or by for written painted printed a an the his her its their it from as over
    across to made being above below saying reading says something nothing everything things so about how what
    said used means meaning i you we he she they this these who when has have had can will would may like
    """
)
# ... but a sign may speak of itself and to its reader where a thing that bears text says it.
_SPEAKS = _words("i you we my your he she they this these who when have will may like for")
# "labelled diagram", "saying stuff", "the text ever written", "the words they've painted"
# "the end" may stand on a sign that says it; "the name of the shop" says what stands there.
_QUOTES_IT = re.compile(r"\b(?:that (?:says|reads)|saying)[:,]?\s+\Z", re.IGNORECASE)
_DESCRIBES = re.compile(
    r"(?:an?|the) (?:\w+ )?(?:names?|words?|time|truth|same|date|price|text|message|title|following|letters?|numbers?|"
    r"alphabet|lot|things?|phrase|slogan|opposite)\b",
    re.IGNORECASE,
)
_NO_LABEL = re.compile(r"(?:diagrams?|illustrations?|vectors?|charts?|drawings?|maps?|images?|parts?|stuff)\b")
_NO_TITLE = re.compile(r"(?:ever|also|then|been|being|not|\w+ly|(?:i|you|we|he|she|they|it)['’]\w+)\b")
_TOKEN = re.compile(r"\S+")
_RUN_ON = re.compile(r"[,;](?=[^\W\d])|(?<=[^\W\d])[,;](?=\S)")  # a comma without a blank, but not of "1,000"
_GAP = r"(?:\s+[^\s.,;:!?\"]{1,30}){0,6}?"
# Kind of extent, words of which one must occur (looking for them first is ten times as fast), pattern.
_SAID = tuple(
    (kind, frozenset(needles.split()), re.compile(pattern, re.IGNORECASE))
    for kind, needles, pattern in (
        (
            "speech",
            "say read stat spell",
            rf"\b{CARRIER}\b{_GAP}\s+(?:(?:that|which) (?:simply |just )?(?:reads?|states?|spells?)|says?|saying|"
            rf"reads|stating|spell(?:s|ing))(?: out)?(?: (?:the |in )?{WORD})?\s*[:,]?\s+",
        ),
        ("capitals", "reading", r"\b(?:words?|text|letters|lettering|caption|message)(?: \w+){0,4} reading:?\s+"),
        ("any", "text: words:", r"\bthe (?:text|words?):\s+"),
        ("any", "reading stating spelling", rf"\b{CARRIER}\s+(?:reading|stating|spelling)\s*:?\s+"),
        ("any", "reading", rf"\b{CARRIER}\b{_GAP}\s+reading\s*:\s+"),
        ("word", "word", r"\b(?:the|a) (?:single )?word:?\s+"),
        (
            "speech",
            "words phrase slogan sentence inscription caption saying motto",
            r"\b(?:with|displaying|showing|bearing|has|having) (?:the )"
            r"(?:words|phrase|slogan|sentence|inscription|caption|saying|motto):?\s+",
        ),
        (
            "any",
            "words phrase slogan sentence inscription caption saying motto",
            r"\b(?:with|displaying|showing|bearing|has|having) "
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
        ("word", "letter", r"\b\w+ letter\s+(?=(?-i:[A-HJ-Z])(?:\s|[.,]|\Z))"),
        (
            "figures",
            "number",
            r"\b(?:with|displaying|showing|bearing|wearing|has|having) (?:the |a )?numbers?:?\s+",
        ),
        (
            "capitals",
            "titled",
            r"\b(?:book|cover|magazine|newspaper|poster|brochure)s?\s+(?:titled|entitled):?\s+",
        ),
        (
            "any",
            "label captioned emblazoned inscribed engraved",
            r"(?<!\W )\b(?:labell?ed|captioned|emblazoned with|inscribed with|engraved with)(?: as)?:?\s+",
        ),
        ("shouted", "writ spell", r"\b(?:writing|writes|spelling|spells)(?: out)?\s+"),
        ("shouted", "sign: banner: poster: text: headline:", r"\b(?:sign|banner|poster|text|headline):\s+"),
    )
)
_NEEDLES = tuple(sorted(frozenset[str]().union(*(needles for _, needles, _ in _SAID))))
# "with Carpe Diem written on it", "KEEP OUT painted in red": the string stands before the verb.
_MADE_ON = re.compile(rf"\s({MADE})\s+(?:on|in|across|above|below|over|with|upon)\b")  # on a text in lower case
_BEARER = re.compile(r".*\b(?:with|has|having)\s+", re.IGNORECASE)
# "with robot written on it", but not "with something written on it"
_ON_IT = re.compile(r" (?:it|them)\b")
_UNSAID = re.compile(
    r"\b(?:text|words?|letters?|writing|something|names?|numbers?|symbols?|runes?|messages?|poems?|notes?|equations?|"
    r"formulas?|code|calligraphy|lines?|quotes?|slogans?|instructions|stuff|many|some)\b",
    re.IGNORECASE,
)
# "a sheet of paper with I LOVE YOU on it"
_WITH_ON_IT = re.compile(r"\bwith ((?:[A-Z0-9][A-Z0-9'’&!?.-]*\s+){2,8})on (?:it|top|the front|the back)\b")


def find(text: str) -> list[str]:
    """The strings of the first form that is there."""
    lower = text.lower()
    if there := [needle for needle in _NEEDLES if needle in lower]:
        for kind, needles, pattern in _SAID:
            if needles.isdisjoint(there):
                continue
            found = [string for match in pattern.finditer(text) if (string := extent(text, match.end(), kind))]
            if found:
                return found
    if len(lower) != len(text):  # of the letter İ: places would not be the same
        lower = text
    found = [string for match in _MADE_ON.finditer(lower) if (string := _made(text, match))]
    return found or [match[1].strip() for match in _WITH_ON_IT.finditer(text)]


def _made(text: str, match: re.Match[str]) -> str:
    """What stands before "written on": a few capitalised words after "with", or a shouted clause."""
    clause = re.split(r"[,.;:\"]\s*", text[max(match.start() - 80, 0) : match.start()])[-1]
    string = _BEARER.sub("", clause)
    words = string.split()
    if not words or len(words) > 10:
        return ""
    if string.isupper() and len(string) > 1:
        return string
    if string == clause or match[1].lower() not in ("written", "spelled", "spelt", "lettered"):
        return ""
    plain = (
        len(words) <= 3 and words[0] not in _NO_START and not _UNSAID.search(string) and _ON_IT.match(text, match.end())
    )
    return string if words[0][0].isupper() or plain else ""


def extent(text: str, start: int, kind: str) -> str:
    """The words from `start` on that belong to the string; "" where none can.

    kind: any (capitals, else until a stop word), speech (the same, and may begin with a pronoun), word (one word, or a
    run of capitals), capitals (starts with one, or is said to be written), figures (with digits), shouted (capitals
    throughout).
    """
    words = _clause(text, start)
    if not words or not _begins(text, start, words, kind):
        return ""
    first = words[0]
    n_loud = _n_loud(words)
    if kind == "figures" and not any(character.isdigit() for character in "".join(words[: n_loud or 1])):
        return ""
    if n_loud and (kind in ("shouted", "figures") or n_loud == len(words) or not words[n_loud][0].isupper()):
        return " ".join(words[:n_loud])
    if kind in ("shouted", "figures"):
        return first if kind == "figures" and first[0].isdigit() else ""
    if kind == "word":
        return first
    if first[0].isupper() and len(words) > 1 and (words[1][0].isupper() or words[1].isdigit()):
        return " ".join(words[: _title_run(words)])
    if kind == "capitals" and (first[0].isupper() or first[0].isdigit()):
        return first
    return _until_stop(words, kind)


def _n_loud(words: list[str]) -> int:
    """Number of words in capitals or figures at the beginning; one character alone is none, but S L O W is."""
    loud = [word.isupper() or word.isdigit() for word in words]
    if not loud[0] or (len(words[0]) == 1 and loud[1:2] != [True]):
        return 0
    return loud.index(False) if False in loud else len(words)


def _until_stop(words: list[str], kind: str) -> str:
    n_words = next((n for n in range(1, len(words)) if _ends(words, n)), len(words))
    then = words[n_words] if n_words < len(words) else ""
    if kind == "capitals" and (_NO_TITLE.match(words[0]) or not re.fullmatch(MADE, then)):
        return ""
    return " ".join(words[:n_words]) if n_words <= 8 and not _NO_LABEL.match(words[0]) else ""


def _begins(text: str, start: int, words: list[str], kind: str) -> bool:
    """Can a string begin with the first of these words?"""
    if words[0] not in _NO_START:
        return True
    if kind != "speech":
        return False
    if words[0] in ("a", "an", "the"):
        said_of_it = _QUOTES_IT.search(text, max(start - 14, 0), start)
        return len(words) > 1 and said_of_it is not None and not _DESCRIBES.match(" ".join(words[:3]))
    return words[0] in _SPEAKS


def _ends(words: list[str], n: int) -> bool:
    """Does a string that began with the first word end before words[n]?"""
    word = words[n].lower()
    if word not in _STOP:
        return False
    if word not in _LINKS:
        return True
    then = words[n + 1].lower() if n + 1 < len(words) else ""
    return not then or then in _STOP or _NEW.fullmatch(then) is not None


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
        word = _RUN_ON.split(match[0], maxsplit=1)[0].rstrip(".,;:)")
        if not word or '"' in word or word[0] in "“”‘(":
            break
        words.append(word)
        if word != match[0] or word[-1] in "!?" or len(words) == 20:
            break
    return words
