"""The strings of the text axis: bands, kinds, languages, calendar, splits, and that the prompt gives them back."""

import json
import re
from collections import Counter
from datetime import date

import pytest

from promptforge import lexicon, targets, texts
from promptforge.scenes import parse, split_of
from promptforge.sources import grammar
from promptforge.sources.grammar import Params
from promptforge.sources.writing import lettering
from promptforge.sources.writing.draw import Draw
from promptforge.sources.writing.lettering_figures import CODES, DATES, KINDS, NUMBERS, ordinal, roman
from promptforge.sources.writing.lettering_strings import LANGUAGES, UNREAD_LANGUAGES, WORDED, capital, upper
from promptforge.sources.writing.pools import templates
from promptforge.teachers.drawing.faces import FACES, FaceBook

CATEGORIES = lettering.CATEGORIES
N = 6_000


def rows(n=N, **weights):
    given = dict.fromkeys(CATEGORIES, 0) | weights if weights else {}
    source = grammar.build(Params(axis="text_rendering", n=n, weights=given), 7)
    return list(source.read(source.parts()[0], 0, n))


@pytest.fixture(scope="module")
def written():
    return rows()


@pytest.fixture(scope="module")
def strings():
    return lettering.writer().strings


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_prompt_gives_back_its_strings_and_its_scene(category):
    found = rows(400, **{category: 1})
    assert {row.category for row in found} == {category}
    read = [targets.parse(texts.clean(row.text).text).strings == row.expected_text for row in found]
    assert sum(read) / len(read) >= 0.99
    assert all(parse(row.text) == row.scene for row in found)


@pytest.mark.parametrize("category", CATEGORIES)
def test_strings_are_drawn_from_many(category):
    distinct = {row.expected_text for row in rows(1_000, **{category: 1})}
    assert len(distinct) > (100 if category in LANGUAGES + UNREAD_LANGUAGES else 650)


def test_strings_stand_in_quotes_as_they_are(written):
    for row in written:
        for string in row.expected_text:
            assert any(f"{a}{string}{b}" in row.text for a, b in ('""', "''", "“”")), row.text
        assert 1 <= max(len(string.split()) for string in row.expected_text) <= 7
        assert row.scene.carrier is not None


def test_several_lines_are_several_strings_no_two_alike(written):
    several = [row.expected_text for row in written if row.category == "lines"]
    assert {len(strings) for strings in several} == {2, 3, 4}
    assert all(len({texts.fold(s) for s in strings}) == len(strings) for strings in several)
    assert all(len(row.expected_text) == 1 for row in written if row.category != "lines")


def test_strings_come_in_every_case_and_with_figures_and_marks(written):
    found = [row.expected_text[0] for row in written]
    share = {
        name: sum(map(test, found)) / N
        for name, test in {
            "lower": str.islower,
            "upper": str.isupper,
            "title": str.istitle,
            "figures": lambda text: any(c.isdigit() for c in text),
            "marks": lambda text: any(c in "!?:#&/+" for c in text),
            "accents": lambda text: any(c.isalpha() and not c.isascii() for c in text),
        }.items()
    }
    assert share["lower"] > 0.2
    assert share["upper"] > 0.15
    assert share["title"] > 0.1
    assert share["figures"] > 0.15
    assert share["marks"] > 0.08
    assert share["accents"] > 0.05
    quotes = Counter(row.text[row.text.index(row.expected_text[0]) - 1] for row in written)
    assert quotes['"'] > 0.7 * N
    assert quotes["'"] > 0.03 * N
    assert quotes["“"] > 0.05 * N


def test_no_row_mixes_reserved_and_open_words_and_six_in_a_hundred_of_words_are_reserved(written):
    splits = Counter((row.category in WORDED, split_of(row.expected_text, row.scene)) for row in written)
    assert splits[True, "mixed"] == splits[False, "mixed"] == 0
    worded = sum(n for (is_worded, _), n in splits.items() if is_worded)
    assert 0.045 <= splits[True, "test_words"] / worded <= 0.075
    assert splits[False, "test_words"] == 0


