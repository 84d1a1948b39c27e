"""Writes the quality axis: captions of good pictures, of 8 to 35 words where no length is asked, else of 1 to 120.

A subject, where it is, its light, and how the picture is made: lens for photographs, style for works of art. What
the words of lens, composition and finish ask for is not in the scene; it is what the axis is for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from promptforge.lexicon import Medium, Setting, article
from promptforge.records import Scene, SceneObject
from promptforge.scenes import parse
from promptforge.sources.writing.cells import ANY, ART, BANDS, PHOTO, PLAIN, Cell, style_kind
from promptforge.sources.writing.draw import Draw
from promptforge.sources.writing.finishes import GREY
from promptforge.sources.writing.nounphrases import Draft, NounPhrase, carried
from promptforge.sources.writing.pages import Page, Plan
from promptforge.sources.writing.passages import Passages, passages
from promptforge.sources.writing.pools import Pools, pools, templates, thing

CATEGORIES = ("portrait", "animal", "still_life", "food", "vehicle", "architecture", "landscape", "interior")

MAX_WORDS = 35
MACRO = "macro photograph"
#: Media with much to see in them, and none that takes colour away.
UNSUITED = (MACRO, GREY)

#: Shares of rows in per cent.
PHOTOS, EXTRA, COLOURED, COMPANY = 55, 60, 45, 50
PLAIN_SHARE, ONE_SENTENCE, BRIEF, HALF_SHORT = 5, 35, 40, 30


@dataclass(frozen=True, slots=True)
class Subject:
    """What a caption is about, and where: the light follows `place` where no setting is named."""

    text: str
    objects: tuple[SceneObject, ...] = ()
    relations: tuple[tuple[int, str, int], ...] = ()
    setting: Setting | None = None
    place: str = "outdoors"
    within: bool = False  # the setting is part of the text


class CaptionWriter:
    """Drafts of one row in a category."""

    def __init__(self, stock: Pools, table: Mapping[str, Any], longer: Passages) -> None:
        self.stock, self.table, self.longer = stock, table, longer
        lexicon = stock.lexicon
        self.words = lexicon.captions
        self.subjects: Mapping[str, Callable[[Draw], Subject]] = {
            "portrait": self._portrait,
            "animal": self._animal,
            "still_life": self._still_life,
            "food": self._food,
            "vehicle": self._vehicle,
            "architecture": self._architecture,
            "landscape": self._landscape,
            "interior": self._interior,
        }
        self.people = stock.group("calm_people") + stock.group("outdoor_people")
        self.local, self.far = stock.group("local_animals"), stock.group("far_animals")
        self.objects, self.dishes = stock.group("still_life"), stock.group("dishes")
        self.buildings = [noun for noun in stock.of_kind("building") if noun not in table["never_built"]]
        self.views = {place: [s for s in rows if s.view] for place, rows in stock.settings.items()}
        self.doing = {
            noun: [a for a in stock.actions if not a.patients and not a.together and noun in a.agents]
            for noun in (*self.people, *self.local, *self.far)
        }
        self.holding = stock.group("holdable")
        written = [row for row in lexicon.mediums.values() if row.written]
        suits = {"view": table["view_suits"], "room": {}}
        self.viewed = {
            (words, view.word): [
                word for word in self.words[words] if view.word in suits[words].get(word, (view.word,))
            ]
            for words, place in (("view", "outdoors"), ("room", "indoors"))
            for view in self.views[place]
        }
        self.mediums = {
            (kind, view): [m for m in written if m.kind == kind and (view or not m.view)]
            for kind in ("photo", "art")
            for view in (False, True)
        }
        for view in (False, True):
            self.mediums[PLAIN, view] = [written[0]]  # drawn, and not written
            for kind in ART:
                self.mediums[kind, view] = [m for m in written if style_kind(m.word) == kind]
        self.compositions = {
            (near, place): self.words["composition"]
            + (self.words["composition_near"] if near else ())
            + (self.words["composition_outdoors"] if place == "outdoors" else ())
            for near in (False, True)
            for place in stock.settings
        }
        self.company: dict[str, Scene] = {
            text: parse(text) for key in ("landscape_with", "interior_with") for text in table[key]
        }

    def write(self, category: str, draw: Draw) -> Draft:
        """The draft of one row; one in 2,000 is too long and drawn again."""
        draft = self._draft(category, draw)
        while len(draft.text.split()) > MAX_WORDS:
            draft = self._draft(category, draw)
        return draft

    def write_cell(self, cell: Cell, draw: Draw) -> Draft:
        """A try at a row of a cell."""
        style = cell.style
        if style == ANY:
            share = draw.below(100)
            style = PLAIN if share < PLAIN_SHARE else PHOTO if share < PHOTOS else draw.pick(tuple(ART))
        if cell.length == "tiny":
            return self._tiny(cell.category, draw, style)
        if cell.length in ("long", "paragraph") and not (cell.length == "long" and draw.percent(ONE_SENTENCE)):
            return self._passage(cell, draw, style)
        if cell.length == "short" or (cell.length == "medium" and draw.percent(HALF_SHORT)):
            return self._draft(cell.category, draw, style, short="short_", briefly=cell.length == "short")
        return self._draft(cell.category, draw, style)

    def _tiny(self, category: str, draw: Draw, style: str) -> Draft:
        """A thing with a look, and its medium or light."""
        subject = self._brief(category, draw)
        place = subject.setting.place if subject.setting else subject.place
        template = draw.pick(self.table["tiny_plain" if style == PLAIN else "tiny"])
        medium = draw.pick([m for m in self.mediums[style, False] if m.word not in UNSUITED])
        light = draw.pick(self.longer.finishes.lights_for(place, subject.text))
        words = {"subject": subject.text, "medium": medium.word, "light": draw.pick(light.phrases)}
        return Draft(
            template=f"{category}.{template['id']}",
            text=template["text"].format(**words),
            objects=subject.objects,
            setting=subject.setting.word if subject.setting and subject.within else None,
            light=light.word if "{light}" in template["text"] else None,
            style=medium.word if "{medium}" in template["text"] else None,
        )

    def _brief(self, category: str, draw: Draw) -> Subject:
        """What a caption of the category is about, in three words or so."""
        if category in ("landscape", "interior"):
            view = draw.pick(self.views["outdoors" if category == "landscape" else "indoors"])
            return self._view(draw, view, "view" if category == "landscape" else "room", None)
        nouns, settings, extra = self._at_home(category, draw)
        noun = draw.pick(nouns)
        setting = self.stock.lexicon.settings[draw.pick(settings)]
        grows = extra == "thing" and self.stock.lexicon.nouns[noun].kind in ("plant", "food")
        if extra in ("thing", "machine") and not grows and draw.percent(COLOURED):
            part = thing(noun, {"colour": draw.pick(self.table["colours"])})
        elif extra in ("dish", "being") and category != "portrait" and draw.percent(15):
            part = thing(noun, count=2 + draw.below(4))
        else:
            part = thing(noun, extra=draw.pick(self.words["growth" if grows else extra]))
        return _single(part, setting)

    def _at_home(self, category: str, draw: Draw) -> tuple[Sequence[str], Sequence[str], str]:
        """Nouns of a category, settings that suit any of them, and their kind of adjective."""
        table = self.table
        if category == "vehicle":
            row = draw.pick(table["vehicle"])
            return row["nouns"], row["settings"], "machine"
        rows: Mapping[str, tuple[Sequence[str], str, str]] = {
            "portrait": (self.people, "open_country", "being"),
            "animal": (self.local, "animal_settings", "being"),
            "still_life": (self.objects, "object_settings", "thing"),
            "food": (self.dishes, "food_settings", "dish"),
            "architecture": (self.buildings, "building_settings", "facade"),
        }
        nouns, settings, extra = rows[category]
        return nouns, table[settings], extra

    def _passage(self, cell: Cell, draw: Draw, style: str) -> Draft:
        """The subject and its place in one sentence, then company, details, light and finish."""
        category = cell.category
        subject = self.subjects[category](draw)
        while subject.setting is None or subject.setting.word not in self.longer.scenery:
            subject = self.subjects[category](draw)
        setting = subject.setting
        medium = draw.pick([m for m in self.mediums[style, category == "landscape"] if m.word not in UNSUITED])
        light = draw.pick(self.longer.finishes.lights_for(setting.place, subject.text)) if draw.percent(40) else None
        template = draw.pick(self.table["opening_plain" if style == PLAIN else "opening"])
        text = template["text"].format(
            subject=subject.text,
            place="" if subject.within else setting.phrase,
            light=draw.pick(light.phrases) if light else "",
            medium=_with_article(medium.word),
        )
        draft = Draft(
            template=f"{category}.{template['id']}",
            text=_tidy(text),
            objects=subject.objects,
            relations=subject.relations,
            setting=setting.word,
            light=light.word if light else None,
            style=None if style == PLAIN else medium.word,
        )
        kinds = self.table["sentences"][category]
        small = "at_table" if category == "food" else ""
        plan = Plan(kinds, (("colour",), ("texture",), ()), ("next to", "next to", "behind"), likely=True, small=small)
        page = Page(draft, setting.place, carried=carried(subject.objects))
        return self.longer.grow(draw, page, plan, BANDS[cell.length])

    def _draft(self, category: str, draw: Draw, style: str = "", short: str = "", briefly: bool = False) -> Draft:
        brief = briefly and category not in ("landscape", "interior") and draw.percent(BRIEF)
        subject = self._brief(category, draw) if brief else self.subjects[category](draw)
        setting = subject.setting
        place = setting.place if setting else subject.place
        kind = style or ("photo" if draw.percent(PHOTOS) else "art")
        template = draw.pick(self.table[short + (kind if kind in (PLAIN, PHOTO) else "art")])
        medium = draw.pick(self.mediums[kind, category in ("landscape", "architecture")])
        if not self._suits(medium, subject):
            medium = self.mediums[kind, False][0]
        kind = kind if kind in (PLAIN, PHOTO) else "art"
        light, lens = draw.pick(self.longer.finishes.lights_for(place, subject.text)), draw.pick(self.words["lens"])
        named = light.word if "{light}" in template["text"] else None
        fin, fin2 = self.longer.finishes.finishing(draw, None if kind == PLAIN else medium.word, named, 2)
        text = template["text"].format(
            subject=subject.text,
            place=setting.phrase if setting and not subject.within else "",
            light=draw.pick(light.phrases),
            medium=_with_article(medium.word),
            lens=_with_article(lens),
            comp=draw.pick(self.compositions[not subject.within, place]),
            fin=fin,
            fin2=fin2,
            style=self.longer.finishes.manner(draw, medium.word),
        )
        return Draft(
            template=f"{category}.{kind}_{template['id']}",
            text=_tidy(text),
            objects=subject.objects,
            relations=subject.relations,
            setting=setting.word if setting and (subject.within or "{place}" in template["text"]) else None,
            light=light.word if "{light}" in template["text"] else None,
            style=medium.word if "{medium}" in template["text"] else None,
        )

    def _suits(self, medium: Medium, subject: Subject) -> bool:
        """Nothing big in a macro photograph, nothing coloured in a grey one."""
        if medium.word == MACRO:
            sizes = [self.stock.lexicon.nouns[item.noun].size for item in subject.objects]
            return sizes == [1]
        return medium.word != GREY or all(item.colour is None for item in subject.objects)

    def _extra(self, draw: Draw, kind: str) -> str:
        return draw.pick(self.words[kind]) if draw.percent(EXTRA) else ""

    def _anywhere(self, draw: Draw, place: str) -> Setting:
        """A setting indoors or outdoors, or of either where the place does not matter."""
        return draw.pick(self.stock.settings[draw.pick(("indoors", "outdoors")) if place == "any" else place])

    def _one_of(self, draw: Draw, key: str) -> Setting:
        return self.stock.lexicon.settings[draw.pick(self.table[key])]

    def _portrait(self, draw: Draw) -> Subject:
        """Somebody, mostly doing or holding something."""
        noun, form = draw.pick(self.people), draw.below(10)
        outdoors = noun in self.stock.lexicon.groups["outdoor_people"]
        extra = self._extra(draw, "being")
        if form < 4:
            action = draw.pick(self.doing[noun])
            who = thing(noun, {"action": action.word}, extra=extra)
            place = "outdoors" if outdoors and action.place == "any" else action.place
            setting = None if place == "none" else self._anywhere(draw, place)
            return Subject(f"{who} {action.word}", (who.item,), setting=setting)
        setting = self._anywhere(draw, "outdoors" if outdoors else "any")
        if form < 8:
            held = draw.pick(self.holding)
            what = thing(held, self._looks(draw, held))
            who = thing(noun, {"action": "holding"}, extra=extra)
            return Subject(f"{who} holding {what}", (who.item, what.item), setting=setting)
        return _single(thing(noun, extra=extra), setting)

    def _animal(self, draw: Draw) -> Subject:
        """One animal or a few, at home or with no place at all."""
        far = draw.percent(25)
        noun = draw.pick(self.far if far else self.local)
        setting = None if far else self._one_of(draw, "pet_settings" if noun in ("dog", "cat") else "animal_settings")
        furry = noun in self.stock.lexicon.groups["furry"]
        looks = {"texture": "fluffy"} if furry and draw.percent(20) else {}
        if draw.percent(20):
            return _single(thing(noun, looks, count=2 + draw.below(3)), setting)
        extra = self._extra(draw, "being")
        if self.doing[noun] and draw.percent(60):
            action = draw.pick(self.doing[noun])
            who = thing(noun, {**looks, "action": action.word}, extra=extra)
            fits = setting is not None and action.place in ("any", setting.place)
            return Subject(f"{who} {action.word}", (who.item,), setting=setting if fits else None)
        return _single(thing(noun, looks, extra=extra), setting)

    def _still_life(self, draw: Draw) -> Subject:
        """An object by itself, beside another of its kind, or on a piece of furniture."""
        noun, form = draw.pick(self.objects), draw.below(3)
        kind = self.stock.lexicon.nouns[noun].kind
        extra = self._extra(draw, "growth" if kind in ("plant", "food") else "thing")
        setting = self._one_of(draw, "object_settings")
        first = thing(noun, self._looks(draw, noun), extra=extra)
        if form == 0:
            return _single(first, setting)
        if form == 1:
            return self._on(draw, first, self.table["object_on"], setting)
        alike = [w for w in self.objects if w != noun and self.stock.lexicon.nouns[w].kind == kind]
        other = draw.pick(alike or self.objects)
        second = thing(other, self._looks(draw, other))
        return Subject(f"{first} and {second}", (first.item, second.item), setting=setting)

    def _food(self, draw: Draw) -> Subject:
        setting = self._one_of(draw, "food_settings")
        count = 1 if draw.percent(65) else 2 + draw.below(5)
        dish = thing(draw.pick(self.dishes), count=count, extra=self._extra(draw, "dish"))
        return self._on(draw, dish, self.table["food_on"], setting) if draw.percent(60) else _single(dish, setting)

    def _vehicle(self, draw: Draw) -> Subject:
        row = draw.pick(self.table["vehicle"])
        noun, setting = draw.pick(row["nouns"]), self.stock.lexicon.settings[draw.pick(row["settings"])]
        return _single(thing(noun, self._looks(draw, noun), extra=self._extra(draw, "machine")), setting)

    def _architecture(self, draw: Draw) -> Subject:
        noun = draw.pick(self.buildings)
        looks = self._looks(draw, noun)
        if "colour" in looks:
            looks["colour"] = draw.pick(self.table["building_colours"])
        building = thing(noun, looks, extra=self._extra(draw, "facade"))
        return _single(building, self._one_of(draw, "building_settings") if draw.percent(COMPANY) else None)

    def _landscape(self, draw: Draw) -> Subject:
        setting = draw.pick(self.views["outdoors"])
        company = "landscape_with" if setting.word in self.table["open_country"] else None
        return self._view(draw, setting, "view", company)

    def _interior(self, draw: Draw) -> Subject:
        return self._view(draw, draw.pick(self.views["indoors"]), "room", "interior_with")

    def _view(self, draw: Draw, setting: Setting, words: str, company: str | None) -> Subject:
        """A place as the subject itself, perhaps with something in it."""
        text = _with_article(f"{draw.pick(self.viewed[words, setting.word])} {setting.word}")
        if company is None or not draw.percent(COMPANY):
            return Subject(text, setting=setting, within=True)
        added = draw.pick(self.table[company])
        return Subject(f"{text} with {added}", self.company[added].objects, setting=setting, within=True)

    def _on(self, draw: Draw, first: NounPhrase, supports: Sequence[str], setting: Setting) -> Subject:
        """Something on a table, plate or shelf."""
        noun = draw.pick([word for word in supports if word != first.item.noun])
        under = thing(noun, self.stock.looks(draw, noun, "texture") if draw.percent(COLOURED) else None)
        return Subject(f"{first} on {under}", (first.item, under.item), ((0, "above", 1),), setting)

    def _looks(self, draw: Draw, noun: str) -> dict[str, str]:
        """A colour or a texture, or neither."""
        if draw.percent(COLOURED):
            return {"colour": draw.pick(self.table["colours"])}
        return self.stock.looks(draw, noun, "texture") if draw.percent(COLOURED) else {}


def _single(part: NounPhrase, setting: Setting | None) -> Subject:
    return Subject(str(part), (part.item,), setting=setting)


def _with_article(words: str) -> str:
    return f"{article(words.split(' ', 1)[0])} {words}"


def _tidy(text: str) -> str:
    """Without the gaps that an absent place leaves."""
    return " ".join(text.split()).replace(" ,", ",").strip(" ,")


@lru_cache(maxsize=1)
def writer() -> CaptionWriter:
    """The writer of the quality axis, made once."""
    return CaptionWriter(pools(), templates("captions.toml"), passages())
