"""The kind of picture that a prompt names."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from promptforge.lexicon.style_kinds import KINDS, kind, kinds_sql
from promptforge.sources.writing.cells import ART, PHOTO, PLAIN, STYLES

#: style, text, kind: what a reader of the definition would say.
CASES = [
    (None, "a red fox in the snow", "plain"),
    ("", "a red fox in the snow", "plain"),
    (None, None, "plain"),
    (None, "A PHOTO of a red fox", "photo"),
    (None, "photos of a red fox, 50mm", "photo"),
    (None, "an oil painting of a fox", "painting"),
    (None, "watercolour of a fox", "painting"),
    (None, "watercolor of a fox", "painting"),
    (None, "a pencil sketch of a fox", "drawing"),
    (None, "ukiyo-e woodblock fox", "print"),
    (None, "anime fox", "illustration"),
    (None, "fox, octane render, 3d", "digital"),
    (None, "a fox, stained glass", "craft"),
    (None, "an oil painting of a fox, octane render", "unknown"),
    (None, "a photo and a sketch of a fox", "unknown"),
    # a hint counts alone, and says nothing beside a name
    (None, "photorealistic fox", "photo"),
    (None, "photorealistic digital painting of a fox", "painting"),
    (None, "photorealistic fox, artstation", "unknown"),
    # strings to be drawn name nothing; parts of words neither
    (None, 'a sign that says "PHOTO"', "plain"),
    (None, 'a sketch of a sign that says "PHOTO" and "OIL PAINTING"', "drawing"),
    (None, "a photon, a painter and sketchbooks", "plain"),
    # the column style, where the text names none
    ("photograph", "a red fox", "photo"),
    ("Oil Painting", "a red fox", "painting"),
    ("oil painting", "a photo of a red fox", "photo"),
    ("vaporwave", "a red fox", "unknown"),
    ("vaporwave", "a photo of a red fox", "photo"),
    ("baroque", "a red fox", "plain"),  # a manner that any medium can have
    ("painting'); DROP TABLE prompts; --", "it's a fox", "painting"),
]


@pytest.mark.parametrize(("style", "text", "wanted"), CASES)
def test_a_prompt_is_of_the_kind_that_it_names(style: str | None, text: str | None, wanted: str) -> None:
    assert kind(style, text) == wanted


def test_the_media_of_the_grammar_are_of_its_kinds() -> None:
    assert (*STYLES, "unknown") == KINDS
    named = {medium: name for name, media in ART.items() for medium in media}
    assert {medium: kind(medium) for medium in named} == named
    for photo in ("photograph", "film photograph", "macro photograph", "long exposure photograph"):
        assert kind(photo) == PHOTO
    assert kind(None) == PLAIN


def test_sql_says_the_same_as_python() -> None:
    styles, texts, wanted = zip(*CASES, strict=True)
    columns = {
        "style": pa.array(styles, pa.string()),
        "text_clean": pa.array(texts, pa.string()),
        "scene_origin": pa.array(["parsed"] * len(CASES)),
    }
    with duckdb.connect() as con:
        con.register("rows", pa.table(columns))
        found = con.sql(kinds_sql("FROM rows")).to_arrow_table()
    assert found.column_names == ["style", "text_clean", "scene_origin", "style_kind"]
    assert found["style_kind"].to_pylist() == list(wanted)


def test_of_what_the_grammar_wrote_the_text_is_not_read() -> None:
    with duckdb.connect() as con:
        one = "SELECT {style} AS style, 'a painting above a sofa' AS text_clean, '{origin}' AS scene_origin"
        for style, origin, wanted in (
            ("NULL", "source", "plain"),
            ("NULL", "parsed", "painting"),
            ("'linocut'", "source", "print"),
        ):
            rows = con.sql(kinds_sql(one.format(style=style, origin=origin))).fetchall()
            assert [row[-1] for row in rows] == [wanted]
