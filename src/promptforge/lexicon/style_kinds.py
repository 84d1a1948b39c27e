"""Of what kind a picture should be, from what its prompt names: a photo is not held to the bounds of a sketch.

The prompt's text is read, never the picture; strings in straight double quotes are to be drawn and name nothing. A
text that names no medium is read together with the column `style`. One kind named: that one. Several (an oil painting
rendered in octane): `unknown`. None, but a style that the lexicon does not know (`vaporwave`): `unknown`. None at all,
or a manner of the lexicon that any medium can have (`baroque`): `plain`.

A name of a medium counts before a hint at one: "photorealistic" makes a photo of a text that names nothing else, and
says nothing beside "digital painting". The kinds are those of the grammar, of whose prompts the column `style` alone is
read. Not covered: other languages than English, names of artists, and whether the medium is how it is drawn or stands
in the picture ("a painting above the sofa").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from promptforge.lexicon.tables import load

VERSION = 1

PLAIN, UNKNOWN = "plain", "unknown"

#: Kind -> what names it: regular expressions over lower case, the same for Python and for RE2, between word ends.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "photo": (
        *(
            "photos?",
            "photographs?",
            "photography",
            "photographic",
            "photoshoot",
            "dslr",
            "film stills?",
            "movie stills?",
        ),
        *("polaroid", "daguerreotype", "long exposure", "macro shot", "drone shot", "shot on", "kodak", "fujifilm"),
        *("hasselblad", "leica", "cctv footage", "security camera footage"),
    ),
    "painting": (
        *("paintings?", "watercolou?rs?", "gouache", "frescoe?s?", "oil on canvas", "acrylic on canvas", "oils"),
        *("impasto", "oil paint", "acrylic paint", "painted by", "painted in"),
    ),
    "drawing": (
        *(
            "drawings?",
            "sketch",
            "sketches",
            "pencil art",
            "line ?art",
            "doodles?",
            "charcoal on paper",
            "pencil on paper",
        ),
        *("crayon", "colou?red pencils?", "ballpoint pen", "pen and ink", "ink wash"),
    ),
    "print": (
        *("woodcuts?", "woodblock", "wood engraving", "linocuts?", "screen ?prints?", "silkscreen", "engravings?"),
        *("etchings?", "lithographs?", "risograph", "ukiyo-e", "ukiyo e", "mezzotint"),
    ),
    "illustration": (
        *("illustrations?", "illustrated", "cartoons?", "anime", "manga", "comics?", "comic book", "graphic novel"),
        *("vector art", "vector logo", "vector graphics?", "flat vector", "clip ?art", "stickers?", "fan ?art"),
        *("concept art", "splash art", "digital art", "character sheet", "webtoon", "chibi", "studio ghibli"),
    ),
    "digital": (
        *(
            "3d",
            "cgi",
            "octane",
            "unreal engine",
            "unreal",
            "blender 3d",
            "renders?",
            "rendering",
            "rendered",
            "cinema ?4d",
        ),
        *("c4d", "v-?ray", "pixel ?art", "8-?bit", "16-?bit", "voxels?", "low ?poly", "pixar", "zbrush", "video ?game"),
        *("screenshots?", "redshift", "raytrac(?:ed|ing)", "ray trac(?:ed|ing)"),
    ),
    "craft": (
        *("collages?", "mosaics?", "tapestr(?:y|ies)", "stained glass", "origami", "embroider(?:y|ed)", "paper ?cut"),
        *("paper ?craft", "claymation", "needle ?felt(?:ed|ing)?", "felted", "quilling", "cross-?stitch"),
        *("macram[eé]", "crochet(?:ed)?", "plasticine"),
    ),
}

#: Kind -> hints, which count where no name stands.
_HINTS: Mapping[str, tuple[str, ...]] = {
    "photo": (
        *("photo-?realis(?:m|tic)", "photo realistic", "cinematic still", "bokeh", "depth of field", "35mm", "50mm"),
        *("85mm", "telephoto", "fisheye", "film grain", "macro lens", "wide[- ]angle lens"),
    ),
    "painting": (
        "impressionis[mt]",
        "post-impressionis[mt]",
        "expressionis[mt]",
        "cubis[mt]",
        "painterly",
        "brushwork",
    ),
    "illustration": ("artstation", "art station", "deviantart", "pixiv", "artgerm", "cel shad(?:ed|ing)"),
}

KINDS = (PLAIN, *_NAMES, UNKNOWN)

_QUOTED = r'"[^"]*"'


def _pattern(words: tuple[str, ...]) -> str:
    return rf"\b(?:{'|'.join(words)})\b"


_NAMED = {kind: _pattern(words) for kind, words in _NAMES.items()}
_HINTED = {kind: _pattern(words) for kind, words in _HINTS.items()}
_ANY = _pattern(tuple(word for table in (_NAMES, _HINTS) for words in table.values() for word in words))


@lru_cache(maxsize=1)
def _manners() -> tuple[str, ...]:
    return tuple(sorted(load().styles))


def kind(style: str | None, text: str | None = None) -> str:
    """One of KINDS, from the columns style and text_clean of a prompt."""
    read = re.sub(_QUOTED, " ", (text or "").lower())
    given = (style or "").lower()
    subject = read if re.search(_ANY, read) else given
    for patterns in (_NAMED, _HINTED):
        found = [name for name, pattern in patterns.items() if re.search(pattern, subject)]
        if found:
            return found[0] if len(found) == 1 else UNKNOWN
    return PLAIN if not given or given in _manners() else UNKNOWN


def kinds_sql(prompts: str) -> str:
    """SQL of the relation `prompts` with the column style_kind behind its own: the same as `kind`.

    It has style, text_clean and scene_origin; where the grammar wrote a prompt (`source`), the text is not read.
    """
    manners = ", ".join(_literal(word) for word in _manners())

    def told(patterns: Mapping[str, str]) -> str:
        return " ".join(
            f"+ regexp_matches(_subject, {_literal(pattern)})::INTEGER * {1 << place}"
            for place, pattern in enumerate(patterns.values())
        )

    def one(bits: str, patterns: Mapping[str, str]) -> str:
        cases = " ".join(f"WHEN {1 << place} THEN {_literal(name)}" for place, name in enumerate(patterns))
        return f"CASE {bits} {cases} ELSE {_literal(UNKNOWN)} END"

    return f"""
    SELECT * EXCLUDE (_read, _subject, _named, _hinted),
        CASE WHEN _named > 0 THEN {one("_named", _NAMED)} WHEN _hinted > 0 THEN {one("_hinted", _HINTED)}
             WHEN coalesce(style, '') = '' OR lower(style) IN ({manners}) THEN {_literal(PLAIN)}
             ELSE {_literal(UNKNOWN)} END AS style_kind
    FROM (
        SELECT *, CASE WHEN _subject = '' THEN 0 ELSE 0 {told(_NAMED)} END AS _named,
            CASE WHEN _subject = '' OR _named > 0 THEN 0 ELSE 0 {told(_HINTED)} END AS _hinted
        FROM (
            SELECT *, CASE WHEN regexp_matches(_read, {_literal(_ANY)}) THEN _read
                           ELSE lower(coalesce(style, '')) END AS _subject
            FROM (
                SELECT *, CASE WHEN scene_origin = 'source' THEN '' WHEN contains(text_clean, '"')
                    THEN regexp_replace(lower(text_clean), {_literal(_QUOTED)}, ' ', 'g')
                    ELSE lower(coalesce(text_clean, '')) END AS _read
                FROM ({prompts})
            )
        )
    )"""


def _literal(text: str) -> str:
    quoted = text.replace("'", "''")
    return f"'{quoted}'"
