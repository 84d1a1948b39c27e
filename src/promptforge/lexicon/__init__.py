"""Every word that promptforge knows: what can be drawn, how it can look, where it can stand, what can be written.

The data are the *.toml files beside this one, read once a process. Words of scenes are canonical: the parser, the
grammar, the canvas teacher and the scorers all use the `word` of a row, whatever spelling a prompt uses.
"""

from promptforge.lexicon.reserved import (
    inflections,
    is_reserved_pair,
    is_reserved_triple,
    is_reserved_word,
    reserved_pairs,
    reserved_triples,
    reserved_words,
)
from promptforge.lexicon.tables import (
    Action,
    Carrier,
    Colour,
    Lexicon,
    Light,
    Medium,
    Noun,
    Number,
    Relation,
    Setting,
    Shape,
    Style,
    TargetWords,
    Texture,
    article,
    digest,
    load,
    plural,
)

__all__ = [
    "Action",
    "Carrier",
    "Colour",
    "Lexicon",
    "Light",
    "Medium",
    "Noun",
    "Number",
    "Relation",
    "Setting",
    "Shape",
    "Style",
    "TargetWords",
    "Texture",
    "article",
    "digest",
    "inflections",
    "is_reserved_pair",
    "is_reserved_triple",
    "is_reserved_word",
    "load",
    "plural",
    "reserved_pairs",
    "reserved_triples",
    "reserved_words",
]