def test_the_literal_words_of_forms_are_not_reserved():
    table = templates("lettering.toml")
    names = templates("target_names.toml")
    forms = [form for group in table["targets"].values() for form in group]
    forms += [form for group in table["signs"]["lines"] for form in group]
    forms += [*names["names"], *names["places"], names["streets"], names["cities"], names["given"], names["accented"]]
    for form in forms:
        for word in re.findall(r"[^\W\d_]+", re.sub(r"\{[^}]*\}", " ", form)):
            assert not lexicon.is_reserved_word(word), form


# wordfreq 3.1.1, zipf_frequency(word, "en"): 4.76, 5.52, 4.1, 3.15, 2.44, 3.08
@pytest.mark.parametrize(
    ("word", "band"),
    [
        ("apple", "common"),
        ("water", "common"),
        ("lemon", "medium"),
        ("jigsaw", "rare"),
        ("gossamer", "rare"),
        ("acorn", "rare"),
    ],
)
def test_words_lie_in_the_band_of_their_frequency(strings, word, band):
    bands = {**strings.open, **{f"kept {name}": words for name, words in strings.kept.items()}}
    assert [name.split()[-1] for name, words in bands.items() if word in words.nouns] == [band]


def test_the_template_names_the_band_that_every_word_of_the_row_has(written, strings):
    words: dict[str, set[str]] = {}
    for band, each in (*strings.open.items(), *strings.kept.items()):
        plain = (*each.nouns, *each.adjectives, *each.verbs, *each.others)
        words.setdefault(band, set()).update(plain, (strings.plurals.get(word, word) for word in plain))
    forms = templates("lettering.toml")["targets"]
    literal = {
        word
        for form in (*forms["phrase"], *forms["sentence"])
        for word in re.findall(r"[a-z]+", re.sub(r"\{[^}]*\}", " ", form))
    } | {"a", "an"}  # of {a_noun}
    checked = Counter()
    for row in written:
        if row.category not in ("word", "phrase", "rare"):
            continue
        band = row.template.split(".")[1]
        if row.category == "rare":
            assert band == "rare"
        text = row.expected_text[0]
        found = [] if re.search(r"[a-z][A-Z]", text) else re.findall(r"[a-z]+", text.lower())
        assert all(word in words[band] | literal for word in found), (band, text)
        checked[band] += bool(found)
    assert all(checked[band] > 100 for band in ("common", "medium", "rare"))


def test_several_hundred_rare_words_are_open(strings):
    rare = strings.open["rare"]
    assert len(rare.nouns) > 700
    assert len(rare.adjectives) > 200
    assert len(rare.verbs) > 150
    assert not {*rare.nouns, *rare.adjectives, *rare.verbs} & lexicon.reserved_words()


def test_rare_words_have_the_plurals_and_articles_of_an_independent_library(strings):
    import inflect

    engine = inflect.engine()
    both = {"amaryllises", "portcullises"}  # inflect knows no plural of these
    for word in strings.open["rare"].countable:
        plural = lexicon.plural(word)
        assert plural in both or plural in (str(engine.plural_noun(word)), f"{word}s"), word
        assert str(engine.a(word)).split(" ")[0] == lexicon.article(word)


def test_every_date_is_of_the_calendar_and_has_its_own_weekday():
    draws = [Draw(1, "test", row) for row in range(300)]
    for draw in draws:
        assert date.fromisoformat(DATES["iso"](draw))
        named = re.fullmatch(r"(\w{3}) (\d+) (\w{3}) (\d{4})", DATES["short_weekday"](draw))
        months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        day = date(int(named[4]), 1 + months.index(named[3]), int(named[2]))
        assert ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][day.weekday()] == named[1]


def test_ordinals_and_roman_numerals_are_right():
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 102, 111)] == (
        ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th"]
    )
    assert [roman(n) for n in (4, 9, 14, 40, 90, 1994, 2024)] == ["IV", "IX", "XIV", "XL", "XC", "MCMXCIV", "MMXXIV"]


def test_telephone_numbers_are_those_kept_for_fiction(written):
    for row in written:
        for number in re.findall(r"555-(\d{4})", " ".join(row.expected_text)):
            assert 100 <= int(number) <= 199


def test_sums_are_right():
    for row in range(50):
        a, b, total = map(int, re.findall(r"\d+", NUMBERS["sum"](Draw(1, "test", row))))
        assert a + b == total


@pytest.mark.parametrize("kind", KINDS)
def test_figures_never_end_in_a_mark_that_a_sentence_would_swallow(kind):
    for name, form in KINDS[kind].items():
        for row in range(40):
            text = form(Draw(1, name, row))
            assert text == " ".join(text.split())
            assert text[-1] not in ".,"


def test_capitals_follow_the_language():
    assert upper("iyi ışık", "turkish") == "İYİ IŞIK"
    assert capital("iyi", "turkish") == "İyi"
    assert upper("Καλή χρονιά", "greek") == "ΚΑΛΗ ΧΡΟΝΙΑ"
    assert upper("τσάι", "greek") == "ΤΣΑΪ"  # as CLDR's el-Upper writes it
    assert upper("ταΐζω και", "greek") == "ΤΑΪΖΩ ΚΑΙ"
    assert capital("έξοδος", "greek") == "Έξοδος"
    assert upper("Straßenbahn", "german") == "STRASSENBAHN"
    assert upper("été", "french") == "ÉTÉ"


def test_carriers_take_what_can_be_done_to_them(written):
    for row in written:
        said = row.text
        for string in row.expected_text:
            said = said.replace(string, "")
        assert not re.search(r"printed \w+ (?:printed with|with .* painted)|painted wall with .* painted", said), (
            row.text
        )
        assert not re.search(r"(?:neon sign|screen|departure board) printed with", said), row.text
        assert not re.search(r"(?:neon sign|screen|departure board|cake) with [\"'“].* painted on it", said), row.text


def test_signs_of_a_language_are_listed_once_and_written_in_its_alphabet():
    alphabets = {"russian": "CYRILLIC", "greek": "GREEK"}
    import unicodedata

    for language, text in templates("target_languages.toml").items():
        signs = text.strip().split("\n")
        assert len(set(signs)) == len(signs) >= 40
        for sign in signs:
            assert sign == unicodedata.normalize("NFC", " ".join(sign.split()))
            letters = [c for c in sign if c.isalpha()]
            assert {unicodedata.name(c).split()[0] for c in letters} == {alphabets.get(language, "LATIN")}


def test_every_character_that_can_be_written_has_a_glyph_in_the_faces_that_are_chosen(strings):
    """Each kind's own characters in one face together: what `choose` needs; most faces have them all."""
    faces = FaceBook(tuple(FACES)).faces
    own = {c for row in rows(4_000, **dict.fromkeys(CATEGORIES, 1)) for text in row.expected_text for c in text}
    every = sorted((own | strings.characters()) - {" "})
    full = [face.name for face in faces if not face.lacks(every)]
    # Caladea and Fredoka have no Cyrillic, Greek or Vietnamese; Fredoka little more than Western Europe.
    assert full == [name for name in FACES if not name.startswith(("caladea", "fredoka"))]
    latin = sorted({c for c in every if not unread(c)})
    assert [face.name for face in faces if face.lacks(latin)] == ["fredoka"]


def unread(character):
    import unicodedata

    name = unicodedata.name(character)
    return name.startswith(("CYRILLIC", "GREEK")) or "\u1ea0" <= character <= "\u1ef9" or character in "ƠơƯư"


def test_codes_hold_no_letters_that_look_like_digits():
    for name in ("plate", "flight", "part", "plate_mixed"):
        for row in range(40):
            assert not set(CODES[name](Draw(1, name, row))) & set("01IOQSZ")


def test_all_strings_can_be_written_as_json_and_utf8(written):
    for row in written[:500]:
        assert json.loads(json.dumps(row.expected_text)) == list(row.expected_text)
